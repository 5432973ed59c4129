"""CPU kernel of the mean of several propagations."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share
from graphlearn.ops.cpu.lanes import LANES, add, gather
from graphlearn.ops.cpu.spmm import propagate

__all__ = ["mean_hops"]


@jit
def _hop(
    first: int, last: int, ptr: Array, col: Array, weight: Array, x: Array, y: Array, out: Array,
    width: int, scale: float,
) -> None:  # fmt: skip
    one = x.dtype.type(1)
    for r in range(first, last):
        gather(out, r, y, width, col, weight, ptr[r], ptr[r + 1])
        add(out, r, one, x, r, width)
        if scale != 1:
            row = out[r * width : (r + 1) * width]
            for f in range(width):
                row[f] *= scale


def mean_hops(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor, hops: int) -> Tensor:
    """See `graphlearn.ops.means`."""
    x = x.detach().contiguous()
    width = x.shape[1]
    plain = width == 0 or width % LANES or hops == 0
    if plain or (weight is not None and not weight.numpy().all()):
        y = x
        for _ in range(hops):
            y = propagate(ptr, col, weight, y).add_(x)
        return y / (hops + 1)
    values = np.ones(col.numel(), x.numpy().dtype) if weight is None else weight.numpy()
    y, spare = x, torch.empty_like(x)
    out = torch.empty_like(x)
    work = (col.numel() + ptr.numel()) * width
    for hop in range(hops):
        scale = x.numpy().dtype.type(1 / (hops + 1) if hop == hops - 1 else 1)
        arrays = (value.view(-1).numpy() for value in (x, y, out))
        share(_hop, len(x), work, ptr.numpy(), col.numpy(), values, *arrays, width, scale)
        y, out, spare = out, spare, out
    return y

"""CPU kernels of values from the two ends of an entry."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["end_sums", "row_totals"]


@jit
def _gather(
    first: int, last: int, ptr: Array, col: Array, left: Array, right: Array, out: Array
) -> None:
    width = left.shape[1]
    for r in range(first, last):
        for e in range(ptr[r], ptr[r + 1]):
            c = col[e]
            for f in range(width):
                out[e, f] = left[r, f] + right[c, f]


@jit
def _add(first: int, last: int, ptr: Array, entry: Array, value: Array, out: Array) -> None:
    width = value.shape[1]
    for r in range(first, last):
        row = out[r]
        row[:] = 0
        for e in range(ptr[r], ptr[r + 1]):
            at = entry[e] if entry.size else e
            for f in range(width):
                row[f] += value[at, f]


def end_sums(ptr: Tensor, col: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """See `graphlearn.ops.ends.end_sums`."""
    left, right = left.detach().contiguous(), right.detach().contiguous()
    out = torch.empty(col.numel(), left.shape[1], dtype=left.dtype)
    arrays = (tensor.numpy() for tensor in (ptr, col, left, right, out))
    share(_gather, ptr.numel() - 1, out.numel(), *arrays)
    return out


def row_totals(ptr: Tensor, entry: Tensor | None, value: Tensor) -> Tensor:
    """See `graphlearn.ops.ends.row_totals`; of the values at `entry` where that is given."""
    value = value.detach().contiguous()
    out = torch.empty(ptr.numel() - 1, value.shape[1], dtype=value.dtype)
    places = np.empty(0, np.int64) if entry is None else entry.numpy()
    share(_add, ptr.numel() - 1, value.numel(), ptr.numpy(), places, value.numpy(), out.numpy())
    return out

"""CPU kernel of the gradients of layer normalisation."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["layer_norm_sums"]

_ROWS = 256  # rows whose sum is kept apart, so that float32 loses no digits over many rows


@jit
def _sum(
    first: int,
    last: int,
    x: Array,
    mean: Array,
    rstd: Array,
    grad: Array,
    weight: Array,
    bias: Array,
) -> None:
    """Channels `first` to `last` of all rows: threads divide channels, never a sum."""
    total, shift = weight[first:last], bias[first:last]
    total[:] = 0
    shift[:] = 0
    part, moved = np.empty_like(total), np.empty_like(total)
    for start in range(0, x.shape[0], _ROWS):
        part[:] = 0
        moved[:] = 0
        for k in range(start, min(x.shape[0], start + _ROWS)):
            a, g, m, r = x[k, first:last], grad[k, first:last], mean[k], rstd[k]
            for f in range(part.size):
                part[f] += g[f] * ((a[f] - m) * r)
                moved[f] += g[f]
        for f in range(part.size):
            total[f] += part[f]
            shift[f] += moved[f]


def layer_norm_sums(x: Tensor, mean: Tensor, rstd: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of weight and bias, added in the order of the rows."""
    weight, bias = torch.empty(x.shape[1], dtype=x.dtype), torch.empty(x.shape[1], dtype=x.dtype)
    inputs = (x, mean.view(-1), rstd.view(-1), grad, weight, bias)
    arrays = (tensor.detach().contiguous().numpy() for tensor in inputs)
    share(_sum, x.shape[1], 2 * x.numel(), *arrays)
    return weight, bias

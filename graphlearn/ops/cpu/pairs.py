"""CPU kernels of the products of pairs."""

import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["pair_product", "pair_spread"]


@jit
def _multiply(first: int, last: int, x: Array, src: Array, dst: Array, out: Array) -> None:
    for k in range(first, last):
        a, b, row = x[src[k]], x[dst[k]], out[k]
        for f in range(row.size):
            row[f] = a[f] * b[f]


@jit
def _add(first: int, last: int, x: Array, src: Array, dst: Array, grad: Array, out: Array) -> None:
    """Channels `first` to `last` of all pairs: threads divide channels, never a sum."""
    out[:, first:last] = 0
    for k in range(src.size):
        i, j = src[k], dst[k]
        g, a, b = grad[k, first:last], x[i, first:last], x[j, first:last]
        to_a = out[i, first:last]
        for f in range(g.size):
            to_a[f] += g[f] * b[f]
        to_b = out[j, first:last]
        for f in range(g.size):
            to_b[f] += g[f] * a[f]


def pair_product(x: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    """See `graphlearn.ops.pair_product`."""
    out = torch.empty(src.numel(), x.shape[1], dtype=x.dtype)
    arrays = (tensor.detach().contiguous().numpy() for tensor in (x, src, dst, out))
    share(_multiply, src.numel(), out.numel(), *arrays)
    return out


def pair_spread(x: Tensor, src: Tensor, dst: Tensor, grad: Tensor) -> Tensor:
    """The gradient of `pair_product` with respect to `x`."""
    out = torch.empty_like(x)
    arrays = (tensor.detach().contiguous().numpy() for tensor in (x, src, dst, grad, out))
    share(_add, x.shape[1], 2 * grad.numel(), *arrays)
    return out

"""CPU kernels of sparse times dense."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share
from graphlearn.ops.cpu.lanes import LANES, dot, gather

__all__ = ["propagate", "propagate_dot", "propagate_max", "propagate_spread"]


@jit
def _gather(
    first: int, last: int, ptr: Array, col: Array, weight: Array, x: Array, out: Array
) -> None:
    for r in range(first, last):
        row = out[r]
        row[:] = 0
        if weight.size:
            for e in range(ptr[r], ptr[r + 1]):
                w = weight[e]
                if w != 0:
                    a = x[col[e]]
                    for f in range(row.size):
                        row[f] += w * a[f]
        else:
            e, end = ptr[r], ptr[r + 1]
            while e + 4 <= end:  # four rows at a time save three quarters of the stores
                a, b, c, d = x[col[e]], x[col[e + 1]], x[col[e + 2]], x[col[e + 3]]
                for f in range(row.size):
                    row[f] += (a[f] + b[f]) + (c[f] + d[f])
                e += 4
            while e < end:
                a = x[col[e]]
                for f in range(row.size):
                    row[f] += a[f]
                e += 1


@jit
def _gather_lanes(
    first: int, last: int, ptr: Array, col: Array, weight: Array, x: Array, out: Array, width: int
) -> None:
    """Sums stay in vector registers from the first entry of a row to its last."""
    for r in range(first, last):
        gather(out, r, x, width, col, weight, ptr[r], ptr[r + 1])


@jit
def _scatter(
    first: int, last: int, ptr: Array, col: Array, weight: Array, grad: Array, out: Array
) -> None:
    """Channels `first` to `last` of all rows: threads divide channels, never a sum."""
    out[:, first:last] = 0
    for r in range(ptr.size - 1):
        g = grad[r, first:last]
        for e in range(ptr[r], ptr[r + 1]):
            row = out[col[e], first:last]
            if weight.size:
                w = weight[e]
                if w != 0:
                    for f in range(row.size):
                        row[f] += w * g[f]
            else:
                for f in range(row.size):
                    row[f] += g[f]


@jit
def _dot(first: int, last: int, ptr: Array, col: Array, x: Array, grad: Array, out: Array) -> None:
    for r in range(first, last):
        g = grad[r]
        for e in range(ptr[r], ptr[r + 1]):
            a = x[col[e]]
            total = x.dtype.type(0)
            for f in range(a.size):
                total += a[f] * g[f]
            out[e] = total


@jit
def _dot_lanes(
    first: int, last: int, ptr: Array, col: Array, x: Array, grad: Array, out: Array, width: int
) -> None:
    for r in range(first, last):
        for e in range(ptr[r], ptr[r + 1]):
            out[e] = dot(x, np.intp(col[e]), grad, r, width)


@jit
def _max(
    first: int, last: int, ptr: Array, col: Array, weight: Array, x: Array, out: Array, arg: Array
) -> None:
    for r in range(first, last):
        row, best = out[r], arg[r]
        row[:] = 0
        best[:] = -1
        for e in range(ptr[r], ptr[r + 1]):
            w = weight[e] if weight.size else x.dtype.type(1)
            if w != 0:
                a = x[col[e]]
                for f in range(row.size):
                    value = w * a[f]
                    if best[f] < 0 or value > row[f]:
                        row[f] = value
                        best[f] = e


def _values(weight: Tensor | None, x: Tensor) -> Array:
    dtype = x.numpy().dtype
    if weight is None:
        return np.empty(0, dtype)
    return weight.detach().to(x.dtype).contiguous().numpy()


def propagate(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor) -> Tensor:
    """See `graphlearn.ops.propagate`, reduce="sum"."""
    x = x.detach().contiguous()
    out = torch.empty(ptr.numel() - 1, x.shape[1], dtype=x.dtype)
    work, width = (col.numel() + ptr.numel()) * x.shape[1], x.shape[1]
    arrays = [ptr.numpy(), col.numpy(), _values(weight, x), x.numpy(), out.numpy()]
    # An entry of value zero takes no part, whatever x holds there: that costs a look at each.
    if weight is not None and width and width % LANES == 0 and arrays[2].all():
        flat = (*arrays[:3], x.view(-1).numpy(), out.view(-1).numpy())
        share(_gather_lanes, ptr.numel() - 1, work, *flat, width)
    else:
        share(_gather, ptr.numel() - 1, work, *arrays)
    return out


def propagate_spread(
    ptr: Tensor, col: Tensor, weight: Tensor | None, grad: Tensor, num_cols: int
) -> Tensor:
    """The transpose of `propagate`: adds each row of `grad` to the columns of its entries."""
    grad = grad.detach().contiguous()
    out = torch.empty(num_cols, grad.shape[1], dtype=grad.dtype)
    work = (col.numel() + num_cols) * grad.shape[1]
    arrays = (ptr.numpy(), col.numpy(), _values(weight, grad), grad.numpy(), out.numpy())
    share(_scatter, grad.shape[1], work, *arrays)
    return out


def propagate_dot(ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    """Inner product of `x[col]` and `grad[row]` at each entry: the gradient of its weight."""
    x, grad = x.detach().contiguous(), grad.detach().contiguous()
    out = torch.empty(col.numel(), dtype=x.dtype)
    work, width = x.shape[1] * col.numel(), x.shape[1]
    if width and width % LANES == 0:
        flat = (x.view(-1).numpy(), grad.view(-1).numpy(), out.numpy(), width)
        share(_dot_lanes, ptr.numel() - 1, work, ptr.numpy(), col.numpy(), *flat)
    else:
        arrays = (ptr.numpy(), col.numpy(), x.numpy(), grad.numpy(), out.numpy())
        share(_dot, ptr.numel() - 1, work, *arrays)
    return out


def propagate_max(
    ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Largest value of each row and channel, and the entry it came from (-1: none)."""
    x = x.detach().contiguous()
    out = torch.empty(ptr.numel() - 1, x.shape[1], dtype=x.dtype)
    arg = torch.empty(ptr.numel() - 1, x.shape[1], dtype=torch.int64)
    arrays = (ptr.numpy(), col.numpy(), _values(weight, x), x.numpy(), out.numpy(), arg.numpy())
    share(_max, ptr.numel() - 1, x.shape[1] * col.numel(), *arrays)
    return out, arg

"""CPU kernels of the best score of pairs, see `graphlearn.ops.best`."""

import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["best_spread", "best_sum"]


@jit
def _best(
    first: int, last: int, left: Array, right: Array, row: Array, col: Array, out: Array,
    head: Array,
) -> None:  # fmt: skip
    for p in range(first, last):
        a, b = left[row[p]], right[col[p]]
        best, at = a[0] + b[0], 0
        for h in range(1, a.size):
            score = a[h] + b[h]
            if score > best:
                best, at = score, h
        out[p] = best
        head[p] = at


@jit
def _spread(first: int, last: int, grad: Array, head: Array, ends: Array, out: Array) -> None:
    """Heads `first` to `last`: threads divide heads, never a sum."""
    for p in range(ends.size):
        if first <= head[p] < last:
            out[ends[p], head[p]] += grad[p]


def best_sum(left: Tensor, right: Tensor, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    """See `graphlearn.ops.best.best_sum_reference`."""
    out, head = torch.empty(row.numel(), dtype=left.dtype), torch.empty(row.shape, dtype=torch.long)
    ends = (left.detach().contiguous().numpy(), right.detach().contiguous().numpy())
    work = 4 * row.numel() * left.shape[1]
    share(_best, row.numel(), work, *ends, row.numpy(), col.numpy(), out.numpy(), head.numpy())
    return out, head


def best_spread(
    grad: Tensor, head: Tensor, row: Tensor, col: Tensor, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """See `graphlearn.ops.best.best_spread_reference`."""
    out = torch.zeros(left.shape, dtype=left.dtype), torch.zeros(right.shape, dtype=right.dtype)
    values = (grad.detach().numpy(), head.numpy())
    for ends, sums in zip((row, col), out, strict=True):
        work = 4 * row.numel()
        share(_spread, left.shape[1], work, *values, ends.numpy(), sums.numpy())
    return out

"""CPU kernel of the look-up of single entries."""

import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["locate"]


@jit
def _locate(
    first: int, last: int, ptr: Array, col: Array, row: Array, target: Array, out: Array
) -> None:
    for k in range(first, last):
        low, high = ptr[row[k]], ptr[row[k] + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if col[middle] < target[k]:
                low = middle + 1
            else:
                high = middle
        out[k] = low if low < end and col[low] == target[k] else -1


def locate(ptr: Tensor, col: Tensor, row: Tensor, target: Tensor) -> Tensor:
    """See `graphlearn.ops.locate`."""
    out = torch.empty(row.shape, dtype=torch.int64)
    arrays = (tensor.contiguous().numpy() for tensor in (ptr, col, row, target, out))
    share(_locate, row.numel(), 64 * row.numel(), *arrays)
    return out

"""CPU kernel of products of very small matrices."""

import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["small_product"]


@jit
def _multiply(
    first: int, last: int, left: Array, right: Array, turn_left: bool, turn_right: bool, out: Array
) -> None:
    size = out.shape[1]
    for e in range(first, last):
        for i in range(size):
            for j in range(size):
                total = out.dtype.type(0)
                for k in range(size):
                    a = left[e, k, i] if turn_left else left[e, i, k]
                    b = right[e, j, k] if turn_right else right[e, k, j]
                    total += a * b
                out[e, i, j] = total


def small_product(left: Tensor, right: Tensor, first: bool, second: bool) -> Tensor:
    """See `graphlearn.ops.small`."""
    left, right = left.detach().contiguous(), right.detach().contiguous()
    out = torch.empty_like(left)
    work = out.numel() * out.shape[1]
    share(_multiply, len(out), work, left.numpy(), right.numpy(), first, second, out.numpy())
    return out

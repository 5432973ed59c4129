"""CPU kernels of message passing with a small matrix on every edge."""

import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["transport", "transport_dot"]


@jit
def _diagonal(
    first: int, last: int, ptr: Array, col: Array, block: Array, x: Array, out: Array
) -> None:
    stalk = block.shape[1]
    for r in range(first, last):
        row = out[r]
        row[:, :] = 0
        for e in range(ptr[r], ptr[r + 1]):
            a = x[col[e]]
            for i in range(stalk):
                w, into, source = block[e, i], row[i], a[i]
                for f in range(into.size):
                    into[f] += w * source[f]


@jit
def _full(
    first: int, last: int, ptr: Array, col: Array, block: Array, x: Array, out: Array
) -> None:
    stalk = block.shape[1]
    for r in range(first, last):
        row = out[r]
        row[:, :] = 0
        for e in range(ptr[r], ptr[r + 1]):
            a = x[col[e]]
            for i in range(stalk):
                into = row[i]
                j = 0
                while j + 2 <= stalk:  # two at a time save half of the stores
                    w, v, one, two = block[e, i, j], block[e, i, j + 1], a[j], a[j + 1]
                    for f in range(into.size):
                        into[f] += w * one[f] + v * two[f]
                    j += 2
                if j < stalk:
                    w, one = block[e, i, j], a[j]
                    for f in range(into.size):
                        into[f] += w * one[f]


@jit
def _dots(
    first: int, last: int, ptr: Array, col: Array, x: Array, grad: Array, full: bool, out: Array
) -> None:
    stalk = x.shape[1]
    for r in range(first, last):
        g = grad[r]
        for e in range(ptr[r], ptr[r + 1]):
            a = x[col[e]]
            for i in range(stalk):
                for j in range(stalk if full else 1):
                    left, right = g[i], a[j if full else i]
                    total = x.dtype.type(0)
                    for f in range(left.size):
                        total += left[f] * right[f]
                    out[e, i, j] = total


def _stalks(x: Tensor, stalk: int) -> Tensor:
    return x.detach().contiguous().view(len(x), stalk, x.shape[1] // stalk)


def transport(ptr: Tensor, col: Tensor, block: Tensor, x: Tensor) -> Tensor:
    """See `graphlearn.ops.transport`."""
    out = torch.empty(ptr.numel() - 1, x.shape[1], dtype=x.dtype)
    block = block.detach().contiguous()
    kernel = _diagonal if block.ndim == 2 else _full
    rows = (_stalks(value, block.shape[1]) for value in (x, out))
    work = (block.numel() // block.shape[1] + ptr.numel()) * x.shape[1]
    arrays = (tensor.numpy() for tensor in (ptr, col, block, *rows))
    share(kernel, ptr.numel() - 1, work, *arrays)
    return out


def transport_dot(
    ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor, stalk: int, full: bool
) -> Tensor:
    """The gradient of `transport` in its blocks."""
    out = torch.empty(col.numel(), stalk, stalk if full else 1, dtype=x.dtype)
    arrays = [tensor.numpy() for tensor in (ptr, col, _stalks(x, stalk), _stalks(grad, stalk))]
    work = col.numel() * x.shape[1] * (stalk if full else 1)
    share(_dots, ptr.numel() - 1, work, *arrays, full, out.numpy())
    return out if full else out.squeeze(2)

"""CPU kernels of message passing with a small matrix on every edge."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share
from graphlearn.ops.cpu.lanes import LANES, add, dot, gather

__all__ = ["transport", "transport_dot"]


@jit
def _gather(
    first: int, last: int, ptr: Array, col: Array, block: Array, x: Array, out: Array, width: int
) -> None:
    """One number for each entry: sums stay in registers."""
    for r in range(first, last):
        gather(out, r, x, width, col, block, ptr[r], ptr[r + 1])


@jit
def _wide(
    first: int, last: int, ptr: Array, col: Array, block: Array, x: Array, out: Array, width: int,
    full: bool,
) -> None:  # fmt: skip
    """`x` and `out` are flat; a row of a stalk has `width` channels, a multiple of `LANES`."""
    stalk = block.shape[1]
    for r in range(first, last):
        out[r * stalk * width : (r + 1) * stalk * width] = 0
        for e in range(ptr[r], ptr[r + 1]):
            start = np.intp(col[e]) * stalk
            for i in range(stalk):
                if full:
                    for j in range(stalk):
                        add(out, r * stalk + i, block[e, i, j], x, start + j, width)
                else:
                    add(out, r * stalk + i, block[e, i, 0], x, start + i, width)


@jit
def _narrow(
    first: int, last: int, ptr: Array, col: Array, block: Array, x: Array, out: Array, width: int,
    full: bool,
) -> None:  # fmt: skip
    """The same for any width."""
    stalk = block.shape[1]
    for r in range(first, last):
        out[r * stalk * width : (r + 1) * stalk * width] = 0
        for e in range(ptr[r], ptr[r + 1]):
            start = np.intp(col[e]) * stalk
            for i in range(stalk):
                for j in range(stalk if full else 1):
                    w = block[e, i, j]
                    into, source = (r * stalk + i) * width, (start + (j if full else i)) * width
                    for f in range(width):
                        out[into + f] += w * x[source + f]


@jit
def _dots(
    first: int, last: int, ptr: Array, col: Array, x: Array, grad: Array, out: Array, width: int,
    full: bool, lanes: bool,
) -> None:  # fmt: skip
    stalk = out.shape[1]
    for r in range(first, last):
        for e in range(ptr[r], ptr[r + 1]):
            start = np.intp(col[e]) * stalk
            for i in range(stalk):
                for j in range(stalk if full else 1):
                    left, right = r * stalk + i, start + (j if full else i)
                    if lanes:
                        out[e, i, j] = dot(grad, left, x, right, width)
                    else:
                        total = out.dtype.type(0)
                        for f in range(width):
                            total += grad[left * width + f] * x[right * width + f]
                        out[e, i, j] = total


def transport(ptr: Tensor, col: Tensor, block: Tensor, x: Tensor) -> Tensor:
    """See `graphlearn.ops.transport`."""
    out = torch.empty(ptr.numel() - 1, x.shape[1], dtype=x.dtype)
    block, full, stalk = block.detach().contiguous(), block.ndim == 3, block.shape[1]
    width = x.shape[1] // stalk
    flat = (x.detach().contiguous().view(-1).numpy(), out.view(-1).numpy(), width)
    work = (block.numel() // stalk + ptr.numel()) * x.shape[1]
    rows = ptr.numel() - 1
    lanes = width > 0 and width % LANES == 0
    if lanes and stalk == 1:
        share(_gather, rows, work, ptr.numpy(), col.numpy(), block.view(-1).numpy(), *flat)
        return out
    kernel = _wide if lanes else _narrow
    cube = block if full else block.unsqueeze(2)
    share(kernel, rows, work, ptr.numpy(), col.numpy(), cube.numpy(), *flat, full)
    return out


def transport_dot(
    ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor, stalk: int, full: bool
) -> Tensor:
    """The gradient of `transport` in its blocks."""
    out = torch.empty(col.numel(), stalk, stalk if full else 1, dtype=x.dtype)
    width = x.shape[1] // stalk
    flat = (value.detach().contiguous().view(-1).numpy() for value in (x, grad))
    work = col.numel() * x.shape[1] * (stalk if full else 1)
    lanes = width > 0 and width % LANES == 0
    arrays = (ptr.numpy(), col.numpy(), *flat, out.numpy())
    share(_dots, ptr.numel() - 1, work, *arrays, width, full, lanes)
    return out if full else out.squeeze(2)

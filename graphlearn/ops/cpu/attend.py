"""CPU kernels of attention, see `graphlearn.ops.attend`."""

import math

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["attend", "attend_grad", "attention", "attention_grad"]


@jit
def _attention(
    first: int, last: int, ptr: Array, col: Array, left: Array, right: Array, knobs: Array,
    alpha: Array,
) -> None:  # fmt: skip
    for r in range(first, last):
        for h in range(left.shape[1]):
            own, most = left[r, h], -np.inf
            for e in range(ptr[r], ptr[r + 1]):
                score = own + right[col[e], h]
                score = knobs[0] * (score if score > 0 else knobs[1] * score)
                alpha[e, h] = score
                most = max(most, score)
            total = left.dtype.type(0)
            for e in range(ptr[r], ptr[r + 1]):
                alpha[e, h] = math.exp(alpha[e, h] - most)
                total += alpha[e, h]
            for e in range(ptr[r], ptr[r + 1]):
                alpha[e, h] /= total


@jit
def _entries(
    first: int, last: int, ptr: Array, col: Array, left: Array, right: Array, knobs: Array,
    alpha: Array, grad: Array, entry: Array, row: Array, part: Array,
) -> None:  # fmt: skip
    """Gradient of the sum at each entry, its total over each row, and each row's part of knobs."""
    for r in range(first, last):
        part[r, 0] = part[r, 1] = 0
        for h in range(left.shape[1]):
            drawn = left.dtype.type(0)
            for e in range(ptr[r], ptr[r + 1]):
                drawn += alpha[e, h] * grad[e, h]
            total = left.dtype.type(0)
            for e in range(ptr[r], ptr[r + 1]):
                inner = alpha[e, h] * (grad[e, h] - drawn)
                score = left[r, h] + right[col[e], h]
                if score > 0:
                    entry[e, h] = inner * knobs[0]
                    part[r, 0] += inner * score
                else:
                    entry[e, h] = inner * knobs[0] * knobs[1]
                    part[r, 0] += inner * knobs[1] * score
                    part[r, 1] += inner * knobs[0] * score
                total += entry[e, h]
            row[r, h] = total


@jit
def _columns(first: int, last: int, col: Array, entry: Array, out: Array) -> None:
    """Heads `first` to `last`: threads divide heads, never a sum."""
    for e in range(col.size):
        for h in range(first, last):
            out[col[e], h] += entry[e, h]


@jit
def _attend(
    first: int, last: int, ptr: Array, col: Array, alpha: Array, value: Array, out: Array
) -> None:
    heads = alpha.shape[1]
    width = value.shape[1] // heads
    for r in range(first, last):
        row = out[r]
        row[:] = 0
        for e in range(ptr[r], ptr[r + 1]):
            vector = value[col[e]]
            for h in range(heads):
                w = alpha[e, h]
                if w != 0:
                    for f in range(h * width, (h + 1) * width):
                        row[f] += w * vector[f]


def _weights(
    first: int, last: int, ptr: Array, col: Array, value: Array, grad: Array, out: Array
) -> None:
    heads = out.shape[1]
    width = value.shape[1] // heads
    for r in range(first, last):
        back = grad[r]
        for e in range(ptr[r], ptr[r + 1]):
            vector = value[col[e]]
            for h in range(heads):
                total = value.dtype.type(0)
                for f in range(h * width, (h + 1) * width):
                    total += back[f] * vector[f]
                out[e, h] = total


@jit
def _vectors(
    first: int, last: int, ptr: Array, col: Array, alpha: Array, grad: Array, out: Array
) -> None:
    """Channels `first` to `last` of all columns: threads divide channels, never a sum."""
    width = grad.shape[1] // alpha.shape[1]
    for r in range(ptr.size - 1):
        back = grad[r]
        for e in range(ptr[r], ptr[r + 1]):
            row = out[col[e]]
            for h in range(first // width, (last - 1) // width + 1):
                w = alpha[e, h]
                if w != 0:
                    for f in range(max(first, h * width), min(last, (h + 1) * width)):
                        row[f] += w * back[f]


_weights_fast = jit(_weights, fast=True)


def attention(ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor) -> Tensor:
    """See `graphlearn.ops.attend.attention`."""
    out = torch.empty(col.numel(), left.shape[1], dtype=left.dtype)
    work = 16 * out.numel()
    arrays = (ptr.numpy(), col.numpy(), _array(left), _array(right), _array(knobs), out.numpy())
    share(_attention, ptr.numel() - 1, work, *arrays)
    return out


def attention_grad(
    ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor, alpha: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of what rows and columns bring, and of scale and slope."""
    entry, row, column = torch.empty_like(alpha), torch.empty_like(left), torch.zeros_like(right)
    part = torch.empty(ptr.numel() - 1, 2, dtype=torch.float64)
    arrays = (_array(one) for one in (left, right, knobs, alpha, grad))
    out = (entry.numpy(), row.numpy(), part.numpy())
    share(_entries, ptr.numel() - 1, 8 * alpha.numel(), ptr.numpy(), col.numpy(), *arrays, *out)
    share(_columns, alpha.shape[1], 4 * alpha.numel(), col.numpy(), entry.numpy(), column.numpy())
    return row, column, torch.from_numpy(part.numpy().sum(0)).to(knobs.dtype)


def attend(ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor) -> Tensor:
    """See `graphlearn.ops.attend.attend`."""
    out = torch.empty(ptr.numel() - 1, value.shape[1], dtype=value.dtype)
    work = col.numel() * value.shape[1]
    arrays = (ptr.numpy(), col.numpy(), _array(alpha), _array(value), out.numpy())
    share(_attend, ptr.numel() - 1, work, *arrays)
    return out


def attend_grad(
    ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the weights and of the vectors."""
    weights, vectors = torch.empty_like(alpha), torch.zeros_like(value)
    work = col.numel() * value.shape[1]
    index = (ptr.numpy(), col.numpy())
    arrays = (_array(value), _array(grad), weights.numpy())
    share(_weights_fast, ptr.numel() - 1, work, *index, *arrays)
    arrays = (_array(alpha), _array(grad), vectors.numpy())
    share(_vectors, value.shape[1], work, *index, *arrays)
    return weights, vectors


def _array(tensor: Tensor) -> Array:
    found: Array = tensor.detach().contiguous().numpy()
    return found

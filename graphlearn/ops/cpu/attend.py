"""CPU kernels of attention, see `graphlearn.ops.attend`."""

import math

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share
from graphlearn.ops.cpu.lanes import LANES, add, dot

__all__ = ["attend", "attend_grad", "attention", "attention_grad"]

_PART = 32  # channels of a head that one thread may take


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


@jit
def _attend_lanes(
    first: int, last: int, ptr: Array, col: Array, alpha: Array, value: Array, out: Array,
    width: int,
) -> None:  # fmt: skip
    """Flat arrays, in which the channels of a head are a row of their own."""
    heads = alpha.shape[1]
    out[first * heads * width : last * heads * width] = 0
    for r in range(first, last):
        for e in range(ptr[r], ptr[r + 1]):
            for h in range(heads):
                add(out, r * heads + h, alpha[e, h], value, np.intp(col[e]) * heads + h, width)


@jit
def _weights_lanes(
    first: int, last: int, ptr: Array, col: Array, value: Array, grad: Array, out: Array,
    width: int,
) -> None:  # fmt: skip
    heads = out.shape[1]
    for r in range(first, last):
        for e in range(ptr[r], ptr[r + 1]):
            for h in range(heads):
                out[e, h] = dot(value, np.intp(col[e]) * heads + h, grad, r * heads + h, width)


@jit
def _vectors_lanes(
    first: int, last: int, ptr: Array, col: Array, alpha: Array, grad: Array, out: Array,
    width: int, parts: int,
) -> None:  # fmt: skip
    """Parts `first` to `last` of all columns, each `width` channels of a head."""
    heads = alpha.shape[1]
    every = heads * parts
    for r in range(ptr.size - 1):
        for e in range(ptr[r], ptr[r + 1]):
            for p in range(first, last):
                weight = alpha[e, p // parts]
                add(out, np.intp(col[e]) * every + p, weight, grad, r * every + p, width)


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
    rows, work, width = ptr.numel() - 1, col.numel() * value.shape[1], _width(alpha, value)
    index = (ptr.numpy(), col.numpy(), _array(alpha))
    if width % LANES == 0:
        share(_attend_lanes, rows, work, *index, _flat(value), _flat(out), width)
    else:
        share(_attend, rows, work, *index, _array(value), out.numpy())
    return out


def attend_grad(
    ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the weights and of the vectors."""
    weights = torch.empty(alpha.shape, dtype=alpha.dtype)
    vectors = torch.zeros(value.shape, dtype=value.dtype)
    rows, work, width = ptr.numel() - 1, col.numel() * value.shape[1], _width(alpha, value)
    index = (ptr.numpy(), col.numpy())
    if width % LANES == 0:
        flat = (_flat(value), _flat(grad), weights.numpy(), width)
        share(_weights_lanes, rows, work, *index, *flat)
        parts = width // _PART if width % _PART == 0 else 1
        spread = (_array(alpha), _flat(grad), _flat(vectors), width // parts, parts)
        share(_vectors_lanes, alpha.shape[1] * parts, work, *index, *spread)
    else:
        arrays = (_array(value), _array(grad), weights.numpy())
        share(_weights_fast, rows, work, *index, *arrays)
        arrays = (_array(alpha), _array(grad), vectors.numpy())
        share(_vectors, value.shape[1], work, *index, *arrays)
    return weights, vectors


def _width(alpha: Tensor, value: Tensor) -> int:
    """Channels of a head."""
    return value.shape[1] // alpha.shape[1]


def _flat(tensor: Tensor) -> Array:
    return _array(tensor).reshape(-1)


def _array(tensor: Tensor) -> Array:
    found: Array = tensor.detach().contiguous().numpy()
    return found

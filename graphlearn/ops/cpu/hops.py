"""CPU kernels of gated propagation: a hop, its gates and their share of the sum in one pass.

A row holds the channels, then the score, then zeros up to a multiple of `LANES`.
"""

from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share
from graphlearn.ops.cpu.lanes import LANES, add, dot, gather
from graphlearn.ops.cpu.refresh import tanh_of
from graphlearn.ops.cpu.spmm import propagate_dot

__all__ = ["gated_hops", "gated_hops_grad"]

_ROWS = 256  # of a chunk; threads divide chunks, so that these do not depend on them
_GATE = 8  # steps of a gate, as many as of a few entries


@partial(jit, fast=True)
def _fill(first: int, last: int, x: Array, score: Array, width: int, h: Array) -> None:
    """Put the values and the score of each row where the kernels want them."""
    chan = x.shape[1]
    for i in range(first, last):
        start, source = i * width, x[i]
        total = x.dtype.type(0)
        for c in range(chan):
            h[start + c] = source[c]
            total += source[c] * score[c]
        h[start + chan] = total
        for c in range(chan + 1, width):
            h[start + c] = 0


@partial(jit, fast=True)
def _hop(
    first: int, last: int, ptr: Array, col: Array, weight: Array, before: Array, width: int,
    after: Array,
) -> None:  # fmt: skip
    for i in range(first, last):
        gather(after, i, before, width, col, weight, ptr[i], ptr[i + 1])


@partial(jit, fast=True)
def _gated_hop(
    first: int, last: int, ptr: Array, col: Array, weight: Array, before: Array, width: int,
    after: Array, start: bool, chan: int, bias: float, single: bool, gate: Array, out: Array,
) -> None:  # fmt: skip
    """Chunks of a hop, of their gates and of the sum; at the start there is nothing before."""
    for chunk in range(first, last):
        low, high = chunk * _ROWS, min((chunk + 1) * _ROWS, gate.size)
        for i in range(low, high):
            if not start:
                gather(after, i, before, width, col, weight, ptr[i], ptr[i + 1])
            gate[i] = after[i * width + chan] + bias
        if single:
            tanh_of(high - low, gate[low:high], True)
        else:
            for i in range(low, high):
                gate[i] = 1 / (1 + np.exp(-gate[i]))
        for i in range(low, high):
            add(out, i, gate[i], after, i, width)


@partial(jit, fast=True)
def _back(
    first: int, last: int, ptr: Array, col: Array, weight: Array, after: Array, width: int,
    before: Array, start: bool, chan: int, grad: Array, h: Array, gate: Array, sums: Array,
) -> None:  # fmt: skip
    """What flows into a hop, from the one after it and from its own gates."""
    one = gate.dtype.type(1)
    for i in range(first, last):
        if start:
            before[i * width : (i + 1) * width] = 0
        else:
            gather(before, i, after, width, col, weight, ptr[i], ptr[i + 1])
        r = gate[i]
        a = dot(grad, i, h, i, width) * r * (one - r)
        add(before, i, r, grad, i, width)
        before[i * width + chan] += a
        sums[i] += a


@jit
def _finish(
    first: int, last: int, z: Array, score: Array, g: Array, width: int, sums: Array,
    grad: Array, parts: Array,
) -> None:  # fmt: skip
    """Gradients of z, and those of score and bias by chunk."""
    chan = z.shape[1]
    for chunk in range(first, last):
        part = parts[chunk]
        for i in range(chunk * _ROWS, min((chunk + 1) * _ROWS, z.shape[0])):
            row, target, source = g[i * width : (i + 1) * width], grad[i], z[i]
            alpha = row[chan]
            for c in range(chan):
                target[c] = row[c] + alpha * score[c]
                part[c] += alpha * source[c]
            part[chan] += sums[i]


@jit
def _transpose(
    ptr: Array, col: Array, weight: Array, start: Array, row: Array, value: Array
) -> None:
    """Entries by column; `start` comes with zeros, of one more than there are columns."""
    for e in range(col.size):
        start[col[e] + 1] += 1
    for c in range(start.size - 1):
        start[c + 1] += start[c]
    for r in range(ptr.size - 1):
        for e in range(ptr[r], ptr[r + 1]):
            place = start[col[e]]
            row[place], value[place] = r, weight[e]
            start[col[e]] = place + 1
    for c in range(start.size - 1, 0, -1):  # each has moved on to the next one
        start[c] = start[c - 1]
    start[0] = 0


def gated_hops(
    ptr: Tensor, col: Tensor, weight: Tensor | None, z: Tensor, score: Tensor, bias: Tensor,
    hops: int, step: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """See `graphlearn.ops.gated_hops`; also returns every `step`-th hop, and all gates."""
    (size, chan), dtype = z.shape, z.dtype
    width = _width(chan)
    matrix = _matrix(ptr, col, weight, dtype)
    levels = torch.empty(hops // step + 1 if step else 0, size * width, dtype=dtype)
    spare = torch.empty(2 if step != 1 else 0, size * width, dtype=dtype).numpy()
    gates = torch.empty(hops + 1 if step else 1, size, dtype=dtype)
    out = torch.zeros(size, width, dtype=dtype)
    held, gate, sums = levels.numpy(), gates.numpy(), out.view(-1).numpy()
    rest = (chan, sums.dtype.type(bias.item()), dtype == torch.float32)
    work, before = (_GATE * size + col.numel()) * width, sums
    for hop in range(hops + 1):
        after = held[hop // step] if step and hop % step == 0 else spare[hop % 2]
        if hop == 0:
            _fill_rows(z, score, width, after)
        arrays = (*matrix, before, width, after, hop == 0, *rest, gate[hop if step else 0], sums)
        share(_gated_hop, -(-size // _ROWS), work, *arrays)
        before = after
    return out[:, :chan].contiguous(), levels, gates


def gated_hops_grad(
    grad: Tensor, ptr: Tensor, col: Tensor, weight: Tensor | None, symmetric: bool, z: Tensor,
    score: Tensor, levels: Tensor, gates: Tensor, step: int, weighted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Gradients of z, score, bias, and of the weights where they are asked for."""
    (size, chan), dtype, hops = z.shape, z.dtype, len(gates) - 1
    width, chunks = _width(chan), -(-size // _ROWS)
    matrix = _matrix(ptr, col, weight, dtype)
    back = matrix if symmetric else _transposed(*matrix, size)
    held, gate = levels.numpy(), gates.numpy()
    flow, again, given = (np.empty((count, size * width), held.dtype) for count in (2, step - 1, 1))
    given, sums = given[0], np.zeros(size, held.dtype)
    _fill_rows(grad, torch.zeros_like(score), width, given)
    work = (_GATE * size + col.numel()) * width
    on_weight = torch.zeros(col.numel(), dtype=dtype) if weighted else None
    for hop in range(hops, -1, -1):
        anchor, more = divmod(hop, step)
        if more and (hop == hops or more == step - 1):  # the last one of a stretch
            for one, other in pairwise([held[anchor], *again[:more]]):
                share(_hop, size, work, *matrix, one, width, other)
        h = again[more - 1] if more else held[anchor]
        after, before = flow[(hop + 1) % 2], flow[hop % 2]
        if on_weight is not None and hop < hops:
            rows = (torch.from_numpy(part).view(size, width) for part in (h, after))
            on_weight += propagate_dot(ptr, col, *rows)
        arrays = (*back, after, width, before, hop == hops, chan, given, h, gate[hop], sums)
        share(_back, size, work, *arrays)
    on_z, parts = torch.empty(size, chan, dtype=dtype), np.zeros((chunks, chan + 1))
    plain = [part.detach().contiguous().numpy() for part in (z, score)]
    share(_finish, chunks, size * width, *plain, flow[0], width, sums, on_z.numpy(), parts)
    found = torch.from_numpy(parts.sum(0)).to(dtype)
    return on_z, found[:chan], found[chan], on_weight


def _width(chan: int) -> int:
    return -(-(chan + 1) // LANES) * LANES


def _matrix(
    ptr: Tensor, col: Tensor, weight: Tensor | None, dtype: torch.dtype
) -> tuple[Array, Array, Array]:
    value = torch.ones(col.numel(), dtype=dtype) if weight is None else weight.detach()
    return ptr.numpy(), col.numpy().view(np.uint32), value.contiguous().numpy()


def _fill_rows(x: Tensor, score: Tensor, width: int, h: Array) -> None:
    arrays = [part.detach().contiguous().numpy() for part in (x, score)]
    share(_fill, len(x), h.size, *arrays, width, h)


def _transposed(ptr: Array, col: Array, weight: Array, size: int) -> tuple[Array, Array, Array]:
    start, row, value = np.zeros(size + 1, ptr.dtype), np.empty_like(col), np.empty_like(weight)
    _transpose(ptr, col, weight, start, row, value)
    return start, row, value

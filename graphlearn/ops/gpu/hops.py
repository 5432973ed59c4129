"""GPU kernels of gated propagation: one program a row, its channels and its score together."""

from itertools import pairwise

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import group, jit, launch
from graphlearn.ops.gpu.spmm import propagate_dot

__all__ = ["gated_hops", "gated_hops_grad"]

_TILE = 2048  # numbers that a program loads at a time


@jit
def _gather_row(
    r: tl.tensor, ptr: tl.tensor, col: tl.tensor, weight: tl.tensor, x: tl.tensor,
    channels: tl.tensor, BLOCK: tl.constexpr, WIDE: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    channel = tl.arange(0, WIDE)
    inside = channel < channels
    end = tl.load(ptr + r + 1)
    total = tl.zeros([WIDE], x.dtype.element_ty)
    for at in range(tl.load(ptr + r), end, BLOCK):
        entry = at + tl.arange(0, BLOCK)
        kept = entry < end
        node = tl.load(col + entry, mask=kept, other=0).to(tl.int64)
        place = node[:, None] * channels + channel[None, :]
        rows = tl.load(x + place, mask=kept[:, None] & inside[None, :], other=0)
        if weight is not None:
            rows = rows * tl.load(weight + entry, mask=kept, other=0)[:, None]
        total += tl.sum(rows, axis=0)
    return total


@jit
def _hop(
    ptr: tl.tensor, col: tl.tensor, weight: tl.tensor, before: tl.tensor, after: tl.tensor,
    bias: tl.tensor, gate: tl.tensor, out: tl.tensor, channels: tl.tensor, START: tl.constexpr,
    GATED: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
) -> None:  # fmt: skip
    r = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, WIDE)
    inside = channel < channels
    place = r * channels + channel
    if START:
        row = tl.load(after + place, mask=inside, other=0)
    else:
        row = _gather_row(r, ptr, col, weight, before, channels, BLOCK, WIDE)
        tl.store(after + place, row, mask=inside)
    if GATED:
        t = tl.sum(tl.where(channel == channels - 1, row, 0.0), axis=0) + tl.load(bias)
        g = 1 / (1 + tl.exp(-t))
        tl.store(gate + r, g)
        tl.store(out + place, tl.load(out + place, mask=inside, other=0) + g * row, mask=inside)


@jit
def _back(
    ptr: tl.tensor, col: tl.tensor, weight: tl.tensor, after: tl.tensor, before: tl.tensor,
    grad: tl.tensor, h: tl.tensor, gate: tl.tensor, sums: tl.tensor, channels: tl.tensor,
    START: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
) -> None:  # fmt: skip
    r = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, WIDE)
    inside = channel < channels
    place = r * channels + channel
    row = tl.load(grad + place, mask=inside, other=0)
    g = tl.load(gate + r)
    a = tl.sum(row * tl.load(h + place, mask=inside, other=0), axis=0) * g * (1 - g)
    flow = g * row + tl.where(channel == channels - 1, a, 0.0)
    if not START:
        flow += _gather_row(r, ptr, col, weight, after, channels, BLOCK, WIDE)
    tl.store(before + place, flow, mask=inside)
    tl.store(sums + r, tl.load(sums + r) + a)


def gated_hops(
    ptr: Tensor, col: Tensor, weight: Tensor | None, z: Tensor, score: Tensor, bias: Tensor,
    hops: int, step: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """See `graphlearn.ops.gated_hops`; also returns every `step`-th hop, and all gates."""
    start = torch.cat([z, (z @ score).unsqueeze(1)], 1)
    levels = start.new_empty(hops // step + 1 if step else 0, *start.shape)
    spare = start.new_empty(2 if step != 1 else 0, *start.shape)
    gates = start.new_empty(hops + 1 if step else 1, len(z))
    out, before = torch.zeros_like(start), start
    for hop in range(hops + 1):
        kept = step > 0 and hop % step == 0
        after = levels[hop // step] if kept else spare[hop % 2]
        if hop == 0:
            after.copy_(start)
        gate = gates[hop if step else 0]
        _launch(_hop, (ptr, col, weight, before, after, bias, gate, out), START=not hop, GATED=True)
        before = after
    return out[:, :-1].contiguous(), levels, gates


def gated_hops_grad(
    grad: Tensor, ptr: Tensor, col: Tensor, weight: Tensor | None, symmetric: bool, z: Tensor,
    score: Tensor, levels: Tensor, gates: Tensor, step: int, weighted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Gradients of z, score, bias, and of the weights where they are asked for."""
    hops, size = len(gates) - 1, len(z)
    matrix = (ptr, col, weight)
    back = matrix if symmetric else _transposed(*matrix, size)
    given = torch.cat([grad, grad.new_zeros(size, 1)], 1)
    flow, again = given.new_empty(2, *given.shape), given.new_empty(max(step - 1, 0), *given.shape)
    sums = given.new_zeros(size)
    on_weight = given.new_zeros(col.numel()) if weighted else None
    for hop in range(hops, -1, -1):
        anchor, more = divmod(hop, step)
        if more and (hop == hops or more == step - 1):  # the last one of a stretch
            path = [levels[anchor], *again[:more]]
            for one, other in pairwise(path):
                arrays = (*matrix, one, other, None, None, None)
                _launch(_hop, arrays, START=False, GATED=False)
        h = again[more - 1] if more else levels[anchor]
        after, before = flow[(hop + 1) % 2], flow[hop % 2]
        if on_weight is not None and hop < hops:
            on_weight += propagate_dot(ptr, col, h, after)
        _launch(_back, (*back, after, before, given, h, gates[hop], sums), START=hop == hops)
    alpha = flow[0, :, -1]
    on_z = torch.addr(flow[0, :, :-1], alpha, score)
    return on_z, z.t() @ alpha, sums.sum(), on_weight


def _launch(kernel: object, arrays: tuple[Tensor | None, ...], **constants: bool) -> None:
    """Start a program for each row; the fourth array says how many and how wide they are."""
    rows = arrays[3]
    assert rows is not None
    size, channels = rows.shape
    wide = triton.next_power_of_2(channels)
    tile = max(1, min(16, _TILE // wide))
    launch(kernel, (size,), *arrays, channels, BLOCK=tile, WIDE=wide, num_warps=1, **constants)


def _transposed(
    ptr: Tensor, col: Tensor, weight: Tensor | None, size: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    start, order = group(col, size)
    ids = torch.arange(size, device=col.device, dtype=col.dtype)
    row = torch.repeat_interleave(ids, ptr.diff(), output_size=col.numel())
    return start, row[order], None if weight is None else weight[order]

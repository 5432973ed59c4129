"""GPU kernels that refresh the slots of an N-cache, forward and backward.

A program has a few lanes, each a slot of one of the nodes. Going backwards, what the slots hold is
computed again; every program leaves sums of its lanes in a row of its own, and those rows are added
in order: no atomics, and nothing that two programs share.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import blocks, jit, launch

__all__ = ["refresh", "refresh_grad"]

_TILE = 4096  # products that a program holds at a time
_CHAN = 16  # channels of a vector that it loads at a time
_SPAN = 512  # lanes that one row of partial sums of an outer product stands for


@jit
def _lanes(
    lane: tl.tensor, total: tl.tensor, nodes: tl.tensor, now: tl.tensor, key: tl.tensor,
    eid: tl.tensor, ts: tl.tensor, slots: tl.tensor, ABSOLUTE: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Place in the tables, key, number and time of each lane, and whether it is occupied."""
    inside = lane < total
    column = lane % (slots + 1)
    node = tl.load(nodes + lane // (slots + 1), mask=inside, other=0)
    place = node * (slots + 1) + column
    number = tl.load(eid + place, mask=inside, other=-1).to(tl.int64)
    near = inside & (column > 0)
    other = tl.load(key + node * slots + column - 1, mask=near, other=-1).to(tl.int64)
    w = tl.where(column == 0, node, other)
    held = inside & (tl.where(column == 0, number, other) >= 0)
    tau = tl.load(ts + place, mask=held, other=0.0)
    if not ABSOLUTE:
        tau = tl.where(held, tl.load(now) - tau, 0.0)
    return place, w, number, tau, held


@jit
def _waves(
    tau: tl.tensor,
    omega: tl.tensor,
    phi: tl.tensor,
    first: tl.tensor,
    times: tl.tensor,
    CHAN: tl.constexpr,
) -> tl.tensor:
    """Arguments of the cosines, in 64 bits, from frequency `first` on."""
    j = first + tl.arange(0, CHAN)
    frequency = tl.load(omega + j, mask=j < times, other=0.0).to(tl.float64)
    shift = tl.load(phi + j, mask=j < times, other=0.0).to(tl.float64)
    return tau[:, None] * frequency[None, :] + shift[None, :]


@jit
def _weight(
    inner: tl.tensor,
    first: tl.tensor,
    size: tl.tensor,
    columns: tl.tensor,
    c: tl.tensor,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
) -> tl.tensor:
    """Columns `first + c` of the projection, where c < size."""
    f = tl.arange(0, WIDE)
    mask = (f < WIDTH)[:, None] & (c < size)[None, :]
    return tl.load(inner + f[:, None] * columns + first + c[None, :], mask=mask, other=0.0)


@jit
def _product(x: tl.tensor, weight: tl.tensor) -> tl.tensor:
    return tl.sum(x[:, None, :] * weight[None, :, :], axis=2)


@jit
def _project(
    w: tl.tensor, number: tl.tensor, tau: tl.tensor, held: tl.tensor, wide: tl.tensor,
    edge: tl.tensor, inner: tl.tensor, omega: tl.tensor, phi: tl.tensor, own: tl.tensor,
    more: tl.tensor, times: tl.tensor, WIDTH: tl.constexpr, WIDE: tl.constexpr, LANES: tl.constexpr,
    CHAN: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Products of the projection with the three parts of its argument."""
    columns = own + more + times
    p = tl.zeros([LANES, WIDE], tl.float32)
    for first in range(0, own, CHAN):
        c = first + tl.arange(0, CHAN)
        mask = held[:, None] & (c < own)[None, :]
        x = tl.load(wide + w[:, None] * own + c[None, :], mask=mask, other=0.0)
        p += _product(x, _weight(inner, 0, own, columns, c, WIDTH, WIDE))
    for first in range(0, more, CHAN):
        c = first + tl.arange(0, CHAN)
        mask = held[:, None] & (c < more)[None, :]
        x = tl.load(edge + number[:, None] * more + c[None, :], mask=mask, other=0.0)
        p += _product(x, _weight(inner, own, more, columns, c, WIDTH, WIDE))
    for first in range(0, times, CHAN):
        c = first + tl.arange(0, CHAN)
        x = tl.cos(_waves(tau, omega, phi, first, times, CHAN)).to(tl.float32)
        p += _product(x, _weight(inner, own + more, times, columns, c, WIDTH, WIDE))
    return p


@jit
def _square(
    weight: tl.tensor, gate: tl.constexpr, WIDTH: tl.constexpr, WIDE: tl.constexpr
) -> tl.tensor:
    """Weights (F, F) of one gate."""
    f = tl.arange(0, WIDE)
    mask = (f < WIDTH)[:, None] & (f < WIDTH)[None, :]
    return tl.load(weight + (gate * WIDTH + f[:, None]) * WIDTH + f[None, :], mask=mask, other=0.0)


@jit
def _linear(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    gate: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
) -> tl.tensor:
    f = tl.arange(0, WIDE)
    shift = tl.load(bias + gate * WIDTH + f, mask=f < WIDTH, other=0.0)
    return _product(x, _square(weight, gate, WIDTH, WIDE)) + shift[None, :]


@jit
def _gates(
    p: tl.tensor, z: tl.tensor, w_in: tl.tensor, w_hid: tl.tensor, b_in: tl.tensor,
    b_hid: tl.tensor, WIDTH: tl.constexpr, WIDE: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Reset, update, new and the hidden part of new."""
    reset = tl.sigmoid(
        _linear(p, w_in, b_in, 0, WIDTH, WIDE) + _linear(z, w_hid, b_hid, 0, WIDTH, WIDE)
    )
    update = tl.sigmoid(
        _linear(p, w_in, b_in, 1, WIDTH, WIDE) + _linear(z, w_hid, b_hid, 1, WIDTH, WIDE)
    )
    hidden = _linear(z, w_hid, b_hid, 2, WIDTH, WIDE)
    # The hyperbolic tangent is a logistic function of twice the argument.
    new = 2 * tl.sigmoid(2 * (_linear(p, w_in, b_in, 2, WIDTH, WIDE) + reset * hidden)) - 1
    return reset, update, new, hidden


@jit
def _forward(
    nodes: tl.tensor, now: tl.tensor, key: tl.tensor, eid: tl.tensor, ts: tl.tensor, rep: tl.tensor,
    wide: tl.tensor, edge: tl.tensor, inner: tl.tensor, w_in: tl.tensor, w_hid: tl.tensor,
    b_in: tl.tensor, b_hid: tl.tensor, omega: tl.tensor, phi: tl.tensor, out: tl.tensor,
    total: tl.tensor, slots: tl.tensor, own: tl.tensor, more: tl.tensor, times: tl.tensor,
    ABSOLUTE: tl.constexpr, WIDTH: tl.constexpr, WIDE: tl.constexpr, LANES: tl.constexpr,
    CHAN: tl.constexpr,
) -> None:  # fmt: skip
    lane = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    place, w, number, tau, held = _lanes(lane, total, nodes, now, key, eid, ts, slots, ABSOLUTE)
    p = _project(
        w, number, tau, held, wide, edge, inner, omega, phi, own, more, times, WIDTH, WIDE,
        LANES, CHAN,
    )  # fmt: skip
    f = tl.arange(0, WIDE)
    some = held[:, None] & (f < WIDTH)[None, :]
    z = tl.load(rep + place[:, None] * WIDTH + f[None, :], mask=some, other=0.0).to(tl.float32)
    _, update, new, _ = _gates(p, z, w_in, w_hid, b_in, b_hid, WIDTH, WIDE)
    value = tl.where(some, new + update * (z - new), 0.0)
    mask = (lane < total)[:, None] & (f < WIDTH)[None, :]
    tl.store(out + lane[:, None] * WIDTH + f[None, :], value, mask=mask)


@jit
def _keep(
    sums: tl.tensor, gate: tl.constexpr, left: tl.tensor, right: tl.tensor, p: tl.tensor,
    z: tl.tensor, WIDTH: tl.constexpr, WIDE: tl.constexpr,
) -> None:  # fmt: skip
    """Gradients of the weights and biases of one gate, from those of its two arguments."""
    f = tl.arange(0, WIDE)
    mask = (f < WIDTH)[:, None] & (f < WIDTH)[None, :]
    to = sums + (gate * WIDTH + f[:, None]) * WIDTH + f[None, :]
    tl.store(to, tl.sum(left[:, :, None] * p[:, None, :], axis=0), mask=mask)
    to += 3 * WIDTH * WIDTH
    tl.store(to, tl.sum(right[:, :, None] * z[:, None, :], axis=0), mask=mask)
    at = sums + 6 * WIDTH * WIDTH + gate * WIDTH + f
    tl.store(at, tl.sum(left, axis=0), mask=f < WIDTH)
    tl.store(at + 3 * WIDTH, tl.sum(right, axis=0), mask=f < WIDTH)


@jit
def _backward(
    nodes: tl.tensor, now: tl.tensor, key: tl.tensor, eid: tl.tensor, ts: tl.tensor, rep: tl.tensor,
    wide: tl.tensor, edge: tl.tensor, inner: tl.tensor, w_in: tl.tensor, w_hid: tl.tensor,
    b_in: tl.tensor, b_hid: tl.tensor, omega: tl.tensor, phi: tl.tensor, grad: tl.tensor,
    dp: tl.tensor, sums: tl.tensor, steep: tl.tensor, total: tl.tensor, slots: tl.tensor,
    own: tl.tensor, more: tl.tensor, times: tl.tensor, TIMED: tl.constexpr,
    ABSOLUTE: tl.constexpr, WIDTH: tl.constexpr, WIDE: tl.constexpr, LANES: tl.constexpr,
    CHAN: tl.constexpr,
) -> None:  # fmt: skip
    """Gradients of the projected vectors (`dp`), and sums of those of all but the projection."""
    lane = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    place, w, number, tau, held = _lanes(lane, total, nodes, now, key, eid, ts, slots, ABSOLUTE)
    p = _project(
        w, number, tau, held, wide, edge, inner, omega, phi, own, more, times, WIDTH, WIDE,
        LANES, CHAN,
    )  # fmt: skip
    f = tl.arange(0, WIDE)
    some = held[:, None] & (f < WIDTH)[None, :]
    z = tl.load(rep + place[:, None] * WIDTH + f[None, :], mask=some, other=0.0).to(tl.float32)
    reset, update, new, hidden = _gates(p, z, w_in, w_hid, b_in, b_hid, WIDTH, WIDE)
    g = tl.load(grad + lane[:, None] * WIDTH + f[None, :], mask=some, other=0.0)
    d_new = g * (1 - update) * (1 - new * new)
    d_reset = d_new * hidden * reset * (1 - reset)
    d_update = g * (z - new) * update * (1 - update)
    sums += tl.program_id(0).to(tl.int64) * (6 * WIDTH * WIDTH + 6 * WIDTH)
    _keep(sums, 0, d_reset, d_reset, p, z, WIDTH, WIDE)
    _keep(sums, 1, d_update, d_update, p, z, WIDTH, WIDE)
    _keep(sums, 2, d_new, d_new * reset, p, z, WIDTH, WIDE)
    back = _product(d_reset, tl.trans(_square(w_in, 0, WIDTH, WIDE)))
    back += _product(d_update, tl.trans(_square(w_in, 1, WIDTH, WIDE)))
    back += _product(d_new, tl.trans(_square(w_in, 2, WIDTH, WIDE)))
    mask = (lane < total)[:, None] & (f < WIDTH)[None, :]
    tl.store(dp + lane[:, None] * WIDTH + f[None, :], back, mask=mask)
    steep += tl.program_id(0).to(tl.int64) * 2 * times
    end = times if TIMED else 0
    for first in range(0, end, CHAN):
        c = first + tl.arange(0, CHAN)
        weight = _weight(inner, own + more, times, own + more + times, c, WIDTH, WIDE)
        slope = _product(back, tl.trans(weight)).to(tl.float64)
        slope = -slope * tl.sin(_waves(tau, omega, phi, first, times, CHAN))
        tl.store(steep + c, tl.sum(slope * tau[:, None], axis=0), mask=c < times)
        tl.store(steep + times + c, tl.sum(slope, axis=0), mask=c < times)


@jit
def _outer(
    nodes: tl.tensor, now: tl.tensor, key: tl.tensor, eid: tl.tensor, ts: tl.tensor,
    table: tl.tensor, phi: tl.tensor, dp: tl.tensor, sums: tl.tensor, total: tl.tensor,
    slots: tl.tensor, size: tl.tensor, PART: tl.constexpr, ABSOLUTE: tl.constexpr,
    WIDTH: tl.constexpr, WIDE: tl.constexpr, LANES: tl.constexpr, CHAN: tl.constexpr,
    SPAN: tl.constexpr,
) -> None:  # fmt: skip
    """Sums of `dp` times wide vectors, event features or waves, over SPAN lanes."""
    begin = tl.program_id(0).to(tl.int64) * SPAN
    c, f = tl.program_id(1) * CHAN + tl.arange(0, CHAN), tl.arange(0, WIDE)
    found = tl.zeros([WIDE, CHAN], tl.float32)
    for first in range(begin, tl.minimum(begin + SPAN, total), LANES):
        lane = first + tl.arange(0, LANES)
        _, w, number, tau, held = _lanes(lane, total, nodes, now, key, eid, ts, slots, ABSOLUTE)
        if PART == 2:
            x = tl.cos(_waves(tau, table, phi, tl.program_id(1) * CHAN, size, CHAN))
            x = x.to(tl.float32)
        else:
            line = number if PART == 1 else w
            mask = held[:, None] & (c < size)[None, :]
            x = tl.load(table + line[:, None] * size + c[None, :], mask=mask, other=0.0)
        some = held[:, None] & (f < WIDTH)[None, :]
        g = tl.load(dp + lane[:, None] * WIDTH + f[None, :], mask=some, other=0.0)
        found += tl.sum(g[:, :, None] * x[:, None, :], axis=0)
    to = sums + tl.program_id(0).to(tl.int64) * WIDTH * size + f[:, None] * size + c[None, :]
    tl.store(to, found, mask=(f < WIDTH)[:, None] & (c < size)[None, :])


def _sizes(width: int, absolute: bool) -> dict[str, int]:
    """What the kernels are compiled for; a power of two of lanes, so that tiles stay small."""
    wide, _ = blocks(width, width * 2)
    lanes = max(1, min(64, _TILE // (wide * max(wide, _CHAN))))
    return {"ABSOLUTE": absolute, "WIDTH": width, "WIDE": wide, "LANES": lanes, "CHAN": _CHAN}


def refresh(
    nodes: Tensor, now: Tensor, key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, wide: Tensor,
    edge: Tensor, inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor, b_hid: Tensor,
    omega: Tensor, phi: Tensor, absolute: bool,
) -> Tensor:  # fmt: skip
    """See `graphlearn.ops.refresh`."""
    given = (nodes, now, key, eid, ts, rep, wide, edge)
    weights = (inner, w_in, w_hid, b_in, b_hid, omega, phi)
    arrays = [x.contiguous() for x in (*given, *weights)]
    sizes, total = _sizes(rep.shape[2], absolute), len(nodes) * rep.shape[1]
    out = rep.new_empty(len(nodes), *rep.shape[1:], dtype=torch.float32)
    counts = (total, key.shape[1], wide.shape[1], edge.shape[1], omega.numel())
    launch(_forward, (triton.cdiv(total, sizes["LANES"]),), *arrays, out, *counts, **sizes)
    return out


def refresh_grad(
    grad: Tensor, nodes: Tensor, now: Tensor, key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor,
    wide: Tensor, edge: Tensor, inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor,
    b_hid: Tensor, omega: Tensor, phi: Tensor, absolute: bool, timed: bool = True,
) -> list[Tensor]:  # fmt: skip
    """Gradients of the weights, from sums over fixed groups of slots; zeros where not `timed`."""
    given = (nodes, now, key, eid, ts, rep, wide, edge)
    square = (w_in, w_hid, b_in, b_hid)
    arrays = [x.contiguous() for x in (*given, inner, *square, omega, phi)]
    sizes, total = _sizes(rep.shape[2], absolute), len(nodes) * rep.shape[1]
    programs, spans = triton.cdiv(total, sizes["LANES"]), triton.cdiv(total, _SPAN)
    small, times = [w.numel() for w in square], omega.numel()
    dp, sums = inner.new_empty(total, rep.shape[2]), inner.new_empty(programs, sum(small))
    steep = inner.new_zeros(programs, 2, times, dtype=torch.float64)
    counts = (total, key.shape[1], wide.shape[1], edge.shape[1], times)
    buffers = (grad.contiguous(), dp, sums, steep)
    launch(_backward, (programs,), *arrays, *buffers, *counts, TIMED=timed, **sizes)

    parts = []
    for part, (table, size) in enumerate(zip((*arrays[6:8], arrays[-2]), counts[2:], strict=True)):
        block, grid = inner.new_empty(spans, rep.shape[2], size), (spans, triton.cdiv(size, _CHAN))
        tables = (*arrays[:5], table, arrays[-1], dp, block)
        rest = {"PART": part, "SPAN": _SPAN, **sizes}
        launch(_outer, grid, *tables, total, key.shape[1], size, **rest)
        parts.append(block.sum(0))
    pieces = sums.sum(0).split_with_sizes(small)
    found = [part.view_as(w) for part, w in zip(pieces, square, strict=True)]
    return [torch.cat(parts, 1), *found, *(x.to(omega.dtype) for x in steep.sum(0))]

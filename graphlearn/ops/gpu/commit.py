"""GPU kernels that write a batch into an N-cache: claim slots by rank, then let winners write."""

from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import blocks as blocks_of
from graphlearn.ops.gpu.jit import jit, launch
from graphlearn.ops.hashing import key_of, lowbias32

__all__ = ["commit", "lowbias", "salt_of", "slot"]

_BLOCK = 128  # candidates of a program


@jit
def lowbias(x: tl.tensor) -> tl.tensor:
    """The mixer of `graphlearn.ops.hashing`, for words in uint32."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@jit
def slot(
    node: tl.tensor, salt: tl.tensor, SIZE: tl.constexpr, QUADRATIC: tl.constexpr
) -> tl.tensor:
    """Where nodes in int64 go in a row; for `salt` see `salt_of`."""
    if QUADRATIC:
        n = node + 1
        place = (n * salt + n * n * (salt + 1)) % SIZE
        place = tl.where(place < 0, place + SIZE, place)  # products wrap; a remainder has a sign
    else:
        h = lowbias((node + 1).to(tl.uint32) ^ salt.to(tl.uint32, bitcast=True))
        place = (h.to(tl.int64) * SIZE) >> 32
    return place


@jit
def _candidate(
    key: tl.tensor,
    src: tl.tensor,
    dst: tl.tensor,
    src_at: tl.tensor,
    dst_at: tl.tensor,
    salt: tl.tensor,
    size: tl.tensor,
    HOP: tl.constexpr,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    QUADRATIC: tl.constexpr,
    BLOCKS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> tl.tensor:
    """Rank, event, column of the source, ids and rows of both ends, the key, and its column."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    rank, j = p, p * 0
    if HOP == 2:
        rank, j = p // NEAR, p % NEAR
    inside = rank < 2 * size
    if BLOCKS:
        i, second = rank % size, rank >= size
    else:
        i, second = rank // 2, rank % 2 == 1
    u, v = tl.load(src + i, mask=inside, other=0), tl.load(dst + i, mask=inside, other=0)
    a, b = tl.load(src_at + i, mask=inside, other=0), tl.load(dst_at + i, mask=inside, other=0)
    owner, other = tl.where(second, v, u), tl.where(second, u, v)
    owner_at, other_at = tl.where(second, b, a), tl.where(second, a, b)
    wanted = tl.where(inside, other, -1)
    column = wanted * 0
    if HOP == 1:
        column = 1 + slot(wanted, salt, NEAR, QUADRATIC)
    if HOP == 2:
        held = tl.load(key + other * (NEAR + FAR) + j, mask=inside, other=-1)
        wanted = held.to(tl.int64)
        column = 1 + NEAR + slot(wanted, salt, FAR, QUADRATIC)
    return p, i, j, owner, other, owner_at, other_at, wanted, column


@partial(jit, do_not_specialize=["salt", "word", "below"])
def _claim(
    key: tl.tensor,
    src: tl.tensor,
    dst: tl.tensor,
    src_at: tl.tensor,
    dst_at: tl.tensor,
    best: tl.tensor,
    batch_no: tl.tensor,
    rand: tl.tensor,
    salt: tl.tensor,
    word: tl.tensor,
    below: tl.tensor,
    size: tl.tensor,
    HOP: tl.constexpr,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    QUADRATIC: tl.constexpr,
    BLOCKS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The largest rank among the accepted candidates of each slot."""
    p, _, _, owner, _, at, _, wanted, column = _candidate(
        key, src, dst, src_at, dst_at, salt, size, HOP, NEAR, FAR, QUADRATIC, BLOCKS, BLOCK
    )  # fmt: skip
    taken = wanted >= 0
    if HOP > 0:
        occupant = tl.load(key + owner * (NEAR + FAR) + column - 1, mask=taken, other=-1)
        free = (occupant == -1) | (occupant == wanted)
        if rand is not None:
            draw = tl.load(rand + p, mask=taken, other=0).to(tl.float64)
            lucky = draw * 4294967296.0 < below.to(tl.float64)
        else:
            batch = tl.load(batch_no).to(tl.uint32)
            stream = lowbias(lowbias(batch ^ word.to(tl.uint32, bitcast=True)) ^ HOP)
            lucky = lowbias(p.to(tl.uint32) ^ stream).to(tl.int64) < below
        taken = taken & (free | lucky)
    tl.atomic_max(best + at * (1 + NEAR + FAR) + column, p, mask=taken)


@partial(jit, do_not_specialize=["salt"])
def _write(
    key: tl.tensor,
    src: tl.tensor,
    dst: tl.tensor,
    src_at: tl.tensor,
    dst_at: tl.tensor,
    best: tl.tensor,
    eid: tl.tensor,
    ts: tl.tensor,
    rep: tl.tensor,
    opp: tl.tensor,
    wide: tl.tensor,
    t: tl.tensor,
    event: tl.tensor,
    fresh: tl.tensor,
    own: tl.tensor,
    salt: tl.tensor,
    size: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    HOP: tl.constexpr,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    QUADRATIC: tl.constexpr,
    BLOCKS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    """What the winner of each slot leaves there; no program reads what another one writes."""
    p, i, j, owner, other, at, other_at, wanted, column = _candidate(
        key, src, dst, src_at, dst_at, salt, size, HOP, NEAR, FAR, QUADRATIC, BLOCKS, BLOCK
    )  # fmt: skip
    row: tl.constexpr = 1 + NEAR + FAR
    win = wanted >= 0
    win = win & (tl.load(best + at * row + column, mask=win, other=-1) == p)
    to, source, kept = owner * row + column, at * row + column, win
    if HOP == 2:
        number = tl.load(eid + other * row + 1 + j, mask=win, other=0)
        time = tl.load(ts + other * row + 1 + j, mask=win, other=0)
        source = other_at * row + 1 + j
    else:
        number, time = tl.load(event + i, mask=win, other=0), tl.load(t + i, mask=win, other=0)
    if HOP > 0:
        place = key + owner * (NEAR + FAR) + column - 1
        if HOP == 1:
            kept = win & (tl.load(place, mask=win, other=-1) == wanted)
        tl.store(place, wanted, mask=win)
    else:
        tl.store(opp + owner, other, mask=win)
        for first in range(0, channels, WIDE):
            c = first + tl.arange(0, WIDE)
            mask = win[:, None] & (c < channels)[None, :]
            value = tl.load(own + at[:, None] * channels + c[None, :], mask=mask, other=0)
            tl.store(wide + owner[:, None] * channels + c[None, :], value, mask=mask)
    tl.store(eid + to, number, mask=win)
    tl.store(ts + to, time, mask=win)
    for first in range(0, width, WIDE):
        c = first + tl.arange(0, WIDE)
        inside = (c < width)[None, :]
        value = tl.load(fresh + source[:, None] * width + c[None, :], kept[:, None] & inside, 0)
        tl.store(rep + to[:, None] * width + c[None, :], value, mask=win[:, None] & inside)


def salt_of(seed: int, hop: int, quadratic: bool) -> int:
    """What `slot` takes from the seed, as a signed word so that every seed has the same type."""
    return seed % 100 if quadratic else _signed(key_of(seed, hop))


def _signed(word: int) -> int:
    return word - (word >> 31 << 32)


def commit(
    key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, opp: Tensor, wide: Tensor, batch_no: Tensor,
    src: Tensor, dst: Tensor, t: Tensor, event: Tensor, src_at: Tensor, dst_at: Tensor,
    fresh: Tensor, own: Tensor, slots: list[int], quadratic: bool, seed: int, below: int,
    blocks: bool, rand1: Tensor | None, rand2: Tensor | None,
) -> None:  # fmt: skip
    """See `graphlearn.ops.commit`; every hop is claimed before any is written."""
    near, far = [*slots, 0, 0][:2]
    size, width, channels = len(src), rep.shape[2], wide.shape[1]
    best = torch.full((len(fresh), 1 + near + far), -1, dtype=torch.int32, device=key.device)
    ends = (key, *(x.contiguous() for x in (src, dst, src_at, dst_at)), best)
    values = (t.contiguous(), event.contiguous(), fresh.contiguous(), own.contiguous())
    shared = {
        "NEAR": near, "FAR": far, "QUADRATIC": quadratic, "BLOCKS": blocks, "BLOCK": _BLOCK
    }  # fmt: skip
    word, rands = _signed(lowbias32(seed)), (None, rand1, rand2)
    hops = range(len(slots), -1, -1)  # a hop is read by those above it, which hence come first
    grids = [(triton.cdiv(2 * size * (near if hop == 2 else 1), _BLOCK),) for hop in (0, 1, 2)]
    salts = [salt_of(seed, hop, quadratic) for hop in (0, 1, 2)]
    for hop in hops:
        given = (batch_no, rands[hop], salts[hop], word, below, size)
        launch(_claim, grids[hop], *ends, *given, HOP=hop, **shared)
    for hop in hops:
        lanes = max(blocks_of(width, 16)[0], blocks_of(channels, 16)[0] if hop == 0 else 1)
        state = (eid, ts, rep, opp, wide, *values, salts[hop], size, width, channels)
        launch(_write, grids[hop], *ends, *state, HOP=hop, WIDE=lanes, **shared)
    batch_no += 1

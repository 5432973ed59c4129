"""CPU kernel that writes a batch into an N-cache."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit
from graphlearn.ops.hashing import key_of, lowbias32

__all__ = ["commit", "lowbias", "slot"]

_EMPTY = torch.empty(0, dtype=torch.float32)


@jit
def lowbias(x: np.uint32) -> np.uint32:
    """The mixer of `graphlearn.ops.hashing`."""
    x = np.uint32(np.uint32(x ^ np.uint32(x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(np.uint32(x ^ np.uint32(x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ np.uint32(x >> np.uint32(16)))


@jit
def slot(node: int, size: int, salt: np.uint32, quadratic: int) -> np.int64:
    """Where a node goes in a row; `quadratic` is the seed modulo 100, or -1."""
    if quadratic >= 0:
        n = np.int64(node) + 1
        return (n * quadratic + n * n * (quadratic + 1)) % size
    h = lowbias(np.uint32(np.uint32(node + 1) ^ salt))
    return np.int64((np.uint64(h) * np.uint64(size)) >> np.uint64(32))


@jit
def _lucky(position: int, stream: np.uint32, below: int, rand: Array) -> np.bool_:
    if rand.size:
        return np.float64(rand[position]) < below / 4294967296.0
    return np.int64(lowbias(np.uint32(np.uint32(position) ^ stream))) < below


@jit
def _far(
    key: Array, eid: Array, ts: Array, rep: Array, ends: Array, at: Array, fresh: Array,
    near: int, size: int, salt: np.uint32, quadratic: int, stream: np.uint32, below: int,
    blocks: bool, rand: Array,
) -> None:  # fmt: skip
    """Hop 2: what the other end has in hop 1. The last writer comes first, later ones are late."""
    count, width = ends.shape[1], rep.shape[2]
    written = np.zeros((fresh.shape[0], size), np.uint8)
    for r in range(2 * count - 1, -1, -1):
        i, d = (r % count, r // count) if blocks else (r // 2, r % 2)
        owner, other, local, source = ends[d, i], ends[1 - d, i], at[d, i], at[1 - d, i]
        for j in range(near - 1, -1, -1):
            wanted = key[other, j]
            if wanted < 0:
                continue
            place = slot(wanted, size, salt, quadratic)
            if written[local, place]:
                continue
            occupant = key[owner, near + place]
            if occupant >= 0 and occupant != wanted:
                if not _lucky(r * near + j, stream, below, rand):
                    continue
            written[local, place] = 1
            key[owner, near + place] = wanted
            eid[owner, 1 + near + place] = eid[other, 1 + j]
            ts[owner, 1 + near + place] = ts[other, 1 + j]
            for f in range(width):
                rep[owner, 1 + near + place, f] = fresh[source, 1 + j, f]


@jit
def _near(
    key: Array, eid: Array, ts: Array, rep: Array, ends: Array, t: Array, event: Array, at: Array,
    fresh: Array, size: int, salt: np.uint32, quadratic: int, stream: np.uint32, below: int,
    blocks: bool, rand: Array,
) -> None:  # fmt: skip
    """Hop 1: the other end."""
    count, width = ends.shape[1], rep.shape[2]
    written = np.zeros((fresh.shape[0], size), np.uint8)
    for r in range(2 * count - 1, -1, -1):
        i, d = (r % count, r // count) if blocks else (r // 2, r % 2)
        owner, wanted, local = ends[d, i], ends[1 - d, i], at[d, i]
        place = slot(wanted, size, salt, quadratic)
        if written[local, place]:
            continue
        occupant = key[owner, place]
        if occupant >= 0 and occupant != wanted:
            if not _lucky(r, stream, below, rand):
                continue
        written[local, place] = 1
        key[owner, place] = wanted
        eid[owner, 1 + place] = event[i]
        ts[owner, 1 + place] = t[i]
        for f in range(width):
            rep[owner, 1 + place, f] = fresh[local, 1 + place, f] if occupant == wanted else 0.0


@jit
def _self(
    eid: Array, ts: Array, rep: Array, opp: Array, wide: Array, ends: Array, t: Array,
    event: Array, at: Array, fresh: Array, own: Array, blocks: bool,
) -> None:  # fmt: skip
    """Hop 0 and the wide representation: the latest event of each node."""
    count = ends.shape[1]
    written = np.zeros(fresh.shape[0], np.uint8)
    for r in range(2 * count - 1, -1, -1):
        i, d = (r % count, r // count) if blocks else (r // 2, r % 2)
        owner, local = ends[d, i], at[d, i]
        if written[local]:
            continue
        written[local] = 1
        eid[owner, 0] = event[i]
        ts[owner, 0] = t[i]
        opp[owner] = ends[1 - d, i]
        for f in range(rep.shape[2]):
            rep[owner, 0, f] = fresh[local, 0, f]
        for c in range(wide.shape[1]):
            wide[owner, c] = own[local, c]


@jit
def _all(
    key: Array, eid: Array, ts: Array, rep: Array, opp: Array, wide: Array, batch_no: Array,
    src: Array, dst: Array, t: Array, event: Array, src_at: Array, dst_at: Array, fresh: Array,
    own: Array, near: int, far: int, quadratic: int, seeds: Array, below: int, blocks: bool,
    rand1: Array, rand2: Array,
) -> None:  # fmt: skip
    """Hop 2, hop 1 and hop 0 in one call, since a batch is small."""
    count = src.size
    ends, at = np.empty((2, count), np.int64), np.empty((2, count), np.int64)
    ends[0], ends[1], at[0], at[1] = src, dst, src_at, dst_at
    stream = lowbias(np.uint32(np.uint32(seeds[0]) ^ np.uint32(batch_no[0] & 0xFFFFFFFF)))
    if far:
        draws = lowbias(np.uint32(stream ^ np.uint32(2)))
        _far(
            key, eid, ts, rep, ends, at, fresh, near, far, np.uint32(seeds[2]), quadratic, draws,
            below, blocks, rand2,
        )  # fmt: skip
    if near:
        draws = lowbias(np.uint32(stream ^ np.uint32(1)))
        _near(
            key, eid, ts, rep, ends, t, event, at, fresh, near, np.uint32(seeds[1]), quadratic,
            draws, below, blocks, rand1,
        )  # fmt: skip
    _self(eid, ts, rep, opp, wide, ends, t, event, at, fresh, own, blocks)
    batch_no[0] += 1


@cache
def _seeds(seed: int) -> Array:
    """What a seed becomes before it meets the number of the batch, and the salts of hop 1 and 2."""
    return np.array([lowbias32(seed), key_of(seed, 1), key_of(seed, 2)], np.int64)


def commit(
    key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, opp: Tensor, wide: Tensor, batch_no: Tensor,
    src: Tensor, dst: Tensor, t: Tensor, event: Tensor, src_at: Tensor, dst_at: Tensor,
    fresh: Tensor, own: Tensor, slots: list[int], quadratic: bool, seed: int, below: int,
    blocks: bool, rand1: Tensor | None, rand2: Tensor | None,
) -> None:  # fmt: skip
    """See `graphlearn.ops.commit`; events in descending rank, so that the first writer stays."""
    near, far = [*slots, 0, 0][:2]
    state = [part.numpy() for part in (key, eid, ts, rep, opp, wide, batch_no.view(1))]
    batch = [part.numpy() for part in (src, dst, t.to(ts.dtype), event, src_at, dst_at)]
    values = [part.detach().numpy() for part in (fresh, own)]
    given = [(_EMPTY if rand is None else rand).numpy() for rand in (rand1, rand2)]
    modulus = seed % 100 if quadratic else -1
    _all(*state, *batch, *values, near, far, modulus, _seeds(seed), below, blocks, *given)

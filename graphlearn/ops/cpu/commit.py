"""CPU kernel that writes a batch into an N-cache."""

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


def commit(
    key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, opp: Tensor, wide: Tensor, batch_no: Tensor,
    src: Tensor, dst: Tensor, t: Tensor, event: Tensor, src_at: Tensor, dst_at: Tensor,
    fresh: Tensor, own: Tensor, slots: list[int], quadratic: bool, seed: int, below: int,
    blocks: bool, rand1: Tensor | None, rand2: Tensor | None,
) -> None:  # fmt: skip
    """See `graphlearn.ops.commit`; events in descending rank, so that the first writer stays."""
    arrays = [part.numpy() for part in (key, eid, ts, rep)]
    ends, at = torch.stack([src, dst]).numpy(), torch.stack([src_at, dst_at]).numpy()
    times, numbers = t.to(ts.dtype).numpy(), event.numpy()
    values, owned = fresh.detach().numpy(), own.detach().numpy()
    modulus = seed % 100 if quadratic else -1
    stream = lowbias32(lowbias32(seed) ^ (int(batch_no) & 0xFFFFFFFF))

    def hop(k: int, rand: Tensor | None) -> tuple[object, ...]:
        salt, draws = np.uint32(key_of(seed, k)), np.uint32(lowbias32(stream ^ k))
        given = (_EMPTY if rand is None else rand).numpy()
        return slots[k - 1], salt, modulus, draws, below, blocks, given

    if len(slots) == 2:
        _far(*arrays, ends, at, values, slots[0], *hop(2, rand2))
    if slots:
        _near(*arrays, ends, times, numbers, at, values, *hop(1, rand1))
    _self(*arrays[1:], opp.numpy(), wide.numpy(), ends, times, numbers, at, values, owned, blocks)
    batch_no += 1

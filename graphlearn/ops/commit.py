"""Writing a batch of events into the rows of an N-cache: in place, and without an order.

Where several candidates of a batch want the same slot, the one with the largest rank wins, which
is a maximum over integers; acceptance is decided by a hash of the rank. Hence every backend, and
any number of threads, writes the same bits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from graphlearn.ops.backend import kernels
from graphlearn.ops.hashing import Hash, mixed, slots_of

__all__ = ["Tables", "commit", "commit_reference"]


class Tables(NamedTuple):
    """The rows of an N-cache: hop 0 has one slot, the other hops follow side by side.

    Shapes: `key` (N, M), `eid` and `ts` (N, 1 + M), `rep` (N, 1 + M, F), `opp` (N,), `wide` (N, D),
    `batch_no` (); M is the number of slots of all hops from 1 on.
    """

    key: Tensor
    eid: Tensor
    ts: Tensor
    rep: Tensor
    opp: Tensor
    wide: Tensor
    batch_no: Tensor


def commit(
    tables: Tables,
    events: Sequence[Tensor],
    at: Sequence[Tensor],
    fresh: Tensor,
    own: Tensor,
    *,
    slots: Sequence[int],
    hash: Hash,
    seed: int,
    below: int,
    blocks: bool = False,
    rand: Sequence[Tensor] = (),
) -> None:
    """Write the events of a batch, from values that were read before it.

    Args:
        tables: The cache; changed in place.
        events: Source, destination, time and number of each event, (B,) each.
        at: Row of `fresh` of each source and of each destination, (B,) each. Equal nodes have equal
            rows.
        fresh: Refreshed representations of the slots, (n, 1 + M, F).
        own: Refreshed wide representations, (n, D).
        slots: Slots of hop 1 and hop 2, or of fewer hops.
        hash: Function that places keys.
        seed: Seed of the cache.
        below: A candidate replaces another key if its random word is smaller, see `accept_below`.
        blocks: Rank all sources before all destinations, instead of event by event.
        rand: Numbers that stand in for the random words, one tensor for each hop from 1 on, by rank
            (with ranks of empty slots included); smaller than alpha is accepted.
    """
    fast = kernels(tables.key.device)
    src, dst, t, event = events
    src_at, dst_at = at
    given = [*rand, None, None]
    # No operator of torch's dispatcher: nothing here is differentiated or traced, and a call with
    # so many tensors that change would cost several times the kernel.
    (fast.commit if fast else commit_reference)(
        *tables, src, dst, t, event, src_at, dst_at, fresh, own, list(slots), hash == "quadratic",
        seed, below, blocks, given[0], given[1],
    )  # fmt: skip
    # Kernels write behind the back of autograd, which must refuse a later way back through a read.
    torch.autograd.graph.increment_version(tables[:6])


class _Rows(NamedTuple):
    """The two directions of every event, by rank."""

    owner: Tensor
    other: Tensor
    owner_at: Tensor
    other_at: Tensor
    t: Tensor
    event: Tensor


class _Rules(NamedTuple):
    """Where keys go, and which of them are let in."""

    slots: list[int]
    hash: Hash
    seed: int
    below: int


def commit_reference(
    key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, opp: Tensor, wide: Tensor, batch_no: Tensor,
    src: Tensor, dst: Tensor, t: Tensor, event: Tensor, src_at: Tensor, dst_at: Tensor,
    fresh: Tensor, own: Tensor, slots: list[int], quadratic: bool, seed: int, below: int,
    blocks: bool, rand1: Tensor | None, rand2: Tensor | None,
) -> None:  # fmt: skip
    """The specification, vectorised: hop 2, hop 1, hop 0, each read before it is written."""

    def both(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second]) if blocks else torch.stack([first, second], 1).view(-1)

    rows = _Rows(
        both(src, dst), both(dst, src), both(src_at, dst_at), both(dst_at, src_at),
        both(t, t), both(event, event),
    )  # fmt: skip
    tables = Tables(key, eid, ts, rep, opp, wide, batch_no)
    rules = _Rules(slots, "quadratic" if quadratic else "mix", seed, below)
    if len(slots) == 2:
        _write_far(tables, rows, fresh, rules, rand2)
    if slots:
        _write_near(tables, rows, fresh, rules, rand1)
    _write_own(tables, rows, fresh, own)
    batch_no += 1


def _largest(flat: Tensor, rank: Tensor, size: int) -> Tensor:
    """Which candidates have the largest rank of their place; those of rank -1 take no part."""
    largest = torch.full((size,), -1, device=flat.device, dtype=torch.long)
    largest.scatter_reduce_(0, flat, rank, "amax")
    return (rank >= 0) & (largest[flat] == rank)


def _winners(
    tables: Tables, hop: int, owner: Tensor, at: Tensor, wanted: Tensor, count: int,
    rules: _Rules, rand: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Which candidates are written, by rank, and the slot of each."""
    slots, hash, seed, below = rules
    size, first = slots[hop - 1], sum(slots[: hop - 1])
    position = torch.arange(len(wanted), device=wanted.device)
    place = slots_of(wanted, size, hop=hop, seed=seed, hash=hash)
    occupant = tables.key[owner, first + place].long()
    free = (occupant == -1) | (occupant == wanted)
    if rand is None:
        lucky = mixed(position, tables.batch_no, hop=hop, seed=seed) < below
    else:
        lucky = rand[position].double() < below / 2**32
    taken = (wanted >= 0) & (free | lucky)
    return _largest(at * size + place, torch.where(taken, position, -1), count * size), place


def _write_far(
    tables: Tables, rows: _Rows, fresh: Tensor, rules: _Rules, rand: Tensor | None
) -> None:
    """Hop 2: what the other end has in hop 1."""
    key, eid, ts, rep = tables[:4]
    near = rules.slots[0]
    wanted = key[rows.other, :near].long().view(-1)
    owner, at, source, source_at = (
        part.repeat_interleave(near)
        for part in (rows.owner, rows.owner_at, rows.other, rows.other_at)
    )
    win, place = _winners(tables, 2, owner, at, wanted, len(fresh), rules, rand)
    column = 1 + torch.arange(len(wanted), device=key.device) % near
    owner, place, source, source_at, column = (
        part[win] for part in (owner, place, source, source_at, column)
    )
    key[owner, near + place] = wanted[win].to(key.dtype)
    eid[owner, 1 + near + place] = eid[source, column]
    ts[owner, 1 + near + place] = ts[source, column]
    rep[owner, 1 + near + place] = fresh[source_at, column].to(rep.dtype)


def _write_near(
    tables: Tables, rows: _Rows, fresh: Tensor, rules: _Rules, rand: Tensor | None
) -> None:
    """Hop 1: the other end, with what was known of it."""
    key, eid, ts, rep = tables[:4]
    win, place = _winners(tables, 1, rows.owner, rows.owner_at, rows.other, len(fresh), rules, rand)
    owner, place, other, at = (part[win] for part in (rows.owner, place, rows.other, rows.owner_at))
    known = key[owner, place] == other
    key[owner, place] = other.to(key.dtype)
    eid[owner, 1 + place] = rows.event[win].to(eid.dtype)
    ts[owner, 1 + place] = rows.t[win].to(ts.dtype)
    rep[owner, 1 + place] = torch.where(known[:, None], fresh[at, 1 + place], 0.0).to(rep.dtype)


def _write_own(tables: Tables, rows: _Rows, fresh: Tensor, own: Tensor) -> None:
    """Hop 0 and the wide representation: the latest event of each node."""
    rank = torch.arange(len(rows.owner), device=fresh.device)
    win = _largest(rows.owner_at, rank, len(fresh))
    owner, at = rows.owner[win], rows.owner_at[win]
    tables.eid[owner, 0] = rows.event[win].to(tables.eid.dtype)
    tables.ts[owner, 0] = rows.t[win].to(tables.ts.dtype)
    tables.rep[owner, 0] = fresh[at, 0].to(tables.rep.dtype)
    tables.opp[owner] = rows.other[win].to(tables.opp.dtype)
    tables.wide[owner] = own[at].to(tables.wide.dtype)

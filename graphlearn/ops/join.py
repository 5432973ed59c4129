r"""What the caches of two nodes share: codes of their keys, counted or listed.

Each key w of a cache of u or v has a presence code

.. math:: c(w) = \sum_k 2^k [w \in C_k(u)] + \sum_k 2^{3 + k} [w \in C_k(v)] \in 1..63,

where :math:`C_0(u) = \{u\}`. A key can lie in one slot only, so that each of the six tests is one
probe, and nothing is sorted: a key is counted where its lowest bit is found.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float64, Int, Int32
from torch import Tensor

from graphlearn.ops.backend import check_ids, kernels
from graphlearn.ops.hashing import Hash, slots_of

__all__ = ["join", "join_reference", "listing", "listing_reference"]

CODES = 64


def join(
    key: Int32[Tensor, "node slot"],
    ts: Float64[Tensor, "node wide"],
    pairs: Int[Tensor, "2 pair"],
    *,
    slots: Sequence[int],
    hash: Hash,
    seed: int,
) -> tuple[Int32[Tensor, "pair 64"], Float64[Tensor, " pair"]]:
    """How many keys have each code, and when the two nodes met last; -1 if that is not known.

    Args:
        key: Keys of the slots of hop 1, then of hop 2; -1 is empty.
        ts: Times of the slots, behind that of hop 0.
        pairs: Nodes u and v; their order matters.
        slots: Slots of each hop from 1 on.
        hash: Function that places keys.
        seed: Seed of the cache.
    """
    check_ids(key.shape[0], pairs)
    run = _join if torch.compiler.is_compiling() else _run  # the operator costs half a batch
    counts, met = run(key, ts, pairs, list(slots), hash == "quadratic", seed)
    return counts, met


def listing(
    key: Int32[Tensor, "node slot"],
    pairs: Int[Tensor, "2 pair"],
    *,
    slots: Sequence[int],
    hash: Hash,
    seed: int,
) -> tuple[Int[Tensor, " bound"], Int[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, "row six"]]:
    """The keys behind `join` one by one.

    Args:
        key: Keys of the slots of hop 1, then of hop 2; -1 is empty.
        pairs: Nodes u and v; their order matters.
        slots: Slots of each hop from 1 on.
        hash: Function that places keys.
        seed: Seed of the cache.

    Returns:
        First row of each pair (P + 1); the key of each row; its code; and the slot that holds it in
        hop 0, 1, 2 of u, then of v, counted within a row of 1 + M slots, or -1.
    """
    check_ids(key.shape[0], pairs)
    ptr, node, code, where = _listing(key, pairs, list(slots), hash == "quadratic", seed)
    return ptr, node, code, where


def _coded(
    key: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Key, slots (or -1), code and whether it counts, at each of the 2 (1 + M) places of a pair."""
    hash: Hash = "quadratic" if quadratic else "mix"
    held = torch.stack([torch.cat([end[:, None], key[end].long()], 1) for end in pairs], 1)
    w = held.flatten(1)  # (P, 2 (1 + M))
    found = []
    for end in pairs:
        found.append(torch.where(w == end[:, None], 0, -1))
        first = 0
        for hop, size in enumerate(slots, start=1):
            place = first + slots_of(w, size, hop=hop, seed=seed, hash=hash)
            hit = (key[end[:, None], place] == w) & (w >= 0)
            found.append(torch.where(hit, 1 + place, -1))
            first += size
        found += [torch.full_like(w, -1)] * (2 - len(slots))
    where = torch.stack(found, 2)
    power = torch.tensor([1, 2, 4, 8, 16, 32], device=key.device)
    code = ((where >= 0) * power).sum(2)
    hops = torch.cat([torch.full((n,), h) for h, n in enumerate((1, *slots))]).to(key.device)
    own = torch.cat([power[hops], power[3 + hops]])
    return w, where, code, (w >= 0) & ((code & -code) == own)


def join_reference(
    key: Tensor, ts: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor]:
    """The specification, in torch."""
    w, where, code, counted = _coded(key, pairs, slots, quadratic, seed)
    counts = torch.zeros(len(w), CODES, device=key.device, dtype=torch.int32)
    counts.scatter_add_(1, code, counted.int())
    met = torch.full((len(w),), -1.0, device=key.device, dtype=torch.float64)
    if slots:
        side = 1 + sum(slots)
        # The other node is a key of hop 0 on its own side, where its place in hop 1 was looked up.
        for this, other, column in ((0, 1, 1), (1, 0, 4)):
            place = where[:, other * side, column]
            time = ts[pairs[this], place.clamp(min=0)]
            met = torch.maximum(met, torch.where(place >= 0, time, -1.0))
    return counts, met


def listing_reference(
    key: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The specification, in torch."""
    w, where, code, counted = _coded(key, pairs, slots, quadratic, seed)
    ptr = torch.nn.functional.pad(counted.sum(1).cumsum(0), (1, 0))
    return ptr, w[counted], code[counted], where[counted]


@torch.library.custom_op("graphlearn::join", mutates_args=())
def _join(
    key: Tensor, ts: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor]:
    return _run(key, ts, pairs, slots, quadratic, seed)


def _run(key: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    fast = kernels(key.device)
    return (fast.join if fast else join_reference)(key, *rest)


@_join.register_fake
def _(
    key: Tensor, ts: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor]:
    count = pairs.shape[1]
    return key.new_empty(count, CODES, dtype=torch.int32), ts.new_empty(count)


@torch.library.custom_op("graphlearn::listing", mutates_args=())
def _listing(
    key: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    fast = kernels(key.device)
    found = (fast.listing if fast else listing_reference)(key, pairs, slots, quadratic, seed)
    ptr, node, code, where = found
    return ptr, node, code, where


@_listing.register_fake
def _(
    key: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = torch.library.get_ctx().new_dynamic_size()
    return (
        key.new_empty(pairs.shape[1] + 1, dtype=torch.long),
        key.new_empty(rows, dtype=torch.long),
        key.new_empty(rows, dtype=torch.long),
        key.new_empty(rows, 6, dtype=torch.long),
    )

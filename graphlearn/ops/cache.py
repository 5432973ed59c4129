"""The N-cache: for each node a few hashed slots of recent neighbours, as the state of a module."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64, Int, Int32
from torch import Tensor, nn

from graphlearn.ops.commit import Tables, commit
from graphlearn.ops.hashing import Hash, accept_below
from graphlearn.ops.join import join, listing

__all__ = ["NCache"]


class NCache(nn.Module):
    r"""Caches of the neighbours of each node up to two hops, of a size that no degree exceeds.

    A key w of hop k can only lie in the slot :math:`\mathrm{slot}_k(w)` of its owner's row, so that
    looking it up is one probe. An event (u, v, t) writes v into hop 1 of u, the hop-1 keys of v
    into hop 2 of u, and the same the other way round; a key that finds its slot taken by another
    one replaces it with probability `alpha`. All values that a batch writes are read before it,
    and of several candidates for a slot the latest wins: the result depends on nothing else.

    Rows hold, beside each key, the number and the time of its event and a short representation;
    each node has a wide one as well. Times are 64-bit floats: whole units are exact up to
    :math:`2^{53}`. Memory per node: :math:`\sum_k M_k (16 + 4 F)` bytes for the slots,
    :math:`12 + 4 F` for that of hop 0, whose event is also that of the wide representation,
    and :math:`4 + 4 D` for its partner and itself.

    Reference: Yuhong Luo, Pan Li, "Neighborhood-aware Scalable Temporal Network Representation
    Learning", LoG 2022. Differs from the published code: 32-bit ids and 64-bit times instead of
    32-bit floats, the hash (`quadratic` is theirs), random numbers from a counter, and a winner
    that is defined on every device.

    Args:
        num_nodes: Number of nodes N.
        slots: Slots of hop 1 and of hop 2; fewer entries for fewer hops.
        dim: Width F of the representation of a slot.
        wide_dim: Width D of the representation of a node.
        alpha: Probability that a key replaces another one.
        hash: Function that places keys.
        seed: Seed of the hash and of the replacements.
        blocks: Rank all sources of a batch before all its destinations, as the published code.

    Raises:
        ValueError: if a size or `alpha` lies outside its range.
    """

    key: Tensor
    eid: Tensor
    ts: Tensor
    rep: Tensor
    opp: Tensor
    wide: Tensor
    batch_no: Tensor

    def __init__(
        self,
        num_nodes: int,
        *,
        slots: Sequence[int] = (32, 16),
        dim: int = 4,
        wide_dim: int = 72,
        alpha: float = 0.9,
        hash: Hash = "mix",
        seed: int = 0,
        blocks: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= num_nodes <= 2**31 - 1:
            raise ValueError(f"num_nodes must lie in [1, 2^31), got {num_nodes}")
        if len(slots) > 2 or any(not 1 <= size <= 4096 for size in slots):
            raise ValueError(f"slots must be up to two numbers in [1, 4096], got {tuple(slots)}")
        for name, value in (("dim", dim), ("wide_dim", wide_dim)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.num_nodes, self.slots, self.alpha = num_nodes, tuple(slots), alpha
        self.hash: Hash = hash
        self.seed, self.blocks, self.below = seed, blocks, accept_below(alpha)
        total, number, time = sum(slots), torch.int32, torch.float64
        self.register_buffer("key", torch.empty(num_nodes, total, dtype=number))
        self.register_buffer("eid", torch.empty(num_nodes, 1 + total, dtype=number))
        self.register_buffer("ts", torch.empty(num_nodes, 1 + total, dtype=time))
        self.register_buffer("rep", torch.empty(num_nodes, 1 + total, dim))
        self.register_buffer("opp", torch.empty(num_nodes, dtype=number))
        self.register_buffer("wide", torch.empty(num_nodes, wide_dim))
        self.register_buffer("batch_no", torch.empty((), dtype=torch.int64))
        self.reset()

    @property
    def tables(self) -> Tables:
        """The state, as ops take it."""
        return Tables(self.key, self.eid, self.ts, self.rep, self.opp, self.wide, self.batch_no)

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return sum(table.numel() * table.element_size() for table in self.tables)

    def reset(self) -> None:
        """Forget everything."""
        for empty in (self.key, self.eid, self.opp):
            empty.fill_(-1)
        for zero in (self.ts, self.rep, self.wide, self.batch_no):
            zero.zero_()

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the state."""
        return {name: table.clone() for name, table in self.tables._asdict().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state again.

        Args:
            state: What `snapshot` returned.

        Raises:
            ValueError: if it is that of a cache of another shape.
        """
        for name, table in self.tables._asdict().items():
            self._check(name, table, state[name])
            table.copy_(state[name])

    def keys(self, hop: int) -> Int32[Tensor, "node slot"]:
        """The keys of a hop from 1 on; -1 is empty."""
        first = sum(self.slots[: hop - 1])
        return self.key[:, first : first + self.slots[hop - 1]]

    def events(self, hop: int) -> Int32[Tensor, "node slot"]:
        """The events of a hop from 1 on; -1 is empty."""
        first = 1 + sum(self.slots[: hop - 1])
        return self.eid[:, first : first + self.slots[hop - 1]]

    def occupancy(self) -> list[float]:
        """Share of the slots of each hop from 1 on that hold a key."""
        return [float((self.keys(hop + 1) >= 0).double().mean()) for hop in range(len(self.slots))]

    def join(
        self, pairs: Int[Tensor, "2 pair"]
    ) -> tuple[Int32[Tensor, "pair 64"], Float64[Tensor, " pair"]]:
        """Counts of presence codes and time of the last meeting, see `graphlearn.ops.join`."""
        return join(self.key, self.ts, pairs, slots=self.slots, hash=self.hash, seed=self.seed)

    def listing(self, pairs: Int[Tensor, "2 pair"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The keys behind `join` one by one, see `graphlearn.ops.join`."""
        return listing(self.key, pairs, slots=self.slots, hash=self.hash, seed=self.seed)

    @torch.no_grad()
    def commit(
        self,
        events: Sequence[Tensor],
        at: Sequence[Int[Tensor, " event"]],
        fresh: Float[Tensor, "row slot chan"],
        own: Float[Tensor, "row width"],
        *,
        rand: Sequence[Tensor] = (),
    ) -> None:
        """Write a batch of events, see `graphlearn.ops.commit`.

        Args:
            events: Source, destination, time and number of each event.
            at: Row of `fresh` of each source and of each destination.
            fresh: Refreshed representations of the slots.
            own: Refreshed wide representations.
            rand: One number in [0, 1) for each candidate of hop 1 and of hop 2, by rank, instead of
                the random words.
        """
        commit(
            self.tables, events, at, fresh, own,
            slots=self.slots, hash=self.hash, seed=self.seed, below=self.below, blocks=self.blocks,
            rand=self._by_rank(events, rand) if rand else (),
        )  # fmt: skip

    def _by_rank(self, events: Sequence[Tensor], rand: Sequence[Tensor]) -> list[Tensor]:
        """Numbers of the candidates that exist, spread over all ranks."""
        src, dst = events[0], events[1]
        other = torch.cat([dst, src]) if self.blocks else torch.stack([dst, src], 1).view(-1)
        spread = list(rand[:1])
        if len(rand) == 2:
            real = (self.keys(1)[other] >= 0).view(-1)
            padded = torch.nn.functional.pad(rand[1], (0, 1))  # there may be none
            spread.append(padded[(real.cumsum(0) - 1).clamp(min=0)])
        return spread

    def _check(self, name: str, own: Tensor, given: Tensor) -> None:
        if own.shape != given.shape:
            raise ValueError(
                f"the state is of another cache: {name} has shape {tuple(given.shape)}, expected "
                f"{tuple(own.shape)} for {self.num_nodes} nodes and slots {self.slots}"
            )

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        for name, table in self.tables._asdict().items():
            if prefix + name in state:
                self._check(name, table, state[prefix + name])
        super()._load_from_state_dict(state, prefix, *rest)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"{self.num_nodes}, slots={self.slots}, alpha={self.alpha}, hash={self.hash!r}"

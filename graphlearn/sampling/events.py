"""Events that did not happen: negatives for a stream, drawn without listing all pairs of nodes.

Every draw is a function of its seed: no generator has a state, threads and memory change nothing.
"""

from typing import Literal

import torch
from jaxtyping import Int, Num
from torch import Tensor

from graphlearn.ops.locate import expand_rows
from graphlearn.sampling.batches import fold
from graphlearn.sampling.draws import distinct, row_keys, skip

__all__ = ["OneVsMany", "PastPairs", "destinations", "random_destinations"]


def destinations(dst: Int[Tensor, " event"]) -> Int[Tensor, " node"]:
    """The nodes that are a destination at least once, in ascending order.

    Args:
        dst: Destination of each event.
    """
    found: Tensor = torch.unique(dst)
    return found


def random_destinations(
    pool: Int[Tensor, " node"], count: int, *, seed: int
) -> Int[Tensor, " event"]:
    """Nodes of a pool, uniform and with replacement; a draw may be a true destination.

    Args:
        pool: Nodes to draw from, see `destinations`.
        count: Number of draws.
        seed: Decides the result, alone.

    Raises:
        ValueError: if the pool is empty.
    """
    if not len(pool):
        raise ValueError("the pool of destinations is empty, there is nothing to draw from")
    generator = torch.Generator().manual_seed(seed)
    return pool[torch.randint(len(pool), (count,), generator=generator).to(pool.device)]


class PastPairs:
    r"""Pairs that met before, but not in this batch: historical and inductive negatives.

    For a batch whose first event is at time :math:`t_1`, the *historical* pairs are the distinct
    pairs that met first at :math:`t \le t_1` and are not in the batch; the *inductive* ones are
    those of them that never met in training. Memory grows with the events, not with the pairs of
    nodes.

    Reference: Poursafaei, Huang, Pelrine, Rabbany, "Towards Better Evaluation for Dynamic Link
    Prediction", NeurIPS 2022, as it is done in DyGLib (Yu, Sun, Du, Lv, NeurIPS 2023).

    Args:
        src: Source of each event.
        dst: Destination of each event.
        t: Time of each event, ascending.
        train: Which events are those of training.

    Raises:
        ValueError: if the events are not in order of time.
    """

    def __init__(
        self,
        src: Int[Tensor, " event"],
        dst: Int[Tensor, " event"],
        t: Num[Tensor, " event"],
        *,
        train: Int[Tensor, " part"],
    ) -> None:
        _check_order(t)
        self.src, self.dst, self.t = src, dst, t
        self.pair_of, first = _distinct_pairs(src, dst)
        self.pairs, self.since = torch.stack([src[first], dst[first]]), t[first]
        new = torch.ones(len(first), dtype=torch.bool, device=src.device)
        new[self.pair_of[train]] = False
        self.new = new.nonzero()[:, 0]

    def draw(
        self,
        events: Int[Tensor, " batch"],
        *,
        kind: Literal["historical", "inductive"],
        seed: int,
        sources: Int[Tensor, " node"],
        destinations: Int[Tensor, " place"],
    ) -> Int[Tensor, "2 batch"]:
        """As many pairs as events, without replacement; random pairs fill up what is missing.

        Args:
            events: The batch.
            kind: Which pairs.
            seed: Decides the result, alone.
            sources: Distinct sources of random pairs, ascending.
            destinations: Distinct destinations of random pairs, ascending.

        Raises:
            ValueError: if `kind` is unknown, or if random pairs are needed and there are none.
        """
        if kind not in ("historical", "inductive"):
            raise ValueError(f"kind must be historical or inductive, got {kind!r}")
        if not len(events):
            return self.pairs[:, :0]
        taken: Tensor = torch.unique(self.pair_of[events])
        stop = torch.searchsorted(self.since, self.t[events].min(), right=True)
        if kind == "inductive":
            place, known = _position(self.new, taken)
            taken, stop = place[known], torch.searchsorted(self.new, stop)
        taken = taken[taken < stop]
        found = _draw(seed, 0, int(stop) - len(taken), len(events), taken)
        missing = len(events) - len(found)
        found = self.pairs[:, self.new[found] if kind == "inductive" else found]
        if not missing:
            return found
        filled = self._random(events, missing, seed, sources, destinations)
        return torch.cat([found, filled], dim=1)

    def _random(
        self, events: Tensor, count: int, seed: int, sources: Tensor, targets: Tensor
    ) -> Tensor:
        """Pairs of the product of two pools that are not in the batch, different where possible."""
        row, in_rows = _position(sources, self.src[events])
        column, in_columns = _position(targets, self.dst[events])
        taken = torch.unique((row * len(targets) + column)[in_rows & in_columns])
        free = len(sources) * len(targets) - len(taken)
        if free < 1:
            raise ValueError(
                f"{len(sources)} sources and {len(targets)} destinations have no pair that is not "
                "in the batch; use smaller batches or larger pools"
            )
        # Where there are too few, they come again and again.
        rounds = [
            _draw(seed, 1 + first // free, free, count - first, taken)
            for first in range(0, count, free)
        ]
        found = torch.cat(rounds)
        return torch.stack([sources[found // len(targets)], targets[found % len(targets)]])


class OneVsMany:
    """Destinations that a source might have met instead, to rank the true one among.

    Of K candidates half are drawn from the destinations of the source in training, as far as there
    are so many, and the rest from all destinations; the source meets none of them at the same
    time, so the true one is not among them, and none comes twice. Where fewer than K exist, all
    are taken. The candidates of an event do not depend on the batch that it is in.

    Reference: Huang et al., "Temporal Graph Benchmark for Machine Learning on Temporal Graphs",
    NeurIPS 2023.

    Args:
        src: Source of each event.
        dst: Destination of each event.
        t: Time of each event, ascending.
        train: Which events are those of training.

    Raises:
        ValueError: if the events are not in order of time.
    """

    def __init__(
        self,
        src: Int[Tensor, " event"],
        dst: Int[Tensor, " event"],
        t: Num[Tensor, " event"],
        *,
        train: Int[Tensor, " part"],
    ) -> None:
        _check_order(t)
        pool, column = torch.unique(dst, return_inverse=True)
        sources, self.row = torch.unique(src, return_inverse=True)
        self.pool: Tensor = pool
        # Everything below speaks of destinations by their place in the pool.
        width = len(pool)
        self.known, self.known_ptr = _lists(self.row[train], column[train], len(sources), width)
        instant = torch.unique_consecutive(t, return_inverse=True)[1]
        moments, self.moment = torch.unique(self.row * (len(t) + 1) + instant, return_inverse=True)
        self.met, self.met_ptr = _lists(self.moment, column, len(moments), width)

    def draw(
        self, events: Int[Tensor, " batch"], count: int, *, seed: int
    ) -> Int[Tensor, "batch width"]:
        """Candidates of each event; -1 where there is none.

        Args:
            events: Rows of the stream.
            count: Candidates wanted for each; the result is never wider than there are
                destinations.
            seed: Decides the result, alone.

        Raises:
            ValueError: if `count` is not positive.
        """
        if count < 1:
            raise ValueError(f"an event needs at least 1 candidate, got {count}")
        entry, owner = expand_rows(self.met_ptr, self.moment[events])
        width, met = len(self.pool), self.met[entry] % max(len(self.pool), 1)
        if count >= width:
            out = self.pool.repeat(len(events), 1)
            out[owner, met] = -1
            return out
        met = _padded(met, owner, len(events))
        known = self._known(events, met, count // 2, row_keys(events, seed, 0))
        num_known = (known >= 0).sum(1)
        free = width - (met >= 0).sum(1) - num_known
        rest = distinct(row_keys(events, seed, 1), free, count - num_known)
        rest = skip(rest, torch.cat([met, known], dim=1))
        return self._joined(known, rest, num_known, count)

    def _known(self, events: Tensor, met: Tensor, count: int, keys: Tensor) -> Tensor:
        """Some destinations that the source had in training and does not meet now."""
        row, width = self.row[events, None], len(self.pool)
        first, last = self.known_ptr[row], self.known_ptr[row + 1]
        place, among = _position(self.known, row * width + met)
        among &= met >= 0
        free = (last - first)[:, 0] - among.sum(1)
        rank = distinct(keys, free, torch.full_like(free, count))
        rank = skip(rank, torch.where(among, place - first, -1))
        if not rank.numel():
            return rank
        chosen = self.known[(first + rank).clamp(max=len(self.known) - 1)] % width
        return torch.where(rank < 0, -1, chosen)

    def _joined(self, known: Tensor, rest: Tensor, start: Tensor, count: int) -> Tensor:
        """Both parts side by side, as nodes."""
        out = known.new_full((len(known), count + 1), -1)
        out[:, : known.shape[1]] = known
        place = start[:, None] + torch.arange(rest.shape[1], device=rest.device)
        place = torch.where(rest < 0, count, place)
        out = out.scatter_(1, place, rest)[:, :count]
        return torch.where(out < 0, -1, self.pool[out.clamp(min=0)])


def _check_order(t: Tensor) -> None:
    if len(t) and bool((t.diff() < 0).any()):
        raise ValueError("events must be in order of time; sort them first")


def _distinct_pairs(src: Tensor, dst: Tensor) -> tuple[Tensor, Tensor]:
    """Which pair each event is of, and the first event of each pair, in order of time."""
    row = torch.unique(src, return_inverse=True)[1]
    targets, column = torch.unique(dst, return_inverse=True)
    key, order = torch.sort(row * len(targets) + column, stable=True)
    new = torch.ones_like(key, dtype=torch.bool)
    new[1:] = key[1:] != key[:-1]
    first, rank = torch.sort(order[new])
    number = torch.empty_like(rank)
    number[rank] = torch.arange(len(rank), device=rank.device)
    pair_of = torch.empty_like(order)
    pair_of[order] = number[new.cumsum(0) - 1]
    return pair_of, first


def _lists(row: Tensor, column: Tensor, num_rows: int, width: int) -> tuple[Tensor, Tensor]:
    """The distinct cells of a table, one row after the other, and where each row begins."""
    cells: Tensor = torch.unique(row * width + column)
    rows = torch.arange(num_rows + 1, device=row.device)
    return cells, torch.searchsorted(cells, rows * width)


def _padded(values: Tensor, owner: Tensor, num_rows: int) -> Tensor:
    """Ragged rows, one after the other, as a table; -1 pads."""
    size = torch.bincount(owner, minlength=num_rows)
    place = torch.arange(len(owner), device=owner.device) - (size.cumsum(0) - size)[owner]
    out = values.new_full((num_rows, int(size.max()) if num_rows else 0), -1)
    out[owner, place] = values
    return out


def _position(ordered: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Where each value stands in an ascending list, and whether it is there at all."""
    if not len(ordered):
        return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(ordered, wanted).clamp_(max=len(ordered) - 1)
    return place, ordered[place] == wanted


def _draw(seed: int, place: int, size: int, count: int, taken: Tensor) -> Tensor:
    """Different numbers, as many as asked for or all, among `size` that are not taken."""
    key = row_keys(taken.new_tensor([fold(seed, place)]), seed)
    ranks = distinct(key, taken.new_tensor([size]), taken.new_tensor([count]))
    return skip(ranks, taken[None])[0]

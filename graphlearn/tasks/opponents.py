"""False pairs that the events of a split are told from."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, cast, get_args

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from graphlearn.data.dataset import Dataset, EventSplit
from graphlearn.extras import nearest
from graphlearn.sampling.batches import fold
from graphlearn.sampling.events import OneVsMany, PastPairs, destinations, random_destinations
from graphlearn.train.task import Split

__all__ = ["KINDS", "Kind", "Opponents", "kinds_of", "scored_rows"]

PastKind = Literal["historical", "inductive"]
Kind = Literal["random"] | PastKind
KINDS: tuple[Kind, ...] = ("random", *get_args(PastKind))
_ORDER: tuple[Split, ...] = ("train", "valid", "test")


class Opponents:
    """False pairs of a stream; those of a split come from nodes that are known up to it.

    Args:
        dataset: A data set of kind "events".
    """

    def __init__(self, dataset: Dataset) -> None:
        data = dataset.data
        self.splits = dataset.splits
        self.src, self.dst, self.t = data.src.long(), data.dst.long(), data.t
        self._past_of: dict[Split, tuple[PastPairs, Tensor]] = {}

    def draw(
        self, split: Split, kinds: Sequence[Kind], size: int, *, seed: int
    ) -> Int[Tensor, "2 kind pair"]:
        """One false pair of each kind for each scored event.

        Args:
            split: Whose events.
            kinds: Kinds of false pairs; one kind may come several times.
            size: Events of a batch, whose pairs are not drawn for it.
            seed: Decides the result, alone.
        """
        part = self.splits[split]
        drawn = [
            self._random(split, fold(seed, place))
            if kind == "random"
            else self._past(split, part, kind, size, fold(seed, place))
            for place, kind in enumerate(kinds)
        ]
        return torch.stack(drawn, dim=1)

    def candidates(
        self, split: Split, count: int, size: int, *, seed: int
    ) -> Iterator[Int[Tensor, "2 count pair"]]:
        """Other destinations for the scored events of each batch; a target of -1 is padding.

        Args:
            split: Whose events.
            count: Destinations for each event.
            size: Events of a batch.
            seed: Decides the result, alone.
        """
        part = self.splits[split]
        chosen = _chosen(part)
        for _, scored in scored_rows(part, size):
            ids = chosen[scored]
            other = self._many.draw(ids, count, seed=seed).T
            yield torch.stack([self.src[ids].expand_as(other), other])

    def _random(self, split: Split, seed: int) -> Tensor:
        src = self.src[_chosen(self.splits[split])]
        pool = destinations(self.dst[self._until(split)])
        return torch.stack([src, random_destinations(pool, len(src), seed=seed)])

    def _past(self, split: Split, part: EventSplit, kind: PastKind, size: int, seed: int) -> Tensor:
        """Pairs are drawn for every event of a batch, so that no event of it is taken for false."""
        known, past, visible = self._until(split), *self._pairs(split)
        sources, pool = destinations(self.src[known]), destinations(self.dst[known])
        parts = []
        for number, (window, _) in enumerate(scored_rows(part, size)):
            drawn = past.draw(
                torch.searchsorted(visible, part.events[window]),
                kind=kind,
                seed=fold(seed, number),
                sources=sources,
                destinations=pool,
            )
            parts.append(drawn if part.scored is None else drawn[:, part.scored[window]])
        return torch.cat(parts, dim=1)

    def _until(self, split: Split) -> Tensor:
        """The events of the splits up to this one."""
        splits = _ORDER[: _ORDER.index(split) + 1]
        return torch.cat([self.splits[one].events for one in splits if one in self.splits])

    def _pairs(self, split: Split) -> tuple[PastPairs, Tensor]:
        """The pairs that a pass may know, and the events they come from.

        Events of nodes that are held out of training are not among those of training.
        """
        if split not in self._past_of:
            part, train = self.splits[split], self.splits["train"].events
            visible = torch.unique(torch.cat([part.history, part.events]))
            trained = torch.searchsorted(visible, train[torch.isin(train, visible)])
            src, dst, t = self.src[visible], self.dst[visible], self.t[visible]
            self._past_of[split] = PastPairs(src, dst, t, train=trained), visible
        return self._past_of[split]

    @cached_property
    def _many(self) -> OneVsMany:
        return OneVsMany(self.src, self.dst, self.t, train=self.splits["train"].events)


def kinds_of(names: tuple[str, ...]) -> tuple[Kind, ...]:
    """The kinds of false pairs that an evaluation names, each once.

    Args:
        names: What `eval_negatives` says.

    Raises:
        ValueError: if a name is no kind, is there twice, or if there is none.
    """
    for name in names:
        if name not in KINDS:
            raise ValueError(
                f"eval_negatives must be of {', '.join(KINDS)}, got {name!r}{nearest(name, KINDS)}"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"eval_negatives must name at least one kind, each once, got {names}")
    return cast(tuple[Kind, ...], names)


def scored_rows(part: EventSplit, size: int) -> Iterator[tuple[slice, slice]]:
    """Each batch as rows of the events of a split, and as rows of those that are scored.

    Args:
        part: The split.
        size: Events of a batch.
    """
    events = len(part.events)
    mask = torch.ones(events, dtype=torch.bool) if part.scored is None else part.scored
    upto = F.pad(mask.long().cumsum(0), (1, 0)).tolist()
    for first in range(0, events, size):
        last = min(first + size, events)
        yield slice(first, last), slice(upto[first], upto[last])


def _chosen(part: EventSplit) -> Tensor:
    return part.events if part.scored is None else part.events[part.scored]

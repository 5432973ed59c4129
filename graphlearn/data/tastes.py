"""Synthetic interactions of users and items, to try things on without any file."""

from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.data.dataset import Dataset
from graphlearn.data.interactions import from_ratings

__all__ = ["SyntheticInteractions", "load_synthetic_interactions", "synthetic_interactions"]

_TASTES = ("jazz", "rock", "folk", "soul", "punk", "opera", "blues", "techno")
_OWN = 0.85  # share of the interactions that follow a taste of the user
_SECOND = 0.3  # share of those that follow the second taste
_PER_USER = 25  # mean number of interactions


class SyntheticInteractions(NamedTuple):
    """User, item and time of each interaction in order of time, and the titles of all items."""

    users: Int[Tensor, " edge"]
    items: Int[Tensor, " edge"]
    time: Int[Tensor, " edge"]
    titles: list[str]


def synthetic_interactions(
    num_users: int = 600, num_items: int = 400, *, seed: int = 0
) -> SyntheticInteractions:
    """Made-up interactions of users who have two tastes each, with items that have one.

    They are synthetic: results say whether something runs, and nothing about how good it is.

    An interaction follows the first or the second taste of the user, or none (noise). Among the
    items of a taste, the one with rank k is chosen in proportion to 1 / (k + 3), and users
    differ as much in how active they are. Only sums, products and quotients are computed, so a
    seed gives the same bits everywhere.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        seed: Decides the interactions, alone.

    Raises:
        ValueError: if there are fewer than 2 users, or items than 8 tastes need.
    """
    if num_users < 2 or num_items < 2 * len(_TASTES):
        raise ValueError(
            f"synthetic interactions need at least 2 users and {2 * len(_TASTES)} items, got "
            f"{num_users} and {num_items}"
        )
    draw = Random(seed).random
    order = _shuffled(num_items, draw)
    groups = [order[taste :: len(_TASTES)] for taste in range(len(_TASTES))]
    weight = list(accumulate(1 / (rank + 3) for rank in range(num_items)))
    seen: list[set[int]] = [set() for _ in range(num_users)]
    rows: list[tuple[int, int]] = []
    for user in range(num_users):
        first = int(draw() * len(_TASTES))
        second = (first + 1 + int(draw() * 3)) % len(_TASTES)  # tastes that are close go together
        share = draw()
        wanted = 6 + int((_PER_USER - 6) * 3 * share * share)
        for _ in range(2 * wanted):
            own = groups[second if draw() < _SECOND else first] if draw() < _OWN else order
            item = own[_ranked(weight, len(own), draw)]
            if item not in seen[user] and len(seen[user]) < wanted:
                seen[user].add(item)
                rows.append((user, item))
    times = 0
    table = []
    for place in _shuffled(len(rows), draw):
        times += 1 + int(draw() * 3600)
        table.append((*rows[place], times))
    users, items, time = torch.tensor(table).T.contiguous()
    taste = {item: _TASTES[k] for k, group in enumerate(groups) for item in group}
    titles = [f"{taste[item]} {item}" for item in range(num_items)]
    return SyntheticInteractions(users, items, time, titles)


def load_synthetic_interactions(
    name: str = "synthetic-interactions",
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.1,
    test: float = 0.1,
    min_rating: float | None = None,
    k_core: int = 0,
) -> Dataset:
    """What `synthetic_interactions` makes by default, the same for every seed of a run.

    They are synthetic: results say whether something runs, and nothing about how good it is.

    Args:
        name: Name of the data set.
        seed: Seed of a random split; that of `auto` is fixed.
        protocol: `auto`, `random`, `leave-one-out` or `temporal`, see `split_interactions`.
        valid: Share of validation interactions.
        test: Share of test interactions.
        min_rating: Does not apply, there are no ratings.
        k_core: Drop users and items with fewer partners than this, repeatedly.

    Raises:
        ValueError: if an option is not valid.
    """
    made = synthetic_interactions()
    if protocol == "given":
        raise ValueError(f"{name} has no given split; choose protocol random or temporal")
    return from_ratings(
        name, made.users, made.items, time=made.time, protocol=protocol,
        seed=42 if protocol == "auto" else seed, valid=valid, test=test, min_rating=min_rating,
        k_core=k_core, titles=made.titles,
    )  # fmt: skip


def _ranked(weight: list[float], count: int, draw: Callable[[], float]) -> int:
    """One of the first so many ranks, the lower ones more often."""
    return min(bisect(weight, draw() * weight[count - 1]), count - 1)


def _shuffled(count: int, draw: Callable[[], float]) -> list[int]:
    """All numbers in random order; written out, since only `random` itself is fixed for good."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = int(draw() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order

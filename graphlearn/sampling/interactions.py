"""True and false items to train a recommender with."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from graphlearn.ops.csr import CSR
from graphlearn.ops.locate import expand_rows
from graphlearn.sampling.batches import fold

__all__ = ["Drawn", "InteractionSampler", "seen_mask"]

_USERS, _ITEMS, _FALSE = range(3)  # what random numbers are for


class Drawn(NamedTuple):
    """Users, an item of each (B,), and items that they do not have (B, K)."""

    users: Tensor
    pos: Tensor
    neg: Tensor


class InteractionSampler:
    r"""Draws users, items that they have, and items that they do not have.

    False items are exact and need no second try: with the items :math:`c_0 < c_1 < \ldots` of a
    user, there are :math:`c_k - k` others before :math:`c_k`, a list that is sorted like the items
    themselves, so that the r-th other item is found by one binary search.

    Users who have every item, or none, are never drawn.

    Args:
        train: Training interactions, users by items.

    Raises:
        ValueError: if there is no user to draw.
    """

    def __init__(self, train: CSR) -> None:
        self.train = train
        degree = train.ptr.diff()
        fit = (degree > 0) & (degree < train.num_cols)
        self.users = fit.nonzero().squeeze(1)
        if not len(self.users):
            raise ValueError(
                "no user can be drawn: each has either no training item or all of them, so that "
                "there is nothing to rank"
            )
        self._entries = fit[train.rows()].nonzero().squeeze(1)
        place = torch.arange(train.num_entries) - train.ptr[train.rows()]
        self._keys = train.rows() * train.num_cols + train.col - place

    def draw(
        self, num: int, *, seed: int, by: Literal["user", "edge"] = "user", negatives: int = 1
    ) -> Drawn:
        """Users, an item of each, and items that they do not have.

        Args:
            num: How many.
            seed: Decides the result, alone.
            by: `user` visits all users in random order, again and again, and draws one of their
                items; `edge` visits all interactions in random order.
            negatives: False items for each.
        """
        if by == "edge":
            entry = self._entries[_visits(len(self._entries), num, fold(seed, _USERS))]
            users = torch.searchsorted(self.train.ptr, entry, right=True) - 1
        else:
            users = self.users[_visits(len(self.users), num, fold(seed, _USERS))]
            generator = torch.Generator().manual_seed(fold(seed, _ITEMS))
            start, size = self.train.ptr[users], self.train.ptr[users + 1] - self.train.ptr[users]
            share = torch.rand(num, generator=generator, dtype=torch.float64)
            entry = start + (share * size).long()
        return Drawn(users, self.train.col[entry].long(), self.unseen(users, negatives, seed=seed))

    def unseen(self, users: Int[Tensor, " batch"], k: int, *, seed: int) -> Int[Tensor, "batch k"]:
        """Items that users do not have in training, uniform and independent.

        Args:
            users: Users that lack at least one item.
            k: How many for each.
            seed: Decides the result, alone.

        Raises:
            ValueError: if a user has every item.
        """
        ptr, width = self.train.ptr, self.train.num_cols
        free = width - (ptr[users + 1] - ptr[users])
        if len(users) and int(free.min()) < 1:
            raise ValueError(f"user {int(users[free.argmin()])} has every item, none is false")
        generator = torch.Generator().manual_seed(fold(seed, _FALSE))
        share = torch.rand(len(users), k, generator=generator, dtype=torch.float64)
        rank = (share * free.unsqueeze(1)).long()
        wanted = (users * width).unsqueeze(1) + rank
        before = torch.searchsorted(self._keys, wanted, right=True) - ptr[users].unsqueeze(1)
        return rank + before

    def shared(self, num: int, *, seed: int) -> Int[Tensor, " item"]:
        """Different items, uniform, for all users of a batch.

        Args:
            num: How many.
            seed: Decides the result, alone.

        Raises:
            ValueError: if there are fewer items.
        """
        if num > self.train.num_cols:
            raise ValueError(f"{num} different items asked for, there are {self.train.num_cols}")
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(self.train.num_cols, generator=generator)[:num]


def seen_mask(
    train: CSR, users: Int[Tensor, " batch"], items: Int[Tensor, " item"]
) -> Bool[Tensor, "batch item"]:
    """Which of some items each user has.

    Args:
        train: Interactions, users by items.
        users: Users.
        items: Different items.
    """
    place = torch.full((train.num_cols,), -1)
    place[items] = torch.arange(len(items))
    entry, owner = expand_rows(train.ptr, users)
    column = place[train.col[entry].long()]
    known = column >= 0
    mask = torch.zeros(len(users), len(items), dtype=torch.bool)
    mask[owner[known], column[known]] = True
    return mask


def _visits(count: int, num: int, seed: int) -> Tensor:
    """Random permutations of the numbers below `count`, one after the other, cut to length."""
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-num // count)
    order = torch.rand(rounds, count, generator=generator, dtype=torch.float64).argsort(1)
    return order.flatten()[:num]

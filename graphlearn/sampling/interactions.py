"""Positive and negative items for training a recommender."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from graphlearn.ops.backend import check_range
from graphlearn.ops.csr import CSR
from graphlearn.ops.locate import expand_rows
from graphlearn.sampling.batches import fold

__all__ = ["InteractionSampler", "Triples", "seen_mask"]

_ORDER, _POSITIVES, _NEGATIVES = range(3)  # purpose tags of random numbers


class Triples(NamedTuple):
    """Users (B,), an item that each has in training (B,), and items that it has not (B, K)."""

    users: Tensor
    pos: Tensor
    neg: Tensor


class InteractionSampler:
    r"""Draws users, items that they have in training, and items that they have not.

    Negatives are exact without a second try. Before the item :math:`c_j` of a user's items
    :math:`c_0 < c_1 < \dots` there are :math:`c_j - j` items that the user has not seen, so the
    r-th of those, counted from 0, is :math:`r + \#\{j : c_j - j \le r\}`: one binary search.

    Users who have no item, or every item, are never drawn. All tensors are on the CPU, and random
    numbers for users, positives and negatives do not depend on each other.

    Args:
        train: Training interactions, users by items.

    Raises:
        ValueError: if no user can be drawn, or `train` has entries switched off.
    """

    def __init__(self, train: CSR) -> None:
        if train.keep is not None:
            raise ValueError(
                "interactions to draw from must all take part, got a matrix with `keep`; "
                "build it from those that count"
            )
        self.num_users, self.num_items = train.num_rows, train.num_cols
        self._ptr, self._col, self._row = train.ptr.cpu(), train.col.cpu(), train.rows().cpu()
        self._degree = self._ptr.diff()
        fit = (self._degree > 0) & (self._degree < self.num_items)
        self._users = fit.nonzero().squeeze(1)
        if not len(self._users):
            raise ValueError(
                "no user has both a training item and an item to tell it from: of "
                f"{self.num_users} users {int((self._degree == 0).sum())} have no item, "
                f"the others have all {self.num_items}"
            )
        self._entries = fit[self._row].nonzero().squeeze(1)
        place = torch.arange(len(self._col)) - self._ptr[self._row]
        self._keys = self._row * self.num_items + (self._col - place)  # ascending

    def draw(
        self, num: int, *, seed: int, by: Literal["user", "edge"] = "user", negatives: int = 1
    ) -> Triples:
        """Users, a positive item for each, and negative items.

        Args:
            num: Number of triples.
            seed: Decides the result, alone.
            by: `user`: all users in random order, then again in another, and one uniform item of
                each; `edge`: all interactions in random order, then again in another.
            negatives: Items for each triple that its user does not have, uniform, independent.

        Raises:
            ValueError: if a number is negative, or `by` is neither.

        Example:
            >>> train = CSR.from_edge_index(torch.tensor([[0, 1], [0, 1]]), 2, num_cols=2)
            >>> InteractionSampler(train).draw(2, seed=0)
            Triples(users=tensor([0, 1]), pos=tensor([0, 1]), neg=tensor([[1],
                    [0]]))
        """
        if by not in ("user", "edge"):
            raise ValueError(f"by must be 'user' or 'edge', got {by!r}")
        if min(num, negatives) < 0:
            raise ValueError(
                f"num and negatives must be at least 0, got num={num}, negatives={negatives}"
            )
        order = _generator(seed, _ORDER)
        if by == "edge":
            entry = self._entries[_visits(len(self._entries), num, order)]
            users = self._row[entry]
        else:
            users = self._users[_visits(len(self._users), num, order)]
            entry = self._ptr[users] + _below(self._degree[users], _generator(seed, _POSITIVES))
        return Triples(users, self._col[entry].long(), self.unseen(users, negatives, seed))

    def unseen(self, users: Int[Tensor, " user"], k: int, seed: int) -> Int[Tensor, "user k"]:
        """Items that users do not have in training, uniform and independent.

        The negatives of `draw(...)` are `unseen(users, negatives, seed)` for its users.

        Args:
            users: Users; each lacks at least one item.
            k: Items for each.
            seed: Decides the result, alone.

        Raises:
            ValueError: if an id lies outside the matrix, or a user has every item.
        """
        users = users.cpu().long()
        check_range(self.num_users, users)
        free = self.num_items - self._degree[users]
        if len(free) and int(free.min()) < 1:
            raise ValueError(
                f"user {int(users[free.argmin()])} has all {self.num_items} items in training, "
                "so there is no other to draw; leave the user out"
            )
        rank = _below(free[:, None].expand(-1, k), _generator(seed, _NEGATIVES))
        keys = rank + (users * self.num_items)[:, None]
        return rank + torch.searchsorted(self._keys, keys, right=True) - self._ptr[users, None]

    def shared(self, num: int, *, seed: int) -> Int[Tensor, " item"]:
        """Different items in random order, each as likely as any other, for a whole batch.

        A user may have some of them: `seen_mask` says who has which.

        Args:
            num: Number of items.
            seed: Decides the result, alone.

        Raises:
            ValueError: if there are not so many items.
        """
        if not 0 <= num <= self.num_items:
            raise ValueError(
                f"the number of different items must lie in [0, {self.num_items}], got {num}"
            )
        return torch.randperm(self.num_items, generator=_generator(seed, _NEGATIVES))[:num]


def seen_mask(
    train: CSR, users: Int[Tensor, " batch"], items: Int[Tensor, " item"]
) -> Bool[Tensor, "batch item"]:
    """Which of the given items each user has in training.

    Costs O(degrees of the users + batch * items). Entries switched off by `train.keep` count.

    Args:
        train: Training interactions, users by items.
        users: Users, in any order, repeated or not.
        items: Different items, in any order.

    Raises:
        ValueError: if an id lies outside the matrix, or an item is repeated.

    Example:
        >>> train = CSR.from_edge_index(torch.tensor([[0, 1], [0, 1]]), 2, num_cols=3)
        >>> seen_mask(train, torch.tensor([1]), torch.tensor([1, 0]))
        tensor([[ True, False]])
    """
    device = train.ptr.device
    users, items = users.to(device).long(), items.to(device).long()
    check_range(train.num_rows, users)
    check_range(train.num_cols, items)
    numbers = torch.arange(len(items), device=device)
    place = torch.full((train.num_cols,), -1, device=device)
    place[items] = numbers
    if not place[items].equal(numbers):
        raise ValueError(f"items must differ, got {len(items) - len(torch.unique(items))} repeats")
    entry, owner = expand_rows(train.ptr, users)
    column = place[train.col[entry].long()]
    asked = column >= 0
    mask = torch.zeros(len(users), len(items), dtype=torch.bool, device=device)
    mask[owner[asked], column[asked]] = True
    return mask


def _generator(seed: int, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed(fold(seed, purpose))


def _below(sizes: Tensor, generator: torch.Generator) -> Tensor:
    """A uniform number in [0, size) for each size; 53 random bits never round up to the size."""
    share = torch.rand(sizes.shape, generator=generator, dtype=torch.float64)
    return (share * sizes).long()


def _visits(count: int, num: int, generator: torch.Generator) -> Tensor:
    """Random permutations of the numbers below `count`, one after the other, cut to `num`."""
    rounds = [torch.randperm(count, generator=generator) for _ in range(0, num, count)]
    return torch.cat(rounds)[:num] if rounds else torch.empty(0, dtype=torch.int64)

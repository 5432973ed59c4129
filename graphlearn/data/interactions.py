"""Interactions of users and items: cleaning, splitting, and the data set made of them."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch_geometric.data import HeteroData

from graphlearn.data.dataset import Dataset
from graphlearn.data.interaction_splits import k_core, split_interactions
from graphlearn.train.task import Split

__all__ = ["from_ratings", "given_split", "interaction_dataset", "k_core", "split_interactions"]

_log = logging.getLogger(__name__)
_PARTS: tuple[Split, ...] = ("train", "valid", "test")
_Array = npt.NDArray[Any]
_Column = Sequence[Any] | _Array | Tensor
_Titles = Mapping[Any, str] | Sequence[str]


def interaction_dataset(
    name: str,
    splits: Mapping[Split, Int[Tensor, "2 _"]],
    num_users: int,
    num_items: int,
    *,
    names: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    metric: str = "ndcg@10",
) -> Dataset:
    """A data set of users and items, of which only the training pairs are in the graph.

    Args:
        name: As it is written in run folders.
        splits: Users and items (2, E) of each split, both counted from 0; a pair that is repeated
            in a split is merged.
        num_users: Number of users.
        num_items: Number of items.
        names: Name of each user, then of each item.
        titles: What each item is called.
        metric: What is reported, higher is better.

    Raises:
        ValueError: if an id is out of range, a split is empty, or a pair is in two splits.

    Example:
        >>> pairs = {"train": [[0, 1], [0, 1]], "valid": [[0], [1]], "test": [[1], [0]]}
        >>> splits = {part: torch.tensor(ends) for part, ends in pairs.items()}
        >>> interaction_dataset("toy", splits, 2, 2).facts
        {'num_users': 2, 'num_items': 2, 'num_nodes': 4}
    """
    if names is not None and len(names) != num_users + num_items:
        raise ValueError(
            f"{name}: {len(names)} names for {num_users} users and {num_items} items; "
            "give those of all users, then those of all items"
        )
    if titles is not None and len(titles) != num_items:
        raise ValueError(f"{name}: {len(titles)} titles for {num_items} items")
    keys = {}
    for part in _PARTS:
        if part not in splits or not splits[part].shape[1]:
            raise ValueError(f"{name}: the {part} split holds no interactions")
        _check_range(f"{name}, {part}", splits[part], num_users, num_items)
        user, item = splits[part].long()
        keys[part] = torch.unique(user * num_items + item)  # sorted by user, then item
    for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
        shared = keys[first][torch.isin(keys[first], keys[second])]  # type: ignore[index]
        if len(shared):
            pair = divmod(int(shared[0]), num_items)
            raise ValueError(
                f"{name}: {len(shared)} interactions are in {first} and in {second} "
                f"(user {pair[0]}, item {pair[1]}); leave them in one"
            )
    pairs: dict[Split, Tensor] = {
        part: torch.stack([key // num_items, key % num_items]) for part, key in keys.items()
    }
    data = HeteroData()
    data["user"].num_nodes = num_users
    data["item"].num_nodes = num_items
    data["user", "rates", "item"].edge_index = pairs["train"]
    data["item", "rated_by", "user"].edge_index = pairs["train"].flip(0)
    facts = {
        "num_users": num_users,
        "num_items": num_items,
        "num_nodes": num_users + num_items,
    }
    return Dataset(name, "interactions", metric, data, pairs, facts, names, titles=titles)


def from_ratings(
    name: str,
    user_ids: _Column,
    item_ids: _Column,
    *,
    rating: _Column | None = None,
    time: _Column | None = None,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    min_rating: float | None = None,
    k_core: int = 0,
    titles: _Titles | None = None,
    metric: str = "ndcg@10",
) -> Dataset:
    """A data set from rows of users and items with ids of any kind.

    Low ratings are dropped, of a repeated pair the first row is kept, and what is left is split.
    Users and items are those of training, in the order of their ids; other validation and test
    interactions are left out. All of this is logged.

    Args:
        name: As it is written in run folders.
        user_ids: User of each row.
        item_ids: Item of each row.
        rating: Rating of each row, higher is better.
        time: Time of each row.
        protocol: `auto` and `random`, `leave-one-out` or `temporal`, see `split_interactions`.
        seed: Decides a random split, alone.
        valid: Share of validation interactions.
        test: Share of test interactions.
        min_rating: Smallest rating that counts as an interaction; None takes all.
        k_core: Drop users and items with fewer partners than this, repeatedly.
        titles: What items are called, by their id.
        metric: What is reported, higher is better.

    Raises:
        ValueError: if a row or an option is not valid, or nothing is left for a split.
    """
    users, items = _ids(user_ids, f"{name}: user"), _ids(item_ids, f"{name}: item")
    if len(users) != len(items):
        raise ValueError(f"{name}: {len(users)} users for {len(items)} items")
    if not len(users):
        raise ValueError(f"{name} holds no interactions")
    times = None if time is None else _values(time, len(users), f"{name}: time")
    rows = _liked(name, rating, len(users), min_rating)
    user_names, user = np.unique(users[rows], return_inverse=True)
    item_names, item = np.unique(items[rows], return_inverse=True)
    rows, user, item = _once(name, rows, user.reshape(-1), item.reshape(-1))
    kept = _core(user, item, k_core)
    rows, user, item = rows[kept], user[kept], item[kept]
    parts = split_interactions(
        user, item, protocol="random" if protocol == "auto" else protocol, seed=seed,
        time=None if times is None else times[rows], valid=valid, test=test,
    )  # fmt: skip
    known_users, known_items = np.unique(user[parts["train"]]), np.unique(item[parts["train"]])
    splits = _known(name, parts, user, item, known_users, known_items)
    user_names, item_names = user_names[known_users], item_names[known_items]
    return interaction_dataset(
        name, splits, len(known_users), len(known_items),
        names=[str(key) for key in (*user_names.tolist(), *item_names.tolist())],
        titles=_titles(titles, item_names.tolist()), metric=metric,
    )  # fmt: skip


def given_split(
    name: str,
    train: Int[Tensor, "2 _"],
    test: Int[Tensor, "2 _"],
    num_users: int,
    num_items: int,
    *,
    valid: float = 0.1,
    seed: int = 0,
    names: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    metric: str = "ndcg@10",
) -> Dataset:
    """A data set from published training and test pairs, with validation drawn from training.

    One training interaction of every user, drawn at random, always stays in training.

    Args:
        name: As it is written in run folders.
        train: Users and items of training, both counted from 0; the ids are kept.
        test: Users and items of the test.
        num_users: Number of users.
        num_items: Number of items.
        valid: Share of the training interactions that becomes validation.
        seed: Decides the validation interactions, alone.
        names: Name of each user, then of each item.
        titles: What each item is called.
        metric: What is reported, higher is better.

    Raises:
        ValueError: if the pairs or the share are not valid, or validation would be empty.
    """
    if not 0 < valid < 1:
        raise ValueError(f"valid must lie between 0 and 1, got {valid}")
    _check_range(f"{name}, train", train, num_users, num_items)
    key = torch.unique(train[0].long() * num_items + train[1])
    order = torch.randperm(len(key), generator=torch.Generator().manual_seed(seed))
    user, rank = torch.sort(key[order] // num_items, stable=True)
    first = torch.ones_like(user, dtype=torch.bool)
    first[1:] = user[1:] != user[:-1]
    free = torch.ones_like(first)
    free[rank[first]] = False
    drawn = order[free][: round(valid * len(key))]
    if not len(drawn):
        raise ValueError(
            f"{name}: valid={valid} of {len(key)} training interactions leaves no validation; "
            "every user keeps one"
        )
    held = torch.zeros(len(key), dtype=torch.bool)
    held[drawn] = True
    splits: dict[Split, Tensor] = {
        "train": torch.stack([key[~held] // num_items, key[~held] % num_items]),
        "valid": torch.stack([key[held] // num_items, key[held] % num_items]),
        "test": test,
    }
    return interaction_dataset(
        name, splits, num_users, num_items, names=names, titles=titles, metric=metric
    )


def _check_range(where: str, pairs: Tensor, num_users: int, num_items: int) -> None:
    for what, ids, count in (("user", pairs[0], num_users), ("item", pairs[1], num_items)):
        bad: Bool[Tensor, " edge"] = (ids < 0) | (ids >= count)
        if bad.any():
            raise ValueError(f"{where}: {what} {int(ids[bad][0])} is not in [0, {count})")


def _ids(column: _Column, what: str) -> _Array:
    """Ids as whole numbers where they all are, else as words."""
    ids = np.asarray(column)
    if ids.ndim != 1:
        raise ValueError(f"{what} ids must have one dimension, got shape {ids.shape}")
    if ids.dtype.kind in "iu" or not len(ids):
        return ids.astype(np.int64)
    bad = np.flatnonzero([key is None or key != key or key == "" for key in ids.tolist()])
    if len(bad):
        raise ValueError(f"{what} id of interaction {bad[0]} is missing")
    if ids.dtype.kind == "f":
        if not (np.isfinite(ids) & (ids == np.floor(ids))).all():
            raise ValueError(f"{what} ids must be whole numbers or words")
        return ids.astype(np.int64)
    words = ids.astype(str)
    try:
        whole = words.astype(np.int64)
    except (ValueError, OverflowError):
        return words
    return whole if np.array_equal(whole.astype(str), words) else words


def _values(column: _Column, count: int, what: str) -> _Array:
    """Finite numbers, one for each row."""
    values = np.asarray(column)
    if values.shape != (count,):
        raise ValueError(f"{what} must have shape ({count},), got {values.shape}")
    try:
        values = values if values.dtype.kind in "iuf" else values.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} must hold numbers, {error}") from error
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{what} of interaction {bad[0]} is not finite, got {values[bad[0]]}")
    return values


def _liked(name: str, rating: _Column | None, count: int, min_rating: float | None) -> _Array:
    """The rows whose rating is high enough."""
    if rating is None:
        if min_rating is not None:
            raise ValueError(f"{name} has no ratings: min_rating={min_rating} does not apply")
        return np.arange(count)
    ratings = _values(rating, count, f"{name}: rating")
    if min_rating is None:
        if len(np.unique(ratings)) > 1:
            _log.info(
                "%s: ratings are ignored; min_rating=4 would keep only %d of %d interactions",
                name, (ratings >= 4).sum(), count,
            )  # fmt: skip
        return np.arange(count)
    rows = np.flatnonzero(ratings >= min_rating)
    if not len(rows):
        raise ValueError(
            f"{name}: no rating reaches min_rating={min_rating}, the largest is {ratings.max()}"
        )
    return rows


def _once(name: str, rows: _Array, user: _Array, item: _Array) -> tuple[_Array, _Array, _Array]:
    """The first row of every pair."""
    first = np.unique(user * (item.max() + 1) + item, return_index=True)[1]
    if len(first) < len(rows):
        _log.info("%s: merged %d repeated interactions", name, len(rows) - len(first))
    first.sort()
    return rows[first], user[first], item[first]


def _core(user: _Array, item: _Array, k: int) -> _Array:
    """All rows, or where asked those of the core."""
    return k_core(user, item, k) if k else np.arange(len(user))


def _known(
    name: str,
    parts: Mapping[Split, _Array],
    user: _Array,
    item: _Array,
    users: _Array,
    items: _Array,
) -> dict[Split, Tensor]:
    """The pairs of each split, numbered by the users and items of training."""
    splits: dict[Split, Tensor] = {}
    left: dict[Split, int] = {}
    for part, rows in parts.items():
        rows = rows[np.isin(user[rows], users) & np.isin(item[rows], items)]
        left[part] = len(parts[part]) - len(rows)
        if not len(rows):
            raise ValueError(
                f"{name}: training has the user and the item of no {part} interaction; use more "
                "data, a k_core or another protocol"
            )
        pairs = np.searchsorted(users, user[rows]), np.searchsorted(items, item[rows])
        splits[part] = torch.from_numpy(np.stack(pairs))
    if any(left.values()):
        _log.info(
            "%s: %d validation and %d test interactions of users or items that training does not "
            "have are left out", name, left["valid"], left["test"],
        )  # fmt: skip
    return splits


def _titles(titles: _Titles | None, ids: list[Any]) -> list[str] | None:
    """The title of each item, which is its id where there is none."""
    if titles is None:
        return None
    if not isinstance(titles, Mapping):
        titles = dict(enumerate(titles))
    return [str(titles.get(key, titles.get(str(key), key))) for key in ids]

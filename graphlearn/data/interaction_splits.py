"""Which interactions are for training, validation and the test, and which are kept at all."""

import logging
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Int

from graphlearn.train.task import Split

__all__ = ["k_core", "split_interactions"]

_log = logging.getLogger(__name__)
_PARTS: tuple[Split, ...] = ("train", "valid", "test")
_PROTOCOLS = ("random", "leave-one-out", "temporal")
_Array = npt.NDArray[Any]


def split_interactions(
    users: Int[np.ndarray, " edge"],
    items: Int[np.ndarray, " edge"],
    *,
    protocol: str,
    seed: int,
    time: _Array | None = None,
    valid: float = 0.1,
    test: float = 0.1,
) -> dict[Split, Int[np.ndarray, " _"]]:
    """Ascending row numbers of each split.

    - `random`: as scikit-learn's `train_test_split` does it twice with the same `random_state`,
      first all rows into training and the rest, then the rest into validation and test;
    - `leave-one-out`: the last interaction of a user is for the test, the one before it for
      validation, and users with fewer than 3 stay in training; at equal times, or without any,
      the order of the rows decides;
    - `temporal`: training, validation and test follow each other in time, cut at quantiles;
      interactions at one time stay together.

    Args:
        users: User of each interaction, counted from 0.
        items: Item of each interaction.
        protocol: Which of the above.
        seed: Decides a random split, alone.
        time: Time of each interaction.
        valid: Share of validation interactions.
        test: Share of test interactions.

    Raises:
        ValueError: if an option is not valid, times are missing, or a part would be empty.
    """
    _check_split(protocol, valid, test)
    if len(users) != len(items) or (time is not None and len(time) != len(users)):
        raise ValueError(
            f"{len(users)} users, {len(items)} items and "
            f"{'no' if time is None else len(time)} times do not fit together"
        )
    if time is not None and time.dtype.kind == "f" and not np.isfinite(time).all():
        row = int(np.flatnonzero(~np.isfinite(time))[0])
        raise ValueError(f"interaction {row}: time must be a finite number, got {time[row]}")
    if protocol == "random":
        parts = _random_parts(len(users), seed, valid, test)
    elif protocol == "leave-one-out":
        if time is None:
            _log.warning("no times: the order of the rows decides which interaction is last")
        parts = _last_parts(users, time)
    elif time is None:
        raise ValueError("protocol 'temporal' needs the time of every interaction; use 'random'")
    else:
        parts = np.searchsorted(np.quantile(time, [1 - valid - test, 1 - test]), time)
    found = {split: np.flatnonzero(parts == k) for k, split in enumerate(_PARTS)}
    for split, rows in found.items():
        if not len(rows):
            raise ValueError(
                f"protocol {protocol!r} leaves no interactions for {split} out of {len(users)}; "
                "use more data, other shares or another protocol"
            )
    return found


def k_core(
    users: Int[np.ndarray, " edge"], items: Int[np.ndarray, " edge"], k: int
) -> Int[np.ndarray, " _"]:
    """Rows that are left when users and items with fewer than k partners are dropped, repeatedly.

    Args:
        users: User of each interaction, counted from 0.
        items: Item of each interaction, counted from 0.
        k: Smallest number of different partners.

    Raises:
        ValueError: if nothing is left.

    Example:
        >>> k_core(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1]), 2)
        array([0, 1, 2, 3])
    """
    if k < 0:
        raise ValueError(f"k_core must be at least 0, got {k}")
    width = int(items.max(initial=0)) + 1
    pairs, pair_of = np.unique(users.astype(np.int64) * width + items, return_inverse=True)
    user, item = pairs // width, pairs % width
    kept = np.ones(len(pairs), dtype=bool)
    count = -1
    while count != kept.sum():
        count = kept.sum()
        for side in (user, item):
            kept &= np.bincount(side[kept], minlength=int(side.max(initial=0)) + 1)[side] >= k
    if not count:
        raise ValueError(f"k_core={k} leaves no interactions out of {len(users)}; choose less")
    return np.flatnonzero(kept[pair_of.reshape(-1)])


def _check_split(protocol: str, valid: float, test: float) -> None:
    if protocol not in _PROTOCOLS:
        raise ValueError(
            f"protocol must be auto, random, leave-one-out or temporal, got {protocol!r}"
        )
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise ValueError(
            f"valid and test must be positive shares below 1 in sum, got {valid} and {test}"
        )
    if protocol == "leave-one-out" and (valid, test) != (0.1, 0.1):
        raise ValueError(
            f"leave-one-out holds out one interaction each: valid={valid} and test={test} do not "
            "apply; leave them out"
        )


def _random_parts(count: int, seed: int, valid: float, test: float) -> _Array:
    """0, 1 or 2 for each row; the numbers that scikit-learn would draw."""
    held = math.ceil((valid + test) * count)
    order = np.random.RandomState(seed).permutation(count)[:held]
    last = math.ceil(test / (valid + test) * held)
    again = np.random.RandomState(seed).permutation(held)
    parts = np.zeros(count, dtype=np.int64)
    parts[order[again[last:]]] = 1
    parts[order[again[:last]]] = 2
    return parts


def _last_parts(users: _Array, time: _Array | None) -> _Array:
    """0, 1 or 2 for each row, by its place from the end of its user's rows."""
    order = np.lexsort((users,) if time is None else (time, users))  # stable
    sizes = np.bincount(users)
    ends = np.cumsum(sizes)
    own = users[order]
    back = ends[own] - 1 - np.arange(len(users))
    parts = np.zeros(len(users), dtype=np.int64)
    parts[order] = np.where((back < 2) & (sizes[own] > 2), 2 - back, 0)
    return parts

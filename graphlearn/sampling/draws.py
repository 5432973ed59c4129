"""Draws without replacement for many rows at once, each a function of the key of its row.

Random numbers are counted, not generated: number c of key k is the finaliser of splitmix64 at
`k + c * golden` (Steele, Lea, Flood, OOPSLA 2014), so a row is the same in every batch.
"""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.sampling.batches import fold

__all__ = ["distinct", "row_keys", "skip"]

_FAR = 1 << 62  # larger than any number of a row
_GOLDEN, _FIRST, _SECOND = map(
    np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_Words = npt.NDArray[np.uint64]
_Numbers = npt.NDArray[np.int64]


def row_keys(ids: Int[Tensor, " batch"], seed: int, *places: int) -> Int[Tensor, " batch"]:
    """An unrelated key for each row.

    Args:
        ids: What tells the rows apart.
        seed: Seed of the draw.
        places: What else the draw is for, see `fold`.
    """
    words = ids.cpu().numpy().astype(np.int64).view(np.uint64)
    keys = _mix(_mix(words * _GOLDEN) ^ np.uint64(fold(seed, *places)))
    return torch.from_numpy(keys.view(np.int64)).to(ids.device)


def distinct(
    keys: Int[Tensor, " batch"], sizes: Int[Tensor, " batch"], counts: Int[Tensor, " batch"]
) -> Int[Tensor, "batch width"]:
    """Different numbers below the size of each row, uniform and in random order; -1 pads.

    A row gets `min(size, count)` of them. Where most are wanted, all are shuffled; elsewhere
    numbers are drawn, and those that came before are dropped.

    Args:
        keys: Key of each row.
        sizes: The numbers of a row are below this.
        counts: How many are wanted.
    """
    words = keys.cpu().numpy().view(np.uint64)
    size = sizes.cpu().numpy()
    count = np.minimum(counts.cpu().numpy(), size)
    out = np.full((len(words), max(int(count.max(initial=0)), 0)), -1)
    # Which way a row goes depends on nothing but itself.
    few = size < 4 * count
    for rows, draw in ((few, _shuffled), (~few & (count > 0), _drawn)):
        if rows.any():
            found = draw(words[rows], size[rows], count[rows])
            found[np.arange(found.shape[1]) >= count[rows, None]] = -1
            out[rows, : found.shape[1]] = found
    return torch.from_numpy(out).to(keys.device)


def skip(
    ranks: Int[Tensor, "batch width"], taken: Int[Tensor, "batch height"]
) -> Int[Tensor, "batch width"]:
    """The numbers that have these ranks among those that are not taken; -1 stays.

    Args:
        ranks: Ranks, counted from 0.
        taken: Different numbers in any order; -1 is none.
    """
    place = torch.arange(taken.shape[1], device=taken.device)
    taken = torch.where(taken < 0, _FAR, taken).sort(1).values
    # Before taken[j] there are taken[j] - j free numbers: a sorted list, like `taken` itself.
    free = torch.where(taken == _FAR, _FAR, taken - place)
    below = torch.searchsorted(free, ranks.contiguous(), right=True)
    return torch.where(ranks < 0, -1, ranks + below)


def _shuffled(keys: _Words, size: _Numbers, count: _Numbers) -> _Numbers:
    """All numbers of a row in the order of random words, whose last bits tell which is which."""
    width = int(size.max())
    low = np.uint64((1 << width.bit_length()) - 1)
    column = np.arange(width, dtype=np.uint64)
    words = (_words(keys, width) & ~low) | column
    words[column >= size[:, None].view(np.uint64)] = ~np.uint64(0)
    words.sort(1)
    return (words[:, : int(count.max())] & low).view(np.int64)


def _drawn(keys: _Words, size: _Numbers, count: _Numbers) -> _Numbers:
    width = int(count.max())
    tries = 2 * width
    while True:
        values = _words(keys, tries) % size[:, None].view(np.uint64)
        new = _first_of_its_kind(values)
        place = new.cumsum(1)
        if (place[:, -1] >= count).all():
            break
        tries *= 2
    kept = new & (place <= width)
    out = np.full((len(keys), width), -1)
    out[kept.nonzero()[0], place[kept] - 1] = values[kept]
    return out


def _first_of_its_kind(values: _Words) -> npt.NDArray[np.bool_]:
    """Whether a value did not come before in its row."""
    order = values.argsort(1, kind="stable")
    ordered = np.take_along_axis(values, order, 1)
    new = np.ones(values.shape, dtype=np.bool_)
    np.put_along_axis(new, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], 1)
    return new


def _words(keys: _Words, count: int) -> _Words:
    """The first random words of each key."""
    return _mix(keys[:, None] + np.arange(count, dtype=np.uint64) * _GOLDEN)


def _mix(words: _Words) -> _Words:
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))

"""Batches of indices, and seeds that depend on nothing but their place in a run."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["fold", "index_batches"]

_MASK = (1 << 64) - 1


def fold(seed: int, *places: int) -> int:
    """An unrelated seed for each place (stage, epoch, purpose, ...) of a run.

    Counting instead of drawing keeps a resumed run equal to an uninterrupted one: no generator
    has a state that would have to be saved.

    Args:
        seed: Seed of the run.
        places: Where in the run; their order matters.

    Returns:
        An integer in [0, 2**63).
    """
    state = _scramble(seed & _MASK)
    for place in places:
        state = _scramble(state ^ (place & _MASK))
    return state >> 1


def index_batches(
    n: int, size: int, *, seed: int, shuffle: bool = True, drop_last: bool = False
) -> Iterator[Int[Tensor, " pair"]]:
    """The integers below `n` in batches, the same in every process.

    Args:
        n: Number of items.
        size: Items in a batch.
        seed: Decides the order, alone.
        shuffle: Visit the items in random order.
        drop_last: Leave out a last batch that is not full.

    Raises:
        ValueError: if `size` is not positive, or if there is no full batch and `drop_last` is set.

    Example:
        >>> list(index_batches(5, 2, seed=0, shuffle=False))
        [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """
    if size < 1:
        raise ValueError(f"the batch size must be at least 1, got {size}")
    if drop_last and n < size:
        raise ValueError(
            f"no full batch: {n} items, batch size {size}; lower it or use drop_last=False"
        )
    if shuffle:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    else:
        order = torch.arange(n)
    stop = n - n % size if drop_last else n
    return (order[start : start + size] for start in range(0, stop, size))


def _scramble(value: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection of 64 bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)

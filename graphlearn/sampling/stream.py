"""A stream of events: its batches, and the features that models look up by event."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import Float, Int, Num
from torch import Tensor

__all__ = ["Events", "Features", "windows"]


class Events(NamedTuple):
    """Consecutive events, in order of time; `eid` is the row of each in the whole stream."""

    src: Int[Tensor, " event"]
    dst: Int[Tensor, " event"]
    t: Num[Tensor, " event"]
    eid: Int[Tensor, " event"]


class Features(NamedTuple):
    """Features of nodes and events; of width zero where a stream has none."""

    node: Float[Tensor, "node chan"]
    edge: Float[Tensor, "event width"]


def windows(ids: Int[Tensor, " event"], size: int) -> Iterator[Int[Tensor, " batch"]]:
    """Consecutive batches of events; the last one may be shorter.

    Args:
        ids: Events in order of time.
        size: Events of a batch.

    Raises:
        ValueError: if `size` is not positive.
    """
    if size < 1:
        raise ValueError(f"the batch size must be at least 1, got {size}")
    return (ids[first : first + size] for first in range(0, len(ids), size))

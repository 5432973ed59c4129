"""A synthetic stream of events, to try things on without any file."""

from bisect import bisect
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from random import Random

import torch
from torch_geometric.data import TemporalData

from graphlearn.data.dataset import Dataset
from graphlearn.data.streams import event_dataset

__all__ = ["load_synthetic", "synthetic_events"]

_RECENT = 12  # partners that a node remembers
_REPEAT, _CLOSE = 0.4, 0.45  # shares of events that repeat a partner, and that close a triangle
_ARRIVED = 0.6  # share of the nodes that are there from the start


def synthetic_events(
    num_nodes: int = 600, num_events: int = 12000, *, seed: int = 0
) -> TemporalData:
    """A made-up stream of whole seconds with some of what is found in real ones.

    It is synthetic: results on it say whether something runs, and nothing about how good it is.

    In an event, an active node meets a recent partner again (recency), or a recent partner of a
    recent partner (triadic closure), or anybody (noise). Activity is heavy-tailed, the node with
    rank k of them being chosen in proportion to 1 / (k + 5); nodes that were active just now tend
    to be so again, events come in bursts, and nodes arrive over time. Only sums,
    products and quotients are computed, so a seed gives the same bits everywhere.

    Args:
        num_nodes: Number of nodes; some may have no event.
        num_events: Number of events.
        seed: Decides the stream, alone.

    Raises:
        ValueError: if there are fewer than 3 nodes, or no events.
    """
    if num_nodes < 3 or num_events < 1:
        raise ValueError(
            f"a synthetic stream needs at least 3 nodes and 1 event, got {num_nodes} and "
            f"{num_events}"
        )
    draw = Random(seed).random
    label = _shuffled(num_nodes, draw)
    weight = list(accumulate(1 / (rank + 5) for rank in range(num_nodes)))
    recent: list[deque[int]] = [deque(maxlen=_RECENT) for _ in range(num_nodes)]
    active: deque[int] = deque(maxlen=20)
    rows, time, burst = [], 0, 0
    for event in range(num_events):
        arrived = _ARRIVED + (1 - _ARRIVED) * event / num_events
        there = max(3, int(arrived * num_nodes))
        u = _pick(active, draw) if active and draw() < 0.5 else _anybody(weight, there, draw)
        v = _partner(u, recent, weight, there, draw)
        burst = burst - 1 if burst else int(draw() * 20)
        time += 1 + int(draw() * (30 if burst else 5400))
        recent[u].append(v)
        recent[v].append(u)
        active.append(u)
        rows.append((label[u], label[v], time))
    src, dst, t = torch.tensor(rows).T.contiguous()
    return TemporalData(src=src, dst=dst, t=t)


def load_synthetic(
    name: str = "synthetic-events",
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
) -> Dataset:
    """The stream that `synthetic_events` makes by default, the same for every seed of a run.

    It is synthetic: results on it say whether something runs, and nothing about how good it is.

    Args:
        name: Name of the data set.
        seed: Seed of the split, where nodes are drawn.
        protocol: `auto`, `transductive`, `inductive` or `new-node`, see `split_events`.
        valid: Share of validation events.
        test: Share of test events.
        replay: `all` or `reference`, see `split_events`.

    Raises:
        ValueError: if an option is not valid.
    """
    return event_dataset(
        name, synthetic_events(), 600, protocol=protocol, seed=seed, valid=valid, test=test,
        replay=replay,
    )  # fmt: skip


def _partner(
    u: int,
    recent: list[deque[int]],
    weight: list[float],
    there: int,
    draw: Callable[[], float],
) -> int:
    """Whom a node meets: somebody it knows, somebody they know, or anybody else."""
    way = draw()
    if recent[u] and way < _REPEAT:
        return _pick(recent[u], draw)
    if recent[u] and way < _REPEAT + _CLOSE:
        v = _pick(recent[_pick(recent[u], draw)], draw)
        if v != u:
            return v
    v = u
    while v == u:
        v = _anybody(weight, there, draw)
    return v


def _pick(nodes: deque[int], draw: Callable[[], float]) -> int:
    """One of the nodes, the last ones more often."""
    share = draw()
    return nodes[len(nodes) - 1 - int(share * share * len(nodes))]


def _anybody(weight: list[float], there: int, draw: Callable[[], float]) -> int:
    return min(bisect(weight, draw() * weight[there - 1]), there - 1)


def _shuffled(count: int, draw: Callable[[], float]) -> list[int]:
    """All numbers in random order; written out, since only `random` itself is fixed for good."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = int(draw() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order

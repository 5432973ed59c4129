"""Undirected simple graphs as pairs `(i, j)`, `i < j`, and their opposite, the non-edges."""

import logging

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["both_directions", "non_edges", "pair_keys", "simple_pairs", "sort_pairs"]

_log = logging.getLogger(__name__)
_SHUFFLE_LIMIT = 1 << 25  # Below this many non-edges all of them are shuffled (256 MB at most).


def simple_pairs(
    edge_index: Int[Tensor, "2 edge"], num_nodes: int, *, source: str
) -> Int[Tensor, "2 pair"]:
    """Every undirected edge once, sorted; says in the log what was dropped or merged.

    Self loops are dropped, repeated edges and the two directions of an edge are merged, and a
    directed list is taken as undirected.

    Args:
        edge_index: Edges in any order and direction.
        num_nodes: Number of nodes.
        source: What the edges came from, for messages.

    Raises:
        ValueError: if an id lies outside the graph, or no edge is left.
    """
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
        bad = edge_index[(edge_index < 0) | (edge_index >= num_nodes)][0]
        raise ValueError(f"{source}: node ids must lie in [0, {num_nodes}), got {int(bad)}")
    edge_index = edge_index.long()
    loops = edge_index[0] == edge_index[1]
    edge_index = edge_index[:, ~loops]
    ordered = torch.unique(edge_index[0] * num_nodes + edge_index[1])
    key = torch.unique(pair_keys(edge_index, num_nodes))
    if not len(key):
        raise ValueError(f"{source}: the graph has no edges (self loops do not count)")
    _report(source, int(loops.sum()), edge_index.shape[1] - len(ordered), len(ordered), len(key))
    return torch.stack([key // num_nodes, key % num_nodes])


def both_directions(pairs: Int[Tensor, "2 pair"]) -> Int[Tensor, "2 edge"]:
    """The `edge_index` of undirected pairs: every edge in both directions, sorted by row."""
    edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
    return sort_pairs(edge_index, orient=False)


def non_edges(
    pairs: Int[Tensor, "2 pair"], num_nodes: int, count: int, *, generator: torch.Generator
) -> Int[Tensor, "2 hit"]:
    """Distinct unordered pairs that are no edges, uniformly at random, without self pairs.

    Non-edges are numbered in lexicographic order and their numbers drawn, so the cost does not
    depend on how dense the graph is.

    Args:
        pairs: Every undirected edge once.
        num_nodes: Number of nodes.
        count: How many to draw.
        generator: Source of randomness.

    Raises:
        ValueError: if the graph has fewer than `count` non-edges.
    """
    total = num_nodes * (num_nodes - 1) // 2 - pairs.shape[1]
    if total < count:
        raise ValueError(
            f"the graph is too dense: {count} negative pairs are needed, it has {total} non-edges"
        )
    number = _distinct(total, count, generator)
    nodes = torch.arange(num_nodes)
    row_start: Tensor = nodes * (2 * num_nodes - nodes - 1) // 2  # pairs before (i, i + 1)
    low, high = sort_pairs(pairs)
    taken = row_start[low] + high - low - 1
    # The k-th edge shifts every non-edge whose number is at least (its rank - k).
    rank = number + torch.searchsorted(taken - torch.arange(len(taken)), number, right=True)
    low = torch.searchsorted(row_start[:-1], rank, right=True) - 1
    return torch.stack([low, rank - row_start[low] + low + 1])


def pair_keys(pairs: Int[Tensor, "2 pair"], num_nodes: int) -> Int[Tensor, " pair"]:
    """One integer for each unordered pair: smaller end times number of nodes plus larger end."""
    low, high = pairs.long().sort(dim=0).values
    key: Tensor = low * num_nodes + high
    return key


def sort_pairs(pairs: Int[Tensor, "2 pair"], *, orient: bool = True) -> Int[Tensor, "2 pair"]:
    """Pairs in lexicographic order, the smaller end first unless `orient` is off."""
    pairs = pairs.sort(dim=0).values if orient else pairs
    base = int(pairs.max()) + 1 if pairs.numel() else 1
    key = (pairs[0].long() * base + pairs[1]).sort().values
    return torch.stack([key // base, key % base])


def _distinct(total: int, count: int, generator: torch.Generator) -> Tensor:
    """Distinct integers below `total`, in random order."""
    if total <= _SHUFFLE_LIMIT or 2 * count > total:
        return torch.randperm(total, generator=generator)[:count]
    number = torch.empty(0, dtype=torch.long)
    while len(number) < count:
        more = torch.randint(total, (count - len(number) + 16,), generator=generator)
        number = torch.cat([number, more])
        values, first = torch.unique(number, return_inverse=True)
        # Keep the first draw of each value, in the order of the draws.
        seen = torch.full((len(values),), len(number)).scatter_reduce(
            0, first, torch.arange(len(number)), "amin"
        )
        number = number[seen.sort().values]
    return number[:count]


def _report(source: str, loops: int, repeats: int, ordered: int, pairs: int) -> None:
    if loops:
        _log.warning("%s: dropped %d self loops", source, loops)
    if repeats:
        _log.warning("%s: merged %d repeated edges", source, repeats)
    twice = ordered - pairs
    if 0 < twice < pairs:
        _log.warning(
            "%s: a directed list is taken as undirected (%d of %d edges have both directions)",
            source,
            twice,
            pairs,
        )

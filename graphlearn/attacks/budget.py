"""What attacks share: the graph they are given, how much they may change, what they return."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch_geometric.data import Data

from graphlearn.ops.backend import check_range
from graphlearn.ops.csr import CSR

__all__ = [
    "AttackResult",
    "changes",
    "flipped",
    "graph_of",
    "labels_of",
    "may_go",
    "removable",
    "shuffled",
    "steady",
]


class AttackResult(NamedTuple):
    """A graph after an attack.

    Args:
        edge_index: All edges in both directions, sorted.
        added: Edges that are new, the smaller end first, sorted.
        removed: Edges that are gone, likewise.
    """

    edge_index: Int[Tensor, "2 edge"]
    added: Int[Tensor, "2 new"]
    removed: Int[Tensor, "2 gone"]


def graph_of(data: Data) -> CSR:
    """The graph of a data object, on its device, after a check that it is plain.

    Args:
        data: With `edge_index` in both directions.

    Raises:
        ValueError: if edges are missing, weighted, loops, repeated, or lack their opposite.
    """
    edge_index = data.edge_index
    if edge_index is None or edge_index.dim() != 2 or edge_index.shape[0] != 2:
        shape = None if edge_index is None else tuple(edge_index.shape)
        raise ValueError(f"an attack needs data.edge_index of shape (2, E), got {shape}")
    for name in ("edge_weight", "edge_attr"):
        if data.get(name) is not None:
            raise ValueError(f"an attack flips plain edges, but data has {name}; remove it")
    size = int(data.num_nodes)
    check_range(size, edge_index)
    row, col = edge_index.long()
    loops = int((row == col).sum())
    if loops:
        raise ValueError(
            f"an attack needs edges between different nodes, got {loops} self loops; "
            "see torch_geometric.utils.remove_self_loops"
        )
    keys = row * size + col
    if not bool((keys.diff() > 0).all()):
        keys = keys.sort().values
    twice = int((keys.diff() == 0).sum())
    if twice:
        raise ValueError(
            f"an attack needs each edge once in each direction, but {twice} are repeated; "
            "see torch_geometric.utils.coalesce"
        )
    bounds = torch.arange(size + 1, device=keys.device) * size
    col = (keys % max(size, 1)).int()
    graph = CSR(torch.searchsorted(keys, bounds), col, size, symmetric=True)
    alone = int((graph.locate(torch.stack([col.long(), graph.rows()])) < 0).sum())
    if alone:
        raise ValueError(
            f"an attack needs each edge in both directions, but {alone} lack their opposite; "
            "see torch_geometric.utils.to_undirected"
        )
    return graph


def labels_of(data: Data, attack: str) -> Int[Tensor, " node"]:
    """The class of each node, -1 where it has none.

    Args:
        data: With `y`.
        attack: Who asks, for the message.

    Raises:
        ValueError: if there are no labels, or not one whole number for each node.
    """
    y = data.y
    if y is None:
        raise ValueError(f"{attack} needs labels, but data.y is missing")
    size = int(data.num_nodes)
    if y.dim() != 1 or len(y) != size or y.is_floating_point() or y.dtype == torch.bool:
        kind = str(y.dtype).removeprefix("torch.")
        raise ValueError(
            f"{attack} needs data.y with {size} whole numbers, got {kind} of {tuple(y.shape)}"
        )
    labels: Tensor = y.long()
    return labels


def changes(budget: float | int, edges: int) -> int:
    """How many edges may be changed.

    Args:
        budget: A float is a share of the edges, rounded down; an int is the number itself.
        edges: Undirected edges of the graph.

    Raises:
        ValueError: if the budget is negative or not finite.

    Example:
        >>> changes(0.05, 5069), changes(7, 5069)
        (253, 7)
    """
    if isinstance(budget, bool) or not math.isfinite(budget) or budget < 0:
        raise ValueError(
            f"budget must be a number of edges or a share of them, at least 0, got {budget}"
        )
    if isinstance(budget, int):
        return budget
    return math.floor(budget * edges + 1e-9)  # 0.29 of 100 edges are 29


def may_go(
    pairs: Int[Tensor, "2 pair"], degree: Int[Tensor, " node"], *, isolate: bool = False
) -> Bool[Tensor, " pair"]:
    """Which edges go if they are removed in order, sparing the last edge of a node.

    What surely happens to the first ones settles those after them, in a few rounds.

    Args:
        pairs: Different edges, in the order in which they are removed.
        degree: Number of edges of each node, these included.
        isolate: The last edge of a node may go too.
    """
    count = pairs.shape[1]
    gone = torch.full((count,), isolate, device=pairs.device)
    waiting = torch.arange(0 if isolate else count, device=pairs.device)
    spare = degree - 1  # edges that a node can still lose
    while len(waiting):
        ends = pairs[:, waiting]
        # Of earlier edges at the same end that are not settled, all may go, or none.
        goes = (spare[ends] > _earlier(ends, len(spare))).all(0)
        stays = (spare[ends] <= 0).any(0)
        gone[waiting[goes]] = True
        spare = spare - torch.bincount(ends[:, goes].flatten(), minlength=len(spare))
        waiting = waiting[~goes & ~stays]
    return gone


def removable(
    pairs: Int[Tensor, "2 pair"],
    degree: Int[Tensor, " node"],
    count: int,
    *,
    isolate: bool = False,
) -> Int[Tensor, "2 gone"]:
    """The first edges that go if edges are removed in order, sparing the last edge of a node.

    Args:
        pairs: Different edges, in the order in which they are removed.
        degree: Number of edges of each node, these included.
        count: How many at most; all that can go where there are fewer.
        isolate: The last edge of a node may go too.
    """
    total = pairs.shape[1]
    size = min(total, count + count // 4 + 64)
    while True:
        some = pairs[:, :size]
        found = some[:, may_go(some, degree, isolate=isolate)]
        if found.shape[1] >= count or size == total:
            return found[:, :count]
        size = min(total, 2 * size)


def flipped(
    graph: CSR, added: Int[Tensor, "2 new"], removed: Int[Tensor, "2 gone"]
) -> AttackResult:
    """The graph after flips, in time that is linear but for sorting what is added.

    Args:
        graph: Symmetric, without loops.
        added: Pairs without an edge, each once.
        removed: Edges, each once.
    """
    size = graph.num_rows
    added, removed = _sorted(added, size), _sorted(removed, size)
    old = graph.rows() * size + graph.col
    keep = torch.ones_like(old, dtype=torch.bool)
    keep[graph.locate(torch.cat([removed, removed.flip(0)], dim=1))] = False
    old = old[keep]
    both = torch.cat([added, added.flip(0)], dim=1)
    new = (both[0] * size + both[1]).sort().values
    place = torch.searchsorted(old, new) + torch.arange(len(new), device=new.device)
    keys = old.new_empty(len(old) + len(new))
    fresh = torch.zeros_like(keys, dtype=torch.bool)
    fresh[place] = True
    keys[fresh], keys[~fresh] = new, old
    width = max(size, 1)
    return AttackResult(torch.stack([keys // width, keys % width]), added, removed)


def shuffled(graph: CSR, generator: torch.Generator) -> Int[Tensor, "2 pair"]:
    """Every undirected edge once, shuffled by a generator on the CPU.

    Args:
        graph: Symmetric.
        generator: Decides the order, alone.
    """
    pairs = torch.stack([graph.rows(), graph.col.long()])
    pairs = pairs[:, pairs[0] < pairs[1]]
    return pairs[:, torch.randperm(pairs.shape[1], generator=generator).to(pairs.device)]


@contextmanager
def steady(device: torch.device) -> Iterator[None]:
    """Sums and products whose bits do not depend on the number of threads.

    Args:
        device: Where they are computed; only the CPU needs care.
    """
    if device.type != "cpu":
        yield
        return
    from graphlearn.ops.cpu.jit import exact

    with exact():
        yield


def _earlier(ends: Tensor, size: int) -> Tensor:
    """For both ends of each pair, how many pairs before it have that end."""
    count = ends.shape[1]
    place = torch.arange(2 * count, device=ends.device)
    node, order = (ends.t().flatten() * (2 * count) + place).sort()
    node = node // max(2 * count, 1)
    start = torch.searchsorted(node, torch.arange(size, device=node.device))
    found = torch.empty_like(place)
    found[order] = place - start[node]
    return found.view(count, 2).t()


def _sorted(pairs: Tensor, size: int) -> Tensor:
    low, high = pairs.min(0).values, pairs.max(0).values
    keys = (low * size + high).sort().values
    return torch.stack([keys // max(size, 1), keys % max(size, 1)])

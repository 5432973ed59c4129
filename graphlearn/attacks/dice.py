"""Delete internally, connect externally: flips that mix the classes."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphlearn.attacks.budget import (
    AttackResult,
    changes,
    flipped,
    graph_of,
    labels_of,
    removable,
    shuffled,
)
from graphlearn.ops.csr import CSR

__all__ = ["DICEAttack"]


class DICEAttack:
    """Removes edges within classes and adds edges across them, both drawn uniformly.

    Each change is a removal with probability one half; where one kind runs out, the other takes
    its place. All labels are used, those of test nodes too; nodes without one are left alone.

    Reference: Marcin Waniek, Tomasz Michalak, Michael Wooldridge, Talal Rahwan, "Hiding
    Individuals and Communities in a Social Network", Nature Human Behaviour, 2018.

    Args:
        isolate: Nodes may lose their last edge.
    """

    def __init__(self, *, isolate: bool = False) -> None:
        self.isolate = isolate

    def attack(self, data: Data, budget: float | int, *, seed: int = 0) -> AttackResult:
        """Change exactly as many edges as the budget says.

        Args:
            data: Graph in both directions, without weights and loops, and `y`, -1 for no label.
            budget: A float is a share of the edges, rounded down; an int is a number of edges.
            seed: Decides the result, alone.

        Raises:
            ValueError: if the graph is not plain, has no labels, or does not allow for so many
                changes.
        """
        graph = graph_of(data)
        y = labels_of(data, "DICEAttack").to(graph.ptr.device)
        count = changes(budget, graph.num_entries // 2)
        generator = torch.Generator().manual_seed(seed)
        inner = shuffled(graph, generator)
        same = (y[inner[0]] == y[inner[1]]) & (y[inner[0]] >= 0)
        inner = inner[:, same]
        inner = removable(inner, graph.degree(), count, isolate=self.isolate)
        free = _free(graph, y)
        if count > inner.shape[1] + free:
            raise ValueError(
                f"{count} edges are to be changed, but only {inner.shape[1]} within classes could "
                f"go and {free} across classes could come"
            )
        half = torch.full((), float(count), dtype=torch.float64)
        removals = int(torch.binomial(half, torch.full_like(half, 0.5), generator=generator))
        removals = min(max(removals, count - free), inner.shape[1])
        added = _across(graph, y, count - removals, free, generator)
        return flipped(graph, added, inner[:, :removals])


def _cells(sizes: Tensor) -> int:
    """Pairs of nodes of different classes, from the sizes of the classes."""
    total = int(sizes.sum())
    return (total * total - int((sizes * sizes).sum())) // 2


def _free(graph: CSR, y: Tensor) -> int:
    """Pairs of different classes without an edge."""
    row, col = y[graph.rows()], y[graph.col.long()]
    linked = int(((row != col) & (row >= 0) & (col >= 0)).sum()) // 2
    return _cells(torch.bincount(y[y >= 0])) - linked


def _across(graph: CSR, y: Tensor, count: int, free: int, generator: torch.Generator) -> Tensor:
    """So many different pairs of different classes without an edge, uniformly."""
    size = max(graph.num_rows, 1)
    order = y.argsort(stable=True)
    order = order[y[order] >= 0]
    sizes = torch.bincount(y[order])
    cells = _cells(sizes)
    if 2 * count > free or 2 * free < cells:  # else at least every fourth draw is new and free
        pairs = _listed(order, sizes)
        pairs = pairs[:, graph.locate(pairs) < 0]
        pick = torch.randperm(pairs.shape[1], generator=generator)[:count]
        return pairs[:, pick.to(pairs.device)]
    keys = graph.ptr.new_empty(0)
    while len(keys) < count:
        draws = int(1.1 * (count - len(keys)) * cells / (free - count)) + 16
        pairs = _draw(order, sizes, draws, generator)
        pairs = pairs[:, graph.locate(pairs) < 0]
        keys = torch.unique(torch.cat([keys, pairs[0] * size + pairs[1]]))
    pick = torch.randperm(len(keys), generator=generator)[:count]  # they were sorted
    keys = keys[pick.to(keys.device)]
    return torch.stack([keys // size, keys % size])


def _draw(order: Tensor, sizes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Pairs of nodes of different classes, uniformly: `order` lists the nodes class by class."""
    total = len(order)
    others = (total - sizes).double()
    # A node is as likely as it has nodes of other classes; one of these follows, skipping its own.
    chance = (sizes * others).cpu()
    kind = torch.multinomial(chance, count, True, generator=generator).to(order.device)
    start = sizes.cumsum(0) - sizes
    u = start[kind] + _below(sizes[kind], generator)
    v = _below(total - sizes[kind], generator)
    v = v + sizes[kind] * (v >= start[kind])
    ends = torch.stack([order[u], order[v]])
    return torch.stack([ends.min(0).values, ends.max(0).values])


def _below(bound: Tensor, generator: torch.Generator) -> Tensor:
    """A number below each bound, from 63 random bits."""
    word = torch.randint(1 << 62, bound.shape, generator=generator)
    return word.to(bound.device) % bound


def _listed(order: Tensor, sizes: Tensor) -> Tensor:
    """All pairs of nodes of different classes; made only where most of them are used."""
    parts, start = [order.new_empty(2, 0)], 0
    for size in sizes.tolist():
        own, later = order[start : start + size], order[start + size :]
        start += size
        u = own.repeat_interleave(len(later))
        parts.append(torch.stack([u, later.repeat(size)]))
    ends = torch.cat(parts, dim=1)
    return torch.stack([ends.min(0).values, ends.max(0).values])

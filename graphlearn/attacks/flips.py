"""Edges that are flipped at random."""

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphlearn.attacks.budget import (
    AttackResult,
    changes,
    flipped,
    graph_of,
    may_go,
    removable,
    shuffled,
)
from graphlearn.ops.csr import CSR
from graphlearn.sampling.negatives import uniform

__all__ = ["RandomAttack"]


class RandomAttack:
    """Pairs of nodes that are drawn uniformly.

    `add` takes pairs without an edge; `remove` takes edges, one after the other among those that
    may still go; `flip` takes any pairs and changes what they are, which on a sparse graph nearly
    always adds an edge. Time and memory are linear in the edges and the budget.

    Args:
        mode: What is drawn.
        isolate: Nodes may lose their last edge.

    Raises:
        ValueError: if `mode` is unknown.

    Example:
        >>> path = Data(edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
        >>> RandomAttack(mode="add").attack(path, 1).added
        tensor([[0],
                [2]])
    """

    def __init__(
        self, *, mode: Literal["add", "remove", "flip"] = "add", isolate: bool = False
    ) -> None:
        if mode not in ("add", "remove", "flip"):
            raise ValueError(f"mode must be add, remove or flip, got {mode!r}")
        self.mode, self.isolate = mode, isolate

    def attack(self, data: Data, budget: float | int, *, seed: int = 0) -> AttackResult:
        """Change exactly as many edges as the budget says.

        Args:
            data: Graph in both directions, without weights and loops.
            budget: A float is a share of the edges, rounded down; an int is a number of edges.
            seed: Decides the result, alone.

        Raises:
            ValueError: if the graph is not plain, or does not allow for so many changes.
        """
        graph = graph_of(data)
        edges = graph.num_entries // 2
        count = changes(budget, edges)
        cells = graph.num_rows * (graph.num_rows - 1) // 2
        none = graph.ptr.new_empty(2, 0)
        if self.mode == "add":
            if count > cells - edges:
                raise ValueError(
                    f"{count} edges are to be added, but only {cells - edges} pairs have none"
                )
            return flipped(graph, uniform(graph, count, seed=seed, undirected=True), none)
        if self.mode == "remove":
            return flipped(graph, none, self._remove(graph, count, seed))
        return flipped(graph, *self._flip(graph, count, cells, seed))

    def _remove(self, graph: CSR, count: int, seed: int) -> Tensor:
        pairs = shuffled(graph, torch.Generator().manual_seed(seed))
        pairs = removable(pairs, graph.degree(), count, isolate=self.isolate)
        if count > pairs.shape[1]:
            rule = "" if self.isolate else ", leaving no node alone"
            raise ValueError(
                f"{count} edges are to be removed, but only {pairs.shape[1]} of "
                f"{graph.num_entries // 2} could go{rule}"
            )
        return pairs

    def _flip(self, graph: CSR, count: int, cells: int, seed: int) -> tuple[Tensor, Tensor]:
        edges = graph.num_entries // 2
        blank = CSR(torch.zeros_like(graph.ptr), graph.col[:0], graph.num_cols, symmetric=True)
        # At worst all edges are drawn and none of them may go.
        pairs = uniform(blank, min(cells, count + edges), seed=seed, undirected=True)
        taken = graph.locate(pairs) >= 0
        allowed = ~taken
        allowed[taken] = may_go(pairs[:, taken], graph.degree(), isolate=self.isolate)
        pairs, taken = pairs[:, allowed], taken[allowed]
        if count > pairs.shape[1]:
            raise ValueError(
                f"{count} pairs are to be flipped, but only {pairs.shape[1]} of {cells} can be"
            )
        pairs, taken = pairs[:, :count], taken[:count]
        return pairs[:, ~taken], pairs[:, taken]

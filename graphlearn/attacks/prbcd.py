"""Projected randomised block coordinate descent: gradients for a block of random pairs."""

import sys
import warnings
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch_geometric.data import Data

from graphlearn.attacks.budget import (
    AttackResult,
    changes,
    flipped,
    graph_of,
    may_go,
    steady,
)
from graphlearn.attacks.surrogate import Surrogate, problem_of, pseudo_labels, trained
from graphlearn.ops.csr import CSR
from graphlearn.sampling.batches import fold

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyG says that its contributions may change
    from torch_geometric.contrib.nn import PRBCDAttack

__all__ = ["PRBCD"]


class PRBCD:
    r"""Flips that gradient ascent on the weights of random pairs finds (PRBCD).

    Memory is linear in the edges and `block_size`, so that it suits large graphs, and it attacks
    any model that is differentiable in the weights of edges. The search is that of
    `torch_geometric.contrib.nn.PRBCDAttack`; what it leaves of the budget is spent on the pairs
    that it weighed most, so that the number of flips is exact.

    The weights of the model stay as they are: the attack is on its predictions. As poison it is
    made against a linear graph convolution that was trained on the clean graph, see `attack`; for
    the attack on a model of one's own see `graphlearn.attacks.adaptive`.

    Reference: Simon Geisler, Tobias Schmidt, Hakan Şirin, Daniel Zügner, Aleksandar Bojchevski,
    Stephan Günnemann, "Robustness of Graph Neural Networks at Scale", NeurIPS 2021.

    Args:
        epochs: Steps with blocks that change; a quarter as many follow with the best block.
        block_size: Pairs that are searched at a time; 0 is twenty times the budget, at least
            20,000.
        lr: Rate of the ascent; it is scaled by the budget and the size of the graph.
        loss: What is raised: the margin of logits through tanh, of probabilities, or as it is.
        isolate: Nodes may lose their last edge.
        progress: Whether to draw a bar; None: on a terminal.

    Raises:
        ValueError: if a setting lies outside its range.
    """

    def __init__(
        self,
        *,
        epochs: int = 100,
        block_size: int = 0,
        lr: float = 1000.0,
        loss: Literal["tanh_margin", "prob_margin", "margin"] = "tanh_margin",
        isolate: bool = False,
        progress: bool | None = None,
    ) -> None:
        if loss not in ("tanh_margin", "prob_margin", "margin"):
            raise ValueError(f"loss must be tanh_margin, prob_margin or margin, got {loss!r}")
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        if block_size < 0:
            raise ValueError(f"block_size must be at least 0, got {block_size}")
        if not lr > 0:
            raise ValueError(f"lr must be positive, got {lr}")
        self.epochs, self.block_size, self.lr, self.loss = epochs, block_size, lr, loss
        self.isolate, self.progress = isolate, progress

    def attack(self, data: Data, budget: float | int, *, seed: int = 0) -> AttackResult:
        """Change exactly as many edges as the budget says, against a linear graph convolution.

        It is trained on the clean graph; its own predictions are taken for the labels of the nodes
        that are not for training, and these nodes are attacked.

        Args:
            data: Graph in both directions, without weights and loops; `x`; `y`, -1 for no label;
                `train_mask`. Labels of other nodes are not used.
            budget: A float is a share of the edges, rounded down; an int is a number of edges.
            seed: Decides the result, alone.

        Raises:
            ValueError: if the graph is not plain, something is missing, or it does not allow for
                so many changes.
        """
        graph = graph_of(data)
        count = changes(budget, graph.num_entries // 2)
        problem = problem_of(data, "PRBCD")
        with steady(graph.ptr.device):
            clean = Surrogate.on(problem, graph)
            weights = trained(clean, 16, fold(seed, 0))
            y = pseudo_labels(clean, weights)

            def logits(graph: CSR) -> Tensor:
                return Surrogate.on(problem, graph).smooth(weights[0]) @ weights[1]

            return self.search(logits, graph, y, problem.rest, count, seed=seed)

    def search(
        self,
        logits: Callable[[CSR], Tensor],
        graph: CSR,
        y: Int[Tensor, " node"],
        nodes: Int[Tensor, " hit"],
        count: int,
        *,
        seed: int = 0,
    ) -> AttackResult:
        """So many flips that a model gets some nodes wrong.

        Args:
            logits: Logits of all nodes on a symmetric graph, differentiable in its weights; a graph
                without weights is plain.
            graph: The clean graph.
            y: Labels.
            nodes: Which nodes are attacked.
            count: Number of flips.
            seed: Decides the result, alone.

        Raises:
            ValueError: if the graph does not allow for so many changes, there is no node to attack,
                or the logits are not finite.
        """
        if not len(nodes):
            raise ValueError("PRBCD needs nodes to attack, got none")
        if count and not bool(logits(graph).isfinite().all()):
            raise ValueError("PRBCD needs finite logits, got nan or infinity; look at the features")
        cells = graph.num_rows * (graph.num_rows - 1) // 2
        none = graph.ptr.new_empty(2, 0)
        if count == 0:
            return flipped(graph, none, none)
        if count > cells:
            raise ValueError(f"{count} pairs are to be flipped, but there are only {cells}")
        device = graph.ptr.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), steady(device):
            torch.manual_seed(fold(seed, 1))
            pairs = self._ranked(_OnEdges(logits, graph.num_rows), graph, y, nodes, count)
        taken = graph.locate(pairs) >= 0
        allowed = ~taken
        allowed[taken] = may_go(pairs[:, taken], graph.degree(), isolate=self.isolate)
        pairs, taken = pairs[:, allowed][:, :count], taken[allowed][:count]
        if pairs.shape[1] < count:
            raise ValueError(
                f"{count} pairs are to be flipped, but of those searched only {pairs.shape[1]} "
                "can be; raise block_size"
            )
        return flipped(graph, pairs[:, ~taken], pairs[:, taken])

    def _ranked(self, model: nn.Module, graph: CSR, y: Tensor, nodes: Tensor, count: int) -> Tensor:
        """The flips that PyG decided on, and after them the other pairs of its last block."""
        bar = sys.stderr.isatty() if self.progress is None else self.progress
        search = PRBCDAttack(
            model,
            block_size=self.block_size or max(20 * count, 20_000),
            epochs=self.epochs + self.epochs // 4,
            epochs_resampling=self.epochs,
            loss=self.loss,
            lr=self.lr,
            log=bar,
        )
        edge_index = torch.stack([graph.rows(), graph.col.long()])
        blank = torch.empty(graph.num_rows, 0, device=edge_index.device)
        try:
            search.attack(blank, edge_index, y, count, nodes)
        except (RuntimeError, ValueError) as error:
            if "block" not in str(error) and "search space" not in str(error):
                raise
            raise ValueError(
                f"{count} pairs are to be flipped, which needs a larger block than "
                f"{search.block_size} pairs; raise block_size or lower the budget"
            ) from error
        weight = search.best_pert_edge_weight.to(edge_index.device) + 2 * search.block_edge_weight
        order = weight.sort(descending=True, stable=True).indices
        found: Tensor = search.block_edge_index[:, order]
        return found


class _OnEdges(nn.Module):
    """A model of graphs as PyG's search calls it: with sorted edges and their weights."""

    def __init__(self, logits: Callable[[CSR], Tensor], num_nodes: int) -> None:
        super().__init__()
        self.logits, self.num_nodes = logits, num_nodes

    def forward(self, x: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
        if not weight.requires_grad:  # flips that were decided on: a plain graph
            edge_index = edge_index[:, weight > 0.5]
        bounds = torch.arange(self.num_nodes + 1, device=edge_index.device)
        graph = CSR(
            torch.searchsorted(edge_index[0].contiguous(), bounds),
            edge_index[1].int(),
            self.num_nodes,
            weight=weight if weight.requires_grad else None,
            symmetric=True,
        )
        return self.logits(graph)

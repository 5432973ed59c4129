"""The honest test of a defence: an attack that knows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor, nn

from graphlearn.attacks.budget import AttackResult, changes, steady
from graphlearn.attacks.prbcd import PRBCD
from graphlearn.ops.backend import check_range
from graphlearn.ops.csr import CSR

__all__ = ["Adaptive", "Attackable", "adaptive"]


@runtime_checkable
class Attackable(Protocol):
    """A model of nodes in two parts, as `graphlearn.tasks.node.NodeModel`."""

    def prepare(self, x: Tensor | CSR, graph: CSR) -> Any:  # noqa: ANN401
        """What the model needs of the graph, differentiable in its weights."""

    def __call__(self, x: Tensor | CSR, graph: Any) -> Tensor:  # noqa: ANN401
        """Logits of each class for each node."""


class Adaptive(NamedTuple):
    """How a model did before and after an attack on itself.

    Args:
        clean: Accuracy on the clean graph.
        attacked: Accuracy on the attacked graph.
        result: The attacked graph.
    """

    clean: float
    attacked: float
    result: AttackResult


def adaptive(
    model: Attackable,
    x: Tensor | CSR,
    graph: CSR,
    y: Int[Tensor, " node"],
    nodes: Int[Tensor, " hit"],
    budget: float | int,
    *,
    seed: int = 0,
    epochs: int = 100,
    block_size: int = 0,
    lr: float = 1000.0,
    loss: Literal["tanh_margin", "prob_margin", "margin"] = "tanh_margin",
    isolate: bool = False,
    progress: bool | None = None,
) -> Adaptive:
    """Attack a trained model by the gradients of its own logits, and see what is left of it.

    The weights of the model stay as they are. The search goes through `prepare` as well: where
    that takes discrete decisions (which edges to drop), these are constants of a step, and the
    gradient flows through the weights of the edges that stay. What the search finds is judged on
    the plain attacked graph, which the model prepares anew. The defence is no better than this
    says, yet may be worse: a search finds an attack, not the strongest one.

    Args:
        model: Trained, with `prepare` and logits from it.
        x: Features as the model takes them.
        graph: Clean graph: symmetric, without weights and loops.
        y: Class of each node.
        nodes: Nodes that are attacked, and whose accuracy is reported.
        budget: A float is a share of the edges, rounded down; an int is a number of edges.
        seed: Decides the result, alone.
        epochs: See `graphlearn.attacks.PRBCD`, as for all that follows.
        block_size: Pairs that are searched at a time.
        lr: Rate of the search.
        loss: What is raised.
        isolate: Nodes may lose their last edge.
        progress: Whether to draw a bar; None: on a terminal.

    Raises:
        ValueError: if the graph is not plain, a node has no label, or the logits do not depend on
            the weights of the graph.
    """
    attack = PRBCD(
        epochs=epochs, block_size=block_size, lr=lr, loss=loss, isolate=isolate, progress=progress
    )
    _check(graph, y, nodes)
    count = changes(budget, graph.num_entries // 2)

    def logits(graph: CSR) -> Tensor:
        return model(x, model.prepare(x, graph))

    with _evaluating(model), steady(graph.ptr.device):
        _check_gradient(logits, graph, type(model).__name__)
        result = attack.search(logits, graph, y, nodes, count, seed=seed)
        clean = _accuracy(logits(graph), y, nodes)
        attacked = _accuracy(logits(_plain(result.edge_index, graph.num_rows)), y, nodes)
    return Adaptive(clean, attacked, result)


def _check(graph: CSR, y: Tensor, nodes: Tensor) -> None:
    if graph.weight is not None or graph.keep is not None or not graph.symmetric:
        raise ValueError(
            "an adaptive attack starts from a plain graph: symmetric, without weights, "
            "and no entry switched off"
        )
    if bool((graph.rows() == graph.col).any()):
        raise ValueError("an adaptive attack starts from a graph without self loops")
    if not len(nodes):
        raise ValueError("an adaptive attack needs nodes to attack, got none")
    check_range(graph.num_rows, nodes)
    if bool((y[nodes] < 0).any()):
        bad = int(nodes[y[nodes] < 0][0])
        raise ValueError(f"an adaptive attack needs the labels of its nodes, node {bad} has none")


def _check_gradient(logits: Callable[[CSR], Tensor], graph: CSR, name: str) -> None:
    """A model that cannot be attacked like this must not pass for a robust one."""
    weight = torch.ones(graph.num_entries, device=graph.ptr.device, requires_grad=True)
    z = logits(replace(graph, weight=weight))
    found = None
    if z.requires_grad:
        (found,) = torch.autograd.grad(z.square().sum(), weight, allow_unused=True)
    if found is None or not bool(found.any()):
        raise ValueError(
            f"the logits of {name} have no gradient in the weights of the graph, so that it "
            "cannot be attacked by them; let prepare() pass graph.weight on"
        )


@torch.no_grad()
def _accuracy(z: Tensor, y: Tensor, nodes: Tensor) -> float:
    return int((z[nodes].argmax(1) == y[nodes]).sum()) / len(nodes)


def _plain(edge_index: Tensor, size: int) -> CSR:
    bounds = torch.arange(size + 1, device=edge_index.device)
    ptr = torch.searchsorted(edge_index[0].contiguous(), bounds)
    return CSR(ptr, edge_index[1].int(), size, symmetric=True)


@contextmanager
def _evaluating(model: object) -> Iterator[None]:
    """A module in evaluation mode, and back."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    before = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, before, strict=True):
            module.training = mode

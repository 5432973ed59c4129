"""The linear graph convolution that stands in for the model under attack."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data

from graphlearn.attacks.budget import labels_of
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows
from graphlearn.ops.spmm import propagate

__all__ = [
    "Problem",
    "Surrogate",
    "draw_weights",
    "problem_of",
    "pseudo_labels",
    "trained",
]

_EPOCHS, _RATE, _DECAY = 200, 0.01, 5e-4  # how the model that gives pseudo-labels is trained


class Problem(NamedTuple):
    """What an attacker knows besides the edges.

    Args:
        x: Sparse rows.
        back: Their transpose.
        y: Class of each node, -1 for none.
        train: Ids of the training nodes.
        rest: Ids of all others.
        classes: Number of classes.
    """

    x: CSR
    back: CSR
    y: Tensor
    train: Tensor
    rest: Tensor
    classes: int


class Surrogate(NamedTuple):
    r"""Logits :math:`\hat A \hat A X W_1 W_2`.

    Args:
        problem: Features and labels.
        matrix: :math:`\hat A`.
    """

    problem: Problem
    matrix: CSR

    @classmethod
    def on(cls, problem: Problem, graph: CSR) -> "Surrogate":
        """The same model on a graph."""
        return cls(problem, gcn_norm(graph))

    def smooth(self, weight: Float[Tensor, "feat chan"]) -> Float[Tensor, "node chan"]:
        r"""The product :math:`\hat A \hat A X W`."""
        return self.twice(propagate(self.problem.x, weight))

    def pull(self, grad: Float[Tensor, "node chan"]) -> Float[Tensor, "feat chan"]:
        r"""The product :math:`X^\top \hat A \hat A R`, which is a gradient of `smooth`."""
        return propagate(self.problem.back, self.twice(grad))

    def twice(self, h: Float[Tensor, "node chan"]) -> Float[Tensor, "node chan"]:
        r"""The product :math:`\hat A \hat A H`."""
        return propagate(self.matrix, propagate(self.matrix, h))


def problem_of(data: Data, attack: str) -> Problem:
    """Features and labels of a data object, checked.

    Args:
        data: With `x`, `y` and `train_mask`.
        attack: Who asks, for messages.

    Raises:
        ValueError: if something is missing, or no training node has a label.
    """
    y = labels_of(data, attack)
    if data.x is None:
        raise ValueError(f"{attack} trains a model, but data.x is missing; add features or ids")
    mask = data.get("train_mask")
    if mask is None or mask.dtype != torch.bool or mask.shape != y.shape:
        raise ValueError(f"{attack} needs data.train_mask, one boolean for each of {len(y)} nodes")
    train, rest = mask.nonzero().squeeze(1), (~mask).nonzero().squeeze(1)
    if not len(train) or bool((y[train] < 0).any()):
        raise ValueError(
            f"{attack} needs labels of its training nodes, but "
            f"{int((y[train] < 0).sum())} of {len(train)} have none"
        )
    x = feature_rows(data.x)
    if x.weight is not None and not bool(x.weight.isfinite().all()):
        raise ValueError(f"{attack} needs finite features, got nan or infinity in data.x")
    return Problem(x, x.transpose(), y, train, rest, max(int(y.max()) + 1, 2))


def trained(model: Surrogate, hidden: int, seed: int) -> tuple[Tensor, Tensor]:
    """Weights of both maps after training on the labels of the training nodes.

    Args:
        model: On the clean graph.
        hidden: Width between the maps.
        seed: Seed of the weights.
    """
    w1, w2 = (w.requires_grad_() for w in draw_weights(model.problem, hidden, seed))
    optimizer = torch.optim.Adam([w1, w2], lr=_RATE, weight_decay=_DECAY)
    train, y = model.problem.train, model.problem.y
    for _ in range(_EPOCHS):
        optimizer.zero_grad()
        z = model.smooth(w1) @ w2
        F.cross_entropy(z[train], y[train]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return w1.detach(), w2.detach()


def pseudo_labels(model: Surrogate, weights: tuple[Tensor, Tensor]) -> Int[Tensor, " node"]:
    """Labels of the training nodes, and what a model says of all others.

    Args:
        model: On the clean graph.
        weights: Its two maps.
    """
    guess = (model.smooth(weights[0]) @ weights[1]).argmax(1)
    train = model.problem.train
    guess[train] = model.problem.y[train]
    return guess


def draw_weights(problem: Problem, hidden: int, seed: int) -> Iterator[Tensor]:
    """Fresh weights of both maps, uniform within one over the square root of their width.

    Args:
        problem: Gives the sizes.
        hidden: Width between the maps.
        seed: Decides them, alone.
    """
    made = torch.Generator().manual_seed(seed)
    for rows, columns in ((problem.x.num_cols, hidden), (hidden, problem.classes)):
        bound = columns**-0.5
        drawn = torch.rand(rows, columns, generator=made) * (2 * bound) - bound
        yield drawn.to(problem.y.device)

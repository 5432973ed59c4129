r"""Gradients of an attack with respect to all pairs of nodes, as products of narrow matrices.

The surrogate sees the graph through :math:`U = \hat A \hat A X` alone. A gradient with respect to
it is kept as :math:`\partial L / \partial U = P V^\top`, and with :math:`M = X V` that one with
respect to the entries of :math:`\hat A` is

.. math:: B = P (\hat A M)^\top + (\hat A P) M^\top

so that any block of it is four matrix products, and the whole is never stored. Of
:math:`\hat A_{ij} = s_i s_j (A + I)_{ij}`, :math:`s_i = d_i^{-1/2}`, the entries of :math:`A` and
its degrees get, for an undirected graph,

.. math:: \frac{\partial L}{\partial A_{ij}} = s_i s_j S_{ij} + c_i + c_j, \qquad S = B + B^\top,
          \qquad c_i = - \frac{1}{2 d_i} \sum_j \hat A_{ij} S_{ij}
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphlearn.attacks.surrogate import Surrogate, draw_weights
from graphlearn.ops.csr import CSR
from graphlearn.ops.spmm import propagate

__all__ = ["Inner", "PairGradient", "exact_gradient", "first_order_gradient", "pair_gradient"]


class Inner(NamedTuple):
    """How the surrogate is trained within the attack, and what the attack wants.

    Args:
        hidden: Width between its two maps.
        steps: Steps of gradient descent.
        lr: Their rate.
        momentum: Their momentum.
        train_weight: Share of the loss on training nodes in the loss of the attack.
    """

    hidden: int = 16
    steps: int = 100
    lr: float = 0.1
    momentum: float = 0.9
    train_weight: float = 0.0


class PairGradient(NamedTuple):
    r"""The gradient for every undirected pair, in parts.

    Args:
        left: :math:`P`, below it :math:`\hat A P`.
        right: :math:`\hat A M`, below it :math:`M`.
        scale: :math:`s`.
        shift: :math:`c`.
    """

    left: tuple[Tensor, Tensor]
    right: tuple[Tensor, Tensor]
    scale: Tensor
    shift: Tensor

    def block(self, rows: slice, columns: slice) -> Float[Tensor, "row col"]:
        """The gradient of some rows and columns.

        Args:
            rows: Which rows.
            columns: Which columns.
        """
        out: Tensor | None = None
        for one, other in zip(self.left, self.right, strict=True):
            for a, b in ((one, other), (other, one)):
                mine, theirs = a[rows], b[columns].T
                out = mine @ theirs if out is None else out.addmm_(mine, theirs)
        assert out is not None
        out *= self.scale[rows, None]
        out *= self.scale[columns]
        out += self.shift[rows, None]
        out += self.shift[columns]
        return out


def pair_gradient(
    matrix: CSR, left: Float[Tensor, "node chan"], right: Float[Tensor, "node chan"]
) -> PairGradient:
    r"""The gradient for pairs from one for :math:`U`.

    Args:
        matrix: :math:`\hat A`.
        left: :math:`P`.
        right: :math:`M`.
    """
    near_left, near_right = propagate(matrix, left), propagate(matrix, right)
    sums = (left * propagate(matrix, near_right)).sum(1)
    sums += 2 * (near_left * near_right).sum(1)
    sums += (right * propagate(matrix, near_left)).sum(1)
    loops = matrix.locate(torch.arange(matrix.num_rows, device=left.device).expand(2, -1))
    assert matrix.weight is not None
    inverse = matrix.weight[loops]  # a loop of weight one became 1 / d
    return PairGradient(
        (left, near_left), (near_right, right), inverse.sqrt(), -0.5 * inverse * sums
    )


@torch.no_grad()
def first_order_gradient(
    model: Surrogate, labels: Int[Tensor, " node"], inner: Inner, *, seed: int
) -> PairGradient:
    """Sum of the gradients of the attack's loss after each step, weights taken as constants.

    Args:
        model: On the graph as it is.
        labels: What the attack takes for the truth.
        inner: Training of the surrogate.
        seed: Seed of its weights.
    """
    w1, w2 = draw_weights(model.problem, inner.hidden, seed)
    v1, v2 = torch.zeros_like(w1), torch.zeros_like(w2)
    y = model.smooth(w1)
    lefts, rights = [], []
    for _ in range(inner.steps):
        grad = _train_grad(model, y @ w2)
        v1 = inner.momentum * v1 + model.pull(grad @ w2.T)
        v2 = inner.momentum * v2 + y.T @ grad
        w1, w2 = w1 - inner.lr * v1, w2 - inner.lr * v2
        y = model.smooth(w1)
        lefts.append(_attack_grad(model, y @ w2, labels, inner.train_weight))
        rights.append(w1 @ w2)
    left, weight = _narrow(torch.cat(lefts, 1), torch.cat(rights, 1))
    return pair_gradient(model.matrix, left, propagate(model.problem.x, weight))


def exact_gradient(
    model: Surrogate, labels: Int[Tensor, " node"], inner: Inner, *, seed: int
) -> PairGradient:
    """Gradient of the attack's loss after training, through all steps of it.

    Only training nodes take part in the steps, so that all but the last term of the gradient have
    no more rows than there are of these.

    Args:
        model: On the graph as it is.
        labels: What the attack takes for the truth.
        inner: Training of the surrogate.
        seed: Seed of its weights.
    """
    train, size = model.problem.train, model.matrix.num_rows
    with torch.enable_grad():
        w1, w2 = (w.requires_grad_() for w in draw_weights(model.problem, inner.hidden, seed))
        v1, v2 = torch.zeros_like(w1), torch.zeros_like(w2)
        outs, pulls, lefts, rights = [], [], [], []
        for _ in range(inner.steps):
            y = model.smooth(w1)
            outs.append(y)
            rights.append(w1)
            seen = y[train]
            z = seen @ w2
            grad = (z.softmax(1) - _one_hot(model, model.problem.y[train])) / len(train)
            back = grad @ w2.T
            pulls.append(model.pull(back.new_zeros(size, inner.hidden).index_copy(0, train, back)))
            lefts.append(back)
            v1, v2 = inner.momentum * v1 + pulls[-1], inner.momentum * v2 + seen.T @ grad
            w1, w2 = w1 - inner.lr * v1, w2 - inner.lr * v2
        y = model.smooth(w1)
        out = y @ w2
        grad = _attack_grad(model, out.detach(), labels, inner.train_weight)
        found = torch.autograd.grad(out, [*outs, *pulls], grad)
    with torch.no_grad():
        steps = inner.steps
        inside = torch.cat([part[train] for part in found[:steps]] + lefts, 1)
        weight = torch.cat([*rights, *found[steps:]], 1)
        narrow, weight = _narrow(inside, weight)
        left = narrow.new_zeros(size, narrow.shape[1]).index_copy(0, train, narrow)
        left, weight = torch.cat([left, grad], 1), torch.cat([weight, w1 @ w2], 1)
        return pair_gradient(model.matrix, left, propagate(model.problem.x, weight))


def _train_grad(model: Surrogate, z: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy of the training nodes for all logits."""
    train = model.problem.train
    grad = torch.zeros_like(z)
    wrong = z[train].softmax(1) - _one_hot(model, model.problem.y[train])
    return grad.index_copy_(0, train, wrong / len(train))


def _attack_grad(model: Surrogate, z: Tensor, labels: Tensor, train_weight: float) -> Tensor:
    """Gradient of the loss that the attack raises."""
    problem = model.problem
    share = torch.full_like(z[:, :1], (1 - train_weight) / max(len(problem.rest), 1))
    share[problem.train] = train_weight / len(problem.train)
    return share * (z.softmax(1) - _one_hot(model, labels))


def _one_hot(model: Surrogate, labels: Tensor) -> Tensor:
    return F.one_hot(labels, model.problem.classes).float()


def _narrow(left: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Two factors of the same product whose width is the least of the three that are possible."""
    rows, width, features = len(left), left.shape[1], len(weight)
    if rows < min(width, features):
        return torch.eye(rows, device=left.device), weight @ left.T
    if features < width:
        return left @ weight.T, torch.eye(features, device=left.device)
    return left, weight

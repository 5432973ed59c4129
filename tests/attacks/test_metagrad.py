"""Meta-gradients in factors equal those that autograd gives on a dense adjacency."""

import pytest
import torch
from attack_cases import attacked_graph
from torch.nn import functional as F

from graphlearn.attacks.budget import graph_of
from graphlearn.attacks.metagrad import Inner, exact_gradient, first_order_gradient
from graphlearn.attacks.surrogate import Surrogate, draw_weights, problem_of


def dense_features(problem):
    x = torch.zeros(problem.x.num_rows, problem.x.num_cols)
    x[problem.x.rows(), problem.x.col.long()] = problem.x.weight
    return x


def by_autograd(data, labels, inner, seed, *, exact):
    """The published formulation: a dense adjacency, whose entries require a gradient."""
    problem = problem_of(data, "MetaAttack")
    size = data.num_nodes
    x = dense_features(problem)
    a = torch.zeros(size, size)
    a[data.edge_index[0], data.edge_index[1]] = 1
    a.requires_grad_()
    full = a + torch.eye(size)
    scale = full.sum(1).rsqrt()
    norm = scale[:, None] * full * scale
    w1, w2 = (w.requires_grad_() for w in draw_weights(problem, inner.hidden, seed))
    v1, v2 = torch.zeros_like(w1), torch.zeros_like(w2)
    total = torch.zeros(())

    def attack_loss(w1, w2):
        z = norm @ (norm @ x @ w1) @ w2
        on = F.cross_entropy(z[problem.train], labels[problem.train])
        off = F.cross_entropy(z[problem.rest], labels[problem.rest])
        return inner.train_weight * on + (1 - inner.train_weight) * off

    for _ in range(inner.steps):
        z = norm @ (norm @ x @ w1) @ w2
        loss = F.cross_entropy(z[problem.train], problem.y[problem.train])
        g1, g2 = torch.autograd.grad(loss, [w1, w2], create_graph=exact)
        v1, v2 = inner.momentum * v1 + g1, inner.momentum * v2 + g2
        w1, w2 = w1 - inner.lr * v1, w2 - inner.lr * v2
        if not exact:
            w1, w2 = w1.detach().requires_grad_(), w2.detach().requires_grad_()
            total = total + attack_loss(w1, w2)
    (grad,) = torch.autograd.grad(attack_loss(w1, w2) if exact else total, a)
    return grad + grad.T


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("train_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("hidden", "steps"), [(4, 1), (4, 3), (2, 12)])
def test_factors_equal_autograd(exact, train_weight, hidden, steps):
    data = attacked_graph(nodes=24, features=6)
    problem = problem_of(data, "MetaAttack")
    labels = torch.randint(3, (24,), generator=torch.Generator().manual_seed(5))
    labels[problem.train] = problem.y[problem.train]
    inner = Inner(hidden, steps, 0.1, 0.9, train_weight)
    model = Surrogate.on(problem, graph_of(data))
    gradient = exact_gradient if exact else first_order_gradient
    found = gradient(model, labels, inner, seed=3)
    expected = by_autograd(data, labels, inner, 3, exact=exact)
    block = found.block(slice(0, 24), slice(0, 24))
    off = ~torch.eye(24, dtype=torch.bool)
    torch.testing.assert_close(block[off], expected[off], rtol=1e-3, atol=1e-6)
    part = found.block(slice(3, 9), slice(5, 24))
    torch.testing.assert_close(part, block[3:9, 5:], rtol=1e-5, atol=1e-7)


def test_the_width_is_the_least_of_what_is_possible():
    data = attacked_graph(nodes=24, features=40)
    problem = problem_of(data, "MetaAttack")
    model = Surrogate.on(problem, graph_of(data))
    found = exact_gradient(model, problem.y.clamp(min=0), Inner(4, 30), seed=0)
    assert found.left[0].shape == (24, len(problem.train) + problem.classes)
    found = first_order_gradient(model, problem.y.clamp(min=0), Inner(4, 30), seed=0)
    assert found.left[0].shape[1] == 24  # nodes, fewer than features or 30 times the classes

"""The model that stands in for the one under attack: its products, its training, what it needs."""

import pytest
import torch
from attack_cases import attacked_graph
from torch_geometric.nn import SGConv

from graphlearn.attacks.budget import graph_of
from graphlearn.attacks.surrogate import (
    Surrogate,
    draw_weights,
    problem_of,
    pseudo_labels,
    trained,
)


def model_of(data):
    return Surrogate.on(problem_of(data, "X"), graph_of(data))


def test_it_is_two_steps_of_normalised_propagation():
    data = attacked_graph()
    weight = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    conv = SGConv(12, 5, K=2, bias=False)
    conv.lin.weight.data = weight.T.clone()
    torch.testing.assert_close(
        model_of(data).smooth(weight), conv(data.x, data.edge_index).detach()
    )


def test_pull_is_the_gradient_of_smooth():
    model = model_of(attacked_graph())
    weight = torch.randn(12, 5, requires_grad=True)
    grad = torch.randn(60, 5)
    (expected,) = torch.autograd.grad(model.smooth(weight), weight, grad)
    torch.testing.assert_close(model.pull(grad), expected)


def test_it_learns_and_labels_of_training_nodes_are_true():
    data = attacked_graph(nodes=120, degree=6)
    data.x = torch.eye(12)[data.y]
    data.y[~data.train_mask] = -1  # what it may not know
    model = model_of(data)
    guess = pseudo_labels(model, trained(model, 8, 0))
    true = torch.arange(120) % 3
    assert (guess[data.train_mask] == true[data.train_mask]).all()
    assert (guess == true)[~data.train_mask].double().mean() > 0.9


def test_weights_come_from_the_seed():
    problem = problem_of(attacked_graph(), "X")
    w1, w2 = draw_weights(problem, 200, 1)
    assert w1.shape == (12, 200) and w2.shape == (200, 3)
    assert float(w1.abs().max()) <= 200**-0.5 and float(w2.abs().max()) <= 3**-0.5
    assert float(w2.std()) == pytest.approx(1 / 3, rel=0.1)
    assert torch.equal(w1, next(draw_weights(problem, 200, 1)))
    assert not torch.equal(w1, next(draw_weights(problem, 200, 2)))


def test_what_is_missing_is_said():
    data = attacked_graph()
    data.y[0] = -1
    with pytest.raises(ValueError, match="X needs labels of its training nodes, but 1 of 24 have"):
        problem_of(data, "X")
    data.train_mask[:] = False
    with pytest.raises(
        ValueError, match="X needs labels of its training nodes, but 0 of 0 have no"
    ):
        problem_of(data, "X")
    data.train_mask = None
    with pytest.raises(ValueError, match=r"X needs data.train_mask, one boolean for each of 60 no"):
        problem_of(data, "X")
    data.x = None
    with pytest.raises(ValueError, match=r"X trains a model, but data.x is missing; add features"):
        problem_of(data, "X")

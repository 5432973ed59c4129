"""Losses by their formulas, and what they refuse."""

import math

import pytest
import torch

from graphlearn.tasks.ranking_losses import bce, bpr, contrast, rank_loss, softmax

POS = torch.tensor([2.0, -1.0], dtype=torch.float64)
NEG = torch.tensor([[1.0, 0.0], [0.5, -3.0]], dtype=torch.float64)


def by_hand(each):
    return torch.tensor([each(2.0, [1.0, 0.0]), each(-1.0, [0.5, -3.0])], dtype=torch.float64)


def mean(values):
    return sum(values) / len(values)


def test_bpr():
    expected = by_hand(lambda s, rest: mean([math.log(1 + math.exp(t - s)) for t in rest]))
    torch.testing.assert_close(bpr(POS, NEG), expected)


def test_bce():
    expected = by_hand(
        lambda s, rest: math.log(1 + math.exp(-s)) + mean([math.log(1 + math.exp(t)) for t in rest])
    )
    torch.testing.assert_close(bce(POS, NEG), expected)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_softmax(temperature):
    def each(s, rest):
        total = sum(math.exp(t / temperature) for t in [s, *rest])
        return -math.log(math.exp(s / temperature) / total)

    torch.testing.assert_close(softmax(POS, NEG, temperature), by_hand(each))


def test_softmax_leaves_out_what_is_minus_infinity():
    neg = NEG.clone()
    neg[:, 1] = -torch.inf
    torch.testing.assert_close(softmax(POS, neg), softmax(POS, NEG[:, :1]))


def test_contrast():
    expected = by_hand(lambda s, rest: 1 - s + 3 * mean([max(0.0, t - 0.4) for t in rest]))
    torch.testing.assert_close(contrast(POS, NEG, 0.4, 3.0), expected)


@pytest.mark.parametrize("kind", ["bpr", "softmax", "bce", "contrast"])
def test_a_better_order_costs_less(kind):
    loss = rank_loss(kind, temperature=0.5, margin=0.0, weight=1.0)
    good = loss(torch.tensor([0.9]), torch.tensor([[0.1]]))
    assert float(good) < float(loss(torch.tensor([0.1]), torch.tensor([[0.9]])))
    assert loss(POS, NEG).shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "hinge"}, "loss must be one of bpr, softmax, bce, contrast, got 'hinge'"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"weight": -1.0}, "negative_weight must be at least 0, got -1.0"),
    ],
)
def test_messages(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        rank_loss(**{"kind": "bpr", "temperature": 1.0, "margin": 0.0, "weight": 1.0, **options})

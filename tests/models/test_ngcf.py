"""NGCF by dense algebra."""

import pytest
import torch
from recommend_checks import check_recommender, interactions
from torch.nn import functional as F

from graphlearn.models.mf import both_ways
from graphlearn.models.ngcf import NGCF


@pytest.mark.parametrize("kind", ["concat", "mean"])
def test_it_is_a_recommender(kind):
    check_recommender(lambda: NGCF(15, 20, channels=8, readout=kind))


def test_equals_the_formula():
    torch.manual_seed(0)
    model = NGCF(15, 20, channels=4, layers=2).eval()
    graph = both_ways(interactions())
    a = torch.zeros(35, 35)
    a[graph.rows(), graph.col.long()] = 1
    scale = a.sum(1).clamp(min=1).rsqrt()
    a = scale[:, None] * a * scale
    x = model.embedding
    expected = [x]
    for own, both in zip(model.own, model.both, strict=True):
        around = a @ x
        x = F.leaky_relu(
            (around + x) @ own.weight.T + own.bias + (around * x) @ both.weight.T + both.bias, 0.2
        )
        expected.append(x / x.norm(dim=1, keepdim=True).clamp(min=1e-12))
    (found,) = model.encode(model.prepare(interactions()))
    torch.testing.assert_close(found, torch.cat(expected, 1))


def test_dropout_in_training_only():
    model = NGCF(15, 20, channels=4, dropout=0.5)
    graph = model.prepare(interactions())
    assert not torch.equal(model.train().encode(graph)[0], model.encode(graph)[0])
    assert torch.equal(model.eval().encode(graph)[0], model.encode(graph)[0])


def test_messages():
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got 1.0"):
        NGCF(3, 4, dropout=1.0)

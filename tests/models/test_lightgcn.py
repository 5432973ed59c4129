"""LightGCN against PyG's and against dense algebra."""

import pytest
import torch
from recommend_checks import check_recommender, interactions
from torch_geometric.nn.models import LightGCN as TheirLightGCN

from graphlearn.models.lightgcn import LightGCN
from graphlearn.models.mf import both_ways


@pytest.mark.parametrize("kind", ["mean", "sum", "last", "concat"])
def test_it_is_a_recommender(kind):
    check_recommender(lambda: LightGCN(15, 20, channels=8, readout=kind))


@pytest.mark.parametrize("layers", [1, 3])
def test_equals_pyg_with_its_gradient(layers):
    ours = LightGCN(15, 20, channels=8, layers=layers)
    theirs = TheirLightGCN(35, 8, layers)
    with torch.no_grad():
        theirs.embedding.weight.copy_(ours.embedding)
    graph = both_ways(interactions())
    edges = torch.stack([graph.rows(), graph.col.long()])
    (found,), expected = ours.encode(ours.prepare(interactions())), theirs.get_embedding(edges)
    torch.testing.assert_close(found, expected)
    cotangent = torch.randn_like(found)
    found.backward(cotangent)
    expected.backward(cotangent)
    torch.testing.assert_close(ours.embedding.grad, theirs.embedding.weight.grad)


def test_readouts_by_dense_algebra():
    model = LightGCN(15, 20, channels=4, layers=2, readout="concat")
    graph = both_ways(interactions())
    a = torch.zeros(35, 35)
    a[graph.rows(), graph.col.long()] = 1
    scale = a.sum(1).clamp(min=1).rsqrt()
    a = scale[:, None] * a * scale
    e = model.embedding
    (found,) = model.encode(model.prepare(interactions()))
    torch.testing.assert_close(found, torch.cat([e, a @ e, a @ a @ e], 1))


def test_messages():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        LightGCN(3, 4, layers=0)

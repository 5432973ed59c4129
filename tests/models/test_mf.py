"""Matrix factorisation, the graph of users and items, and read-outs."""

import pytest
import torch
from recommend_checks import check_recommender, interactions

from graphlearn.models.mf import MF, both_ways, readout


def test_it_is_a_recommender():
    check_recommender(lambda: MF(15, 20, channels=8))
    check_recommender(lambda: MF(15, 20, channels=8, cosine=True))


def test_scores_are_inner_products():
    model = MF(15, 20, channels=8)
    users = torch.tensor([3, 0])
    found = model.score(model.encode(interactions()), users)
    expected = model.embedding[users] @ model.embedding[15:].T
    torch.testing.assert_close(found, expected)


def test_cosine_scores_do_not_depend_on_length():
    model = MF(15, 20, channels=8, cosine=True)
    before = model.score(model.encode(interactions()), torch.arange(15))
    with torch.no_grad():
        model.embedding.mul_(torch.rand(35, 1) + 0.5)
    after = model.score(model.encode(interactions()), torch.arange(15))
    torch.testing.assert_close(before, after)
    assert float(after.detach().abs().max()) <= 1 + 1e-6


def test_embeddings_have_the_deviation_that_was_asked_for():
    torch.manual_seed(0)
    assert float(MF(500, 500, std=0.3).embedding.detach().std()) == pytest.approx(0.3, rel=0.02)


def test_both_ways():
    graph = both_ways(interactions())
    assert graph.symmetric and graph.num_rows == 35
    pairs = interactions()
    edges = {(u, i + 15) for u, i in zip(pairs.rows().tolist(), pairs.col.tolist(), strict=True)}
    found = set(zip(graph.rows().tolist(), graph.col.tolist(), strict=True))
    assert found == edges | {(j, i) for i, j in edges}


def test_readouts():
    layers = [torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([[6.0]])]
    found = {kind: readout(layers, kind).tolist() for kind in ("mean", "sum", "last", "concat")}
    assert found == {"mean": [[3]], "sum": [[9]], "last": [[6]], "concat": [[1, 2, 6]]}


@pytest.mark.parametrize("options", [{"channels": 0}, {"std": 0.0}])
def test_messages(options):
    with pytest.raises(ValueError, match="channels and std must be positive, got"):
        MF(3, 4, **options)

"""Popularity, ItemKNN and EASE by dense algebra."""

import pytest
import torch
from recommend_checks import check_recommender, interactions

from graphlearn.models import recommend_baselines as module
from graphlearn.models.recommend_baselines import EASE, ItemKNN, Popularity


def dense():
    graph = interactions()
    x = torch.zeros(15, 20, dtype=torch.float64)
    x[graph.rows(), graph.col.long()] = 1
    return x


def scores(model):
    return model.score(model.encode(model.prepare(interactions())), torch.arange(15)).double()


@pytest.mark.parametrize(
    "make", [lambda: Popularity(15, 20), lambda: ItemKNN(15, 20), lambda: EASE(15, 20)]
)
def test_it_is_a_recommender(make):
    check_recommender(make)


def test_popularity_counts_users():
    torch.testing.assert_close(scores(Popularity(15, 20)), dense().sum(0).expand(15, 20))


@pytest.mark.parametrize("k", [3, 100])
@pytest.mark.parametrize("shrink", [0.0, 10.0])
def test_item_neighbours(k, shrink, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 7)  # blocks do not show
    x = dense()
    common, root = x.T @ x, x.sum(0).sqrt()
    s = common / (root[:, None] * root + shrink).clamp(min=1e-9)
    s.fill_diagonal_(0)
    if k < 20:
        cut = s.topk(k, 1).values[:, -1:]
        s = torch.where(s > cut, s, 0)  # ties with the last one are left out of the comparison
    found = scores(ItemKNN(15, 20, k=k, shrink=shrink))
    if k < 20:
        assert (found >= x @ s - 1e-6).all()
        assert ((found - x @ s).sum(1) <= (x.sum(1) * k * cut.max()) + 1e-6).all()
    else:
        torch.testing.assert_close(found, x @ s, rtol=1e-5, atol=1e-6)


def test_ease_solves_its_problem():
    """Each column of B minimises |X - X B|^2 + ridge |B|^2 with a zero on the diagonal."""
    x, ridge = dense(), 5.0
    b = torch.zeros(20, 20, dtype=torch.float64)
    for j in range(20):
        rest = [i for i in range(20) if i != j]
        own = x[:, rest]
        gram = own.T @ own + ridge * torch.eye(19, dtype=torch.float64)
        b[rest, j] = torch.linalg.solve(gram, own.T @ x[:, j])
    torch.testing.assert_close(scores(EASE(15, 20, ridge=ridge)), x @ b, rtol=1e-5, atol=1e-6)


def test_messages():
    with pytest.raises(ValueError, match="k must be at least 1 and shrink at least 0, got 0 and"):
        ItemKNN(3, 4, k=0)
    with pytest.raises(ValueError, match="ridge must be positive, got 0"):
        EASE(3, 4, ridge=0.0)
    with pytest.raises(
        ValueError, match=r"a matrix of 40981 by 40981 items \(13 GB\); use ItemKNN"
    ):
        EASE(3, 40981)

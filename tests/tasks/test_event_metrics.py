"""Metrics of a stream: those of the package, by batch, by kind and by group."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.metrics import metric, ranks
from graphlearn.tasks.event_metrics import ap_auc, event_metrics, logistic_loss

SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


@settings(deadline=None)
@given(SCORES, SCORES)
def test_a_batch_counts_as_the_pool_does(pos, neg):
    pos, neg = torch.tensor(pos).float(), torch.tensor(neg).float()
    want = [metric(name)(pos, neg) for name in ("ap", "auc")]
    assert ap_auc(pos, neg).tolist() == pytest.approx(want)


def rows():
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(10, generator=generator)  # noqa: E731
    return {
        "pos": draw() + 1,
        "neg": draw(),
        "neg_historical": draw(),
        "batch": torch.tensor([0] * 4 + [2] * 4 + [3] * 2),
        "group/new": torch.tensor([True, False] * 5),
        "group/none": torch.zeros(10, dtype=torch.bool),
    }


def test_pooled_by_batch_by_kind_and_by_group():
    given, found = rows(), event_metrics(rows())
    ap, pos, neg = metric("ap"), given["pos"], given["neg"]
    batches = [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert found["ap"] == ap(pos, neg)
    assert found["ap@batch"] == pytest.approx(sum(ap(pos[b], neg[b]) for b in batches) / 3)
    assert found["ap/historical"] == ap(pos, given["neg_historical"])
    assert found["ap/new"] == ap(pos[::2], neg[::2])
    stems = ("", "@batch", "/historical", "/new")
    assert set(found) == {f"{name}{stem}" for name in ("ap", "auc") for stem in stems}


def test_ranks_of_candidates():
    given = rows()
    rank = ranks(given["pos"], torch.randn(10, 30))
    chosen = {name: given[name] for name in ("batch", "group/new", "group/none")}
    found = event_metrics({"rank": rank, **chosen})
    assert found["mrr"] == pytest.approx(float((1 / rank).mean()))
    assert found["hits@10/new"] == pytest.approx(float((rank[::2] <= 10).double().mean()))
    assert set(found) == {"mrr", "hits@10", "mrr/new", "hits@10/new"}


def test_the_loss_averages_true_and_false_pairs_apart():
    z = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0])
    expected = F.softplus(-z[:2]).mean() + F.softplus(z[2:]).mean()
    torch.testing.assert_close(logistic_loss(z, 2), expected)
    torch.testing.assert_close(logistic_loss(z[:2], 2), F.softplus(-z[:2]).mean())

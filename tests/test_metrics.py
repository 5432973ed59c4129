import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from graphlearn.data.ogb_files import ogb_module
from graphlearn.metrics import (
    TopK,
    auc,
    average_precision,
    hits_at,
    macro_f1,
    metric,
    mrr,
    mrr_global,
    ranks,
    tied_at,
)

NAN = float("nan")
FEW = st.sampled_from([-1.5, 0.0, 0.25, 1.0, 3.0, NAN])  # few values, hence many ties
pools = st.lists(FEW, max_size=30).map(lambda v: torch.tensor(v, dtype=torch.float32))
positives = st.lists(FEW, min_size=1, max_size=12).map(lambda v: torch.tensor(v))


def evaluator(name, k=None):
    judge = ogb_module("ogb.linkproppred").Evaluator(name)
    if k:
        judge.K = k
    return judge


def scores(*shape, seed=0, levels=12):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, shape, generator=generator).float() / 4


@settings(max_examples=60, deadline=None)
@given(positives, pools, st.integers(1, 12))
def test_hits_equal_ogb_with_ties_and_nan(pos, neg, k):
    expected = evaluator("ogbl-ddi", k).eval({"y_pred_pos": pos, "y_pred_neg": neg})
    assert hits_at(k)(pos, neg) == expected[f"hits@{k}"]


@settings(max_examples=60, deadline=None)
@given(positives, st.lists(pools, min_size=1, max_size=5), st.integers(1, 12), st.booleans())
def test_stream_equals_whole(pos, chunks, k, as_numpy):
    top = TopK(k)
    for chunk in chunks:
        top.update(chunk.numpy() if as_numpy else chunk)
    whole = torch.cat(chunks)
    assert top.value(pos) == hits_at(k)(pos, whole)
    assert top.tied(pos) == tied_at(k)(pos, whole)


def test_stream_of_nothing_is_all_hits():
    assert TopK(1).value(torch.tensor([0.0])) == 1.0
    assert TopK(1).tied(torch.tensor([0.0])) == 0.0


def test_stream_keeps_only_k():
    top = TopK(5)
    for seed in range(4):
        top.update(torch.rand(1000, generator=torch.Generator().manual_seed(seed)))
    assert top._top is not None and top._top.untyped_storage().nbytes() <= 5 * 4


def test_constant_scores_give_no_hits_and_all_ties():
    same = torch.ones(30)
    assert hits_at(20)(same, same) == 0.0
    assert tied_at(20)(same, same) == 1.0
    assert hits_at(31)(same, same) == 1.0
    assert tied_at(31)(same, same) == 0.0


def test_nan_is_a_miss():
    pos, neg = torch.tensor([NAN, 2.0]), torch.tensor([0.0, 1.0, NAN])
    assert hits_at(3)(pos, neg) == 0.5
    assert hits_at(1)(pos, neg) == 0.0
    own = torch.tensor([[0.0, 1.0, -1.0], [NAN, 1.0, 0.0]])
    assert ranks(pos, own).tolist() == [4.0, 2.0]
    assert hits_at(1)(pos, own) == 0.0
    assert mrr_global(pos, neg).tolist() == [0.25, 0.5]


def test_mrr_equals_ogb():
    pos, neg = scores(40, seed=1), scores(40, 25, seed=2)
    expected = evaluator("ogbl-citation2").eval({"y_pred_pos": pos, "y_pred_neg": neg})
    assert torch.equal(mrr(pos, neg).float(), expected["mrr_list"])
    for k in (1, 3, 10):
        per_pair = (ranks(pos, neg) <= k).float()
        assert torch.equal(per_pair, expected[f"hits@{k}_list"])
        assert hits_at(k)(pos, neg) == pytest.approx(float(per_pair.mean()))


def test_mrr_of_the_documented_examples():
    assert mrr(torch.tensor([0.5]), torch.tensor([[0.5, 0.1, 0.7]])).item() == pytest.approx(0.4)
    assert mrr(torch.tensor([0.5]), torch.tensor([[0.1, 0.7]])).item() == pytest.approx(0.5)


def test_candidates_of_hits_and_ties():
    pos = torch.tensor([1.0, 1.0])
    neg = torch.tensor([[2.0, 1.0, 0.0], [3.0, 2.0, 1.0]])
    assert hits_at(2)(pos, neg) == 0.0
    assert hits_at(3)(pos, neg) == 0.5
    assert tied_at(2)(pos, neg) == 0.5
    assert hits_at(4)(pos, neg) == 1.0
    assert tied_at(4)(pos, neg) == 0.0


@settings(max_examples=60, deadline=None)
@given(positives, pools)
def test_global_rank_equals_one_row_for_each_pair(pos, neg):
    rows = neg.expand(len(pos), len(neg))
    assert torch.equal(mrr_global(pos, neg), mrr(pos, rows))


def test_global_rank_of_mixed_kinds():
    pos, neg = torch.tensor([1.0, 2.0]), torch.tensor([2, 0, 1])
    assert torch.equal(mrr_global(pos, neg), mrr_global(pos, neg.float()))


def test_auc_and_average_precision_equal_scikit_learn():
    pos, neg = scores(50, seed=3) + 0.5, scores(70, seed=4)
    labels = np.r_[np.ones(50), np.zeros(70)]
    both = np.r_[pos.numpy(), neg.numpy()]
    assert auc(pos, neg) == roc_auc_score(labels, both)
    assert average_precision(pos, neg) == average_precision_score(labels, both)
    expected = evaluator("ogbl-vessel").eval({"y_pred_pos": pos, "y_pred_neg": neg})
    assert auc(pos, neg) == expected["rocauc"]


@pytest.mark.parametrize("name", ["hits@3", "mrr", "auc", "ap"])
def test_numpy_equals_torch(name):
    pos, neg = scores(20, seed=5), scores(30, seed=6)
    judge = metric(name)
    value = judge(pos, neg)
    assert judge(pos.numpy(), neg.numpy()) == value
    assert judge(pos.numpy()[::-1], neg) == pytest.approx(value)
    frozen = neg.numpy().copy()
    frozen.flags.writeable = False
    assert judge(pos, frozen) == value
    assert judge(pos.requires_grad_(), neg) == value


@pytest.mark.parametrize("name", ["hits@3", "mrr"])
def test_numpy_equals_torch_with_candidates(name):
    pos, neg = scores(20, seed=5), scores(20, 30, seed=6)
    assert metric(name)(pos.numpy(), neg.numpy()) == metric(name)(pos, neg)


@settings(max_examples=20, deadline=None)
@given(
    arrays(np.float64, 8, elements=st.floats(-5, 5)),
    arrays(np.int64, 6, elements=FEW.filter(lambda v: v == v).map(int)),
)
def test_doubles_and_integers(pos, neg):
    assert hits_at(2)(pos, neg) == hits_at(2)(torch.tensor(pos), torch.tensor(neg).double())


def test_names_lead_to_functions():
    pos, neg = scores(20, seed=7), scores(30, seed=8)
    assert metric("Hits@5")(pos, neg) == hits_at(5)(pos, neg)
    assert metric("mrr")(pos, neg) == float(mrr_global(pos, neg).mean())
    assert metric("rocauc") is metric("auc") is auc
    assert metric("ap") is average_precision


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hit@20", "; did you mean 'hits@20'"),
        ("hits", "; did you mean 'hits@50'"),
        ("rocauk", "; did you mean 'rocauc'"),
        ("mrr@", "; did you mean 'mrr'"),
        ("bleu", "or ap$"),
    ],
)
def test_unknown_name(name, hint):
    with pytest.raises(ValueError, match=f"no metric '{name}'; expected hits@K, mrr.*{hint}"):
        metric(name)


@pytest.mark.parametrize("make", [hits_at, tied_at, TopK, lambda k: metric(f"hits@{k}")])
def test_length_of_the_list(make):
    with pytest.raises(ValueError, match="k of hits@k must be at least 1, got 0"):
        make(0)


@pytest.mark.parametrize("judge", [hits_at(1), tied_at(1), mrr_global, auc, average_precision])
def test_shapes(judge):
    row = torch.rand(3)
    with pytest.raises(ValueError, match=r"pos must be 1-d, one score for each pair, got shape"):
        judge(row[:, None], row)
    with pytest.raises(ValueError, match=r"neg must be 1-d.*\(3, 1, 1\)"):
        judge(row, row[:, None, None])
    with pytest.raises(ValueError, match="pos must hold at least one score, got none"):
        judge(row[:0], row)


@pytest.mark.parametrize("judge", [hits_at(1), tied_at(1), mrr, ranks])
def test_candidates_must_match(judge):
    with pytest.raises(ValueError, match=r"neg must be \(3, K\), one row .* got shape \(2, 4\)"):
        judge(torch.rand(3), torch.rand(2, 4))


@pytest.mark.parametrize("judge", [auc, average_precision])
def test_curves_need_finite_scores_of_both_kinds(judge):
    row = torch.rand(3)
    with pytest.raises(ValueError, match="AUC and AP need finite scores, got NaN or infinity"):
        judge(row, torch.tensor([NAN]))
    with pytest.raises(ValueError, match="neg must hold at least one score, got none"):
        judge(row, row[:0])


def test_macro_f1_equals_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    generator = torch.Generator().manual_seed(0)
    for classes in (1, 2, 5, 40):
        label = torch.randint(classes, (60,), generator=generator)
        guess = torch.randint(classes, (60,), generator=generator)
        expected = f1_score(label, guess, average="macro", zero_division=0)
        assert macro_f1(label, guess, classes) == pytest.approx(expected)
        assert macro_f1(label, label, classes) == 1

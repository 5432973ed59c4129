import math

import pytest
import torch
from torch_geometric import metrics as pyg

from graphlearn import ranking
from graphlearn.ranking import (
    average_precision,
    coverage,
    evaluate_lists,
    f1,
    gini,
    hit_rate,
    ndcg,
    popularity,
    precision,
    recall,
    reciprocal_rank,
    released_reciprocal_rank,
)

PER_USER = [
    average_precision,
    f1,
    hit_rate,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
    released_reciprocal_rank,
]
PAIRS = [
    (precision, pyg.LinkPredPrecision),
    (recall, pyg.LinkPredRecall),
    (f1, pyg.LinkPredF1),
    (ndcg, pyg.LinkPredNDCG),
    (reciprocal_rank, pyg.LinkPredMRR),
    (average_precision, pyg.LinkPredMAP),
    (hit_rate, pyg.LinkPredHitRatio),
]
# Two users: hits at ranks 2 and 3 of 4 held-out items, and none of one.
HITS = torch.tensor([[False, True, True], [False, False, False]])
RELEVANT = torch.tensor([4, 1])


def predictions(seed, users=30, items=25, width=10):
    """Lists of different items, held-out items (1 to 15 for each user), and hits of the lists."""
    generator = torch.Generator().manual_seed(seed)
    lists = torch.rand(users, items, generator=generator).argsort(1)[:, :width]
    number = torch.randint(1, 16, (users,), generator=generator)
    place = torch.rand(users, items, generator=generator).argsort(1).argsort(1)
    held = place < number[:, None]
    return lists, held, held.gather(1, lists), number


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (precision, 2 / 3),
        (recall, 1 / 2),
        (hit_rate, 1),
        (f1, 4 / 7),
        (ndcg, (1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)),
        (reciprocal_rank, 1 / 2),
        (average_precision, (1 / 2 + 2 / 3) / 3),
        (released_reciprocal_rank, (1 / 2 + 1 / 3) / 3),
    ],
)
def test_values_by_hand(metric, expected):
    value = metric(HITS, RELEVANT, 3)
    assert value.dtype == torch.float64
    assert value.tolist() == pytest.approx([expected, 0])
    assert metric(HITS, RELEVANT, 1).tolist() == [0, 0]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("seed", range(5))
def test_equal_to_pyg(ours, theirs, seed):
    lists, held, hits, number = predictions(seed)
    for k in (1, 3, 10):
        judge = theirs(k)
        judge.update(lists, held.nonzero().T)
        assert float(ours(hits, number, k).mean()) == pytest.approx(
            float(judge.compute()), abs=1e-6
        )


@pytest.mark.parametrize("metric", PER_USER)
def test_ranks_beyond_the_list_are_misses(metric):
    _, _, hits, number = predictions(0)
    padded = torch.cat([hits, torch.zeros(len(hits), 7, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(metric(hits, number, 17), metric(padded, number, 17))
    assert metric(hits[:, :0], number, 3).tolist() == [0] * len(hits)
    assert metric(hits[:0], number[:0], 3).shape == (0,)
    assert metric(hits, number.int(), 10**9).isfinite().all()


@pytest.mark.parametrize("metric", PER_USER)
def test_the_best_list_is_worth_one_and_order_of_users_does_not_matter(metric):
    _, _, hits, number = predictions(1)
    value = metric(hits, number, 5)
    assert ((value >= 0) & (value <= 1)).all()
    assert metric(hits.flip(0), number.flip(0), 5).equal(value.flip(0))
    if metric is not released_reciprocal_rank:
        best = torch.ones(1, 5, dtype=torch.bool)
        assert metric(best, torch.tensor([5]), 5).tolist() == [1]


def test_all_means_and_their_names():
    _, _, hits, number = predictions(2)
    found = evaluate_lists(hits, number, (1, 5))
    names = ["precision", "recall", "hr", "f1-macro", "ndcg", "mrr", "map", "f1"]
    assert sorted(found) == sorted(f"{name}@{k}" for k in (1, 5) for name in names)
    assert found["ndcg@5"] == pytest.approx(float(ndcg(hits, number, 5).mean()))
    assert found["f1-macro@5"] == pytest.approx(float(f1(hits, number, 5).mean()))
    p, r = found["precision@5"], found["recall@5"]
    assert found["f1@5"] == 2 * p * r / (p + r) != found["f1-macro@5"]
    none = evaluate_lists(torch.zeros_like(hits), number, [5])
    assert set(none.values()) == {0.0}


def test_the_released_protocol_differs_in_mrr_alone():
    _, _, hits, number = predictions(3)
    full, released = (evaluate_lists(hits, number, [5], protocol=p) for p in ("full", "sheaf4rec"))
    assert {name for name in full if full[name] != released[name]} == {"mrr@5"}
    expected = float(released_reciprocal_rank(hits, number, 5).mean())
    assert released["mrr@5"] == pytest.approx(expected)


def test_means_do_not_depend_on_the_number_of_threads():
    _, _, hits, number = predictions(4, users=50_000)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(evaluate_lists(hits, number, [5]))
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def test_lists_as_a_whole():
    items = torch.tensor([[0, 1], [0, -1], [0, 3]])
    assert coverage(items, 5) == 3 / 5
    # Counts 0 0 1 1 3: mean absolute difference over twice the mean.
    counts = [3, 1, 0, 1, 0]
    differences = sum(abs(a - b) for a in counts for b in counts)
    assert gini(items, 5) == pytest.approx(differences / (2 * 5 * sum(counts)))
    degree = torch.tensor([8, 2, 9, 4, 9])
    assert popularity(items, degree, 10) == pytest.approx((3 * 0.8 + 0.2 + 0.4) / 5)


def test_even_concentrated_and_empty_lists():
    assert gini(torch.arange(6).view(3, 2), 6) == 0
    assert gini(torch.zeros(50, 1, dtype=torch.int64), 1000) == pytest.approx(0.999)
    empty = torch.full((2, 3), -1)
    assert coverage(empty, 4) == gini(empty, 4) == popularity(empty, torch.ones(4).int(), 2) == 0


@pytest.mark.parametrize("metric", PER_USER)
def test_wrong_lists(metric, unchecked):
    with pytest.raises(ValueError, match="k, the length of the list, must be at least 1, got 0"):
        metric(HITS, RELEVANT, 0)
    with pytest.raises(ValueError, match=r"every user needs at least one held-out item, got 0; le"):
        metric(HITS, RELEVANT - 1, 1)
    message = r"hits must be \(user, rank\) and relevant \(user,\), got shapes "
    with pytest.raises(ValueError, match=message + r"\(2, 3\) and \(1,\)"):
        metric(HITS, RELEVANT[:1], 1)
    with pytest.raises(ValueError, match=message + r"\(3,\) and \(2,\)"):
        metric(HITS[0], RELEVANT, 1)


def test_wrong_evaluations(unchecked):
    with pytest.raises(ValueError, match=r"lists of at least one user .* are needed, got none"):
        evaluate_lists(HITS[:0], RELEVANT[:0], [1])
    with pytest.raises(ValueError, match="protocol must be 'full' or 'sheaf4rec', got 'fast'"):
        evaluate_lists(HITS, RELEVANT, [1], protocol="fast")


@pytest.mark.parametrize("judge", [coverage, gini, lambda i, n: popularity(i, torch.ones(n), 1)])
def test_wrong_items(judge, unchecked):
    items = torch.tensor([[0, 4]])
    with pytest.raises(ValueError, match=r"items must lie in \[0, 4\), or be -1 .* got 0 to 4"):
        judge(items, 4)
    with pytest.raises(ValueError, match=r"or be -1 where a list is shorter, got -2 to 2"):
        judge(items - 2, 4)
    with pytest.raises(ValueError, match="number of items must be at least 1, got 0"):
        judge(items, 0)


def test_popularity_needs_users():
    with pytest.raises(ValueError, match="number of users must be at least 1, got 0"):
        popularity(torch.tensor([[0]]), torch.tensor([1]), 0)


def test_every_function_is_public():
    assert {metric.__name__ for metric in PER_USER} < set(ranking.__all__)

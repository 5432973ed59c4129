import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.sampling.events import (
    OneVsMany,
    PastPairs,
    destinations,
    random_destinations,
)

STREAMS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=40
)


def stream(rows, shift=0):
    """Columns of (source, destination, gap); u = v and equal times come up all the time."""
    src, dst, gap = torch.tensor(rows, dtype=torch.int64).T
    return src + shift, dst + shift, gap.clamp(max=1).cumsum(0)


def as_set(pairs):
    return set(map(tuple, pairs.T.tolist()))


def even(got, expected, freedom):
    """Whether counts are within four standard deviations of what they should be."""
    chi = float(((got - expected) ** 2 / expected).sum())
    return chi < freedom + 4 * (2 * freedom) ** 0.5


def test_destinations():
    assert destinations(torch.tensor([5, 2, 5, 9])).tolist() == [2, 5, 9]


def test_random_destinations_are_uniform_and_seeded():
    pool = torch.tensor([2, 5, 9, 2**40])
    found = random_destinations(pool, 8000, seed=3)
    assert found.equal(random_destinations(pool, 8000, seed=3))
    assert not found.equal(random_destinations(pool, 8000, seed=4))
    assert even(torch.bincount(torch.searchsorted(pool, found)), 2000, 3)
    assert random_destinations(pool, 0, seed=0).shape == (0,)
    with pytest.raises(ValueError, match=r"the pool of destinations is empty"):
        random_destinations(pool[:0], 3, seed=0)


@settings(max_examples=150, deadline=None)
@given(STREAMS, st.data())
def test_past_pairs_by_brute_force(rows, data):
    shift = data.draw(st.sampled_from([0, 2**33]))
    src, dst, t = stream(rows, shift)
    num_train = data.draw(st.integers(0, len(rows)))
    first = data.draw(st.integers(0, len(rows) - 1))
    events = torch.arange(first, data.draw(st.integers(first + 1, len(rows))))
    kind = data.draw(st.sampled_from(["historical", "inductive"]))
    past = PastPairs(src, dst, t, train=torch.arange(num_train))
    pools = {"sources": src.unique(), "destinations": dst.unique()}
    batch = as_set(torch.stack([src, dst])[:, events])
    before = as_set(torch.stack([src, dst])[:, t <= t[first]]) - batch
    if kind == "inductive":
        before -= as_set(torch.stack([src, dst])[:, :num_train])
    free = len(pools["sources"]) * len(pools["destinations"]) - len(batch)
    if len(before) < len(events) and free == 0:
        with pytest.raises(ValueError, match=r"have no pair that is not in the batch"):
            past.draw(events, kind=kind, seed=1, **pools)
        return
    found = past.draw(events, kind=kind, seed=1, **pools)
    assert found.shape == (2, len(events))
    assert as_set(found).isdisjoint(batch)
    num_past = min(len(before), len(events))
    chosen = as_set(found[:, :num_past])
    assert len(chosen) == num_past and chosen <= before
    filled = found[:, num_past:]
    assert torch.isin(filled[0], src).all() and torch.isin(filled[1], dst).all()
    assert len(as_set(filled)) == min(filled.shape[1], free)
    assert found.equal(past.draw(events, kind=kind, seed=1, **pools))


def test_past_pairs_are_drawn_evenly():
    src, dst = torch.arange(400) % 20, torch.arange(400) // 20
    t = torch.arange(400)
    past = PastPairs(src, dst, t, train=torch.arange(300))
    pools = {"sources": src.unique(), "destinations": dst.unique()}
    events = torch.arange(380, 400)
    for kind, low in (("historical", 0), ("inductive", 300)):
        found = [past.draw(events, kind=kind, seed=seed, **pools)[:, :10] for seed in range(600)]
        key = torch.cat(found, dim=1)
        count = torch.bincount(key[1] * 20 + key[0], minlength=400)
        assert count[:low].sum() == count[380:].sum() == 0
        size = 380 - low
        assert even(count[low:380], 6000 / size, size - 1)


def test_the_order_of_time_decides_who_is_past():
    src, dst, t = torch.tensor([[0, 1, 2, 3], [5, 5, 5, 5], [4, 4, 7, 7]])
    past = PastPairs(src, dst, t, train=torch.tensor([0]))
    pools = {"sources": src.unique(), "destinations": dst.unique()}
    draw = {"seed": 0, **pools}
    # Another event of the same time counts as past, a later one does not.
    assert as_set(past.draw(torch.tensor([0]), kind="historical", **draw)) == {(1, 5)}
    assert as_set(past.draw(torch.tensor([1]), kind="inductive", **draw)) != {(0, 5)}
    assert as_set(past.draw(torch.tensor([2, 3]), kind="historical", **draw)) == {(0, 5), (1, 5)}


def test_past_pairs_of_nothing_and_of_an_unknown_kind():
    src, dst, t = stream([(0, 1, 0), (1, 0, 1)])
    past = PastPairs(src, dst, t, train=torch.tensor([0]))
    pools = {"sources": src, "destinations": dst.unique()}
    assert past.draw(torch.arange(0), kind="inductive", seed=0, **pools).shape == (2, 0)
    for make in (PastPairs, OneVsMany):
        with pytest.raises(ValueError, match=r"events must be in order of time; sort them first"):
            make(src, dst, t.flip(0), train=torch.tensor([0]))


def test_past_pairs_hold_no_table_of_nodes():
    src, dst, t = torch.arange(1000) * 10**6, torch.arange(1000) + 2**50, torch.arange(1000)
    past = PastPairs(src, dst, t, train=torch.arange(500))
    held = sum(value.numel() for value in vars(past).values())
    assert held <= 8 * len(src)
    found = past.draw(torch.arange(2), kind="inductive", seed=0, sources=src, destinations=dst)
    assert torch.isin(found[0], src).all() and torch.isin(found[1], dst).all()


@settings(max_examples=150, deadline=None)
@given(STREAMS, st.integers(1, 9), st.data())
def test_one_vs_many_by_brute_force(rows, count, data):
    shift = data.draw(st.sampled_from([0, 2**33]))
    src, dst, t = stream(rows, shift)
    num_train = data.draw(st.integers(0, len(rows)))
    ranks = OneVsMany(src, dst, t, train=torch.arange(num_train))
    events = torch.arange(len(rows))
    found = ranks.draw(events, count, seed=7)
    assert len(found) == len(rows) and found.shape[1] <= count
    pool = set(dst.tolist())
    for k, row in enumerate(found.tolist()):
        row = [node for node in row if node >= 0]
        now = set(dst[(src == src[k]) & (t == t[k])].tolist())
        known = set(dst[:num_train][src[:num_train] == src[k]].tolist()) - now
        assert len(row) == len(set(row)) == min(count, len(pool - now))
        assert set(row) <= pool - now
        assert len(known & set(row)) >= min(count // 2, len(known))
    for k in range(len(rows)):
        assert ranks.draw(events[k : k + 1], count, seed=7)[0].tolist() == found[k].tolist()


def test_half_of_the_candidates_are_old_acquaintances():
    dst = torch.cat([torch.arange(100), torch.arange(1000)])
    src = torch.cat([torch.zeros(100, dtype=torch.int64), torch.ones(1000, dtype=torch.int64)])
    src, dst = torch.cat([src, src[:1]]), torch.cat([dst, dst[-1:]])
    ranks = OneVsMany(src, dst, torch.arange(len(src)), train=torch.arange(1100))
    count = torch.zeros(1000)
    for seed in range(400):
        row = ranks.draw(torch.tensor([1100]), 20, seed=seed)[0]
        assert (row[:10] < 100).all()
        count += torch.bincount(row, minlength=1000)
    assert count[999] == 0
    # 10 of the 100 known ones first, then 10 of the 989 others but for the true one.
    old, new = 400 * (0.1 + 0.9 * 10 / 989), 400 * 10 / 989
    assert even(count[:100], old, 99) and even(count[100:999], new, 898)


def test_all_others_are_taken_where_more_are_wanted():
    rng = np.random.default_rng(0)
    src, dst = (torch.from_numpy(rng.integers(0, 50, 300)) for _ in range(2))
    ranks = OneVsMany(src, dst, torch.arange(300), train=torch.arange(200))
    events = torch.arange(200, 300)
    pool = set(dst.tolist())
    for wanted in (len(pool) - 1, len(pool), 12_000):
        found = ranks.draw(events, wanted, seed=0)
        assert found.shape[1] == min(wanted, len(pool))
        for k, row in zip(events, found.tolist(), strict=True):
            assert set(row) - {-1} == pool - {int(dst[k])}


def test_one_vs_many_without_history_or_events():
    src, dst, t = stream([(0, 1, 0), (1, 0, 1), (0, 2, 1)])
    ranks = OneVsMany(src, dst, t, train=torch.arange(0))
    assert ranks.draw(torch.tensor([2]), 2, seed=0).sort().values.tolist() == [[0, 1]]
    assert ranks.draw(torch.arange(0), 2, seed=0).shape == (0, 2)
    with pytest.raises(ValueError, match=r"an event needs at least 1 candidate, got 0"):
        ranks.draw(torch.tensor([2]), 0, seed=0)


def test_an_unknown_kind_is_refused():
    src, dst, t = stream([(0, 1, 0), (1, 0, 1)])
    past = PastPairs(src, dst, t, train=torch.tensor([0]))
    draw = PastPairs.draw
    draw = getattr(draw, "__wrapped__", draw)  # the check of annotations would refuse it first
    with pytest.raises(ValueError, match=r"kind must be historical or inductive, got 'random'"):
        draw(past, torch.tensor([1]), kind="random", seed=0, sources=src, destinations=dst.unique())

import logging

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from graphlearn.data.interaction_splits import k_core, split_interactions


def rows(count=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 20, count), rng.integers(0, 30, count)


@pytest.mark.parametrize("count", [10, 97, 200, 1001])
@pytest.mark.parametrize("seed", [0, 42])
def test_random_is_what_scikit_learn_draws(count, seed):
    users, items = rows(count)
    parts = split_interactions(users, items, protocol="random", seed=seed)
    train, held = train_test_split(np.arange(count), test_size=0.2, random_state=seed)
    valid, test = train_test_split(held, test_size=0.5, random_state=seed)
    for part, expected in (("train", train), ("valid", valid), ("test", test)):
        np.testing.assert_array_equal(parts[part], np.sort(expected))


def test_random_with_other_shares():
    users, items = rows(1000)
    parts = split_interactions(users, items, protocol="random", seed=1, valid=0.05, test=0.15)
    assert [len(parts[part]) for part in ("train", "valid", "test")] == [800, 50, 150]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1000))


def test_the_last_of_each_user_is_held_out():
    users = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    time = np.array([5, 1, 3, 1, 2, 1, 1, 1, 1])  # equal times: the order of the rows decides
    parts = split_interactions(users, users, protocol="leave-one-out", seed=0, time=time)
    assert parts["test"].tolist() == [0, 8]
    assert parts["valid"].tolist() == [2, 7]
    assert parts["train"].tolist() == [1, 3, 4, 5, 6]  # a user with 2 stays in training


def test_without_times_the_order_of_the_rows_decides(caplog):
    users = np.array([0, 1, 0, 1, 0, 1])
    with caplog.at_level(logging.WARNING):
        parts = split_interactions(users, users, protocol="leave-one-out", seed=0)
    assert "no times: the order of the rows decides which interaction is last" in caplog.text
    assert parts["test"].tolist() == [4, 5] and parts["valid"].tolist() == [2, 3]


def test_splits_follow_each_other_in_time():
    rng = np.random.default_rng(0)
    time = rng.integers(0, 60, 500)
    users, items = rows(500)
    parts = split_interactions(users, items, protocol="temporal", seed=0, time=time)
    assert time[parts["train"]].max() < time[parts["valid"]].min()
    assert time[parts["valid"]].max() < time[parts["test"]].min()
    assert 0.75 < len(parts["train"]) / 500 < 0.85


def test_core_by_hand():
    users = np.array([0, 0, 1, 1, 2, 3, 3])
    items = np.array([0, 1, 0, 1, 1, 2, 2])  # user 3 has one partner, twice
    assert k_core(users, items, 2).tolist() == [0, 1, 2, 3]
    assert k_core(users, items, 0).tolist() == list(range(7))


def test_core_leaves_enough_partners():
    users, items = rows(150)
    kept = k_core(users, items, 4)
    for own, other in ((users[kept], items[kept]), (items[kept], users[kept])):
        assert all(len(set(other[own == k])) >= 4 for k in set(own))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "given"}, "protocol must be auto, random, leave-one-out or temporal, got"),
        ({"valid": 0.0}, "must be positive shares below 1 in sum, got 0.0 and 0.1"),
        ({"valid": 0.5, "test": 0.5}, "must be positive shares below 1 in sum, got 0.5 and 0.5"),
        ({"protocol": "leave-one-out", "test": 0.2}, "valid=0.1 and test=0.2 do not apply"),
        ({"protocol": "temporal"}, "'temporal' needs the time of every interaction; use 'random'"),
        ({"time": np.arange(3)}, "200 users, 200 items and 3 times do not fit together"),
        (
            {"time": np.where(np.arange(200) == 7, np.nan, 1.0)},
            "interaction 7: time must be a finite number, got nan",
        ),
        (
            {"protocol": "temporal", "time": np.zeros(200, dtype=np.int64)},
            "protocol 'temporal' leaves no interactions for valid out of 200",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        split_interactions(*rows(), **({"protocol": "random", "seed": 0} | options))


def test_bad_cores():
    with pytest.raises(ValueError, match="k_core must be at least 0, got -1"):
        k_core(*rows(), -1)
    with pytest.raises(ValueError, match="k_core=50 leaves no interactions out of 200; choose"):
        k_core(*rows(), 50)


def test_too_few_rows():
    with pytest.raises(ValueError, match="'random' leaves no interactions for train out of 1"):
        split_interactions(np.zeros(1, int), np.zeros(1, int), protocol="random", seed=0)

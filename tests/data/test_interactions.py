import logging

import numpy as np
import pytest
import torch

from graphlearn.data.interactions import from_ratings, given_split, interaction_dataset

PAIRS = {"train": [[0, 1, 1], [0, 1, 0]], "valid": [[0], [1]], "test": [[1, 0], [2, 2]]}


def splits(**changed):
    return {part: torch.tensor(ends) for part, ends in (PAIRS | changed).items()}


def drawn(count=300, seed=0):
    rng = np.random.default_rng(seed)
    key = rng.permutation(20 * 30)[:count]
    return key // 30, key % 30


def every(dataset):
    """All pairs as the ids that were given."""
    names = dataset.names
    users = dataset.facts["num_users"]
    return {
        (names[user], names[users + item])
        for pairs in dataset.splits.values()
        for user, item in pairs.T.tolist()
    }


def test_only_training_is_in_the_graph():
    dataset = interaction_dataset("toy", splits(train=[[1, 0, 1, 1], [0, 0, 1, 0]]), 2, 3)
    rates = dataset.data["user", "rates", "item"].edge_index
    assert rates.tolist() == [[0, 1, 1], [0, 0, 1]]  # a repeated pair is merged
    assert torch.equal(dataset.data["item", "rated_by", "user"].edge_index, rates.flip(0))
    assert (dataset.data["user"].num_nodes, dataset.data["item"].num_nodes) == (2, 3)
    assert dataset.splits["test"].tolist() == [[0, 1], [2, 2]]


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"test": [[0], [3]]}, {}, r"toy, test: item 3 is not in \[0, 3\)"),
        ({"valid": [[-1], [0]]}, {}, r"toy, valid: user -1 is not in \[0, 2\)"),
        ({"valid": [[], []]}, {}, "toy: the valid split holds no interactions"),
        (
            {"test": [[0, 1], [2, 1]]},
            {},
            r"1 interactions are in train and in test \(user 1, item 1\); leave them in one",
        ),
        ({}, {"names": ["a"]}, "1 names for 2 users and 3 items; give those of all users, then"),
        ({}, {"titles": ["a"]}, "toy: 1 titles for 3 items"),
    ],
)
def test_bad_pairs(changed, options, message):
    pairs = {part: ends.long() for part, ends in splits(**changed).items()}
    with pytest.raises(ValueError, match=message):
        interaction_dataset("toy", pairs, 2, 3, **options)


def test_a_split_is_missing():
    pairs = splits()
    del pairs["test"]
    with pytest.raises(ValueError, match="toy: the test split holds no interactions"):
        interaction_dataset("toy", pairs, 2, 3)


def test_ids_of_any_kind_are_numbered_in_order():
    user, item = drawn()
    plain = from_ratings("toy", user, item)
    assert plain.names[:3] == ["0", "1", "2"]
    words = from_ratings("toy", [f"u{k:02}" for k in user], torch.from_numpy(item).double())
    for part in plain.splits:
        assert torch.equal(plain.splits[part], words.splits[part])
    assert words.names[0] == "u00" and words.names[-1] == "29"
    # numbers that are words sort as numbers, but keep leading zeros
    assert from_ratings("toy", user.astype(str), item).names == plain.names
    assert from_ratings("toy", [f"{k:03}" for k in user], item).names[0] == "000"


def test_nothing_is_invented_and_what_is_lost_is_logged(caplog):
    user, item = drawn()
    with caplog.at_level(logging.INFO):
        dataset = from_ratings("toy", np.append(user, [77]), np.append(item, [88]), seed=3)
    assert every(dataset) <= {(str(u), str(i)) for u, i in zip(user, item, strict=True)} | {
        ("77", "88")
    }
    found = [record for record in caplog.messages if "that training does not have" in record]
    assert bool(found) == (sum(pairs.shape[1] for pairs in dataset.splits.values()) < 301)


def test_users_and_items_that_training_lacks_are_left_out(caplog):
    user, item = drawn(100)
    user, item = [*user, 50, 3], [*item, 2, 60]  # the last two rows are the last in time
    with caplog.at_level(logging.INFO):
        dataset = from_ratings("toy", user, item, time=np.arange(102), protocol="temporal")
    known = set(dataset.names[: dataset.facts["num_users"]])
    assert "50" not in known and "60" not in dataset.names[dataset.facts["num_users"] :]
    assert "interactions of users or items that training does not have are left out" in caplog.text
    assert set(dataset.splits["train"][0].tolist()) == set(range(len(known)))
    lost = 102 - sum(pairs.shape[1] for pairs in dataset.splits.values())
    assert lost >= 2 and dataset.splits["test"].shape[1] <= 9


def test_repeated_pairs_are_kept_once(caplog):
    user, item = drawn()
    with caplog.at_level(logging.INFO):
        twice = from_ratings("toy", np.tile(user, 2), np.tile(item, 2))
    assert "merged 300 repeated interactions" in caplog.text
    once = from_ratings("toy", user, item)
    for part in once.splits:
        assert torch.equal(once.splits[part], twice.splits[part])


def test_low_ratings_are_dropped(caplog):
    user, item = drawn()
    rating = np.random.default_rng(1).integers(1, 6, 300)
    dataset = from_ratings("toy", user, item, rating=rating, min_rating=4.0)
    high = rating >= 4
    assert every(dataset) <= {(str(u), str(i)) for u, i in zip(user[high], item[high], strict=True)}
    with caplog.at_level(logging.INFO):
        from_ratings("toy", user, item, rating=rating.astype(str))
    assert f"min_rating=4 would keep only {high.sum()} of 300 interactions" in caplog.text


def test_titles_by_id():
    user, item = drawn()
    dataset = from_ratings("toy", user, item, titles={0: "zero", "1": "one"})
    assert dataset.titles[:3] == ["zero", "one", "2"]
    assert from_ratings("toy", user, item, titles=[f"t{k}" for k in range(30)]).titles[5] == "t5"


def test_a_core_is_dense():
    user, item = drawn(150)
    dataset = from_ratings("toy", user, item, k_core=4)
    names = every(dataset)
    assert 0 < len(names) < 150


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (([0, 1], [0]), {}, "toy: 2 users for 1 items"),
        (([], []), {}, "toy holds no interactions"),
        (([[0]], [0]), {}, r"toy: user ids must have one dimension, got shape \(1, 1\)"),
        (([0.5, 1.0], [0, 1]), {}, "toy: user ids must be whole numbers or words"),
        ((["a", ""], [0, 1]), {}, "toy: user id of interaction 1 is missing"),
        (([0, 1], [0.0, float("nan")]), {}, "toy: item id of interaction 1 is missing"),
        (([0, 1], ["a", None]), {}, "toy: item id of interaction 1 is missing"),
        (([0, 1], [0, 1]), {"rating": [1]}, r"toy: rating must have shape \(2,\), got \(1,\)"),
        (([0, 1], [0, 1]), {"rating": ["good", "1"]}, "toy: rating must hold numbers, could not"),
        (([0, 1], [0, 1]), {"time": [0.0, np.inf]}, "time of interaction 1 is not finite, got inf"),
        (([0, 1], [0, 1]), {"min_rating": 3.0}, "has no ratings: min_rating=3.0 does not apply"),
        (
            ([0, 1], [0, 1]),
            {"min_rating": 6.0, "rating": [1, 5]},
            "no rating reaches min_rating=6.0, the largest is 5",
        ),
        (([0, 1, 2], [0, 1, 2]), {"k_core": 2}, "k_core=2 leaves no interactions out of 3"),
        (
            (range(10), range(10)),
            {},
            "training has the user and the item of no valid interaction; use more data, a k_core",
        ),
    ],
)
def test_bad_ratings(columns, options, message):
    with pytest.raises(ValueError, match=message):
        from_ratings("toy", *map(list, columns), **options)


def test_validation_of_a_given_split_is_drawn_from_training():
    user, item = drawn()
    train = torch.from_numpy(np.stack([user, item]))[:, :250]
    test = torch.from_numpy(np.stack([user, item]))[:, 250:]
    dataset = given_split("toy", train, test, 20, 30)
    assert [dataset.splits[part].shape[1] for part in ("train", "valid", "test")] == [225, 25, 50]
    assert len(dataset.splits["train"][0].unique()) == len(train[0].unique())  # all keep one
    again = given_split("toy", train.flip(1), test, 20, 30)
    assert torch.equal(again.splits["valid"], dataset.splits["valid"])
    other = given_split("toy", train, test, 20, 30, seed=1)
    assert not torch.equal(other.splits["valid"], dataset.splits["valid"])


def test_bad_given_splits():
    pairs = torch.tensor([[0, 1], [0, 1]])
    with pytest.raises(ValueError, match=r"valid must lie between 0 and 1, got 1.0"):
        given_split("toy", pairs, pairs, 2, 2, valid=1.0)
    with pytest.raises(ValueError, match=r"valid=0.1 of 2 training interactions leaves no valid"):
        given_split("toy", pairs, pairs.flip(0), 2, 2)
    with pytest.raises(ValueError, match=r"toy, train: item 1 is not in \[0, 1\)"):
        given_split("toy", pairs, pairs, 2, 1)

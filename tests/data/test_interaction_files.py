import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from graphlearn.data import load
from graphlearn.data.interaction_files import (
    from_hetero,
    from_pairs,
    read_interaction_archive,
    read_interactions,
    read_lightgcn,
    read_lists,
)
from graphlearn.data.interactions import from_ratings


def drawn(count=300):
    key = np.random.default_rng(0).permutation(20 * 30)[:count]
    return key // 30, key % 30


def lists(pairs):
    users = sorted({user for user, _ in pairs})
    return "".join(
        " ".join(map(str, [u, *(item for user, item in pairs if user == u)])) + "\n" for u in users
    )


def same(first, second):
    assert first.names == second.names and first.titles == second.titles
    for part in ("train", "valid", "test"):
        assert torch.equal(first.splits[part], second.splits[part])


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "likes.csv"
    rows = (
        f"{user},{item},{k % 5 + 1},{k}\n"
        for k, (user, item) in enumerate(zip(*drawn(), strict=True))
    )
    path.write_text("user,item,rating,time\n" + "".join(rows))
    return path


@pytest.fixture
def folder(tmp_path):
    pairs = [(int(user), int(item)) for user, item in zip(*drawn(), strict=True)]
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "train.txt").write_text(lists(pairs[:250]))
    (folder / "test.txt").write_text(lists(pairs[250:]))
    return folder


def test_a_table_is_what_its_columns_are(table):
    user, item = drawn()
    dataset = read_interactions(table, seed=4)
    same(dataset, from_ratings("likes", user, item, seed=4))
    assert dataset.name == "likes"
    same(dataset, load(table, kind="interactions", seed=4))
    rating, time = np.arange(300) % 5 + 1, np.arange(300)
    for options in ({"min_rating": 3.0}, {"protocol": "temporal"}, {"k_core": 3}):
        own = from_ratings("likes", user, item, rating=rating, time=time, **options)
        same(read_interactions(table, **options), own)


def test_an_archive_of_rows(tmp_path):
    user, item = drawn()
    path = tmp_path / "own.npz"
    np.savez(path, user=user, item=item, timestamp=np.arange(300))
    own = from_ratings("own", user, item, time=np.arange(300), protocol="temporal")
    same(read_interaction_archive(path, protocol="temporal"), own)
    same(load(path, kind="interactions"), from_ratings("own", user, item))


def test_an_archive_with_a_given_split(tmp_path):
    pairs = np.stack(drawn(), axis=1)
    path = tmp_path / "own.npz"
    np.savez(path, train=pairs[:200], valid=pairs[200:250], test=pairs[250:].T, num_items=40)
    dataset = read_interaction_archive(path)
    assert dataset.facts == {"num_users": 20, "num_items": 40, "num_nodes": 60}
    assert {tuple(pair) for pair in dataset.splits["valid"].T.tolist()} == {
        tuple(pair) for pair in pairs[200:250].tolist()
    }
    assert dataset.splits["test"].shape == (2, 50)


def test_lists_as_published(folder):
    dataset = read_lightgcn(folder)
    assert dataset.name == "own" and dataset.splits["test"].shape == (2, 50)
    assert dataset.splits["train"].shape[1] + dataset.splits["valid"].shape[1] == 250
    same(dataset, load(folder, kind="interactions"))
    same(dataset, load(folder))  # a folder with train.txt can be nothing else
    (folder / "valid.txt").write_text("0\n")
    with pytest.raises(ValueError, match="own: the valid split holds no interactions"):
        read_lightgcn(folder)


def test_lists_split_anew(folder):
    user, item = drawn()
    dataset = read_lightgcn(folder, protocol="random", seed=5)
    found = sum(pairs.shape[1] for pairs in dataset.splits.values())
    assert found == 300 == len(user) and dataset.splits["test"].shape[1] == 30
    assert dataset.facts["num_items"] == len(set(item.tolist()))


def test_lists_by_hand(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("0 3 1\n\n2\n1 0\n0 5\n")
    assert read_lists(path).tolist() == [[0, 0, 1, 0], [3, 1, 0, 5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no data"),
        ("0 1\n\n1 -2\n", "line 3: '-2' is no id, a whole number from 0"),
        ("0 1 x\n", "line 1: 'x' is no id, a whole number from 0"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_lists(path)


def test_lists_that_are_no_text(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"0 \xff")
    with pytest.raises(ValueError, match=r"is not UTF-8 text \(byte 2\)"):
        read_lists(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_lists(tmp_path / "test.txt")


def test_an_object_of_pyg():
    user, item = (torch.from_numpy(ids) for ids in drawn())
    data = HeteroData()
    data["user"].num_nodes, data["film"].num_nodes = 20, 30
    data["user", "sees", "film"].edge_index = torch.stack([user, item])
    data["user", "sees", "film"].time = torch.arange(300)
    data["film", "seen_by", "user"].edge_index = torch.stack([item, user])
    own = from_ratings("pyg", user, item, time=torch.arange(300), protocol="leave-one-out")
    same(from_hetero(data, protocol="leave-one-out"), own)
    same(load(data, protocol="leave-one-out"), own)
    data["user", "likes", "film"].edge_index = torch.stack([user, item])
    with pytest.raises(ValueError, match="need one type of edges that starts at 'user', got"):
        from_hetero(data)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"user": [0]}, {}, "has no array 'item', only \\['user'\\]; give user and item, or train"),
        ({"train": [[0, 0, 0]], "test": [[0, 0]]}, {}, "train must hold whole numbers of shape"),
        ({"train": [[0.5, 0]], "test": [[0, 0]]}, {}, "whole numbers of shape .E, 2., got float64"),
        ({"train": [[0, 0]], "test": [[0, 1]]}, {"min_rating": 2.0}, "has no ratings: min_rating"),
        ({"user": [0], "item": [0]}, {"protocol": "given"}, "has no given split; choose protocol"),
    ],
)
def test_bad_archives(tmp_path, arrays, options, message):
    path = tmp_path / "own.npz"
    np.savez(path, **{key: np.array(array) for key, array in arrays.items()})
    with pytest.raises(ValueError, match=message):
        read_interaction_archive(path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "temporal"}, "has a given split and no times: protocol must be auto, given"),
        ({"test_share": 0.2}, "has a given split, the share of test interactions, k_core and"),
        ({"k_core": 2}, "has a given split, the share of test interactions, k_core and"),
    ],
)
def test_options_that_a_given_split_has_no_use_for(options, message):
    pairs = torch.from_numpy(np.stack(drawn()))
    with pytest.raises(ValueError, match=message):
        from_pairs("own", pairs[:, :250], pairs[:, 250:], **options)


def test_no_pairs():
    none = torch.zeros(2, 0, dtype=torch.long)
    with pytest.raises(ValueError, match="own holds no interactions"):
        from_pairs("own", none, none)


def test_tables_have_no_given_split(table):
    with pytest.raises(ValueError, match=r"likes.csv has no given split; choose protocol random"):
        read_interactions(table, protocol="given")

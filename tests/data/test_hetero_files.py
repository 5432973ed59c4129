import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from graphlearn.data import load
from graphlearn.data.archive import open_npz
from graphlearn.data.hetero_files import (
    archive_parts,
    from_hetero_nodes,
    given_ids,
    holds_labels,
    holds_types,
    read_hetero_archive,
)

PAPERS = 12
BY = np.stack([np.arange(PAPERS) % 4, np.arange(PAPERS)]).astype(np.int32)


def arrays(**changes):
    """Twelve papers with sparse features and a split, four authors with dense ones, a venue."""
    found = {
        "node_types": np.array(["paper", "author", "venue"]),
        "edge_types": np.array(["author__writes__paper", "paper__by__author"]),
        "target": np.array("paper"),
        "num_nodes__paper": np.array(PAPERS),
        "x__paper__indptr": np.arange(PAPERS + 1),
        "x__paper__indices": np.arange(PAPERS) % 5,
        "x__paper__data": np.ones(PAPERS, np.uint8),
        "x__paper__shape": np.array([PAPERS, 5]),
        "x__author": np.eye(4),
        "num_nodes__venue": np.array(1),
        "y__paper": np.arange(PAPERS) % 2,
        "edge_index__author__writes__paper": BY,
        "edge_index__paper__by__author": BY[::-1],
        "train_idx": np.array([0, 1, 2, 3]),
        "val_idx": np.array([4, 5]),
        "test_idx": np.array([6, 7]),
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def written(**changes):
        np.savez(tmp_path / "own.npz", **arrays(**changes))
        return tmp_path / "own.npz"

    return written


def test_an_archive(write):
    path = write(names=np.array([f"p{k}" for k in range(PAPERS)]), classes=np.array(["a", "b"]))
    dataset = load(path)
    assert (dataset.name, dataset.kind, dataset.facts["target"]) == ("own", "hetero", "paper")
    assert dataset.facts["in_channels"] == {"paper": 5, "author": 4, "venue": 0}
    assert {part: ids.tolist() for part, ids in dataset.splits.items()} == {
        "train": [0, 1, 2, 3], "valid": [4, 5], "test": [6, 7],
    }  # fmt: skip
    assert dataset.names[3] == "p3" and dataset.classes == ["a", "b"]
    x = dataset.data["paper"].x
    assert x.layout == torch.sparse_csr and x.to_dense()[6].tolist() == [0, 1, 0, 0, 0]
    assert dataset.data["author", "writes", "paper"].edge_index.tolist() == BY.tolist()


def test_an_archive_without_a_split(write):
    path = write(train_idx=None, val_idx=None, test_idx=None, target=None)
    first, second = (read_hetero_archive(path, seed=seed) for seed in (0, 1))
    assert sum(map(len, first.splits.values())) == PAPERS
    assert not torch.equal(first.splits["test"], second.splits["test"])
    shares = read_hetero_archive(write(), protocol="stratified", valid=0.3, test=0.3)
    assert {part: len(ids) for part, ids in shares.splits.items()} == {
        "train": 4, "valid": 4, "test": 4,
    }  # fmt: skip


def test_another_target_than_the_archive_says(write):
    path = write(y__author=np.array([0, 1, 1, 1]), names=np.array(["p"] * PAPERS))
    dataset = read_hetero_archive(path, target="author")
    assert dataset.facts["num_nodes"] == 4 and dataset.names is None
    assert sum(map(len, dataset.splits.values())) == 4  # drawn, the split is that of papers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge_types": None}, "own.npz has no array 'edge_types', only"),
        ({"edge_types": np.array(["author__paper"])},
         "must be source__relation__destination of the types paper, author, venue, got 'author_"),
        ({"edge_types": np.array(["author__writes__papers"])}, "got 'author__writes__papers'"),
        ({"edge_index__paper__by__author": None}, "has no array 'edge_index__paper__by__author'"),
        ({"edge_index__paper__by__author": BY[:, :2] / 2}, "must hold whole numbers in 2 axes"),
        ({"edge_index__paper__by__author": BY},
         r"edge type \(paper, by, author\): ids of 'author' .* must lie in \[0, 4\), got 4 at"),
        ({"x__author": np.array(["a"])}, "x__author must hold numbers, got <U1"),
        ({"x__paper__shape": None}, "x__paper__indptr needs x__paper__indices and x__paper__sh"),
        ({"x__paper__shape": np.array([PAPERS, 3])}, "x__paper: its arrays are not the sparse row"),
        ({"y__paper": np.zeros(PAPERS)}, "y__paper must hold whole numbers in 1 axes, got float64"),
        ({"num_nodes__paper": np.array(3)}, "is unclear: num_nodes says 3 but x says 12"),
        ({"y__paper": None}, "no node type has labels y; one of paper, author, venue needs them"),
        ({"target": np.array("papers")}, "no node type 'papers'; did you mean 'paper'"),
        ({"target": np.array("author")}, "node type 'author' has no labels y, only paper"),
        ({"target": None, "y__author": np.zeros(4, int)},
         r"paper and author have labels; say with target=... \(--data.target\)"),
        ({"val_idx": None}, "has no array 'val_idx'"),
        ({"test_idx": np.array([3])}, "node 3 is in both train and test"),
    ],
)  # fmt: skip
def test_bad_archives(write, changes, message):
    with pytest.raises(ValueError, match=message):
        read_hetero_archive(write(**changes))


def test_parts_of_an_archive(write):
    data, target = archive_parts(open_npz(write()), "own")
    assert target == "paper" and data["venue"].num_nodes == 1
    assert given_ids(arrays(), "own")["valid"].tolist() == [4, 5]
    assert given_ids({}, "own") is None
    assert archive_parts(arrays(target=None), "own")[1] == ""


def test_which_files_are_archives_of_types(write, tmp_path):
    assert holds_types(write()) and not holds_types(write(node_types=None))
    assert not holds_types(tmp_path / "none.npz")
    (tmp_path / "torn.npz").write_bytes(b"PK")
    assert not holds_types(tmp_path / "torn.npz")
    (tmp_path / "a.csv").write_text("1,2\n")
    assert not holds_types(tmp_path / "a.csv")


def own(masks=True):
    data = HeteroData()
    data["paper"].y = torch.arange(PAPERS) % 2
    data["author"].x = torch.ones(4, 2)
    data["author", "writes", "paper"].edge_index = torch.from_numpy(BY.astype(np.int64))
    for k, mask in enumerate(("train_mask", "val_mask", "test_mask") if masks else ()):
        data["paper"][mask] = torch.arange(PAPERS) // 4 == k
    return data


def test_an_object():
    dataset = load(own(), undirected=True)
    assert (dataset.name, dataset.kind) == ("pyg", "hetero")
    assert ("paper", "rev_writes", "author") in dataset.facts["metadata"][1]
    assert dataset.splits["valid"].tolist() == [4, 5, 6, 7]
    drawn = load(own(masks=False), seed=1)
    assert sum(map(len, drawn.splits.values())) == PAPERS
    assert len(load(own(), protocol="stratified", test=0.5).splits["test"]) == 6


def test_what_an_object_is_for():
    assert holds_labels(own())
    data = own()
    del data["paper"].y
    assert not holds_labels(data)
    with pytest.raises(
        ValueError, match="HeteroData: no node type has labels y; one of paper, aut"
    ):
        from_hetero_nodes(data)
    with pytest.raises(ValueError, match="interactions need one type of edges that starts at"):
        load(own(), kind="interactions")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("y", torch.zeros(PAPERS, 3), r"one whole number for each node, got float32 of shape \(12"),
        ("y", torch.zeros(PAPERS), "several labels of one node are not supported"),
        ("val_mask", None, "HeteroData: paper.val_mask must hold 12 truth values, got none"),
        (
            "test_mask",
            torch.ones(3).bool(),
            r"paper.test_mask must hold 12 truth values, got torch",
        ),
    ],
)
def test_bad_objects(key, value, message):
    data = own()
    if value is None:
        del data["paper"][key]
    else:
        data["paper"][key] = value
    with pytest.raises(ValueError, match=message):
        from_hetero_nodes(data)


def test_options_of_an_object():
    with pytest.raises(ValueError, match="HeteroData: no node type 'papr'; did you mean 'paper'"):
        from_hetero_nodes(own(), target="papr")
    with pytest.raises(ValueError, match=r"HeteroData has no use for min_rating=3.0"):
        load(own(), min_rating=3.0)
    with pytest.raises(ValueError, match="protocol must be auto, random or stratified for the nod"):
        from_hetero_nodes(own(masks=False), protocol="public")

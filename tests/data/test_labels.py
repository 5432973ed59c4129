import numpy as np
import pytest
import torch

from graphlearn.data.labels import (
    number_classes,
    read_labelled_archive,
    read_labelled_edges,
    read_labels,
)

NAMES = [f"n{k:02d}" for k in range(30)]


@pytest.fixture
def edges(tmp_path):
    """A ring of 30 named nodes, each joined to the next two."""
    path = tmp_path / "ring.csv"
    pairs = [(k, (k + step) % 30) for k in range(30) for step in (1, 2)]
    path.write_text("source,target\n" + "".join(f"{NAMES[a]},{NAMES[b]}\n" for a, b in pairs))
    return path


def table(tmp_path, text, name="labels.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_words_become_classes(edges, tmp_path):
    rows = [f"{name},{('red', 'blue')[k % 2]}\n" for k, name in enumerate(NAMES) if k < 28]
    labels = table(tmp_path, "node,label\n" + "".join(reversed(rows)))
    found = read_labelled_edges(edges, labels=labels)
    assert found.kind == "node" and found.name == "ring" and found.names == NAMES
    assert found.classes == ["blue", "red"] and found.data.y.tolist() == [1, 0] * 14 + [-1, -1]
    assert found.data.edge_index.shape == (2, 120)
    assert [len(ids) for ids in found.splits.values()] == [2, 2, 24]  # 10/10/80 of each class


def test_numbers_are_the_classes_if_none_is_left_out():
    y, classes = number_classes(["2", "0", "1", "", "-1"])
    assert y.tolist() == [2, 0, 1, -1, -1] and classes is None
    y, classes = number_classes(["10", "2", "10"])
    assert y.tolist() == [1, 0, 1] and classes == ["2", "10"]
    y, classes = number_classes(["x", "1", "x"])
    assert y.tolist() == [1, 0, 1] and classes == ["1", "x"]


def test_a_column_of_splits(edges, tmp_path):
    parts = ["train", "VAL", "test", "", "training"]
    rows = [f"{parts[k % 5]};{name};{k % 2}\n" for k, name in enumerate(NAMES)]
    labels = table(tmp_path, "split;node;class\n" + "".join(rows), "labels.txt")
    found = read_labelled_edges(edges, labels=labels, seed=7)
    assert [len(ids) for ids in found.splits.values()] == [12, 6, 6]
    assert found.splits["valid"].tolist() == list(range(1, 30, 5))
    same = read_labelled_edges(edges, labels=labels, protocol="public")
    assert torch.equal(same.splits["test"], found.splits["test"])
    drawn = read_labelled_edges(edges, labels=labels, protocol="stratified", valid=0.2, test=0.2)
    assert sum(map(len, drawn.splits.values())) == 30
    bare = table(tmp_path, "".join(f"{n},{k % 2},{parts[k % 3]}\n" for k, n in enumerate(NAMES)))
    assert len(read_labelled_edges(edges, labels=bare).splits["train"]) == 10


def test_numbered_nodes_and_features(tmp_path):
    path = table(tmp_path, "".join(f"{k},{(k + 1) % 30}\n" for k in range(30)), "ring.csv")
    labels = table(tmp_path, "".join(f"{k}\t{k % 3}\n" for k in range(30)), "labels.tsv")
    np.save(tmp_path / "x.npy", np.ones((31, 4), dtype=np.float32))
    found = read_labelled_edges(path, labels=labels, features=tmp_path / "x.npy")
    assert found.facts == {"num_nodes": 31, "in_channels": 4, "out_channels": 3}
    assert read_labelled_edges(path, labels=labels, num_nodes=40).facts["num_nodes"] == 40
    assert found.data.y[30] == -1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node,label\nn00,a\nzed,b\n", r"labels.csv, line 3: node 'zed' is not in the graph of 30"),
        ("n00,a\nn00,b\n", r"labels.csv, line 2: node 'n00' has two labels"),
        ("n00,a,train\nn01,b,dev\n", r"labels.csv, line 2: a split must be .* got 'dev'"),
        ("n00,a\nn01\n", r"labels.csv, line 2: expected a node and its label, got \['n01'\]"),
        ("n00,a,train\nn01,,test\n", r"ring: the split 'valid' is empty"),
        ("n00,,train\nn01,a,valid\n", r"ring: node 0 is in train but has no label"),
        ("", r"labels.csv holds no data"),
    ],
)
def test_tables_that_are_refused(edges, tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_labelled_edges(edges, labels=table(tmp_path, text))


def test_labels_are_needed(edges, tmp_path):
    with pytest.raises(ValueError, match=r"ring.csv needs the classes of its nodes: labels="):
        read_labelled_edges(edges)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none.csv"):
        read_labelled_edges(edges, labels=tmp_path / "none.csv")


def test_further_columns_of_edges_are_said(edges, tmp_path, caplog):
    edges.write_text(edges.read_text().replace("\n", ",1\n"))
    labels = table(tmp_path, "".join(f"{name},{k % 2}\n" for k, name in enumerate(NAMES)))
    read_labelled_edges(edges, labels=labels)
    assert "ring.csv: ignored 1 further columns" in caplog.text


def test_columns_by_name(tmp_path):
    found = read_labels(table(tmp_path, "Label,Node_ID\na,x\nb,y\n"))
    assert found.nodes == ["x", "y"] and found.labels == ["a", "b"] and found.parts is None
    found = read_labels(table(tmp_path, "y,age,name\n1,20,x\n0,30,y\n"))
    assert found.nodes == ["x", "y"] and found.labels == ["1", "0"] and found.parts is None


def archive(tmp_path, **arrays):
    edge = np.array([(k, (k + 1) % 30) for k in range(30)])
    np.savez(tmp_path / "club.npz", edge=edge, **arrays)
    return tmp_path / "club.npz"


def test_archives(tmp_path):
    y = np.arange(30) % 2
    found = read_labelled_archive(archive(tmp_path, y=y, x=np.ones((30, 3))))
    assert found.name == "club" and found.facts["in_channels"] == 3
    assert [len(ids) for ids in found.splits.values()] == [4, 4, 22]
    ids = np.arange(30)
    parts = {"train": ids[:10], "val": ids[10:15], "test": ids[15:]}
    names = {"names": np.array(NAMES), "classes": np.array(["a", "b"])}
    fixed = read_labelled_archive(archive(tmp_path, y=y, **parts, **names))
    assert [len(ids) for ids in fixed.splits.values()] == [10, 5, 15]
    assert fixed.names == NAMES and fixed.classes == ["a", "b"]
    drawn = read_labelled_archive(archive(tmp_path, y=y, **parts), protocol="stratified", seed=1)
    assert len(drawn.splits["test"]) == 22


def test_archives_without_labels(tmp_path):
    for arrays in ({}, {"y": np.ones(30)}, {"y": np.ones((30, 2), int)}):
        with pytest.raises(
            ValueError, match=r"club.npz has no labels: expected whole numbers y of"
        ):
            read_labelled_archive(archive(tmp_path, **arrays))
    with pytest.raises(ValueError, match=r"club.npz: edge: node ids must lie in \[0, 9\)"):
        read_labelled_archive(archive(tmp_path, y=np.zeros(9, int)))
    pickled = np.array([{}], dtype=object)
    with pytest.raises(ValueError, match=r"club.npz is damaged or no archive of plain arrays"):
        read_labelled_archive(archive(tmp_path, y=pickled))

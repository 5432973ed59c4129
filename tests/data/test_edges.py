import gzip
import logging

import numpy as np
import pytest
import torch

from graphlearn.data.edges import read_edges, read_features
from graphlearn.data.pairs import pair_keys
from graphlearn.data.splits import check_no_leak


def ring(nodes=20, start=0):
    return [(k + start, (k + step) % nodes + start) for k in range(nodes) for step in (1, 2)]


def write(tmp_path, rows, name="toy.csv", header=""):
    text = header + "".join(",".join(map(str, row)) + "\n" for row in rows)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def all_keys(dataset):
    pos = torch.cat([split.pos for split in dataset.splits.values()], dim=1)
    return set(pair_keys(pos, dataset.facts["num_nodes"]).tolist())


def test_numbered_nodes(tmp_path):
    dataset = read_edges(write(tmp_path, ring()))
    assert dataset.name == "toy" and dataset.kind == "link" and dataset.names is None
    assert dataset.facts == {"num_nodes": 20, "in_channels": 0, "num_ids": 20}
    assert all_keys(dataset) == {min(u, v) * 20 + max(u, v) for u, v in ring()}
    assert dataset.metric == "hits@10"
    check_no_leak(dataset)


def test_other_formats_give_the_same_graph(tmp_path):
    plain = read_edges(write(tmp_path, ring()))
    zipped = read_edges(write(tmp_path, ring(), "z.csv.gz", header="source,target\n"))
    quoted = read_edges(write(tmp_path, [(f'"{u}"', f'"{v}"') for u, v in ring()], "q.csv"))
    for other in (zipped, quoted):
        assert all_keys(other) == all_keys(plain)
        assert torch.equal(other.splits["test"].pos, plain.splits["test"].pos)
    assert zipped.name == "z"


def test_named_nodes(tmp_path):
    rows = [(f"n{u:02d}", f"n{v:02d}") for u, v in ring()]
    dataset = read_edges(write(tmp_path, rows))
    assert dataset.names == [f"n{k:02d}" for k in range(20)]
    assert all_keys(dataset) == all_keys(read_edges(write(tmp_path, ring())))


def test_gaps_make_ids_names(tmp_path, caplog):
    rows = [(u * 1000, v * 1000) for u, v in ring()]
    with caplog.at_level(logging.WARNING):
        dataset = read_edges(write(tmp_path, rows))
    assert dataset.names == [str(1000 * k) for k in range(20)]
    assert "ids have gaps" in caplog.text
    kept = read_edges(write(tmp_path, rows), num_nodes=20_000)
    assert kept.facts["num_nodes"] == 20_000 and kept.names is None


def test_messy_lists_are_cleaned(tmp_path, caplog):
    rows = [(u, v, 0.5) for u, v in ring()]
    messy = [*rows, *rows[:3], (rows[0][1], rows[0][0], 1), (4, 4, 1)]
    with caplog.at_level(logging.WARNING):
        dataset = read_edges(write(tmp_path, messy, header="src,dst,weight\n"))
    assert all_keys(dataset) == all_keys(read_edges(write(tmp_path, ring())))
    for note in ("ignored 1 further columns", "dropped 1 self loops", "merged 3 repeated edges"):
        assert note in caplog.text
    assert "a directed list is taken as undirected" in caplog.text


def test_planetoid_protocol(tmp_path):
    dataset = read_edges(write(tmp_path, ring()), protocol="planetoid")
    assert dataset.metric == "hits@100"
    assert dataset.splits["valid"].neg.shape[1] == 2 * dataset.splits["valid"].pos.shape[1]


@pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.txt.gz"])
def test_features_by_row(tmp_path, name):
    x = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, x)
    else:
        write(tmp_path, x.tolist(), name)
    dataset = read_edges(write(tmp_path, ring()), features=path)
    assert np.allclose(dataset.data.x, x)
    assert dataset.facts == {"num_nodes": 25, "in_channels": 3, "num_ids": 0}


@pytest.mark.parametrize("header", ["id,a,b\n", ""])
def test_features_by_name(tmp_path, header):
    names = [f"n{k}" for k in range(21)][::-1]
    table = write(tmp_path, [(name, k, -k) for k, name in enumerate(names)], "x.csv", header)
    rows = [(f"n{u}", f"n{v}") for u, v in ring()]
    dataset = read_edges(write(tmp_path, rows), features=table)
    assert dataset.names == names and dataset.data.x[2].tolist() == [2.0, -2.0]
    numbered = write(tmp_path, [(k, k / 2) for k in range(20)], "y.csv", "id,a\n")
    assert read_edges(write(tmp_path, ring()), features=numbered).names[3] == "3"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ring(), ("x", 3)], r"toy.csv, line 41: node id 'x' is not a whole number"),
        ([*ring(), (1.5, 3)], r"toy.csv, line 41: node id '1.5' is not a whole number"),
        ([*ring(), (10**19, 3)], r"line 41: node id '1000.*' is not a whole number"),
        ([*ring(), (3, -4)], r"toy.csv, line 41: node id -4 is negative; ids start at 0"),
        ([*ring(), (3,)], r"toy.csv, line 41: expected two ends of an edge, got \['3'\]"),
        ([*ring(), (3, "")], r"toy.csv, line 41: expected two ends of an edge"),
        ([(1, 1)], r"toy.csv: the graph has no edges \(self loops do not count\)"),
        ([(0, 1), (1, 2)], r"a graph of 2 edges is too small to split"),
        ([], r"toy.csv holds no data"),
    ],
)
def test_bad_edges(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_edges(write(tmp_path, rows))
    assert "\n" not in str(caught.value)


def test_a_header_alone_is_an_empty_graph(tmp_path):
    with pytest.raises(ValueError, match=r"the graph has no edges"):
        read_edges(write(tmp_path, [], header="src,dst\n"))


def test_ids_must_fit_the_nodes(tmp_path):
    path = write(tmp_path, ring(), header="src,dst\n")
    with pytest.raises(ValueError, match=r"toy.csv, line 17: node id 9 is too large for 9 nodes"):
        read_edges(path, num_nodes=9)
    np.save(tmp_path / "x.npy", np.ones((19, 2)))
    with pytest.raises(ValueError, match=r"node id 19 is too large for 19 nodes"):
        read_edges(path, features=tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"num_nodes is 5, but the features have 19 rows"):
        read_edges(path, features=tmp_path / "x.npy", num_nodes=5)


def test_names_and_features_must_agree(tmp_path):
    path = write(tmp_path, [(f"n{u}", f"n{v}") for u, v in ring()])
    with pytest.raises(ValueError, match=r"names its nodes: num_nodes must be 0"):
        read_edges(path, num_nodes=20)
    np.save(tmp_path / "x.npy", np.ones((20, 2)))
    with pytest.raises(ValueError, match=r"first column of the features must hold the names"):
        read_edges(path, features=tmp_path / "x.npy")
    table = write(tmp_path, [(f"n{k}", 1) for k in range(19)], "x.csv")
    with pytest.raises(ValueError, match=r"toy.csv, line 36: node 'n19' has no features"):
        read_edges(path, features=table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,nan\n", r"x.csv, line 2: a feature must be a number, got 'nan'"),
        ("1,2\n3,inf\n", r"x.csv, line 2: a feature must be a number, got 'inf'"),
        ("1,2\n3,abc\n", r"x.csv, line 2: a feature must be a number, got 'abc'"),
        ("# two\n1,2\n3\n", r"x.csv, line 3: expected 2 values, got 1"),
        ("1,2\n3,4,5\n", r"x.csv, line 2: expected 2 values, got 3"),
        ("id,a\n7,1\n8,2\n7,3\n", r"x.csv, line 4: node '7' has two rows"),
    ],
)
def test_bad_feature_tables(tmp_path, text, message):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_features(path)


def test_bad_feature_arrays(tmp_path):
    path = tmp_path / "x.npy"
    with pytest.raises(FileNotFoundError, match=r"no such file: .*x\.npy"):
        read_features(path)
    np.save(path, np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match=r"x.npy: the features of node 1 are not finite"):
        read_features(path)
    np.save(path, np.ones(3))
    with pytest.raises(ValueError, match=r"of shape \(nodes, features\), got float64 \(3,\)"):
        read_features(path)
    np.save(path, np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x.npy is no plain numpy array"):
        read_features(path)
    with pytest.raises(ValueError, match=r"features must be a .npy, .csv, .tsv or .txt file"):
        read_features(tmp_path / "x.pkl")

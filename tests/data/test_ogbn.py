import gzip

import numpy as np
import pytest

from graphlearn.data.ogbn import load_ogbn

NODES = 60


def write(path, values, form="%d"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, np.asarray(values), delimiter=",", fmt=form)


@pytest.fixture
def root(tmp_path):
    """The official layout of OGB with a ring of 60 papers, some cited back."""
    raw, split = tmp_path / "ogbn_arxiv" / "raw", tmp_path / "ogbn_arxiv" / "split" / "time"
    node = np.arange(NODES)
    edges = np.stack([node, (node + 1) % NODES], 1)
    write(raw / "edge.csv.gz", np.concatenate([edges, edges[:5, ::-1]]))
    write(raw / "node-feat.csv.gz", np.random.default_rng(0).normal(size=(NODES, 4)), "%.6f")
    write(raw / "node-label.csv.gz", node % 3)
    write(raw / "num-node-list.csv.gz", [NODES])
    write(raw / "num-edge-list.csv.gz", [NODES + 5])
    for part, ids in (("train", node[:30]), ("valid", node[30:40]), ("test", node[40:])):
        write(split / f"{part}.csv.gz", ids)
    return tmp_path


def test_the_official_files(root):
    before = sorted(root.rglob("*"))
    dataset = load_ogbn("ogbn-arxiv", root, seed=3)
    assert dataset.facts == {"num_nodes": NODES, "in_channels": 4, "out_channels": 3}
    assert dataset.data.edge_index.shape == (2, 2 * NODES)
    assert dataset.data.edge_index[:, :3].tolist() == [[0, 0, 1], [1, 59, 0]]
    assert [len(ids) for ids in dataset.splits.values()] == [30, 10, 20]
    assert dataset.splits["test"].tolist() == list(range(40, 60))
    assert dataset.data.y[:4].tolist() == [0, 1, 2, 0] and dataset.metric == "accuracy"
    assert sorted(root.rglob("*")) == before


def test_protocols(root):
    shares = load_ogbn("ogbn-arxiv", root, protocol="stratified", valid=0.25, test=0.25)
    assert [len(ids) for ids in shares.splits.values()] == [30, 15, 15]
    with pytest.raises(ValueError, match=r"class 0 has 20 nodes to draw from, 50 are needed"):
        load_ogbn("ogbn-arxiv", root, protocol="random")


@pytest.mark.parametrize("path", ["raw/node-label", "split/time/valid", "raw/edge"])
def test_missing_files_are_named(root, path):
    file = root / "ogbn_arxiv" / f"{path}.csv.gz"
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no file {file}; unpack OGB's archive"):
        load_ogbn("ogbn-arxiv", root)


def test_a_missing_folder_says_where_it_is_published(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no ogbn-arxiv in .*ogbn_arxiv: expected OGB's.*"):
        load_ogbn("ogbn-arxiv", tmp_path)


def test_damaged_files(root):
    folder = root / "ogbn_arxiv"
    write(folder / "raw" / "node-label.csv.gz", np.zeros(NODES - 1))
    with pytest.raises(ValueError, match=r"ogbn_arxiv: expected the labels of 60 nodes, got 59"):
        load_ogbn("ogbn-arxiv", root)
    (folder / "raw" / "node-label.csv.gz").write_bytes(gzip.compress(b"0\n1\nx\n"))
    with pytest.raises(ValueError, match=r"gz, line 3: expected a whole number, got 'x'"):
        load_ogbn("ogbn-arxiv", root)
    (folder / "raw" / "node-label.csv.gz").write_bytes(gzip.compress(b"0\n1\n-\n"))
    with pytest.raises(ValueError, match=r"gz, line 3: expected a whole number, got '-'"):
        load_ogbn("ogbn-arxiv", root)
    (folder / "raw" / "node-label.csv.gz").write_bytes(gzip.compress(b"99999999999999999999\n1\n"))
    with pytest.raises(ValueError, match=r"gz is no column of whole numbers; unpack OGB's archive"):
        load_ogbn("ogbn-arxiv", root)

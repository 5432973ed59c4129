import io
import urllib.error

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from graphlearn.data import shchur
from graphlearn.data.shchur import load_shchur

FILES = {
    "amazon-computers": "amazon/Computers/raw/amazon_electronics_computers.npz",
    "amazon-photo": "amazon/Photo/raw/amazon_electronics_photo.npz",
    "coauthor-cs": "coauthor/CS/raw/ms_academic_cs.npz",
    "coauthor-physics": "coauthor/Physics/raw/ms_academic_phy.npz",
}
NODES = 300  # of which the first 240 are one component


def arrays():
    """A directed ring with a loop and a repeated edge, pairs beside it, counts as features."""
    node = np.arange(NODES)
    ring = node[:240]
    row = np.concatenate([ring, node[240::2], [7]])
    col = np.concatenate([(ring + 1) % 240, node[241::2], [7]])
    adj = csr_matrix((np.ones(len(row), np.float32), (row, col)), shape=(NODES, NODES))
    rng = np.random.default_rng(0)
    attr = csr_matrix(rng.integers(0, 4, (NODES, 9)) * (rng.random((NODES, 9)) < 0.3))
    parts = {"adj": adj, "attr": attr}
    found = {
        f"{part}_{key}": getattr(matrix, key)
        for part, matrix in parts.items()
        for key in ("data", "indices", "indptr")
    }
    found |= {f"{part}_shape": np.array(matrix.shape) for part, matrix in parts.items()}
    return found | {"labels": node % 3, "class_names": np.array(["a", "b", "c"])}


@pytest.fixture(params=FILES)
def place(request, tmp_path, monkeypatch):
    name = request.param
    monkeypatch.setitem(shchur._FILES, name, shchur._FILES[name]._replace(num_nodes=NODES))
    path = tmp_path / FILES[name]
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays())
    return name, tmp_path, path


def test_every_layout(place):
    name, root, _ = place
    before = sorted(root.rglob("*"))
    dataset = load_shchur(name, root, seed=1)
    assert dataset.facts == {"num_nodes": NODES, "in_channels": 9, "out_channels": 3}
    assert dataset.data.edge_index.shape == (2, 2 * (240 + 30)) and dataset.name == name
    assert dataset.classes == ["a", "b", "c"] and sorted(root.rglob("*")) == before
    expected = arrays()
    shape = expected["attr_shape"]
    counts = csr_matrix(tuple(expected[f"attr_{k}"] for k in ("data", "indices", "indptr")), shape)
    assert np.array_equal(dataset.data.x.to_dense(), (counts.toarray() > 0))


def test_the_usual_split_stays_in_the_largest_component(place):
    name, root, _ = place
    dataset = load_shchur(name, root)
    for part, count in (("train", 20), ("valid", 30), ("test", 30)):
        ids = dataset.splits[part]
        assert torch.bincount(dataset.data.y[ids]).tolist() == [count] * 3
        assert int(ids.max()) < 240
    shares = load_shchur(name, root, protocol="stratified", valid=0.3, test=0.3)
    assert sum(map(len, shares.splits.values())) == 240
    with pytest.raises(ValueError, match=r"protocol 'random' of .* fixes the sizes, got valid=0.3"):
        load_shchur(name, root, valid=0.3)
    with pytest.raises(ValueError, match=r"protocol must be auto, random or stratified for the no"):
        load_shchur(name, root, protocol="public")


def test_python_objects_are_never_read(place):
    name, root, path = place
    names = np.array([{"a": 1}, None], dtype=object)
    np.savez(path, **{**arrays(), "node_names": names, "class_names": names})
    assert load_shchur(name, root).classes is None
    np.savez(path, **{**arrays(), "labels": np.array([None] * NODES, dtype=object)})
    with pytest.raises(ValueError, match=r"npz is damaged or no archive of plain arrays: Object"):
        load_shchur(name, root)


def test_damaged_files(place):
    name, root, path = place
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=r"npz is damaged or no archive of plain arrays"):
        load_shchur(name, root)
    found = arrays()
    np.savez(path, **{key: array for key, array in found.items() if key != "attr_data"})
    with pytest.raises(ValueError, match=r"npz has no array 'attr_data'"):
        load_shchur(name, root)
    np.savez(path, **{**found, "adj_shape": np.array([NODES, NODES + 1])})
    with pytest.raises(ValueError, match=r"the adjacency must be 300 x 300, got \(300, 301\)"):
        load_shchur(name, root)
    np.savez(path, **{**found, "attr_shape": np.array([NODES, 9, 1])})
    with pytest.raises(
        ValueError, match=r"npz, attr: a matrix has two sizes, got shape \[300, 9, 1\]"
    ):
        load_shchur(name, root)
    np.savez(path, **{**found, "attr_indptr": found["attr_indptr"][:-1]})
    with pytest.raises(ValueError, match=r"npz, attr: its arrays are not the sparse rows of a 300"):
        load_shchur(name, root)
    np.savez(path, **{**found, "labels": found["labels"][:-1]})
    with pytest.raises(ValueError, match=rf"{name} must have 300 nodes, got 299"):
        load_shchur(name, root)


def test_a_missing_file_is_fetched(place, monkeypatch):
    name, root, path = place
    content = path.read_bytes()
    path.unlink()

    def fail(url, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(
        FileNotFoundError, match=rf"no file {path}, and fetching it failed .*no net"
    ):
        load_shchur(name, root)
    asked = []

    def answer(url, timeout):
        asked.append(url.rpartition("/")[2])
        return io.BytesIO(content)

    monkeypatch.setattr("urllib.request.urlopen", answer)
    assert load_shchur(name, root).name == name and asked == [path.name]


@pytest.mark.data
def test_amazon_photo(data_root):
    before = sorted(data_root.glob("amazon/**/*"))
    dataset = load_shchur("amazon-photo", data_root)
    assert dataset.facts == {"num_nodes": 7650, "in_channels": 745, "out_channels": 8}
    assert dataset.data.edge_index.shape == (2, 238162)
    assert torch.bincount(dataset.data.y).tolist() == [369, 1686, 703, 915, 882, 823, 1941, 331]
    assert [len(ids) for ids in dataset.splits.values()] == [160, 240, 7487 - 400]
    for part, count in (("train", 20), ("valid", 30)):
        assert torch.bincount(dataset.data.y[dataset.splits[part]]).tolist() == [count] * 8
    linked = torch.cat(list(dataset.splits.values()))
    degree = torch.bincount(dataset.data.edge_index[0], minlength=7650)
    assert int(degree[linked].min()) > 0 and int((degree == 0).sum()) == 115
    assert sorted(data_root.glob("amazon/**/*")) == before

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from toy import link_dataset, node_dataset

from graphlearn.data import load
from graphlearn.data.robust import attacked, load_robust, read_robust, save_robust


def changed(dataset, count):
    """The same graph with so many new edges."""
    known = set(map(tuple, dataset.data.edge_index.T.tolist()))
    nodes = dataset.data.num_nodes
    free = [(i, j) for i in range(nodes) for j in range(i + 1, nodes) if (i, j) not in known]
    new = torch.tensor(free[:count]).T
    return torch.cat([dataset.data.edge_index, new, new.flip(0)], 1)


@pytest.fixture(params=["dense", "sparse", "ids"])
def folder(request, tmp_path):
    dataset = node_dataset(features=request.param, unlabelled=2)
    dataset.data.target_nodes = dataset.splits["test"][:4]
    path = tmp_path / "robust_toy"
    save_robust(path, dataset, {0.05: changed(dataset, 6), 0.2: changed(dataset, 26)})
    save_robust(path, dataset, {1.0: changed(dataset, 4)}, attack="nettack")
    return dataset, path


def test_what_is_saved_is_what_is_read(folder):
    dataset, path = folder
    found = read_robust(path)
    assert found.name == "robust_toy" and found.facts == dataset.facts
    assert torch.equal(found.data.y, dataset.data.y)
    assert torch.equal(found.data.edge_index, dataset.data.edge_index)
    assert torch.equal(found.data.clean_edge_index, dataset.data.edge_index)
    x = dataset.data.x
    dense = torch.eye(60) if x.dim() == 1 else x.to_dense()
    assert torch.equal(found.data.x.to_dense(), dense)
    for part, ids in dataset.splits.items():
        assert torch.equal(found.splits[part], ids)
    assert "target_nodes" not in found.data


def test_attacked_graphs(folder):
    dataset, path = folder
    for rate, count in ((0.05, 6), (0.2, 26)):
        found = read_robust(path, rate=rate)
        assert found.data.edge_index.shape[1] == dataset.data.edge_index.shape[1] + 2 * count
        assert torch.equal(found.data.clean_edge_index, dataset.data.edge_index)
    for rate in (0.0, 1.0):
        found = read_robust(path, attack="nettack", rate=rate)
        assert torch.equal(found.splits["test"], dataset.splits["test"][:4])
        assert torch.equal(found.data.target_nodes, found.splits["test"])
        assert int(found.data.test_mask.sum()) == 4


def test_scipy_reads_what_is_saved(folder):
    dataset, path = folder
    adjacency = sp.load_npz(path / "adj_clean.npz")
    assert adjacency.nnz == dataset.data.edge_index.shape[1] and adjacency.format == "csr"
    assert (adjacency != adjacency.T).nnz == 0
    # An attacked data set is saved with the graph from before the attack.
    save_robust(path / "again", read_robust(path, rate=0.2), {})
    again = sp.load_npz(path / "again" / "adj_clean.npz")
    assert (again != adjacency).nnz == 0


def test_a_folder_is_a_source(folder):
    dataset, path = folder
    assert load(path, rate=0.05).data.edge_index.shape[1] == dataset.data.edge_index.shape[1] + 12
    assert load(str(path), kind="node", attack="nettack").data.target_nodes.shape == (4,)
    with pytest.raises(ValueError, match="robust_toy is a graph for node classification, kind='l"):
        load(path, kind="link")
    assert load_robust("robust_toy", path.parent).name == "robust_toy"


def test_drawn_attacks_start_from_the_clean_graph(folder, monkeypatch):
    dataset, path = folder

    class RandomAttack:
        def __init__(self, mode):
            assert mode == "add"

        def attack(self, data, budget, *, seed=0):
            return SimpleNamespace(edge_index=changed(dataset, int(budget * 100)))

    monkeypatch.setitem(
        sys.modules, "graphlearn.attacks", SimpleNamespace(RandomAttack=RandomAttack)
    )
    found = load(path, attack="random", rate=0.1)
    assert found.data.edge_index.shape[1] == dataset.data.edge_index.shape[1] + 20
    assert torch.equal(found.data.clean_edge_index, dataset.data.edge_index)
    assert torch.equal(found.splits["test"], dataset.splits["test"])


def test_attacks_on_the_spot_leave_the_data_set_alone():
    dataset = node_dataset()
    edges = dataset.data.edge_index.clone()
    same = attacked(dataset, "dice", 0.0)
    assert torch.equal(same.data.clean_edge_index, edges) and "clean_edge_index" not in dataset.data
    with pytest.raises(ValueError, match="attack must be random or dice, got 'meta'"):
        attacked(dataset, "meta", 0.1)


def test_options_that_do_not_fit(folder):
    _, path = folder
    with pytest.raises(ValueError, match=r"protocol must be auto or public for robust_toy, whose"):
        read_robust(path, protocol="random")
    with pytest.raises(ValueError, match=r"attack must be meta or nettack for robust_toy, got 'x'"):
        read_robust(path, attack="x")
    with pytest.raises(
        FileNotFoundError, match=r"meta/adj_0.1.npz; there are the rates 0, 0.05, 0"
    ):
        read_robust(path, rate=0.1)
    with pytest.raises(FileNotFoundError, match=r"nettack/adj_2.npz; there are the rates 0, 1$"):
        read_robust(path, attack="nettack", rate=2.0)
    (path / "nettack" / "adj_1.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"nettack/adj_1.npz; there is the clean graph"):
        read_robust(path, attack="nettack", rate=1.0)


@pytest.mark.parametrize(
    "file", ["features.npz", "labels.npy", "split.npz", "adj_clean.npz", "nettack/target_nodes.npy"]
)
def test_a_missing_file_is_named(folder, file):
    _, path = folder
    (path / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"no such file: {path / file}"):
        read_robust(path, attack="nettack")


def altered(path, change):
    matrix = sp.load_npz(path).tolil()
    change(matrix)
    sp.save_npz(path, matrix.tocsr())


def put(row, col, value):
    def change(matrix):
        matrix[row, col] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(3, 3, 1), r"adj_clean.npz: node 3 is its own neighbour"),
        (put(0, 3, 2), r"adj_clean.npz: every stored entry must be 1, got 2"),
        (put(0, 3, 0), r"adj_clean.npz: the edge \(3, 0\) has no opposite; the matrix must be"),
    ],
)
def test_matrices_that_are_no_simple_graph(folder, change, message):
    _, path = folder
    altered(path / "adj_clean.npz", change)
    with pytest.raises(ValueError, match=message):
        read_robust(path)


def test_shapes_and_formats(folder):
    _, path = folder
    file = path / "meta" / "adj_0.05.npz"
    sp.save_npz(file, sp.csr_matrix((59, 60)))
    with pytest.raises(ValueError, match=r"adj_0.05.npz: expected 60 x 60, got \(59, 60\)"):
        read_robust(path, rate=0.05)
    sp.save_npz(file, sp.coo_matrix((60, 60)).tocsc())
    with pytest.raises(ValueError, match=r"adj_0.05.npz: the format must be csr, got b'csc'"):
        read_robust(path, rate=0.05)
    np.savez(file, data=np.ones(3))
    with pytest.raises(ValueError, match=r"adj_0.05.npz is no sparse matrix of scipy, no array"):
        read_robust(path, rate=0.05)
    np.savez(file, data=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"adj_0.05.npz is damaged or no archive of plain arrays"):
        read_robust(path, rate=0.05)
    sp.save_npz(path / "features.npz", sp.csr_matrix((7, 3)))
    with pytest.raises(ValueError, match=r"npz: expected the features of 60 nodes, got 7"):
        read_robust(path)


def test_labels_and_splits(folder):
    _, path = folder
    arrays = dict(np.load(path / "split.npz"))
    np.savez(path / "split.npz", **{**arrays, "test": np.array([60])})
    with pytest.raises(ValueError, match=r"split.npz: node ids must lie in \[0, 60\), got 60"):
        read_robust(path)
    np.savez(path / "split.npz", **{**arrays, "test": np.array([0.5])})
    with pytest.raises(
        ValueError, match=r"split.npz must hold node ids of shape \(n,\), got float"
    ):
        read_robust(path)
    del arrays["val"]
    np.savez(path / "split.npz", **arrays)
    with pytest.raises(ValueError, match=r"split.npz has no array 'val'"):
        read_robust(path)
    np.save(path / "labels.npy", np.ones((60, 2)))
    with pytest.raises(ValueError, match=r"labels.npy must hold whole numbers of shape \(N,\)"):
        read_robust(path)
    np.save(path / "labels.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"labels.npy is no plain numpy array"):
        read_robust(path)


def test_what_cannot_be_saved(tmp_path):
    dataset = node_dataset()
    with pytest.raises(ValueError, match="only data sets of nodes can be saved, toy is link"):
        save_robust(tmp_path, link_dataset(), {})
    with pytest.raises(ValueError, match=r"attack must be meta, or nettack with data.target_nodes"):
        save_robust(tmp_path, dataset, {}, attack="nettack")
    with pytest.raises(ValueError, match="rates must be positive, the clean graph is always saved"):
        save_robust(tmp_path, replace(dataset), {0.0: dataset.data.edge_index})
    assert list(tmp_path.iterdir()) == []


COUNTS = {
    "robust_cora": (
        (2485, 5069, 1433, 7, (247, 249, 1988), 83),
        {0.05: (253, 0), 0.1: (502, 4), 0.15: (750, 10), 0.2: (992, 21), 0.25: (1222, 45)},
        (0.804, 0.773, 0.745, 0.713, 0.681, 0.661),
    ),
    "robust_polblogs": (
        (1222, 16714, 1490, 2, (121, 123, 978), 540),
        {
            **{0.05: (735, 100), 0.1: (1385, 286), 0.15: (1962, 545)},
            **{0.2: (2211, 1131), 0.25: (2550, 1628)},
        },
        (0.906, 0.873, 0.858, 0.838, 0.824, 0.815),
    ),
}


@pytest.mark.data
@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(data_root, name):
    (nodes, edges, words, classes, sizes, targets), changes, homophily = COUNTS[name]
    clean = load_robust(name, data_root)
    assert clean.facts == {"num_nodes": nodes, "in_channels": words, "out_channels": classes}
    assert clean.data.edge_index.shape == (2, 2 * edges)
    assert tuple(map(len, clean.splits.values())) == sizes
    nettack = load_robust(name, data_root, attack="nettack", rate=5.0)
    assert len(nettack.data.target_nodes) == len(nettack.splits["test"]) == targets
    codes = [(clean.data.edge_index[0] * nodes + clean.data.edge_index[1])]
    graphs = [clean.data.edge_index]
    for rate, expected in changes.items():
        data = load_robust(name, data_root, rate=rate).data
        code = data.edge_index[0] * nodes + data.edge_index[1]
        added, removed = (~torch.isin(code, codes[0])).sum(), (~torch.isin(codes[0], code)).sum()
        assert (int(added) // 2, int(removed) // 2) == expected
        assert torch.equal(data.clean_edge_index, clean.data.edge_index)
        graphs.append(data.edge_index)
    same = [float((clean.data.y[g[0]] == clean.data.y[g[1]]).float().mean()) for g in graphs]
    assert same == pytest.approx(homophily, abs=6e-4)

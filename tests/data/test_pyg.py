import io
import os
import pickle
import urllib.error
from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from graphlearn.data import pyg
from graphlearn.data.archive import open_npz
from graphlearn.data.pairs import sort_pairs
from graphlearn.data.pyg import check_pickle, load_planetoid, read_raw
from graphlearn.data.splits import check_no_leak, planetoid_links, random_links

NODES = 600


def raw_files():
    """The eight files of a toy graph of 600 nodes in Planetoid's layout."""
    rng = np.random.default_rng(0)
    x = (rng.random((NODES, 6)) < 0.3).astype(np.float32)
    y = np.eye(3, dtype=np.int32)[rng.integers(3, size=NODES)]
    graph = defaultdict(list)
    for k in range(NODES):
        for step in (1, 2, 3):
            graph[k].append((k + step) % NODES)
            graph[(k + step) % NODES].append(k)
    parts = {"x": x[:5], "allx": x[:560], "tx": x[560:]}
    files = {key: csr_matrix(value) for key, value in parts.items()}
    files |= {"y": y[:5], "ally": y[:560], "ty": y[560:], "graph": graph}
    packed = {key: pickle.dumps(value, protocol=2) for key, value in files.items()}
    return packed | {"test.index": "".join(f"{k}\n" for k in range(560, NODES)).encode()}, x


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setitem(pyg._SIZES, "cora", NODES)
    folder = tmp_path / "planetoid" / "Cora" / "raw"
    folder.mkdir(parents=True)
    for key, content in raw_files()[0].items():
        (folder / f"ind.cora.{key}").write_bytes(content)
    return tmp_path


def test_raw_files_become_a_data_set(root):
    dataset = load_planetoid("cora", root, seed=1)
    assert np.array_equal(dataset.data.x, raw_files()[1])
    assert dataset.metric == "hits@100" and dataset.name == "cora"
    sizes = [dataset.splits[name].pos.shape[1] for name in ("train", "valid", "test")]
    assert sizes == [1260, 180, 360]
    assert dataset.splits["valid"].neg.shape[1] == 360
    check_no_leak(dataset)


def test_nothing_is_written_to_the_data_folder(root):
    before = sorted(root.rglob("*"))
    load_planetoid("cora", root)
    assert sorted(root.rglob("*")) == before


def test_pyg_layout_without_the_planetoid_folder(root):
    (root / "planetoid" / "Cora").rename(root / "Cora")
    assert load_planetoid("cora", root).facts["num_nodes"] == NODES


def test_protocols(root):
    every = sort_pairs(
        torch.cat([part.pos for part in load_planetoid("cora", root).splits.values()], dim=1)
    )
    drawn = load_planetoid("cora", root, protocol="random", valid=0.2, seed=4)
    expected = random_links(every, NODES, seed=4, valid=0.2)
    assert torch.equal(drawn.splits["test"].pos, expected["test"].pos)
    first, second = (load_planetoid("cora", root, protocol="heart", seed=seed) for seed in (1, 2))
    assert torch.equal(first.splits["test"].pos, second.splits["test"].pos)
    assert [first.splits[name].pos.shape[1] for name in ("valid", "test")] == [90, 180]
    with pytest.raises(
        ValueError, match=r"protocol must be auto, planetoid, .* for cora, got 'ogb'"
    ):
        load_planetoid("cora", root, protocol="ogb")
    with pytest.raises(ValueError, match=r"protocol 'auto' of cora fixes the shares, got"):
        load_planetoid("cora", root, valid=0.2)


def test_fixed_splits_and_features_of_an_archive(root):
    dataset = load_planetoid("cora", root, seed=1)
    arrays = {"edge_index": np.concatenate([part.pos for part in dataset.splits.values()], axis=1)}
    for name, split in dataset.splits.items():
        arrays[f"seed5_{name}"] = split.pos.T.numpy()
        if split.neg is not None:
            arrays[f"seed5_{name}_neg"] = split.neg.T.numpy()
    (root / "cora_linkpred").mkdir()
    path = root / "cora_linkpred" / "cora_linkpred.npz"
    np.savez(path, **arrays)
    fixed = load_planetoid("cora", root, seed=5)
    assert torch.equal(fixed.splits["test"].neg, dataset.splits["test"].neg)
    sparse = csr_matrix(raw_files()[1])
    arrays |= {"x_indptr": sparse.indptr, "x_indices": sparse.indices, "y": np.zeros(NODES)}
    np.savez(path, **arrays, x_shape=np.array(sparse.shape))
    (root / "planetoid").rename(root / "elsewhere")
    fixed = load_planetoid("cora", root, seed=5)
    assert np.array_equal(fixed.data.x, raw_files()[1])
    assert torch.equal(fixed.splits["train"].pos, dataset.splits["train"].pos)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_code_is_refused(root, protocol):
    trap = root / "trap"
    file = root / "planetoid" / "Cora" / "raw" / "ind.cora.graph"
    file.write_bytes(pickle.dumps({0: Evil(str(trap))}, protocol=protocol))
    with pytest.raises(
        ValueError, match=r"ind.cora.graph is refused: it is a pickle that asks for"
    ):
        load_planetoid("cora", root)
    assert not trap.exists()


@pytest.mark.parametrize("code", [b"\x80\x02\x82\x01.", b"Pabc\n.", b"(ios\nsystem\n."])
def test_other_ways_to_name_code_are_refused(tmp_path, code):
    path = tmp_path / "p"
    path.write_bytes(code)
    with pytest.raises(ValueError, match=r"p is refused: it is a pickle that asks for"):
        check_pickle(path)


def test_damaged_and_missing_raw_files(root):
    folder = root / "planetoid" / "Cora" / "raw"
    file = folder / "ind.cora.allx"
    whole = file.read_bytes()
    for content in (whole[:-30], b"", b"<html>"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"ind.cora.allx is damaged or no pickle"):
            load_planetoid("cora", root)
    file.write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(ValueError, match=r"raw do not fit together"):
        read_raw("cora", folder)
    file.write_bytes(whole)
    (folder / "ind.cora.test.index").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file: .*ind.cora.test.index"):
        read_raw("cora", folder)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file: .*ind.cora.allx"):
        read_raw("cora", folder)


def test_a_graph_of_the_wrong_size_is_refused(root, monkeypatch):
    monkeypatch.setitem(pyg._SIZES, "cora", 2708)
    with pytest.raises(ValueError, match=r"cora must have 2708 nodes, got 600"):
        load_planetoid("cora", root)


def test_missing_files_are_fetched(tmp_path, monkeypatch):
    monkeypatch.setitem(pyg._SIZES, "cora", NODES)
    files = raw_files()[0]

    def answer(url, timeout):
        return io.BytesIO(files[url.rpartition("ind.cora.")[2]])

    monkeypatch.setattr("urllib.request.urlopen", answer)
    assert load_planetoid("cora", tmp_path).facts["num_nodes"] == NODES
    folder = tmp_path / "planetoid" / "Cora" / "raw"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"ind.cora.{k}" for k in files)


def test_a_failed_fetch_says_where_to_put_the_files(tmp_path, monkeypatch):
    def fail(url, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    message = (
        r"no raw files of cora in .*Cora/raw, and fetching them failed .*no network.*ind\.cora"
    )
    with pytest.raises(FileNotFoundError, match=message) as caught:
        load_planetoid("cora", tmp_path)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "planetoid" / "Cora" / "raw").iterdir()) == []


@pytest.mark.data
def test_our_splitter_reproduces_the_published_cora_splits(data_root):
    for seed in range(10):
        fixed = load_planetoid("cora", data_root, seed=seed).splits
        every = torch.cat([part.pos for part in fixed.values()], dim=1)
        ours = planetoid_links(every, 2708, seed=seed)
        for name, part in fixed.items():
            assert torch.equal(part.pos, ours[name].pos)
            assert part.neg is None or torch.equal(part.neg, ours[name].neg)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "seed", "sizes"),
    [
        ("cora", 9, (3696, 527, 1055, 1055, 1055)),
        ("cora", 77, (3696, 527, 1055, 1055, 1055)),
        ("pubmed", 2, (31028, 4432, 8864, 8864, 8864)),
        ("pubmed", 3, (31028, 4432, 8864, 8864, 8864)),
    ],
)
def test_real_planetoid(data_root, name, seed, sizes):
    dataset = load_planetoid(name, data_root, seed=seed)
    splits = dataset.splits
    got = [splits["train"].pos, splits["valid"].pos, splits["valid"].neg]
    got += [splits["test"].pos, splits["test"].neg]
    assert tuple(part.shape[1] for part in got) == sizes
    assert dataset.facts["in_channels"] == {"cora": 1433, "pubmed": 500}[name]
    assert dataset.data.x.sum(dim=1).max() > 1.5  # rows are not normalised


@pytest.mark.data
def test_the_archive_and_the_raw_files_are_one_cora(data_root):
    data = read_raw("cora", data_root / "planetoid" / "Cora" / "raw")
    fixed = load_planetoid("cora", data_root)
    assert torch.equal(data.x, fixed.data.x) and torch.equal(data.y, fixed.data.y)
    arrays = open_npz(data_root / "cora_linkpred" / "cora_linkpred.npz")
    stored = torch.from_numpy(arrays["edge_index"].astype(np.int64))
    assert torch.equal(sort_pairs(data.edge_index), sort_pairs(stored))

import numpy as np
import pytest
import torch

from graphlearn.data import load
from graphlearn.data.archive import open_npz
from graphlearn.data.stdlib import SNAPSHOT
from graphlearn.data.stdlib_hetero import load_stdlib_hetero


@pytest.fixture(scope="module")
def dataset():
    return load("stdlib", kind="hetero", target="class")


def test_functions_are_the_default():
    found = load("stdlib", kind="hetero", seed=1)
    y = found.data["function"].y
    assert found.facts["target"] == "function" and found.facts["num_nodes"] == 2415
    assert len(found.classes) == 18 and int(y[y >= 0].bincount().min()) == 30
    for part in ("train", "valid"):
        assert y[found.splits[part]].bincount().tolist() == [10] * 18
    assert len(found.splits["test"]) == int((y >= 0).sum()) - 360
    for node in range(0, 2415, 7):
        label = int(y[node])
        assert label < 0 or found.classes[label] == found.names[node].partition(".")[0]
    same = load_stdlib_hetero(target="function", protocol="random", seed=1)
    assert torch.equal(same.splits["test"], found.splits["test"])
    with pytest.raises(
        ValueError, match="the target of stdlib must be function or class, got 'mod"
    ):
        load_stdlib_hetero(target="module")
    with pytest.raises(ValueError, match="protocol must be auto, random or stratified for the nod"):
        load_stdlib_hetero(protocol="public")


def test_types_and_sizes(dataset):
    assert (dataset.name, dataset.kind, dataset.facts["target"]) == ("stdlib", "hetero", "class")
    assert dataset.facts["num_nodes_dict"] == {"module": 331, "class": 1613, "function": 2415}
    assert dataset.classes == [
        *("asyncio", "email", "http", "importlib", "multiprocessing", "tkinter", "unittest"),
        *("urllib", "xml"),
    ]
    relations = {relation for _, relation, _ in dataset.facts["metadata"][1]}
    assert relations == {
        *("contains", "contained_in", "inherits", "inherited_by", "references", "referenced_by"),
    }
    assert len(set(dataset.facts["in_channels"].values())) == 1
    assert set(dataset.data["module"].x.unique().tolist()) == {0.0, 1.0}
    sizes = {kind: edges.edge_index.shape[1] for kind, edges in dataset.data.edge_items()}
    assert sizes["module", "contains", "class"] == 1613
    assert sizes["class", "inherits", "class"] == sizes["class", "inherited_by", "class"] == 991
    assert sum(sizes.values()) == 2 * (1613 + 2415 + 991 + 1447 + 2216 + 964 + 2803)


def test_known_edges(dataset):
    inherits = dataset.data["class", "inherits", "class"].edge_index.T.tolist()
    pairs = {(dataset.names[a], dataset.names[b]) for a, b in inherits}
    assert ("socketserver.ThreadingTCPServer", "socketserver.TCPServer") in pairs
    assert ("_collections_abc.Mapping", "_collections_abc.Collection") in pairs
    refers = dataset.data["class", "references", "class"].edge_index.T.tolist()
    assert not {tuple(pair) for pair in refers} & {tuple(pair) for pair in inherits}
    functions = [name for name in _names() if name not in set(dataset.names)]
    edges = dataset.data["function", "references", "class"].edge_index.T.tolist()
    assert ("json.dumps", "json.encoder.JSONEncoder") in {
        (functions[a], dataset.names[b]) for a, b in edges
    }


def test_nothing_is_said_in_the_log(caplog):
    load_stdlib_hetero()
    assert not caplog.messages  # every relation has its reverse, every type receives


def test_modules_stay_whole(dataset):
    other = load_stdlib_hetero(target="class", seed=1)
    assert not torch.equal(dataset.splits["test"], other.splits["test"])
    for found in (dataset, other):
        y, modules = found.data["class"].y, {}
        for part, ids in found.splits.items():
            modules[part] = {found.names[k].rpartition(".")[0] for k in ids.tolist()}
            counts = np.bincount(y[ids], minlength=9)
            assert counts.min() >= (3 if part == "valid" else 7)
            assert all(
                found.classes[int(y[k])] == found.names[k].partition(".")[0] for k in ids.tolist()
            )
        assert not modules["train"] & (modules["valid"] | modules["test"])
        assert not modules["valid"] & modules["test"]
        assert sum(map(len, found.splits.values())) == int((y >= 0).sum()) == 696


def test_neighbours_help_but_do_not_tell(dataset):
    """The commonest label among the training neighbours is right for some, far from all."""
    data, y = dataset.data, dataset.data["class"].y
    known = torch.zeros(len(y), 9)
    train, test = dataset.splits["train"], dataset.splits["test"]
    known[train, y[train]] = 1.0
    votes = torch.zeros(len(y), 9)
    for kind, edges in data.edge_items():
        if kind[0] == kind[2] == "class":
            source, destination = edges.edge_index
            votes.index_add_(0, destination, known[source])
    right = votes.argmax(1)[test] == y[test]
    assert 0.15 < float(right.float().mean()) < 0.6


def test_no_word_gives_the_package_away(dataset):
    inside = torch.tensor([name.startswith("asyncio.") for name in dataset.names])
    assert not (dataset.data["class"].x[inside].mean(0) > 0.9).any()
    assert dataset.facts["in_channels"]["module"] == load("stdlib", kind="node").data.x.shape[1]


def test_protocols(dataset):
    public = load_stdlib_hetero(target="class", protocol="public")
    assert torch.equal(public.splits["test"], dataset.splits["test"])
    shares = load_stdlib_hetero(target="class", protocol="stratified", valid=0.2, test=0.5)
    assert 340 < len(shares.splits["test"]) < 356
    drawn = load_stdlib_hetero(target="class", protocol="random")
    assert len(drawn.splits["train"]) == len(drawn.splits["valid"]) == 90


def test_bad_snapshots(tmp_path):
    path, arrays = tmp_path / "s.npz", open_npz(SNAPSHOT)
    np.savez(path, **{key: array for key, array in arrays.items() if key != "inherits"})
    with pytest.raises(ValueError, match=r"s.npz is an older snapshot of .*, no 'inherits'"):
        load_stdlib_hetero(path=path)
    np.savez(path, **{**arrays, "module_indptr": np.array([0])})
    with pytest.raises(ValueError, match=r"s.npz must hold words of 331 modules, got 0"):
        load_stdlib_hetero(path=path)


def _names():
    return open_npz(SNAPSHOT)["names"].tolist()

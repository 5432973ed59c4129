import numpy as np
import pytest

from graphlearn.data.archive import open_npz
from graphlearn.data.splits import check_no_leak
from graphlearn.data.stdlib import SNAPSHOT, load_stdlib, load_stdlib_nodes


def test_the_snapshot_is_a_graph_worth_learning():
    dataset = load_stdlib()
    nodes = dataset.facts["num_nodes"]
    edges = sum(part.pos.shape[1] for part in dataset.splits.values())
    assert 3000 < nodes < 8000 and edges > 2 * nodes
    assert len(set(dataset.names)) == nodes and "re.compile" in dataset.names
    assert dataset.data.x.shape == (nodes, dataset.facts["in_channels"])
    assert set(dataset.data.x.unique().tolist()) == {0.0, 1.0}
    assert dataset.metric == "hits@50"
    check_no_leak(dataset)


def test_the_snapshot_is_small_and_holds_no_text():
    assert SNAPSHOT.stat().st_size < 300_000
    arrays = open_npz(SNAPSHOT)
    assert all(word.isalpha() for word in arrays["words"].tolist())
    assert all(name.replace(".", "").isidentifier() for name in arrays["names"].tolist())
    text = {key for key, array in arrays.items() if array.dtype.kind not in "iu"}
    assert text == {"names", "words", "python"} and arrays["python"].size == 1


def test_known_references_are_there():
    arrays = open_npz(SNAPSHOT)
    names = arrays["names"].tolist()
    pairs = {(names[a], names[b]) for a, b in arrays["edge"].tolist()}
    assert ("json.dumps", "json.encoder.JSONEncoder") in pairs
    assert ("shutil.copyfile", "shutil.copyfileobj") in pairs
    assert np.bincount(arrays["edge"].ravel(), minlength=len(names)).min() > 0


def test_seeds_and_protocols():
    first, second = load_stdlib(seed=0), load_stdlib(seed=1)
    assert not np.array_equal(first.splits["test"].pos, second.splits["test"].pos)
    assert load_stdlib(protocol="planetoid").metric == "hits@100"


def test_bad_snapshots(tmp_path):
    path = tmp_path / "s.npz"
    with pytest.raises(FileNotFoundError, match=r"no such file: .*s\.npz"):
        load_stdlib(path=path)
    np.savez(path, edge=np.zeros((1, 2), int))
    with pytest.raises(ValueError, match="is no snapshot of the standard library, no 'names'"):
        load_stdlib(path=path)
    np.savez(path, **{**open_npz(SNAPSHOT), "names": np.array(["a"])})
    with pytest.raises(ValueError, match=r"must name \d+ definitions, it names 1"):
        load_stdlib(path=path)


def test_packages_are_the_classes_of_definitions():
    dataset = load_stdlib_nodes()
    names, y = dataset.names, dataset.data.y
    assert dataset.kind == "node" and {"asyncio", "email", "tkinter"} <= set(dataset.classes)
    package = [name.partition(".")[0] for name in names]
    for node in range(0, len(names), 7):
        label = int(y[node])
        assert label < 0 or dataset.classes[label] == package[node]
    assert int(np.bincount(y[y >= 0]).min()) >= 60 and int((y < 0).sum()) > 0
    for part, count in (("train", 20), ("valid", 30)):
        assert np.bincount(y[dataset.splits[part]]).tolist() == [count] * len(dataset.classes)
    links = load_stdlib()
    edges = sum(part.pos.shape[1] for part in links.splits.values())
    assert dataset.data.edge_index.shape[1] == 2 * edges  # no edge is held out


def test_no_word_gives_the_package_away():
    dataset, words = load_stdlib_nodes(), open_npz(SNAPSHOT)["words"].tolist()
    everything = load_stdlib().data.x
    width = dataset.facts["in_channels"]
    assert 500 < width < len(words)
    kept = [k for k, word in enumerate(words) if word not in {"asyncio", "email", "xml", "tkinter"}]
    assert width <= len(kept)
    telling = everything[:, words.index("asyncio")]
    inside = np.array([name.startswith("asyncio.") for name in dataset.names])
    assert telling[inside].mean() > 0.9  # the word that was left out is in the definitions
    assert not (dataset.data.x[inside].mean(0) > 0.9).any()


def test_protocols_of_nodes():
    first, second = (load_stdlib_nodes(protocol="random", seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.splits["train"], second.splits["train"])
    shares = load_stdlib_nodes(protocol="stratified")
    assert len(shares.splits["test"]) > 7 * len(shares.splits["train"])
    with pytest.raises(ValueError, match="protocol must be auto, random or stratified for the nod"):
        load_stdlib_nodes(protocol="heart")

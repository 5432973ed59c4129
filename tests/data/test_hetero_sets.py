import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from graphlearn.data import hetero_sets, load
from graphlearn.data.hetero_sets import load_gtn, load_hgb, load_mag, load_magnn

MOVIES, DIRECTORS, ACTORS = 12, 3, 4


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "nodes", "edges", "features", "classes", "split"),
    [
        ("acm-gtn", {"paper": 3025, "author": 5912, "subject": 57},
         {("paper", "author"): 9936, ("paper", "subject"): 3025},
         {"paper": 1902, "author": 1902, "subject": 1902}, [994, 970, 1061], (600, 300, 2125)),
        ("dblp-gtn", {"author": 4057, "paper": 14328, "conference": 20},
         {("paper", "author"): 19645, ("paper", "conference"): 14328},
         {"author": 334, "paper": 334, "conference": 334}, [1197, 745, 1109, 1006],
         (800, 400, 2857)),
        ("dblp", {"author": 4057, "paper": 14328, "term": 7723, "conference": 20},
         {("paper", "author"): 19645, ("paper", "term"): 85810, ("paper", "conference"): 14328},
         {"author": 334, "paper": 4231, "term": 50, "conference": 0}, [1197, 745, 1109, 1006],
         (400, 400, 3257)),
        ("imdb", {"movie": 4278, "director": 2081, "actor": 5257},
         {("movie", "director"): 4278, ("movie", "actor"): 12828},
         {"movie": 3066, "director": 3066, "actor": 3066}, [1135, 1584, 1559], (400, 400, 3478)),
    ],
)  # fmt: skip
def test_published_figures(data_root, caplog, name, nodes, edges, features, classes, split):
    dataset = load(name, root=data_root, seed=3)
    assert dataset.facts["num_nodes_dict"] == nodes
    assert dataset.facts["in_channels"] == features
    found = {
        (kind[0], kind[2]): part.edge_index.shape[1] for kind, part in dataset.data.edge_items()
    }
    assert found == edges | {ends[::-1]: count for ends, count in edges.items()}
    target = dataset.facts["target"]
    assert dataset.data[target].y.bincount().tolist() == classes
    assert dataset.facts["out_channels"] == len(classes)
    assert tuple(len(dataset.splits[part]) for part in ("train", "valid", "test")) == split
    assert torch.equal(dataset.splits["test"], load(name, root=data_root).splits["test"])
    assert dataset.data[target].x.layout == torch.sparse_csr
    assert not caplog.messages  # nothing is missing, no reverse either


def write_imdb(folder: Path) -> dict[str, dict[object, int]]:
    """Raw files of a small IMDB as PyG wants them, and the counts they should have."""
    folder.mkdir(parents=True)
    sizes = (MOVIES, DIRECTORS, ACTORS)
    for k, size in enumerate(sizes):
        x = np.zeros((size, 30))
        x[np.arange(size), np.arange(size)] = 1
        sp.save_npz(folder / f"features_{k}.npz", sp.csr_matrix(x))
    movie = np.arange(MOVIES)
    by, cast = MOVIES + movie % DIRECTORS, MOVIES + DIRECTORS + movie % ACTORS
    row, column = np.concatenate([movie, movie]), np.concatenate([by, cast])
    ones, total = np.ones(2 * len(row)), sum(sizes)
    ends = (np.concatenate([row, column]), np.concatenate([column, row]))
    sp.save_npz(folder / "adjM.npz", sp.csr_matrix((ones, ends), (total, total)))
    np.save(folder / "labels.npy", movie % 3)
    parts = {"train_idx": movie[:6], "val_idx": movie[6:9], "test_idx": movie[9:]}
    np.savez(folder / "train_val_test_idx.npz", **parts)
    return {
        "_NODES": {"movie": MOVIES, "director": DIRECTORS, "actor": ACTORS},
        "_EDGES": {("director", "movie"): MOVIES, ("actor", "movie"): MOVIES},
    }


@pytest.fixture
def small(monkeypatch):
    """Pretend that a set has other counts."""

    def pretend(name, counts):
        for key, value in counts.items():
            monkeypatch.setitem(getattr(hetero_sets, key), name, value)

    return pretend


def test_magnn_reads_raw_files_alone(tmp_path, small):
    raw = tmp_path / "pyg_imdb" / "raw"
    small("imdb", write_imdb(raw))
    processed = tmp_path / "pyg_imdb" / "processed"
    processed.mkdir()
    (processed / "data.pt").write_bytes(b"evil")
    dataset = load("imdb", root=tmp_path)
    assert dataset.classes == ("action", "comedy", "drama")
    assert dataset.splits["valid"].tolist() == [6, 7, 8]
    x = dataset.data["movie"].x
    assert x.layout == torch.sparse_csr and torch.equal(x.to_dense(), torch.eye(MOVIES, 30))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pyg_imdb"]
    assert len(list(raw.iterdir())) == 6 and (processed / "data.pt").read_bytes() == b"evil"
    random = load_magnn("imdb", tmp_path, protocol="stratified", seed=1)
    assert sum(map(len, random.splits.values())) == MOVIES


def test_counts_of_another_graph(tmp_path, small):
    counts = write_imdb(tmp_path / "IMDB" / "raw")
    with pytest.raises(
        ValueError, match=r"imdb must have 4278 movies, got 12; these are the files"
    ):
        load_magnn("imdb", tmp_path)
    small("imdb", {**counts, "_EDGES": {("director", "movie"): 13}})
    with pytest.raises(
        ValueError, match=r"13 edges from director to movie, got 12; .* Yelp's busin"
    ):
        load_magnn("imdb", tmp_path)
    small("imdb", {**counts, "_NODES": {"film": 12}})
    with pytest.raises(ValueError, match=r"imdb must have 12 films, got none"):
        load_magnn("imdb", tmp_path)


def test_damaged_raw_files(tmp_path, small):
    raw = tmp_path / "imdb" / "raw"
    small("imdb", write_imdb(raw))
    (raw / "labels.npy").write_bytes(b"torn")
    with pytest.raises(
        ValueError, match=r"imdb.raw: not the raw files of imdb \(.*fetch them again"
    ):
        load_magnn("imdb", tmp_path)


def test_fetching(tmp_path, small, monkeypatch, caplog):
    counts = write_imdb(tmp_path / "there")
    small("imdb", counts)

    def offline(url, folder):
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.datasets.imdb.download_url", offline)
    root = tmp_path / "root"
    with pytest.raises(
        FileNotFoundError, match=r"no raw files of imdb in .*imdb.raw, .*no network"
    ):
        load_magnn("imdb", root)
    assert not root.exists()

    def online(url, folder):
        shutil.copytree(tmp_path / "there", folder, dirs_exist_ok=True)
        (Path(folder) / "all.zip").write_bytes(b"")
        return str(Path(folder) / "all.zip")

    monkeypatch.setattr("torch_geometric.datasets.imdb.download_url", online)
    monkeypatch.setattr("torch_geometric.datasets.imdb.extract_zip", lambda path, folder: None)
    assert load_magnn("imdb", root).facts["num_nodes"] == MOVIES
    assert len(list((root / "imdb" / "raw").iterdir())) == 6
    monkeypatch.setattr("torch_geometric.datasets.imdb.download_url", offline)
    assert load_magnn("imdb", root).facts["num_nodes"] == MOVIES
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("torch_geometric.datasets.imdb.download_url", online)
    assert load_magnn("imdb", tmp_path / "file").facts["num_nodes"] == MOVIES
    assert caplog.messages[-1].startswith("cannot keep the fetched files in ")


def write_gtn(path: Path) -> None:
    path.parent.mkdir()
    by = np.stack([np.arange(9) % 2, np.arange(9)])
    np.savez(
        path,
        node_types=np.array(["paper", "author"]),
        edge_types=np.array(["author__writes__paper", "paper__by__author"]),
        target=np.array("paper"),
        x__paper=np.eye(9),
        x__author=np.eye(2),
        y__paper=np.arange(9) % 3,
        edge_index__author__writes__paper=by,
        edge_index__paper__by__author=by[::-1],
        train_idx=np.arange(3),
        val_idx=np.arange(3, 6),
        test_idx=np.arange(6, 9),
    )


def test_gtn_archives(tmp_path, small):
    with pytest.raises(
        FileNotFoundError, match=r"no acm-gtn in .*acm_gtn.acm.npz; convert the fil"
    ):
        load_gtn("acm-gtn", tmp_path)
    write_gtn(tmp_path / "acm_gtn" / "acm.npz")
    with pytest.raises(ValueError, match="acm-gtn must have 3025 papers, got 9; these are the fil"):
        load_gtn("acm-gtn", tmp_path)
    small("acm-gtn", {"_NODES": {"paper": 9}, "_EDGES": {("author", "paper"): 9}})
    dataset = load_gtn("acm-gtn", tmp_path)
    assert dataset.name == "acm-gtn" and dataset.splits["train"].tolist() == [0, 1, 2]


def write_hgb(folder: Path, labels: list[str]) -> None:
    """A small benchmark graph: ten papers with features, three terms without."""
    folder.mkdir(parents=True)
    info = {
        "node.dat": {"node type": {"0": "paper", "1": "term"}},
        "link.dat": {
            "link type": {
                "0": {"start": 0, "end": 1, "meaning": "paper-term"},
                "1": {"start": 1, "end": 0, "meaning": "term-paper"},
            }
        },
        "label.dat": {"node type": {"0": {"0": "a", "1": "b"}}},
    }
    (folder / "info.dat").write_text(json.dumps(info))
    nodes = [f"{k}\tpaper{k}\t0\t{k}.5,1.0" for k in range(10)]
    nodes += [f"{k}\tterm{k}\t1" for k in range(10, 13)]
    links = [f"{k}\t{10 + k % 3}\t0\t1.0" for k in range(10)]
    links += [f"{10 + k % 3}\t{k}\t1\t1.0" for k in range(9)]
    rows = [f"{k}\tpaper{k}\t0\t{label}" for k, label in enumerate(labels)]
    for file, lines in (
        ("node.dat", nodes), ("link.dat", links), ("label.dat", rows[:6]),
        ("label.dat.test", rows[6:]),
    ):  # fmt: skip
        (folder / file).write_text("\n".join(lines) + "\n")


def test_hgb(tmp_path, caplog):
    write_hgb(tmp_path / "hgb" / "acm" / "raw" / "ACM", [str(k % 2) for k in range(9)])
    first, second = (load("hgb-acm", root=tmp_path, seed=seed) for seed in (0, 1))
    assert "hgb-acm: the public test labels of this benchmark may be random" in caplog.messages
    assert first.facts["in_channels"] == {"paper": 2, "term": 0}
    assert first.splits["test"].tolist() == [6, 7, 8] == second.splits["test"].tolist()
    assert len(first.splits["valid"]) == 1 and len(first.splits["train"]) == 5
    assert not torch.equal(first.splits["valid"], second.splits["valid"])
    assert first.data["paper"].y[9] == -1
    kinds = first.facts["metadata"][1]
    assert kinds == (
        ("paper", "to", "term"), ("term", "to", "paper"),
        ("term", "rev_to", "paper"), ("paper", "rev_to", "term"),
    )  # fmt: skip
    assert not (tmp_path / "hgb" / "acm" / "processed").exists()


def test_hgb_is_for_one_label(tmp_path, monkeypatch):
    write_hgb(tmp_path / "hgb" / "imdb" / "raw" / "IMDB", ["0,1"] * 9)
    with pytest.raises(ValueError, match="hgb-imdb: a paper has several labels, expected one; cho"):
        load_hgb("hgb-imdb", tmp_path)

    def offline(*args):
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.datasets.hgb_dataset.download_google_url", offline)
    with pytest.raises(FileNotFoundError, match=r"no raw files of hgb-dblp in .*hgb.dblp.raw.DBLP"):
        load_hgb("hgb-dblp", tmp_path)


def write_mag(folder: Path) -> None:
    """ogbn-mag with ten papers, in OGB's layout."""

    def put(path, rows, header=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(
            ",".join(map(str, row)) + "\n" for row in ([header] if header else []) + rows
        )
        path.write_bytes(gzip.compress(text.encode()))

    raw = folder / "raw"
    put(raw / "num-node-dict.csv.gz", [[4, 3, 2, 10]],
        ["author", "field_of_study", "institution", "paper"])  # fmt: skip
    relations = {
        ("author", "affiliated_with", "institution"): [[k, k % 2] for k in range(4)],
        ("author", "writes", "paper"): [[k % 4, k] for k in range(10)],
        ("paper", "cites", "paper"): [[0, 1], [2, 1], [3, 3]],
        ("paper", "has_topic", "field_of_study"): [[k, k % 3] for k in range(10)],
    }
    put(raw / "triplet-type-list.csv.gz", [list(kind) for kind in relations])
    for kind, ends in relations.items():
        put(raw / "relations" / "___".join(kind) / "edge.csv.gz", ends)
        put(raw / "relations" / "___".join(kind) / "num-edge-list.csv.gz", [[len(ends)]])
    put(raw / "node-feat" / "paper" / "node-feat.csv.gz", [[k / 4, 1.0] for k in range(10)])
    put(raw / "node-label" / "paper" / "node-label.csv.gz", [[k % 2] for k in range(10)])
    for part, ids in {"train": range(6), "valid": range(6, 8), "test": range(8, 10)}.items():
        put(folder / "split" / "time" / "paper" / f"{part}.csv.gz", [[k] for k in ids])


def test_mag(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no ogbn-mag in .*ogbn_mag: expected OGB's folder"
    ):
        load_mag("ogbn-mag", tmp_path)
    write_mag(tmp_path / "ogbn_mag")
    dataset = load("ogbn-mag", root=tmp_path)
    assert dataset.facts["target"] == "paper" and dataset.facts["out_channels"] == 2
    assert dataset.facts["in_channels"] == {
        "author": 0, "field_of_study": 0, "institution": 0, "paper": 2,
    }  # fmt: skip
    assert dataset.splits["valid"].tolist() == [6, 7]
    kinds = dataset.facts["metadata"][1]
    assert len(kinds) == 8 and ("paper", "rev_cites", "paper") in kinds
    assert dataset.data["paper", "cites", "paper"].edge_index.tolist() == [[0, 2, 3], [1, 1, 3]]
    assert dataset.data["paper"].x[3].tolist() == [0.75, 1.0]
    label = tmp_path / "ogbn_mag" / "raw" / "node-label" / "paper" / "node-label.csv.gz"
    label.write_bytes(gzip.compress(b"0\n1\n"))
    with pytest.raises(ValueError, match=r"type 'paper' is unclear: .* but y says 2"):
        load_mag("ogbn-mag", tmp_path)

import os
import sys
import threading
from subprocess import run

import numpy as np
import pytest
import torch
from ogb_layouts import save_like_numpy_1, write_ogb, write_text

from graphlearn.data.ogb_files import (
    fingerprint,
    ogb_module,
    read_npz,
    read_raw,
    read_split,
    write_npz,
)


class Bomb:
    """A pickle of this creates a file when it is read without protection."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def test_import_starts_no_thread():
    code = (
        "import threading, sys; from graphlearn.data.ogb_files import ogb_module;"
        "ogb_module('ogb.io.read_graph_raw');"
        "assert threading.active_count() == 1; assert 'outdated' not in sys.modules"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_twice_gives_the_same_module():
    before = threading.active_count()
    assert ogb_module("ogb.io.read_graph_raw") is ogb_module("ogb.io.read_graph_raw")
    assert threading.active_count() == before


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float32, np.float64, np.uint8, np.bool_])
def test_split_of_numpy_arrays(tmp_path, kind, legacy):
    content = {"edge": np.arange(6).reshape(3, 2).astype(kind), "size": kind(1)}
    save_like_numpy_1(content, tmp_path / "a.pt", legacy=legacy)
    stored = (tmp_path / "a.pt").read_bytes()
    assert b"numpy.core.multiarray" in stored and b"numpy._core" not in stored
    torch.save(content, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        found = read_split(tmp_path / name)
        assert found["edge"].dtype == kind and found["size"] == 1
        assert np.array_equal(found["edge"], content["edge"])


def test_split_of_tensors_and_strings(tmp_path):
    torch.save({"edge": torch.eye(2), "head_type": ["drug", "gene"]}, tmp_path / "a.pt")
    found = read_split(tmp_path / "a.pt")
    assert torch.equal(found["edge"], torch.eye(2)) and found["head_type"] == ["drug", "gene"]


@pytest.mark.parametrize("legacy", [False, True])
def test_protocol_4_needs_trust(tmp_path, legacy):
    path = tmp_path / "train.pt"
    content = {"edge": np.arange(6)}
    torch.save(content, path, pickle_protocol=4, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        ValueError, match=r"train.pt is a pickle of protocol 4, .*trust_pickle=True"
    ) as caught:
        read_split(path)
    assert "\n" not in str(caught.value)
    assert np.array_equal(read_split(path, trust_pickle=True)["edge"], content["edge"])


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_never_runs(tmp_path, protocol):
    path, marker = tmp_path / "train.pt", tmp_path / "marker"
    torch.save({"edge": Bomb(marker)}, path, pickle_protocol=protocol)
    with pytest.raises(ValueError, match="trust_pickle=True only if you trust") as caught:
        read_split(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    if protocol == 2:
        assert "train.pt refused: unpickling it would call posix.system" in str(caught.value)
    read_split(path, trust_pickle=True)
    assert marker.exists()  # so the test would have noticed


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_split(tmp_path, legacy):
    path = tmp_path / "train.pt"
    save_like_numpy_1({"edge": np.arange(6000)}, path, legacy=legacy)
    path.write_bytes(path.read_bytes()[:3000])
    for trust in (False, True):
        with pytest.raises(
            ValueError, match=r"train.pt (is not a file of torch|cannot be )"
        ) as caught:
            read_split(path, trust_pickle=trust)
        assert "\n" not in str(caught.value)


def test_other_files_in_place_of_a_split(tmp_path):
    path = tmp_path / "train.pt"
    with pytest.raises(FileNotFoundError, match=r"no file .*train.pt; unpack OGB's archive"):
        read_split(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"train.pt is not a file of torch, or only a part of one"):
        read_split(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match=r"train.pt must hold a dictionary, got list"):
        read_split(path)


@pytest.fixture
def raw(tmp_path):
    write_ogb("ogbl-citation2", tmp_path)
    return tmp_path / "ogbl_citation2" / "raw"


def read(raw):
    return read_raw(raw, "csv", features=True, node_files=("node_year",))


@pytest.mark.parametrize("stem", ["edge", "num-node-list", "node-feat", "node_year"])
def test_missing_raw_file_names_itself(raw, stem):
    (raw / f"{stem}.csv.gz").unlink()
    with pytest.raises(FileNotFoundError, match=f"no file .*raw/{stem}.csv.gz; unpack OGB's"):
        read(raw)


@pytest.mark.parametrize("stem", ["edge", "node-feat"])
def test_truncated_gzip_is_named(raw, stem):
    path = raw / f"{stem}.csv.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        ValueError, match=f"raw/{stem}.csv.gz is broken .*; fetch it again"
    ) as caught:
        read(raw)
    assert "\n" not in str(caught.value)


def test_plain_text_in_place_of_gzip(raw):
    (raw / "edge.csv.gz").write_text("0,1\n")
    with pytest.raises(ValueError, match=r"edge.csv.gz is broken \(Not a gzipped file"):
        read(raw)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n1,two\n", "edge.csv.gz line 2: expected a number, got 'two'"),
        ("0,1\n1,\n", "edge.csv.gz line 2: expected a number, got ''"),
        ("0,1\n1,2,3\n", "edge.csv.gz line 2: expected 2 columns, got 3"),
    ],
)
def test_bad_line_is_named(raw, text, message):
    write_text(raw / "edge.csv.gz", text)
    with pytest.raises(ValueError, match=message):
        read(raw)


def test_folder_of_another_kind(tmp_path):
    write_ogb("ogbl-biokg", tmp_path)
    folder = tmp_path / "ogbl_biokg" / "raw"
    write_text(folder / "triplet-type-list.csv.gz", "drug,cures,disease\n")
    with pytest.raises(ValueError, match="raw is not OGB's raw folder of this set"):
        read_raw(folder, "triples")


def test_binary_raw_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*data.npz"):
        read_raw(tmp_path, "npz")
    np.savez(tmp_path / "data.npz", edge_index=np.array([[None, 1], [2, 3]]))
    with pytest.raises(ValueError, match=r"data.npz is broken .*not a readable npz file of plain"):
        read_raw(tmp_path, "npz")


def test_npz_round_trip_leaves_no_part_behind(tmp_path):
    arrays = {"a": np.arange(4, dtype=np.uint16), "name": np.array("é"), "none": np.zeros((0, 2))}
    write_npz(tmp_path / "a.npz", arrays)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    found = read_npz(tmp_path / "a.npz")
    assert {key: value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in arrays.items()
    }


def test_failed_write_keeps_what_was_there(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, {"a": np.arange(4)})
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(path, {"a": np.array([None])})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]
    assert read_npz(path)["a"].tolist() == [0, 1, 2, 3]


def test_unreadable_npz(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(
        ValueError, match=r"a.npz is not a readable npz file of plain arrays \(Object"
    ):
        read_npz(path)
    np.savez(path, a=np.arange(1000))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(
        ValueError, match=r"a.npz is not a readable npz .*fetch or convert it again"
    ):
        read_npz(path)
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=r"a.npz is not a readable npz .*\(a single array\)"):
        read_npz(path)


def test_fingerprint_sees_every_change(tmp_path):
    write_ogb("ogbl-ddi", tmp_path)
    folder = tmp_path / "ogbl_ddi"
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    (folder / "notes.txt").write_text("mine")
    assert fingerprint(folder) == before
    write_text(folder / "raw" / "edge.csv.gz", "0,1\n")
    assert fingerprint(folder) != before

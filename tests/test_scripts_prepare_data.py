import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ogb_layouts import EVAL, NODES, TRAIN, write_ogb

from graphlearn.data import ogb_arrays

SCRIPT = Path(__file__).parents[1] / "scripts" / "prepare_data.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("prepare_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def honest(script, monkeypatch):
    """The small set with its own counts as the published ones."""
    files = ogb_arrays.OGB_LINKS["ogbl-ddi"]
    published = ogb_arrays.Published(NODES, TRAIN + 2 * EVAL, TRAIN, EVAL, EVAL)
    monkeypatch.setitem(ogb_arrays.OGB_LINKS, "ogbl-ddi", files._replace(published=published))


def test_converts_and_counts(script, honest, tmp_path, capsys):
    write_ogb("ogbl-ddi", tmp_path)
    assert script.main(["ogbl-ddi", "--root", str(tmp_path)]) == 0
    path = tmp_path / "ogbl_ddi" / "ogbl_ddi.npz"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"wrote {path}"
    assert lines[2].split() == ["nodes", "30", "30"]
    assert lines[4].split() == ["train", "40", "40"]
    with np.load(path) as archive:
        assert archive["train_edge"].shape == (TRAIN, 2)
    assert script.main(["ogbl-ddi", "--root", str(tmp_path)]) == 0


def test_another_folder_for_the_result(script, honest, tmp_path, capsys):
    write_ogb("ogbl-ddi", tmp_path / "in")
    options = ["--root", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert script.main(["ogbl-ddi", *options]) == 0
    assert (tmp_path / "out" / "ogbl_ddi" / "ogbl_ddi.npz").is_file()
    assert not (tmp_path / "in" / "ogbl_ddi" / "ogbl_ddi.npz").exists()
    assert script.main(["ogbl-ddi", "--root", str(tmp_path / "out")]) == 0
    assert "wrote" not in capsys.readouterr().out.split("\n", 1)[1]


def test_differing_counts_are_status_1(script, tmp_path, capsys):
    write_ogb("ogbl-biokg", tmp_path)
    assert script.main(["ogbl-biokg", "--root", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["nodes", "30", "93,773", "differs"]
    assert lines[4].split() == ["train", "40", "-"]


def test_broken_file_is_one_line(script, tmp_path, capsys):
    write_ogb("ogbl-ddi", tmp_path)
    path = tmp_path / "ogbl_ddi" / "raw" / "edge.csv.gz"
    path.write_bytes(path.read_bytes()[:-9])
    assert script.main(["ogbl-ddi", "--root", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    assert (
        shown.startswith("error: ") and shown.count("\n") == 1 and "edge.csv.gz is broken" in shown
    )


def test_missing_set(script, tmp_path, capsys):
    assert script.main(["ogbl-ppa", "--root", str(tmp_path)]) == 1
    assert "error: no ogbl-ppa in" in capsys.readouterr().err

"""What relations a run listens to."""

import logging
import math
import os

import pytest

from graphlearn import relations as module
from graphlearn.ops.paths import RelationWeight
from graphlearn.recipe import dump, find
from graphlearn.relations import RelationWeights, relation_weights

ROWS = [
    RelationWeight(1, ("author", "writes", "paper"), 0.7, 0.25),
    RelationWeight(1, ("paper",), 1 / 3, 0.0),
    RelationWeight(2, ("a>b", 'said "so", twice', "paper", "x\ny", "paper"), 1e-9, 0.1),
]


class Model:
    """A model that has relation weights."""

    def relation_weights(self):
        return ROWS


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose weights need not be read."""
    calls, rows = [], list(ROWS)

    class Task:
        def relation_weights(self):
            calls.append(1)
            return rows

    monkeypatch.setattr("graphlearn.runs.restore", lambda _: (Task(), None))
    monkeypatch.setattr(module, "locate", lambda _: Model)
    (tmp_path / "recipe.toml").write_text(dump(find("dagnn", "stdlib")))
    (tmp_path / "best.pt").touch()
    return tmp_path, rows, calls


def test_weights_of_a_run_are_kept_as_text(run):
    folder, _, calls = run
    assert relation_weights(folder) == RelationWeights("dagnn", ROWS)
    lines = (folder / module.FILE).read_text().splitlines()
    assert lines[:3] == [
        "order,path,mean,std",
        "1,author>writes>paper,0.7,0.25",
        f"1,paper,{1 / 3},0.0",
    ]
    assert relation_weights(folder) == RelationWeights("dagnn", ROWS)
    assert len(calls) == 1
    later = os.stat(folder / module.FILE).st_mtime + 10
    os.utime(folder / "best.pt", (later, later))
    relation_weights(folder)
    assert len(calls) == 2


def test_a_folder_that_may_only_be_read(run, monkeypatch, caplog):
    def full(path):
        raise OSError("read-only")

    monkeypatch.setattr("graphlearn.train.checkpoint.replacing", full)
    with caplog.at_level(logging.WARNING):
        assert relation_weights(run[0]).rows == ROWS
    assert "the relation weights are not kept: read-only" in caplog.text


def test_runs_without_relation_weights_have_no_picture(run, monkeypatch):
    folder, rows, calls = run
    (folder / "best.pt").unlink()
    assert relation_weights(folder) is None
    (folder / "best.pt").touch()
    rows[:] = [RelationWeight(1, ("paper",), math.nan, math.nan)]  # of a type without nodes
    assert relation_weights(folder) is None
    (folder / module.FILE).unlink()
    rows.clear()
    assert relation_weights(folder) is None
    monkeypatch.setattr(module, "locate", lambda _: object)
    (folder / module.FILE).unlink()
    assert relation_weights(folder) is None
    assert len(calls) == 2


@pytest.mark.parametrize(
    "text",
    ["", "order,path\n1,paper\n", "order,path,mean,std\n1,paper,x,0\n", "order,path,mean,std\n1\n"],
)
def test_a_damaged_file_is_said(run, caplog, text):
    folder = run[0]
    (folder / module.FILE).write_text(text)
    with caplog.at_level(logging.WARNING):
        assert relation_weights(folder) is None
    assert "has no picture of relations" in caplog.text
    assert "relations.csv is damaged; delete it, and it is computed again" in caplog.text


def test_weights_that_cannot_be_read_are_said(run, monkeypatch, caplog):
    def fails(folder):
        raise ValueError("other model\nand more")

    monkeypatch.setattr("graphlearn.runs.restore", fails)
    with caplog.at_level(logging.WARNING):
        assert relation_weights(run[0]) is None
    assert caplog.messages[-1].endswith("has no picture of relations: other model")

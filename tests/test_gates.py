"""What distance each node listens to."""

import logging
import os

import numpy as np
import pytest
import toy

from graphlearn import gates as module
from graphlearn.canvas import drawn
from graphlearn.gates import Gates, gates, listening
from graphlearn.knobs import build
from graphlearn.models.dagnn import DAGNN
from graphlearn.recipe import dump, find
from graphlearn.tasks.node import NodeClassification


def made(nodes: int = 40, hops: int = 4, classes: int = 3) -> Gates:
    weight = np.random.default_rng(0).random((nodes, hops + 1)).astype(np.float32)
    return Gates("dagnn", weight, np.arange(nodes) % (classes + 1) - 1)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose weights need not be read."""
    dataset = toy.node_dataset()
    task = NodeClassification(build(DAGNN, dataset, hops=4, hidden=8), dataset)
    calls = []
    monkeypatch.setattr("graphlearn.runs.restore", lambda _: (calls.append(1), (task, dataset))[1])
    (tmp_path / "recipe.toml").write_text(dump(find("dagnn", "stdlib")))
    (tmp_path / "best.pt").touch()
    return tmp_path, task, calls


def test_gates_of_a_run_are_kept(run):
    folder, task, calls = run
    found = gates(folder)
    assert found.weight.shape == (60, 5) and found.name == "dagnn"
    assert (0 < found.weight).all() and (found.weight < 1).all()
    np.testing.assert_array_equal(found.weight, task.gates().numpy())
    again = gates(folder)
    np.testing.assert_array_equal(again.weight, found.weight)
    np.testing.assert_array_equal(again.label, found.label)
    assert len(calls) == 1
    later = os.stat(folder / module.FILE).st_mtime + 10
    os.utime(folder / "best.pt", (later, later))
    gates(folder)
    assert len(calls) == 2


def test_a_folder_that_may_only_be_read(run, monkeypatch, caplog):
    def full(path):
        raise OSError("read-only")

    monkeypatch.setattr("graphlearn.train.checkpoint.replacing", full)
    with caplog.at_level(logging.WARNING):
        assert gates(run[0]).weight.shape == (60, 5)
    assert "the gates are not kept: read-only" in caplog.text


def test_runs_without_gates_have_no_picture(run, caplog):
    folder = run[0]
    (folder / "best.pt").unlink()
    assert gates(folder) is None
    (folder / "best.pt").touch()
    (folder / module.FILE).write_bytes(b"no archive")
    with caplog.at_level(logging.WARNING):
        assert gates(folder) is None
    assert "has no picture of gates" in caplog.text
    (folder / "recipe.toml").write_text(dump(find("node-gcn", "stdlib")))
    assert gates(folder) is None


def test_the_map_has_a_block_for_each_class():
    found = made()
    figure = listening("toy", found)
    left, right = figure.axes[0], figure.axes[1]
    assert [text.get_text() for text in left.get_yticklabels()] == [
        *("unlabelled", "class 0", "class 1", "class 2")
    ]
    lines = {line.get_label(): line.get_ydata() for line in right.lines}
    np.testing.assert_allclose(lines["all nodes"], found.weight.mean(0))
    np.testing.assert_allclose(lines["class 1"], found.weight[found.label == 1].mean(0), rtol=1e-6)
    named = listening("toy", found._replace(classes=["red", "green", "blue"])).axes[0]
    assert [text.get_text() for text in named.get_yticklabels()][1:] == ["red", "green", "blue"]


@pytest.mark.parametrize(("nodes", "classes"), [(3000, 3), (200, 30), (1, 0)])
def test_it_is_a_picture(tmp_path, nodes, classes):
    found = made(nodes, classes=classes)
    path = drawn(listening, "toy", found, tmp_path / "gates.png")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
    assert len(module._pooled(found.weight)) == min(nodes, 600)

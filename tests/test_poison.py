"""Attacks from the command line: on a data set, and on a finished run."""

import pytest
import torch
import toy

from graphlearn import poison as module
from graphlearn.cli import main
from graphlearn.data import load
from graphlearn.knobs import build
from graphlearn.models.baselines import GAE
from graphlearn.models.node_baselines import NodeBaseline
from graphlearn.poison import against, poison
from graphlearn.tasks.link import LinkPrediction
from graphlearn.tasks.node import NodeClassification
from graphlearn.train.task import Schedule
from graphlearn.train.trainer import Trainer


@pytest.fixture
def source(monkeypatch):
    """A data set that needs no file."""
    dataset = toy.node_dataset()
    monkeypatch.setattr(module, "load", lambda *_, **__: dataset)
    return dataset


@pytest.mark.parametrize("kind", ["random", "dice", "meta", "prbcd"])
def test_a_poisoned_graph_is_a_data_set(source, kind, tmp_path):
    edges = source.data.edge_index.shape[1] // 2
    found = poison("toy", kind, [0.05, 0.1], tmp_path / "hard")
    for one in found:
        assert one.added + one.removed == int(one.rate * edges)
        loaded = load(tmp_path / "hard", kind="node", rate=one.rate)
        assert loaded.data.edge_index.shape[1] // 2 == edges + one.added - one.removed
        assert torch.equal(loaded.data.clean_edge_index, source.data.edge_index)
        assert torch.equal(loaded.splits["test"], source.splits["test"])


def test_nothing_is_replaced(source, tmp_path):
    poison("toy", "random", [0.1], tmp_path)
    with pytest.raises(FileExistsError, match="already holds a data set; choose another folder"):
        poison("toy", "random", [0.1], tmp_path)
    for rates in ([], [0.0], [0.1, -0.1]):
        with pytest.raises(ValueError, match="rates must be shares of the edges above 0, got"):
            poison("toy", "random", rates, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_budget_beyond_the_graph_leaves_no_folder(source, tmp_path):
    with pytest.raises(ValueError, match=r"changes|pairs|room"):
        poison("toy", "random", [100.0], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_run_is_attacked_by_its_own_gradients(source, monkeypatch, tmp_path):
    torch.manual_seed(0)
    model = build(NodeBaseline, source, kind="gcn", hidden=16)
    task = NodeClassification(model, source, schedule=Schedule(epochs=60, lr=0.02))
    result = Trainer(progress=False).fit(task)
    monkeypatch.setattr(module, "restore", lambda _: (task, source))
    clean, attacked, what = against(tmp_path, 0.2)
    assert clean == pytest.approx(result.test["accuracy"])
    assert attacked < clean
    assert what.added + what.removed == int(0.2 * source.data.edge_index.shape[1] // 2)


def test_only_classifiers_are_attacked(monkeypatch, tmp_path):
    dataset = toy.link_dataset()
    task = LinkPrediction(GAE(12, hidden=8), dataset)
    monkeypatch.setattr(module, "restore", lambda _: (task, dataset))
    with pytest.raises(ValueError, match="is a run of LinkPrediction; only classifiers of nodes"):
        against(tmp_path, 0.1)


def test_the_command_writes_a_folder_and_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "attack random --dataset stdlib --rates 0.01 0.02 --out hard"
    assert main(words.split()) == 0
    shown = capsys.readouterr().out
    assert "graphlearn train stable --dataset hard --rate 0.02" in shown
    assert (tmp_path / "hard/meta/adj_0.02.npz").is_file()
    assert main(words.split()) == 1
    assert "hard already holds a data set" in capsys.readouterr().err
    assert main("attack metta".split()) == 2

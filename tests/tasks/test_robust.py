"""Robust classification: stages, runs, selection, tuning, interruption."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from statistics import fmean, pstdev

import pytest
import torch
from torch_geometric.data import Data
from toy import node_dataset

from graphlearn.data.dataset import Dataset
from graphlearn.knobs import build
from graphlearn.models.node_baselines import NodeBaseline
from graphlearn.models.stable import STABLE
from graphlearn.ops import CSR
from graphlearn.tasks.robust import RobustClassification, Trial, tune
from graphlearn.train import Trainer, checkpoint
from graphlearn.train.task import Schedule
from graphlearn.train.tracking import Result

TESTS = Path(__file__).parent.parent


def toy(nodes: int = 90) -> Dataset:
    """Three groups with some features of their own, and edges between them too."""
    made = torch.Generator().manual_seed(0)
    y = torch.arange(nodes) % 3
    x = torch.rand(nodes, 30, generator=made)
    x = (x + 0.25 * (torch.arange(30) % 3 == y[:, None]) > 0.85).float()
    ends = torch.randint(nodes, (2, 6 * nodes), generator=made)
    inside = y[ends[0]] == y[ends[1]]
    edges = torch.cat([ends[:, inside][:, : 2 * nodes], ends[:, ~inside][:, :nodes]], 1)
    graph = CSR.from_edge_index(edges, nodes, undirected=True)
    index = torch.stack([graph.rows(), graph.col.long()])
    parts = torch.randperm(nodes, generator=made)
    splits = {"train": parts[:20], "valid": parts[20:40], "test": parts[40:]}
    splits = {name: ids.sort().values for name, ids in splits.items()}
    facts = {"num_nodes": nodes, "in_channels": 30, "out_channels": 3}
    data = Data(x=x, edge_index=index, y=y, num_nodes=nodes)
    return Dataset("toy", "node", "accuracy", data, splits, facts)


def task_of(kind: str = "stable", epochs: int = 6, **options) -> RobustClassification:
    torch.manual_seed(0)
    if kind == "stable":
        model = STABLE(30, 3, hidden=16, channels=8, t2=0.2, k=3)
        options = {"pretraining_epochs": 8} | options
    else:
        model = NodeBaseline(30, 3, kind=kind, hidden=8)
    return RobustClassification(model, toy(), schedule=Schedule(epochs=epochs, lr=0.01), **options)


def fit(task, **options):
    return Trainer(device="cpu", progress=False, **options).fit(task)


def numbers(result):
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]
    return result.best_epoch, result.epochs, result.valid, result.test, rows


def test_the_encoder_first_then_every_run():
    task = task_of(runs=3)
    encoder = {name: value.clone() for name, value in task.model.encoder.named_parameters()}
    result = fit(task)
    stages = [row["stage"] for row in result.history]
    assert [stages.count(stage) for stage in range(5)] == [8, 6, 6, 6, 0]
    losses = [[row["loss"] for row in result.history if row["stage"] == s] for s in range(4)]
    assert min(losses[0]) < losses[0][0]
    assert losses[1] != losses[2] != losses[3]
    for name, value in task.model.encoder.named_parameters():
        assert not torch.equal(value, encoder[name])
    assert result.parameters == sum(v.numel() for v in task.model.classifier.parameters())


def test_the_test_is_the_mean_over_runs():
    task = task_of(runs=3)
    result = fit(task)
    own = super(RobustClassification, task)
    nodes = task.dataset.splits["test"]
    task._logits = task.logits()
    last = own.metrics("test", own.score(next(iter(task.batches("test")))))
    earlier = task.outcomes[:2].double().tolist()
    assert len(nodes) == 50 and not task.outcomes[:2].isnan().any()
    accuracies = [row[0] for row in earlier] + [last["accuracy"]]
    assert result.test["accuracy"] == pytest.approx(fmean(accuracies))
    assert result.test["accuracy/std"] == pytest.approx(pstdev(accuracies))
    assert result.test["loss"] == pytest.approx(fmean([*(r[2] for r in earlier), last["loss"]]))
    assert Trainer(device="cpu", progress=False).evaluate(task, "test") == result.test


def test_one_run_is_node_classification():
    one = fit(task_of("gcn"))
    assert set(one.test) == {"accuracy", "f1", "loss"}
    assert {row["stage"] for row in one.history} == {0}


@pytest.mark.parametrize("kind", ["gcn", "sgc", "gat", "mlp"])
def test_baselines_take_the_same_task(kind):
    result = fit(task_of(kind, runs=2))
    assert [row["stage"] for row in result.history] == [0] * 6 + [1] * 6
    assert result.test["accuracy/std"] >= 0


def test_every_run_starts_from_new_weights_of_the_same_law():
    task = task_of("gcn", runs=2)
    first = {name: value.clone() for name, value in task.model.named_parameters()}
    task._restart(1)
    one = {name: value.clone() for name, value in task.model.named_parameters()}
    task._restart(2)
    for name, value in task.model.named_parameters():
        for other in (one[name], value):
            assert torch.equal(other.flatten().sort().values, first[name].flatten().sort().values)
        if first[name].std() > 0:
            assert not torch.equal(one[name], first[name])
            assert not torch.equal(one[name], value)


def test_all_runs_share_one_refinement():
    calls, task = [], task_of(runs=3)
    prepare = task.model.prepare
    task.model.prepare = lambda *args: calls.append(1) or prepare(*args)
    fit(task)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("select", "best"), [("accuracy", 2), ("loss", 5), ("either", 5), ("patience", 3)]
)
def test_which_epoch_is_the_best(select, best, monkeypatch):
    """Accuracies and losses of the validation by epoch, ties among them."""
    accuracy = [0.5, 0.7, 0.6, 0.7, 0.6, 0.7]
    loss = [1.0, 1.1, 1.2, 1.0, 0.9, 0.9]
    if select == "patience":
        select, accuracy = "either", [0.5, 0.6, 0.7, 0.7, 0.6, 0.7]
        loss = [1.0, 1.1, 1.2, 1.0, 1.0, 1.0]
    from graphlearn.tasks.node import NodeClassification

    def given(self, split, rows):
        k = max(self.epoch, 1) - 1
        return {"accuracy": accuracy[k], "f1": 0.0, "loss": loss[k]}

    monkeypatch.setattr(NodeClassification, "metrics", given)
    result = fit(task_of("gcn", select=select))
    assert result.best_epoch == best


def test_a_second_look_is_no_improvement():
    task = task_of("gcn", select="either")
    fit(task)
    before = task.judged.clone()
    found = Trainer(device="cpu", progress=False).evaluate(task, "valid")
    assert torch.equal(task.judged, before)
    assert found["improvements"] == before[2]


def test_tuning_takes_the_best_trial_and_leaves_the_rest():
    task = task_of(epochs=4)
    grid = {"alpha": (-0.5, 2.0), "t2": (0.0, 0.9), "k": (0, 3)}
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    trials = tune(task, **grid)
    assert all(torch.equal(value, state[name]) for name, value in task.model.state_dict().items())
    assert [trial[:3] for trial in trials[:4]] == [
        (0.3, 0.0, 0), (0.3, 0.0, 3), (0.3, 0.9, 0), (0.3, 0.9, 3),
    ]  # fmt: skip
    best = max(trials[:4], key=lambda trial: (trial.accuracy, -trial.loss))
    assert trials[4][:3] == (-0.5, best.t2, best.k)
    assert len({(trial.accuracy, trial.loss) for trial in trials}) > 1


def test_tuning_goes_on_from_the_best_until_nothing_is_better(monkeypatch, caplog):
    """A slope that takes several turns along the axes."""

    def trial(task, alpha, t2, k):
        return Trial(alpha, t2, k, 1 - 0.1 * (alpha - k) ** 2 - 0.06 * k**2 - 0.01 * t2, 0.5)

    task = task_of()
    task.model.choose(alpha=3.0, t2=0.0, k=0)

    monkeypatch.setattr("graphlearn.tasks.robust._trial", trial)
    grid = {"alpha": (0.0, 1.0, 2.0, 3.0), "t2": (0.0, 0.5), "k": (0, 1, 2, 3)}
    with caplog.at_level(logging.INFO):
        trials = tune(task, **grid)
    asked = [found[:3] for found in trials]
    assert asked[:8] == [(3.0, t, n) for t in grid["t2"] for n in grid["k"]]
    assert len(set(asked)) == len(asked) < 4 * 2 * 4
    best = max(trials, key=lambda found: found.accuracy)
    assert best[:3] == (1.0, 0.0, 1)
    near = [best._replace(**{name: value})[:3] for name in grid for value in grid[name]]
    assert set(near) <= set(asked)  # nothing beside the best was left out
    assert [message.partition(" have ")[0] for message in caplog.messages] == [
        f"tuning: alpha {alpha}, t2 0 and k {k}" for alpha, k in ((3, 2), (2, 1), (1, 1))
    ]
    assert caplog.messages[0].endswith(
        " have 66.0 % of the validation nodes right, the best of 8 classifiers"
    )


def test_what_was_tuned_is_used_and_saved(monkeypatch, tmp_path):
    trials = [
        Trial(0.3, 0.1, 5, 0.7, 0.9),
        Trial(2.0, 0.7, 3, 0.8, 0.9),
        Trial(1.0, 0.1, 1, 0.8, 1.0),
    ]
    monkeypatch.setattr("graphlearn.tasks.robust.tune", lambda task: trials)
    task = task_of(tune=True, runs=2)
    fit(task, out=tmp_path)
    assert (task.model.alpha, task.model.t2, task.model.k) == (2.0, 0.7, 3)
    other = task_of(tune=True, runs=2)
    checkpoint.restore(other, checkpoint.load(tmp_path / "best.pt"), "best.pt")
    assert (other.model.alpha, other.model.t2, other.model.k) == (2.0, 0.7, 3)
    nodes = torch.arange(90)
    assert torch.equal(other.classify(nodes), task.classify(nodes))


def test_a_seed_gives_the_same_run_whatever_was_drawn_before():
    one = numbers(fit(task_of(runs=2)))
    torch.rand(7)
    assert numbers(fit(task_of(runs=2))) == one
    other = task_of(runs=2)
    other.seed = 1
    assert numbers(fit(other)) != one


def test_any_number_of_threads_gives_the_same():
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(numbers(fit(task_of(runs=2))))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_an_interrupted_run_continues_to_the_same_numbers(stage, tmp_path):
    expected = fit(task_of(runs=2, select="either"))

    def stop(task, epoch):
        forward = task.forward

        def failing(batch):
            if task.epoch == epoch and task.stage == stage:
                raise KeyboardInterrupt
            return forward(batch)

        task.forward = failing

    broken = task_of(runs=2, select="either")
    if stage:
        stop(broken, 4)
    else:
        pretraining = broken.model.pretraining

        def stopped(x, graph):
            task = pretraining(x, graph)
            stop(task, 4)
            return task

        broken.model.pretraining = stopped
    assert fit(broken, out=tmp_path, save_seconds=0.0).stopped == "interrupted"
    again = task_of(runs=2, select="either")
    found = fit(again, out=tmp_path, resume=True)
    assert numbers(found) == numbers(expected)


SLOW = """
import os, sys, torch
sys.path.insert(0, sys.argv[2] + "/tasks")
import test_robust
from graphlearn.tasks.robust import RobustClassification
from graphlearn.train import Trainer

forward = RobustClassification.forward

def failing(self, batch):
    if self.stage == 2 and self.epoch == 4:
        os.kill(os.getpid(), 9)
    return forward(self, batch)

RobustClassification.forward = failing
task = test_robust.task_of(runs=2)
Trainer(device="cpu", out=sys.argv[1], save_seconds=0.0, progress=False).fit(task)
"""


@pytest.mark.slow
def test_a_killed_process_continues_to_the_same_numbers(tmp_path):
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", SLOW, str(tmp_path), str(TESTS)]
    process = subprocess.run(command, env=environment, timeout=300)
    assert process.returncode == -signal.SIGKILL
    progress = checkpoint.load(tmp_path / "last.pt")["progress"]
    assert (progress["stage"], progress["epoch"]) == (2, 3)
    found = fit(task_of(runs=2), out=tmp_path, resume=True)
    assert numbers(found) == numbers(fit(task_of(runs=2)))


def test_messages():
    with pytest.raises(ValueError, match="runs must be at least 1, got 0"):
        task_of(runs=0)
    with pytest.raises(ValueError, match="pretraining_epochs must be at least 0, got -1"):
        task_of(pretraining_epochs=-1)
    with pytest.raises(ValueError, match="NodeBaseline has no settings to tune; pass tune=False"):
        task_of("gcn", tune=True)


def test_features_without_values_are_refused():
    task = task_of()
    task.dataset.data.x = torch.zeros(90, 30)
    with pytest.raises(ValueError, match="all features are zero"):
        fit(task)


def test_an_interrupt_while_settings_are_tried_is_one_of_the_run(monkeypatch):
    stopped = Result(0, "accuracy", 0, 1, {}, {}, "interrupted", 0.0)
    monkeypatch.setattr("graphlearn.tasks.robust.Trainer.fit", lambda *_, **__: stopped)
    dataset = node_dataset()
    task = RobustClassification(build(STABLE, dataset, hidden=8), dataset, tune=True)
    with pytest.raises(KeyboardInterrupt):
        tune(task, alpha=(0.3,), t2=(0.1,), k=(0,))

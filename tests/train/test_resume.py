"""Runs that were interrupted, killed or finished, and are continued."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_tasks import (
    Net,
    Peaked,
    Regression,
    Staged,
    Streaming,
    assert_same_run,
    fit,
    same,
    weights,
)

from graphlearn.train import checkpoint
from graphlearn.train.tracking import read_rows

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("kind", [Regression, Streaming])
@pytest.mark.parametrize(
    "schedule", [{}, {"accumulate": 3, "clip": 0.1, "optimizer": "adamw"}, {"eval_from": 6}]
)
def test_ten_and_ten_epochs_are_twenty(tmp_path, kind, schedule):
    whole = kind(dropout=0.3, epochs=10, **schedule)
    expected = fit(whole)
    fit(kind(dropout=0.3, epochs=5, **schedule), out=tmp_path)
    parts = kind(dropout=0.3, epochs=10, **schedule)
    found = fit(parts, out=tmp_path, resume=True)
    assert_same_run((whole, expected), (parts, found))
    assert read_rows(tmp_path / "metrics.csv") == found.history
    assert found.seconds > found.history[-1]["seconds"]


@pytest.mark.parametrize("save_seconds", [0.0, 1000.0])
@pytest.mark.parametrize("at", [(1, 1), (4, 2), (8, 0)])
def test_an_interrupted_run_continues_to_the_same_numbers(tmp_path, at, save_seconds):
    whole = Streaming(dropout=0.3)
    expected = fit(whole)
    broken = Streaming(dropout=0.3)
    broken.fail_at = at
    result = fit(broken, out=tmp_path, save_seconds=save_seconds)
    assert result.stopped == "interrupted"
    assert (result.epochs, len(result.history), result.test) == (at[0] - 1, at[0] - 1, {})
    assert not (tmp_path / "result.json").exists()
    if result.best_epoch:
        assert same(weights(broken), checkpoint.load(tmp_path / "best.pt")["state"])
    again = Streaming(dropout=0.3)
    found = fit(again, out=tmp_path, resume=True)
    assert_same_run((whole, expected), (again, found))
    assert read_rows(tmp_path / "metrics.csv") == found.history


def test_an_interrupt_in_memory_keeps_the_best_weights():
    task = Peaked(epochs=8)
    task.fail_at = (5, 1)
    result = fit(task)
    best = Peaked(epochs=3)
    fit(best)
    assert (result.stopped, result.best_epoch) == ("interrupted", 3)
    assert same(weights(task), weights(best))


def test_an_interrupt_during_the_test_loses_no_training(tmp_path):
    class Late(Regression):
        def start(self, split):
            super().start(split)
            if split == "test" and not (tmp_path / "go").exists():
                raise KeyboardInterrupt

    task = Late(epochs=3)
    assert fit(task, out=tmp_path / "run").stopped == "interrupted"
    (tmp_path / "go").touch()
    again = Late(epochs=3)
    result = fit(again, out=tmp_path / "run", resume=True)
    assert [split for *_, split in again.passes] == ["test"]
    assert (result.stopped, result.test) == ("epochs", fit(Regression(epochs=3)).test)


def test_a_finished_run_returns_its_result(tmp_path):
    task = Regression(epochs=3)
    result = fit(task, out=tmp_path)
    again = Regression(epochs=3, model=Net())
    assert fit(again, out=tmp_path, resume=True) == result
    assert again.passes == []
    assert same(weights(task), weights(again))


def test_the_files_of_a_finished_run_stay_as_they_are(tmp_path):
    def make():
        task = Streaming(epochs=3)
        task.monitor = ""
        return task

    task, again = make(), make()
    fit(task, out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    fit(again, out=tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_lost_patience_is_finished_until_more_is_granted(tmp_path):
    result = fit(Peaked(epochs=9, patience=2), out=tmp_path)
    assert result.epochs == 5
    assert fit(Peaked(epochs=9, patience=2), out=tmp_path, resume=True) == result
    assert fit(Peaked(epochs=9, patience=4), out=tmp_path, resume=True).epochs == 7


@pytest.mark.parametrize("place", ["first", "second"])
def test_stages_resume_to_the_same_numbers(tmp_path, place):
    def make():
        torch.manual_seed(3)
        return Staged(Regression(epochs=3, model=Net(0.2)), epochs=4, dropout=0.3)

    whole, broken, again = make(), make(), make()
    expected = fit(whole)
    (broken.first if place == "first" else broken).fail_at = (2, 1)
    assert fit(broken, out=tmp_path).stopped == "interrupted"
    found = fit(again, out=tmp_path, resume=True)
    assert_same_run((whole, expected), (again, found))
    assert same(weights(whole.first), weights(again.first))
    if place == "second":
        assert again.first.passes == []
    assert (tmp_path / "stage0.pt").exists()
    assert fit(make(), out=tmp_path, resume=True) == found


def test_resuming_nothing_starts_anew(tmp_path):
    assert fit(Regression(epochs=2), out=tmp_path / "new", resume=True).epochs == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda task: setattr(task, "seed", 4), "belongs to seed 0, this run has seed 4"),
        (lambda task: setattr(task, "model", Net(hidden=9)), r"encoder.weight is \(8, 4\) there"),
        (lambda task: setattr(task, "model", nn.Linear(4, 1)), r"not of Regression\(Linear\)"),
        (
            lambda task: object.__setattr__(task.schedule, "lr_of", {"head": 0.1}),
            "last.pt has other parameters frozen or with rates of their own",
        ),
    ],
)
def test_another_run_is_not_continued(tmp_path, change, message):
    fit(Regression(epochs=2), out=tmp_path)
    task = Regression(epochs=4)
    change(task)
    before = weights(task)
    with pytest.raises(ValueError, match=message):
        fit(task, out=tmp_path, resume=True)
    if "frozen" not in message:
        assert same(before, weights(task))
    assert len(read_rows(tmp_path / "metrics.csv")) == 2


SLOW = """
import os, signal, sys, time
import toy_tasks
from graphlearn.train import Trainer

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it

class Streaming(toy_tasks.Streaming):
    steps = 0

    def forward(self, batch):
        time.sleep(0.02)
        self.steps = self.steps + 1 if self.epoch == 6 else 0
        if self.steps == 2:
            os.kill(os.getpid(), int(sys.argv[3]))
        return super().forward(batch)

task = Streaming(dropout=0.3, epochs=12)
Trainer(device="cpu", out=sys.argv[1], save_seconds=float(sys.argv[2])).fit(task)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_continues_to_the_same_numbers(tmp_path, number):
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    seconds = "0" if number == signal.SIGKILL else "1000"
    command = [sys.executable, "-c", SLOW, str(tmp_path), seconds, str(int(number))]
    process = subprocess.run(command, env=environment, timeout=300)
    assert process.returncode == (-number if number == signal.SIGKILL else 0)
    done = checkpoint.load(tmp_path / "last.pt")["progress"]["epoch"]
    assert done == 5 if number == signal.SIGKILL else 1 <= done <= 5
    whole, again = (Streaming(dropout=0.3, epochs=12) for _ in range(2))
    expected = fit(whole)
    found = fit(again, out=tmp_path, resume=True)
    assert {epoch for _, epoch, split in again.passes if split == "train"} == set(
        range(done + 1, 13)
    )
    assert_same_run((whole, expected), (again, found))

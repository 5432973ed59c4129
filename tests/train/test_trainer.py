import json
import logging
import math
import os

import pytest
import torch
from toy_tasks import (
    Counting,
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

from graphlearn.train import Trainer, checkpoint, optim
from graphlearn.train.tracking import Result, read_rows


def test_training_in_memory_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = Regression(epochs=60)
    result = fit(task)
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2
    assert (result.stopped, result.epochs, len(result.history)) == ("epochs", 60, 60)
    assert result.folder is None
    assert result.parameters == 49
    assert list(tmp_path.iterdir()) == []
    assert not task.training


def test_a_seed_gives_the_same_run_whatever_was_drawn_before():
    one, two, three = (Regression(dropout=0.5) for _ in range(3))
    first = fit(one)
    torch.rand(17)
    assert_same_run((one, first), (two, fit(two)))
    three.seed = 1
    assert fit(three).valid != first.valid


def test_the_files_of_a_run(tmp_path):
    task = Regression(epochs=3)
    result = Trainer(device="cpu", out=tmp_path / "a" / "b").fit(task, recipe={"lr": 0.1})
    folder = tmp_path / "a" / "b"
    names = ["best.pt", "last.pt", "metrics.csv", "result.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert read_rows(folder / "metrics.csv") == result.history
    assert Result.read(folder) == result
    stored = json.loads((folder / "result.json").read_text())
    assert stored["test"] == result.test
    assert stored["memory"] > 0
    best = checkpoint.load(folder / "best.pt")
    assert json.loads(best["recipe"]) == {"lr": 0.1}
    assert same(best["state"], weights(task))
    assert result.seconds > 0


def test_the_best_weights_come_back(tmp_path):
    task = Peaked(epochs=8)
    result = fit(task, out=tmp_path)
    assert (result.best_epoch, result.epochs) == (3, 8)
    assert result.valid["mse"] == result.test["mse"] == -1.0
    best, last = (checkpoint.load(tmp_path / name) for name in ("best.pt", "last.pt"))
    assert same(weights(task), best["state"])
    assert not same(weights(task), last["state"])
    shorter = Peaked(epochs=3)
    fit(shorter)
    assert same(weights(shorter), weights(task))


def test_patience_stops(tmp_path):
    result = fit(Peaked(epochs=50, patience=2))
    assert (result.best_epoch, result.epochs, result.stopped) == (3, 5, "patience")


def test_equal_is_no_improvement_and_the_first_counts():
    class Flat(Regression):
        monitor = "auc"

        def metrics(self, split, rows):
            return {"auc": -math.inf}

    result = fit(Flat(epochs=9, patience=3))
    assert (result.best_epoch, result.epochs) == (1, 4)


def test_a_monitor_without_sign_grows():
    class Rising(Regression):
        monitor = "auc"

        def metrics(self, split, rows):
            return {"auc": float(self.epoch)}

    assert fit(Rising(epochs=4)).best_epoch == 4


def test_evaluation_follows_the_schedule():
    task = Regression(epochs=7, eval_from=3, eval_every=2)
    result = fit(task)
    assert [epoch for _, epoch, split in task.passes if split == "valid"] == [3, 5, 7]
    assert [row["epoch"] for row in result.history if "valid/mse" in row] == [3, 5, 7]
    assert [split for *_, split in task.passes].count("test") == 1


def test_what_is_never_evaluated_keeps_the_last_weights(tmp_path):
    task = Regression(epochs=4)
    task.monitor = ""
    result = fit(task, out=tmp_path)
    assert [split for *_, split in task.passes] == ["train"] * 4 + ["valid", "test"]
    assert (result.best_epoch, result.epochs) == (4, 4)
    assert result.valid["mse"] == result.test["mse"]
    assert same(checkpoint.load(tmp_path / "best.pt")["state"], weights(task))


def test_evaluate_repeats_the_test():
    task = Regression(dropout=0.5)
    result = fit(task)
    trainer = Trainer(device="cpu")
    assert trainer.evaluate(task, "test") == result.test
    assert trainer.evaluate(task, "valid") == result.valid


def test_state_in_buffers_streams_from_split_to_split():
    task = Streaming(epochs=5)
    result = fit(task)
    assert result.test["state"] != result.valid["state"]
    assert task.state.item() == result.valid["state"]  # as after the best validation
    assert Trainer(device="cpu").evaluate(task, "test") == result.test


def test_without_parameters_there_is_nothing_to_train(tmp_path):
    task = Counting()
    result = fit(task, out=tmp_path)
    assert (result.stopped, result.epochs, result.history) == ("no parameters", 0, [])
    assert result.valid == result.test == {"rows": 5.0}
    assert (tmp_path / "best.pt").exists()
    assert fit(Counting(), out=tmp_path, resume=True) == result


def test_a_frozen_part_stays():
    task = Regression(lr_of={"encoder": 0.0})
    before = weights(task)
    fit(task)
    after = weights(task)
    same_names = [name for name in before if torch.equal(before[name], after[name])]
    assert same_names == ["model.encoder.weight", "model.encoder.bias"]
    assert all(value.requires_grad for value in task.parameters())


def test_a_wholly_frozen_task_is_evaluated_only():
    assert fit(Regression(lr=0.0)).stopped == "no parameters"


def test_no_epochs():
    result = fit(Regression(epochs=0))
    assert (result.stopped, result.best_epoch) == ("epochs", 0)
    assert result.valid


@pytest.fixture
def rates(monkeypatch):
    """The rate of every epoch, as the optimizer has it."""
    found = []

    def spy(optimizer, *values, **keywords):
        set_rates(optimizer, *values, **keywords)
        found.append(optimizer.param_groups[0]["lr"])

    set_rates = optim.set_rates
    monkeypatch.setattr(optim, "set_rates", spy)
    return found


def test_a_plateau_halves_the_rate(rates):
    fit(Peaked(epochs=9, decay="plateau", patience=4, lr=0.4))
    assert rates == [0.4] * 5 + [0.2] * 2


def test_a_plateau_is_remembered(rates, tmp_path):
    fit(Peaked(epochs=6, decay="plateau", patience=4, lr=0.4), out=tmp_path)
    fit(Peaked(epochs=7, decay="plateau", patience=4, lr=0.4), out=tmp_path, resume=True)
    assert rates == [0.4] * 5 + [0.2] * 2


def test_the_schedule_sets_the_rate(rates):
    fit(Peaked(epochs=8, decay="step", lr=0.5, warmup=0))
    assert rates == pytest.approx([0.5] * 4 + [0.05] * 2 + [0.005] * 2)


def test_stages_are_fitted_in_order():
    first = Regression(epochs=3, model=Net())
    task = Staged(first, epochs=2)
    result = fit(task)
    order = [(stage, epoch) for stage, epoch, split in first.passes if split == "train"]
    assert order == [(0, 1), (0, 2), (0, 3)]
    assert [(row["stage"], row["epoch"]) for row in result.history] == [*order, (1, 1), (1, 2)]
    assert result.epochs == 2
    assert [split for *_, split in [*first.passes, *task.passes]].count("test") == 1


def test_a_run_folder_is_not_overwritten_by_accident(tmp_path):
    fit(Regression(epochs=2), out=tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(FileExistsError, match="already holds a run; pass resume=True to continue"):
        fit(Regression(epochs=1), out=tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before
    assert fit(Regression(epochs=1), out=tmp_path, overwrite=True).epochs == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "resume=True needs the folder of the run, got none; pass out=FOLDER"),
        ({"resume": True, "overwrite": True, "out": "x"}, "exclude each other, got both; choose"),
    ],
)
def test_arguments_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        Trainer(**options)


def test_a_negative_seed():
    task = Regression()
    task.seed = -1
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        fit(task)


def test_a_monitor_that_is_no_metric():
    task = Regression()
    task.monitor = "mae2"
    with pytest.raises(ValueError, match="monitor 'mae2' is not among the metrics; did you mean"):
        fit(task)
    task.monitor = "hits@50"
    with pytest.raises(ValueError, match="'hits@50' is not among the metrics; there are mse, mae"):
        fit(task)


def test_a_monitor_that_is_no_number():
    class Undefined(Regression):
        def metrics(self, split, rows):
            return {"mse": math.nan}

    with pytest.raises(FloatingPointError, match="the monitor 'mse' is nan in epoch 1"):
        fit(Undefined())


def test_a_loss_that_explodes_leaves_the_last_good_state(tmp_path):
    class Exploding(Regression):
        def forward(self, batch):
            losses = super().forward(batch)
            factor = math.inf if self.epoch == 3 else 1.0
            return {name: value * factor for name, value in losses.items()}

    with pytest.raises(FloatingPointError, match="the loss of epoch 3 is nan"):
        fit(Exploding(), out=tmp_path, save_seconds=0.0)
    last = checkpoint.load(tmp_path / "last.pt")
    assert last["progress"]["epoch"] == 2
    assert all(value.isfinite().all() for value in last["state"].values())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_stops_training_with_one_line(tmp_path):
    fit(Regression(epochs=2), out=tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    (tmp_path / ".last.pt.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"cannot write last.pt in {tmp_path}: No space left"):
        fit(Regression(epochs=4), out=tmp_path, resume=True, save_seconds=0.0)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert fit(Regression(epochs=4), out=tmp_path, resume=True).epochs == 4


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write last.pt in .*file/run: Not a directory"):
        fit(Regression(), out=tmp_path / "file" / "run")


def test_half_precision_trains_and_tests_in_single():
    task = Regression(epochs=5, dropout=0.1)
    result = fit(task, precision="bf16")
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert all(value.dtype == torch.float32 for value in task.parameters())
    assert Trainer(device="cpu").evaluate(task, "test") == result.test


def test_compile_is_in_place_and_dynamic():
    class Spy(Net):
        asked = None

        def compile(self, **keywords):
            self.asked = keywords

    task = Regression(model=Spy(), epochs=1)
    names = list(task.state_dict())
    fit(task, compile=True)
    assert task.model.asked == {"dynamic": True}
    assert list(task.state_dict()) == names


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch about torch
def test_a_compiled_model_gives_the_same_numbers():
    plain, compiled = Regression(epochs=2), Regression(epochs=2)
    expected, found = fit(plain), fit(compiled, compile=True)
    assert found.valid == pytest.approx(expected.valid, rel=1e-4)


def test_deterministic_operators_for_the_time_of_a_run(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seen = []

    class Spy(Regression):
        def start(self, split):
            seen.append(torch.are_deterministic_algorithms_enabled())

    fit(Spy(epochs=1), deterministic=True)
    assert set(seen) == {True}
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_is_silent(capfd, caplog):
    with caplog.at_level(logging.INFO):
        fit(Regression(epochs=1))
    assert (capfd.readouterr(), caplog.text) == (("", ""), "")


def test_trackers_are_shown_every_epoch(tmp_path, monkeypatch):
    seen = []

    class Tracker:
        add = staticmethod(seen.append)

        def close(self):
            seen.append("end")

    monkeypatch.setattr("graphlearn.train.trainer.trackers", lambda *a, **k: [Tracker()])
    result = fit(Regression(epochs=2), track=("csv", "wandb"))
    assert seen == [*result.history, "end"]

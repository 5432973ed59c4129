import io
import sys
import types

import pytest
import torch

from graphlearn.train import tracking
from graphlearn.train.tracking import Bar, History, Result


def row(epoch, stage=0, **values):
    return {"stage": stage, "epoch": epoch, "loss": 1 / 3, **values}


def result(**changes):
    values = {
        "seed": 1,
        "monitor": "auc",
        "best_epoch": 2,
        "epochs": 3,
        "valid": {"auc": 0.5},
        "test": {"auc": 1 / 3},
        "stopped": "patience",
        "seconds": 1.5,
        "memory": 10,
        "parameters": 4,
    }
    return Result(**{**values, **changes})


def test_a_result_comes_back(tmp_path):
    history = History(tmp_path)
    history.add(row(1))
    history.close()
    written = result(history=history.rows, folder=tmp_path)
    written.write(tmp_path)
    assert Result.read(tmp_path) == written


def test_an_unfinished_run_has_no_result(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*result.json: the run has not fin"):
        Result.read(tmp_path)


@pytest.mark.parametrize("text", ["{", '{"seed": 1}'])
def test_a_damaged_result(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=r"result.json is damaged or no result of a run"):
        Result.read(tmp_path)


def test_without_a_folder_rows_stay_in_memory():
    history = History(None)
    history.add(row(1))
    history.close()
    assert history.rows == [row(1)]


def test_rows_are_on_disk_as_soon_as_they_are_added(tmp_path):
    history = History(tmp_path)
    for epoch in (1, 2):
        history.add(row(epoch))
        assert tracking.read_rows(tmp_path / "metrics.csv")[-1] == row(epoch)
    history.close()


def test_the_header_is_the_union_of_all_keys(tmp_path):
    history = History(tmp_path)
    rows = [row(1), row(2, **{"valid/auc": 0.5}), row(1, stage=1, other=2.0), row(2, stage=1)]
    for one in rows:
        history.add(one)
    history.close()
    text = (tmp_path / "metrics.csv").read_text().splitlines()
    assert text[0] == "stage,epoch,loss,valid/auc,other"
    assert text[2] == "0,2,0.3333333333333333,0.5,"
    assert tracking.read_rows(tmp_path / "metrics.csv") == rows


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    history = History(tmp_path)
    for one in (row(1), row(2), row(1, stage=1), row(2, stage=1)):
        history.add(one)
    history.close()
    again = History(tmp_path, until=(1, 1))
    assert again.rows == [row(1), row(2), row(1, stage=1)]
    again.add(row(2, stage=1))
    again.close()
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5


def test_a_line_cut_short_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("stage,epoch,loss\n0,1,0.5\n0,2,\n0,3,0.2x\n0,4")
    assert tracking.read_rows(path) == [
        {"stage": 0, "epoch": 1, "loss": 0.5},
        {"stage": 0, "epoch": 2},
    ]


def test_a_table_that_cannot_be_written(tmp_path):
    history = History(tmp_path)
    history.add(row(1))
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(OSError, match=f"cannot write metrics.csv in {tmp_path}: Is a directory"):
        history.add(row(2))


def test_an_unknown_tracker():
    with pytest.raises(ValueError, match=r"some of csv, .*, got 'tensorbord'; did you mean"):
        tracking.trackers(("tensorbord",), None, config={})


def test_csv_needs_no_tracker(tmp_path):
    assert tracking.trackers(("csv",), tmp_path, config={}) == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_says_how_to_get_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"needs '{name}': pip install '.*\[track\]'"):
        tracking.trackers((name,), tmp_path, config={})


def test_wandb_is_shown_every_row(tmp_path, monkeypatch):
    seen = []
    run = types.SimpleNamespace(log=seen.append, finish=lambda: seen.append("end"))
    fake = types.ModuleType("wandb")
    fake.init = lambda **keywords: seen.append(keywords) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    (one,) = tracking.trackers(("wandb",), tmp_path, config={"a": 1})
    assert isinstance(one, tracking.Tracker)
    one.add(row(1))
    one.close()
    assert seen == [
        {"project": "graphlearn", "dir": str(tmp_path), "config": {"a": 1}},
        row(1),
        "end",
    ]


def test_tensorboard_is_shown_every_row(tmp_path, monkeypatch):
    seen = []

    class Writer:
        def __init__(self, folder, purge_step):
            seen.append((folder, purge_step))

        def add_scalar(self, *values):
            seen.append(values)

        def close(self):
            seen.append("end")

    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    (one,) = tracking.trackers(("tensorboard",), tmp_path, config={}, first=5)
    one.add(row(5))
    one.add(row(1, stage=1))
    one.close()
    third = 1 / 3
    assert seen == [(str(tmp_path), 5), ("loss", third, 5), ("loss/stage1", third, 1), "end"]
    with pytest.raises(ValueError, match="track='tensorboard' writes files: pass out=FOLDER"):
        tracking.trackers(("tensorboard",), None, config={})


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_is_off_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = Bar(enabled=True)
    bar.stage("x", epochs=2, done=0)
    items = [1, 2]
    assert bar.batches(items, "train") is items
    bar.add(row(1), "auc")
    bar.close()
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize("enabled", [True, False])
def test_the_bar_shows_loss_and_monitor(monkeypatch, enabled):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = Bar(enabled=enabled)
    bar.stage("Toy(Net)", epochs=3, done=1)
    assert list(bar.batches(range(3), "train")) == [0, 1, 2]
    bar.add(row(2, **{"valid/mse": 0.0, "valid/auc": 0.25}), "-auc")
    bar.close()
    text = sys.stderr.getvalue()
    assert ("Toy(Net)" in text and "2/3" in text and "loss 0.3333, -auc 0.25" in text) == enabled


def test_the_bar_updates_at_most_ten_times_a_second(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = Bar(enabled=True)
    bar.stage("x", epochs=5000, done=0)
    for epoch in range(2000):
        bar.add(row(epoch), "")
    bar.close()
    assert sys.stderr.getvalue().count("\r") < 100


def test_memory_is_in_bytes():
    assert tracking.peak_memory(torch.device("cpu")) > 10**7

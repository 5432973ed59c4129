import csv
import json
import logging
import os

import pytest

from graphlearn.recipe import find
from graphlearn.runs import changed, train
from graphlearn.timeline import FILE, Lane, rolling, through_time, timeline


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """Two runs on a short stream, of which one has caches."""
    folder = tmp_path_factory.mktemp("streams")
    lines = [f"{k % 7},{(3 * k + k // 7) % 11},{1_100_000_000 + 900 * k}" for k in range(300)]
    (folder / "calls.csv").write_text("source,target,time\n" + "\n".join(lines) + "\n")
    found = {}
    for name, model in (("nat", {"slots": (4, 2), "self_dim": 8}), ("edgebank", {})):
        recipe = find(name, str(folder / "calls.csv"))
        recipe = changed(recipe, {"model": model, "schedule": {"epochs": 0}})
        found[name] = folder / "runs" / name / "calls" / "0"
        train(recipe, 0, out=folder / "runs", device="cpu", progress=False)
    return found


def test_the_rows_of_a_run_are_computed_once(streams, caplog):
    caplog.set_level(logging.INFO, logger="graphlearn")
    first = timeline(streams["nat"])
    assert [*first] == ["start", "time", "ap", "auc", "occupancy/1", "occupancy/2"]
    assert len(first["time"]) == 2  # 45 events in batches of 32
    assert set(first["start"]) == {1_100_000_000.0}
    assert first["occupancy/1"][0] <= first["occupancy/1"][1] <= 1
    assert "computing the timeline of" in caplog.text
    caplog.clear()
    assert timeline(streams["nat"]) == first and caplog.text == ""


def test_ap_is_that_of_the_test(streams):
    result = json.loads((streams["edgebank"] / "result.json").read_text())
    rows = timeline(streams["edgebank"])
    assert [*rows] == ["start", "time", "ap", "auc"]
    assert sum(rows["ap"]) / len(rows["ap"]) == pytest.approx(result["test"]["ap@batch"])


def test_newer_weights_are_asked_again(streams, caplog):
    caplog.set_level(logging.INFO, logger="graphlearn")
    rows = timeline(streams["edgebank"])
    weights = streams["edgebank"] / "best.pt"
    later = (streams["edgebank"] / FILE).stat().st_mtime + 10
    os.utime(weights, (later, later))
    assert timeline(streams["edgebank"]) == rows
    assert "computing the timeline of" in caplog.text
    os.utime(weights, (0, 0))


def test_a_run_without_weights_is_left_out(tmp_path, streams, caplog):
    (tmp_path / "recipe.toml").write_bytes((streams["nat"] / "recipe.toml").read_bytes())
    assert timeline(tmp_path) == {}
    assert f"{tmp_path} has no weights (best.pt), so it is left out" in caplog.text


def test_a_run_on_a_graph_has_no_timeline(tmp_path, caplog):
    (tmp_path / "recipe.toml").write_text(
        'name = "ncn"\nmodel = "graphlearn.models.ncn:NCN"\ndataset = "toy"\n'
        'task = "graphlearn.tasks.link:LinkPrediction"\npaper = "none"\n\n[toy]\n'
    )
    assert timeline(tmp_path) == {} and caplog.text == ""


def test_what_fails_is_said_and_left_out(tmp_path, streams, caplog):
    for name in ("recipe.toml", "best.pt"):
        (tmp_path / name).write_bytes((streams["edgebank"] / name).read_bytes())
    text = (tmp_path / "recipe.toml").read_text()
    (tmp_path / "recipe.toml").write_text(text.replace("calls.csv", "gone.csv"))
    assert timeline(tmp_path) == {}
    assert f"{tmp_path} is left out of the timeline: no such file" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "start,time\n", "time\n1\n", "start,time\n1,x\n", "start,time\n1\n"]
)
def test_a_damaged_file(tmp_path, streams, caplog, text):
    for name in ("recipe.toml", "best.pt"):
        (tmp_path / name).write_bytes((streams["edgebank"] / name).read_bytes())
    (tmp_path / FILE).write_text(text)
    assert timeline(tmp_path) == {}
    assert f"{FILE} is damaged; delete it, and it is computed again" in caplog.text


def test_a_folder_that_may_only_be_read(streams, monkeypatch, caplog):
    def refuse(path):
        raise OSError(f"cannot write to {path.parent}")

    monkeypatch.setattr("graphlearn.train.checkpoint.replacing", refuse)
    (streams["edgebank"] / FILE).unlink(missing_ok=True)
    assert timeline(streams["edgebank"])["ap"]
    assert "the timeline is not kept: cannot write to" in caplog.text


def test_the_file_is_a_table(streams):
    rows = timeline(streams["nat"])
    with (streams["nat"] / FILE).open(newline="") as file:
        assert [float(row["ap"]) for row in csv.DictReader(file)] == rows["ap"]


def test_rolling_mean():
    assert rolling([1.0, 2.0, 6.0, 3.0], 1) == [1, 2, 6, 3]
    assert rolling([1.0, 2.0, 6.0, 4.0], 3) == [1.5, 3, 4, 5]
    assert rolling([], 3) == []


def columns(start, step, ap, **more):
    times = [start + step * k for k in range(1, len(ap) + 1)]
    return {"start": [start] * len(ap), "time": times, "ap": ap, **more}


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def test_the_picture_of_seeds_and_caches():
    full = {"occupancy/1": [0.1] * 4, "occupancy/2": [0.5] * 4}
    two = [columns(0.0, 60.0, [0.9, 0.8, 0.7, 0.6], **full),
           columns(0.0, 60.0, [0.7, 0.6, 0.5, 0.4], **full)]  # fmt: skip
    figure = through_time("toy", [Lane("nat", two), Lane("bank", [columns(0.0, 120.0, [0.5])])])
    above, below = figure.axes
    assert lines(above)["nat"].get_ydata() == pytest.approx([80, 70, 60, 50])
    assert lines(above)["nat"].get_xdata() == pytest.approx([0, 60, 120, 180])
    assert lines(above)["bank"].get_ydata() == pytest.approx([50])
    assert len(above.collections) == 1  # the band, of the recipe with two seeds only
    assert [line.get_ydata()[0] for line in below.get_lines()] == pytest.approx([10, 50])
    assert below.get_xlabel() == "time since the test began, in the units of the data"
    assert "standard deviation over 2 seeds" in figure.get_suptitle()


def test_seeds_whose_batches_differ_are_compared_at_equal_times():
    two = [columns(0.0, 2.0, [0.2, 0.4, 0.6]), columns(0.0, 4.0, [0.4, 0.8])]
    (axis,) = through_time("toy", [Lane("nat", two)]).axes
    assert lines(axis)["nat"].get_ydata() == pytest.approx([30, 40, 60])


@pytest.mark.parametrize(
    ("start", "step", "words", "first"),
    [
        (1_100_000_000.0, 90_000.0, "date (UTC)", (1_100_090_000 / 86400)),
        (10.0, 90_000.0, "days since the test began, if times are in seconds", 0),
        (10.0, 1.0, "time since the test began, in the units of the data", 0),
        (1e12, 1.0, "time since the test began, in the units of the data", 0),
    ],
)
def test_how_time_is_shown(start, step, words, first):
    figure = through_time("toy", [Lane("nat", [columns(start, step, [0.5, 0.6, 0.7])])])
    (axis,) = figure.axes
    assert axis.get_xlabel() == words
    assert lines(axis)["nat"].get_xdata()[0] == pytest.approx(first)
    figure.canvas.draw()


def test_ranks_are_shown_where_there_is_no_ap():
    ranked = {"start": [0.0], "time": [5.0], "mrr": [0.5]}
    figure = through_time("toy", [Lane("nat", [ranked]), Lane("bank", [columns(0.0, 1.0, [0.4])])])
    assert [axis.get_title(loc="left").partition(" in")[0] for axis in figure.axes] == [
        "average precision",
        "MRR",
    ]

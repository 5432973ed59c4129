import csv
import json

import pytest

from graphlearn.recipe import Recipe, dump, find
from graphlearn.report import _words, collect, natural, percent, report, table
from graphlearn.runs import folder_of


def write(out, name, seed, value, dataset="Cora", epochs=3):
    """A finished run, as the trainer leaves it."""
    recipe = find(name, dataset)
    recipe = Recipe(**{**vars(recipe), "seed": seed, "fallback": False})
    folder = folder_of(recipe, seed, out)
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(dump(recipe))
    result = {"seed": seed, "monitor": "hits@100", "test": {"hits@100": value, "auc": 0.9}}
    (folder / "result.json").write_text(json.dumps({**result, "valid": {"hits@100": value}}))
    if epochs:
        rows = [f"0,{e},{1 / e},{value * e / epochs},0.1" for e in range(1, epochs + 1)]
        text = "\n".join(["stage,epoch,loss,valid/hits@100,seconds", *rows, "0,9,0.1"])
        (folder / "metrics.csv").write_text(text)
    return folder


@pytest.fixture
def runs(tmp_path):
    out = tmp_path / "runs"
    for seed, value in enumerate((0.90, 0.88)):
        write(out, "ncn", seed, value)
    write(out, "cn", 0, 0.33, epochs=0)
    write(out, "gcn", 0, 0.05, dataset="toy")
    return out


def test_collect_sorts_by_data_set_and_value(runs):
    found = collect([runs, runs / "ncn"])
    assert [(group.recipe.dataset, group.recipe.name) for group in found] == [
        ("Cora", "ncn"),
        ("Cora", "cn"),
        ("toy", "gcn"),
    ]
    assert found[0].values("hits@100") == [0.90, 0.88] and found[0].metric == "hits@100"
    assert [group.trained for group in found] == [True, False, True]


def test_a_published_number_of_another_metric_is_left_out(tmp_path):
    folder = write(tmp_path, "ncn", 0, 0.9)
    result = {"seed": 0, "monitor": "mrr", "test": {"mrr": 0.4}, "valid": {"mrr": 0.5}}
    (folder / "result.json").write_text(json.dumps(result))
    (group,) = collect([tmp_path])
    assert (group.metric, group.published) == ("mrr", None)
    assert "| ncn | 1 | 40.00 | - |" in report([tmp_path], tmp_path / "out")[0].read_text()


def test_report_writes_tables_and_pictures(runs, tmp_path):
    files = report([runs], tmp_path / "out")
    assert [path.name for path in files] == [
        "results.md",
        "results.csv",
        "bars-Cora.png",
        "curves-Cora.png",
        "bars-toy.png",
        "curves-toy.png",
    ]
    for path in files[2:]:
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000
    text = files[0].read_text()
    assert "| ncn | 2 | 89.00 ± 1.00 | 90.00 ± 0.00 | 89.05 ± 0.96 |" in text
    assert "| cn | 1 | 33.00 | 90.00 | 33.92 ± 0.46 |" in text
    assert "| gcn | 1 | 5.00 | 90.00 | - |" in text
    with files[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    best = next(row for row in rows if row["split"] == "test" and row["metric"] == "hits@100")
    assert (best["model"], best["seeds"], best["mean"], best["std"]) == (
        "ncn",
        "2",
        "0.890000",
        "0.010000",
    )
    assert float(best["published"]) == pytest.approx(0.8905) and best["source"]


def test_a_line_cut_short_is_left_out(runs):
    (group,) = collect([runs / "ncn" / "Cora" / "0"])
    assert [row["epoch"] for row in group.histories[0] if "valid/hits@100" in row] == [1, 2, 3]


def test_only_the_last_stage_is_drawn(runs):
    path = runs / "ncn/Cora/0/metrics.csv"
    path.write_text("stage,epoch,loss\n0,1,5\n0,2,4\n1,1,3\n")
    (group,) = collect([path.parent])
    assert group.histories[0] == [{"stage": 1, "epoch": 1, "loss": 3}]


def test_nothing_to_report(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no finished run \(a result.json"):
        report([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": 1}'])
def test_a_damaged_result(runs, text):
    (runs / "cn/Cora/0/result.json").write_text(text)
    with pytest.raises(ValueError, match=r"result.json is damaged or no result of a run"):
        collect([runs])


def test_table():
    text = table(["name", "value"], [["a", "1.00"], ["long one", "10.00"]])
    assert text.splitlines() == ["name      value", "a          1.00", "long one  10.00"]


def test_percent():
    assert percent(0.8905) == "89.05"
    assert percent(0.8905, 0.0096) == "89.05 ± 0.96"
    assert percent(56.44, scale=1.0) == "56.44"


def test_natural_order():
    assert sorted(["hits@100", "mrr", "hits@20", "auc"], key=natural) == [
        "auc",
        "hits@20",
        "hits@100",
        "mrr",
    ]


def test_runs_on_a_stream_are_drawn_over_time(tmp_path, monkeypatch):
    folder = write(tmp_path / "runs", "nat", 0, 0.9, dataset="calls")
    write(tmp_path / "runs", "tgn", 0, 0.8, dataset="calls")
    rows = {"start": [0.0, 0.0], "time": [1.0, 2.0], "ap": [0.5, 0.7]}
    monkeypatch.setattr("graphlearn.report.timeline", lambda path: rows if path == folder else {})
    files = report([tmp_path / "runs"], tmp_path / "out")
    assert [path.name for path in files[2:]] == [
        "bars-calls.png",
        "curves-calls.png",
        "time-calls.png",
    ]
    assert files[-1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("loss", "loss"),
        ("valid/hits@20", "validation Hits@20"),
        ("ap@batch", "AP by batch"),
        ("valid/auc/new-old", "validation AUC, new-old"),
        ("valid/ap/historical", "validation AP, historical"),
    ],
)
def test_words_over_a_panel(key, words):
    assert _words(key) == words

import csv
import json

import pytest
from toy_runs import several, write

from graphlearn.groups import collect
from graphlearn.ops.paths import RelationWeight
from graphlearn.relations import RelationWeights
from graphlearn.report import _attacked, _panels, _words, natural, number, percent, report, table


@pytest.fixture
def runs(tmp_path):
    return several(tmp_path / "runs")


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


def test_nothing_to_report(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no finished run \(a result.json"):
        report([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


def test_relations_are_drawn_as_a_map_and_as_a_flow(tmp_path, monkeypatch):
    folder = write(tmp_path / "runs", "dagnn", 0, 0.9, dataset="acm")
    rows = [RelationWeight(1, ("paper", "cites", "paper"), 0.7, 0.1)]
    found = RelationWeights("dagnn", [*rows, RelationWeight(1, ("paper",), 0.3, 0.1)])
    monkeypatch.setattr(
        "graphlearn.report.relation_weights", lambda path: found if path == folder else None
    )
    files = report([tmp_path / "runs"], tmp_path / "out")
    assert [path.name for path in files[-2:]] == ["relations-dagnn-acm.png", "flow-dagnn-acm.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files[-2:])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("loss", "loss"),
        ("valid/hits@20", "validation Hits@20"),
        ("ap@batch", "AP by batch"),
        ("valid/ndcg@10", "validation NDCG@10"),
        ("valid/auc/new-old", "validation AUC, new-old"),
        ("valid/ap/historical", "validation AP, historical"),
    ],
)
def test_words_over_a_panel(key, words):
    assert _words(key) == words


def test_panels_begin_with_what_papers_show_of_a_ranking(tmp_path):
    folder = write(tmp_path, "lightgcn", 0, 0.9)
    names = ("coverage@5", "f1@5", "gini@5", "hr@5", "map@5", "hits@100", "recall@5", "ndcg@5")
    header = ",".join(("epoch", "loss", *(f"valid/{name}" for name in names)))
    (folder / "metrics.csv").write_text(f"{header}\n1,0.5{',0.1' * len(names)}\n")
    shown = ["loss", *(f"valid/{name}" for name in ("hits@100", "ndcg@5", "recall@5"))]
    assert _panels(collect([tmp_path]))[:4] == shown


def test_several_rates_of_an_attack_are_a_curve(tmp_path):
    for name, values in {"dagnn": (0.8, 0.7, 0.6), "node-gcn": (0.8, 0.6, 0.4)}.items():
        for rate, value in zip((0.0, 0.05, 0.2), values, strict=True):
            write(tmp_path / "runs", name, 0, value, dataset="robust_cora", rate=rate)
    files = report([tmp_path / "runs"], tmp_path / "out")
    names = [path.name for path in files]
    assert "rates-robust_cora-meta.png" in names and "bars-robust_cora-meta-0.2.png" in names
    assert files[-1].read_bytes().startswith(b"\x89PNG")
    one = report([tmp_path / "runs/dagnn/robust_cora-meta-0.2"], tmp_path / "one")
    assert not any(path.name.startswith("rates") for path in one)


def test_a_loss_is_no_percentage():
    assert number("loss", 2.569) == "2.57" and number("accuracy", 0.5, 0.1) == "50.00 ± 10.00"


def test_targets_are_not_mixed_with_all_test_nodes(tmp_path):
    write(tmp_path, "dagnn", 0, 0.8, dataset="robust_cora")
    for rate, value in ((0.0, 0.6), (2.0, 0.4)):
        write(tmp_path, "dagnn", 0, value, dataset="robust_cora", rate=rate, attack="nettack")
    (curve,) = _attacked(collect([tmp_path]))["robust_cora|nettack|hits@100"]
    assert list(curve.rates) == [0.0, 2.0] and list(curve.means) == [60.0, 40.0]

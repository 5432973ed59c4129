"""Benchmarks are found by name, results survive as JSON and become tables."""

import json
import platform
from dataclasses import replace

import pytest

from graphlearn.bench import results
from graphlearn.bench.measure import Ratio, Value
from graphlearn.bench.results import MARK, benchmarks, lines, machine, save, write_table

RATIO = Ratio(
    name="overlap",
    input="toy",
    ours="graphlearn",
    theirs="scipy",
    ours_ms=2.0,
    theirs_ms=250.4,
    ratio=125.2,
    low=120.0,
    high=130.0,
    ours_mb=3.2,
    target=200.0,
    printed_ms=900.0,
    printed_target=5.0,
)
VALUE = Value("start", "import", 0.0345, "CPU s", 0.5, "least of three")


def test_benchmarks_by_name(tmp_path):
    (tmp_path / "sums.py").write_text("def cases(): return ['line']")
    (tmp_path / "other.py").write_text("raise RuntimeError")
    found = benchmarks(["sums"], tmp_path)
    assert list(found) == ["sums"] and found["sums"]() == ["line"]


def test_unknown_benchmark(tmp_path):
    (tmp_path / "sums.py").touch()
    with pytest.raises(KeyError, match="no benchmark 'sum'; did you mean 'sums'"):
        benchmarks(["sum"], tmp_path)
    with pytest.raises(KeyError, match="no benchmark 'xyz'; there are sums"):
        benchmarks(["xyz"], tmp_path)


def test_no_benchmarks_in_a_wheel(tmp_path):
    with pytest.raises(FileNotFoundError, match="run this in a clone of the repository"):
        benchmarks([], tmp_path / "benchmarks")


def test_machine_names_no_host():
    here = machine()
    assert here["cores"] > 0 and here["torch"] and here["processor"]
    assert platform.node() not in json.dumps(here).split('"')


def test_lines_show_ratio_spread_and_memory():
    text = lines([RATIO, VALUE])
    for part in ("125x", "120-130", "200x", "3 / ?", "450x", "0.0345 CPU s", "0.5 CPU s"):
        assert part in text
    assert lines([]) == ""


def test_a_value_without_a_bound(tmp_path):
    value = replace(VALUE, at_most=None)
    assert lines([value]).splitlines()[-1].split() == ["start", "import", "0.0345", "CPU", "s"]
    (row,) = json.loads(save(tmp_path, "imports", [value]).read_text())["rows"]
    assert row["at_most"] is None and row["met"]


def test_a_way_without_alternative():
    row = Ratio("overlap", "toy", "graphlearn", "", 2.0, ours_mb=7.0)
    assert "0x" not in lines([row])


def test_save_replaces_one_benchmark_and_keeps_the_others(tmp_path):
    path = save(tmp_path, "imports", [VALUE])
    save(path, "overlap", [RATIO, RATIO])
    save(path, "overlap", [RATIO])
    rows = json.loads(path.read_text())["rows"]
    assert path.parent == tmp_path and path.suffix == ".json"
    assert [(row["benchmark"], row["met"]) for row in rows] == [
        ("imports", True),
        ("overlap", False),
    ]
    assert rows[1]["ratio"] == 125.2 and {"commit", "date"} <= rows[1].keys()


def test_table_in_the_readme(tmp_path):
    save(tmp_path / "results", "overlap", [RATIO])
    save(tmp_path / "results", "imports", [VALUE])
    readme = tmp_path / "README.md"
    readme.write_text(f"# Kept\n\n{MARK}\n\nold")
    for _ in range(2):
        write_table(tmp_path)
        text = readme.read_text()
        assert text.startswith(f"# Kept\n\n{MARK}\n\n## ") and "old" not in text
        assert "### overlap (" in text and "| 125x | 120-130 | 200x |" in text
        assert "**missed**" in text and "least of three" in text


def test_a_readme_without_a_place_for_the_table(tmp_path):
    (tmp_path / "README.md").write_text("# Kept")
    with pytest.raises(ValueError, match="has no line '<!-- The rest of this file is generated"):
        write_table(tmp_path)


def test_a_commit_is_known_only_in_a_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path / "benchmarks")
    path = save(tmp_path / "here.json", "imports", [VALUE])
    assert json.loads(path.read_text())["rows"][0]["commit"] == ""

"""Every benchmark runs at smoke size without data files, and its answers agree."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from graphlearn.bench import Limit, benchmarks, run
from graphlearn.cli import main

NAMES = (
    *("attacks", "cache", "dagnn", "imports", "latte", "models", "nat", "neighbors", "overlap"),
    *("recommend", "spmm", "stable", "stages", "trainer"),
)


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_runs(name, tmp_path):
    cases = benchmarks([name])[name]
    rows = list(run(cases(smoke=True, data=tmp_path), smoke=True))
    assert rows and not any(isinstance(row, str) for row in rows)


def test_every_benchmark_is_tested():
    assert tuple(benchmarks()) == NAMES


@pytest.mark.parametrize(
    "name", ["cache", "dagnn", "latte", "models", "nat", "overlap", "recommend", "stable", "stages"]
)
def test_absent_data_is_said(name, tmp_path):
    cases = benchmarks([name])[name](smoke=False, data=tmp_path)
    first = next(iter(cases))
    assert isinstance(first, str) and "is left out: " in first


def test_the_start_of_a_command_loads_nothing_heavy():
    loaded = next(iter(benchmarks(["imports"])["imports"](smoke=True)))
    assert isinstance(loaded, Limit) and loaded.value() == 0


def test_stages_add_up_to_the_step():
    cases = benchmarks(["stages"])["stages"](smoke=True)
    *stages, whole = islice(run(cases, smoke=True), 12)
    assert whole.name == "whole step" and len({row.name for row in stages}) == 11
    assert {row.input for row in stages} == {whole.input}
    assert sum(row.value for row in stages) == pytest.approx(whole.value)
    assert whole.note.startswith("100.0%; ") and whole.at_most is None


def test_power_law_has_the_edges_that_were_asked_for():
    graph = benchmarks(["overlap"])["overlap"].__globals__["power_law"](500, 2_000)
    assert graph.num_entries == 4_000 and graph.num_rows == 500
    assert int(graph.degree().max()) > 5 * 8  # a hub


def test_the_command(capsys, tmp_path):
    assert main(["bench", "imports", "--smoke", "--out", str(tmp_path / "here.json")]) == 0
    assert "graphlearn list" in capsys.readouterr().out
    assert (tmp_path / "here.json").is_file()
    assert main(["bench", "import"]) == 1
    assert "no benchmark 'import'; did you mean 'imports'" in capsys.readouterr().err


def test_a_file_is_a_program():
    file = Path(__file__).parent.parent / "benchmarks" / "imports.py"
    words = [sys.executable, str(file), "--smoke"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "graphlearn list" in done.stdout

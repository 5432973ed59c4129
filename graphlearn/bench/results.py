"""Where benchmarks come from and where their results go: files, machine, JSON and tables."""

import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from graphlearn.bench.measure import Case, Limit, Measured, Ratio, Value
from graphlearn.extras import nearest
from graphlearn.report import table

__all__ = ["FOLDER", "benchmarks", "lines", "machine", "save", "write_table"]

Cases = Callable[..., Iterable[Case | Limit | Value | str]]

FOLDER = Path(__file__).parent.parent.parent / "benchmarks"
PACKAGES = ("torch", "numpy", "numba", "scipy", "torch-geometric", "lightning-fabric")
MARK = "<!-- The rest of this file is generated: graphlearn bench --table -->"
HEAD = (
    *("what", "input", "ours", "against", "ours ms", "theirs ms", "ratio", "range", "target"),
    *("peak MB", "in print ms", "below print", "target"),
)


def benchmarks(names: Sequence[str] = (), folder: Path = FOLDER) -> dict[str, Cases]:
    """The function `cases` of each benchmark file, by its name.

    Args:
        names: Which files; none means all.
        folder: Where they lie.

    Raises:
        FileNotFoundError: if there are none, as where a wheel was installed.
        KeyError: if there is no benchmark of that name.
    """
    known = sorted(path.stem for path in folder.glob("*.py"))
    if not known:
        raise FileNotFoundError(f"no benchmarks in {folder}; run this in a clone of the repository")
    return {name: _cases(name, known, folder) for name in names or known}


def _cases(name: str, known: Sequence[str], folder: Path) -> Cases:
    if name not in known:
        hint = nearest(name, known) or f"; there are {', '.join(known)}"
        raise KeyError(f"no benchmark {name!r}{hint}")
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", folder / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # what PyG's layers look their annotations up in
    spec.loader.exec_module(module)
    cases: Cases = module.cases
    return cases


def lines(rows: Sequence[Measured]) -> str:
    """Results as text: ratios first, then single numbers."""
    ratios = [_cells(row) for row in rows if isinstance(row, Ratio)]
    values = [_limit_cells(row) for row in rows if isinstance(row, Value)]
    parts = [table(HEAD, ratios, left=4)] if ratios else []
    parts += [table(("what", "of", "value", "at most"), values, left=2)] if values else []
    return "\n\n".join(parts)


def machine() -> dict[str, Any]:
    """What a time depends on; nothing that tells which machine it was."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(_memory() / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        **packages,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    rows = info.read_text().splitlines() if info.is_file() else []
    names = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def save(path: Path, name: str, rows: Sequence[Measured]) -> Path:
    """Put the results of one benchmark into the JSON file of this machine.

    Older results of the same benchmark are replaced, those of others stay.

    Args:
        path: The file, or a folder, which then gets one named after processor and cores.
        name: The benchmark.
        rows: Its results.
    """
    here = machine()
    if path.suffix != ".json":
        label = f"{here['processor']} {here['cores']} cores".lower()
        words = "".join(c if c.isalnum() else " " for c in label).split()
        path = path / f"{'-'.join(words)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    old = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    stamp = {"commit": _commit(), "date": date.today().isoformat()}
    new = [{"benchmark": name, **asdict(row), "met": row.met, **stamp} for row in rows]
    kept = [row for row in old if row["benchmark"] != name]
    content = {"machine": here, "rows": sorted(kept + new, key=lambda row: row["benchmark"])}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    """The commit that was measured, with a plus where files differ from it."""
    found = []
    for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "graphlearn"]):
        done = subprocess.run(
            ["git", *words], cwd=FOLDER.parent, capture_output=True, text=True, check=False
        )
        found.append(done.stdout.strip() if done.returncode == 0 else "")
    return found[0] + ("+" if found[1] else "")


def write_table(folder: Path = FOLDER) -> Path:
    """Write all results into the second part of `README.md`, one table per benchmark and machine.

    Args:
        folder: Holds the file, and the results under `results`.

    Raises:
        ValueError: if the file lacks the line below which tables go.
    """
    path = folder / "README.md"
    before, mark, _ = path.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{path} has no line {MARK!r}; put it where the tables belong")
    parts = [before + mark]
    for file in sorted((folder / "results").glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        here = content["machine"]
        packages = ", ".join(f"{key} {here[key]}" for key in ("python", *PACKAGES) if key in here)
        size = f"{here['cores']} cores, {here['memory_gb']} GB, {here['system']}"
        parts.append(f"## {here['processor']}, {size}\n\n{packages}")
        for name in sorted({row["benchmark"] for row in content["rows"]}):
            rows = [row for row in content["rows"] if row["benchmark"] == name]
            stamps = sorted({f"{row['commit']}, {row['date']}" for row in rows})
            parts.append(f"### {name} ({'; '.join(stamps)})")
            parts += _tables([_read(row) for row in rows])
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _read(row: dict[str, Any]) -> Measured:
    kind = Value if "unit" in row else Ratio
    return kind(**{key: row[key] for key in kind.__dataclass_fields__})


def _tables(rows: Sequence[Measured]) -> list[str]:
    ratios = [row for row in rows if isinstance(row, Ratio)]
    values = [row for row in rows if isinstance(row, Value)]
    parts = []
    if ratios:
        shown = [[*_cells(row), _verdict(row)] for row in ratios]
        parts.append(_markdown((*HEAD, "note"), shown, left=4))
    if values:
        shown = [[*_limit_cells(row), _verdict(row)] for row in values]
        parts.append(_markdown(("what", "of", "value", "at most", "note"), shown, left=2))
    return parts


def _verdict(row: Measured) -> str:
    missed = [] if row.met else ["**missed**"]
    return "; ".join(missed + ([row.note] if row.note else []))


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    words = [*range(left), len(head) - 1]  # the note at the end, too
    rule = [":--" if column in words else "--:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _cells(row: Ratio) -> list[str]:
    against = bool(row.theirs)
    memory = ["?" if m is None else f"{m:.0f}" for m in (row.ours_mb, row.theirs_mb)]
    return [
        *(row.name, row.input, row.ours, row.theirs, _number(row.ours_ms)),
        _number(row.theirs_ms) if against else "",
        f"{_number(row.ratio)}x" if against else "",
        f"{_number(row.low)}-{_number(row.high)}" if against else "",
        f"{row.target:g}x" if row.target else "",
        " / ".join(memory if against else memory[:1]),
        f"{row.printed_ms:g}" if row.printed_ms else "",
        f"{_number(row.printed_ms / row.ours_ms)}x" if row.printed_ms else "",
        f"{row.printed_target:g}x" if row.printed_target else "",
    ]


def _limit_cells(row: Value) -> list[str]:
    bound = "" if row.at_most is None else f"{row.at_most:g} {row.unit}".strip()
    return [row.name, row.input, f"{_number(row.value)} {row.unit}".strip(), bound]


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

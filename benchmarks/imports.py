"""What it costs to import the package and to list its recipes: CPU seconds of a new process."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from graphlearn.bench import Limit
from graphlearn.cli import main

__all__ = ["cases"]

HEAVY = ("torch", "torch_geometric", "numba", "numpy", "pandas", "matplotlib", "lightning_fabric")
IMPORT = "import graphlearn, sys; "


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Limit]:
    """Bounds on the start of every command; the least of several starts counts.

    Args:
        smoke: Has no effect but fewer rounds.
        data: Not used.
    """
    code = f"{IMPORT}print(sum(name in sys.modules for name in {HEAVY}))"
    yield Limit(
        "heavy packages loaded",
        "import graphlearn",
        lambda: float(_python("-c", code)),
        "",
        0.0,
        note=f"of {', '.join(HEAVY)}",
    )
    yield Limit("start", "import graphlearn", lambda: _seconds("-c", IMPORT), "CPU s", 0.5, 3)
    for words in (["list"], ["--help"]):
        command = " ".join(["graphlearn", *words])
        seconds = lambda: _seconds("-m", "graphlearn", *words)  # noqa: B023, E731
        yield Limit("start", command, seconds, "CPU s", 0.5, rounds=5)


def _python(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)
    return done.stdout


def _seconds(*words: str) -> float:
    """User and system time of a new interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _python(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

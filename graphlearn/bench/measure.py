"""Alternatives timed in turns on the same input, after a check that they agree.

A file of `benchmarks/` offers `cases(smoke, data)`, which yields what is measured here: a `Case` of
alternatives, a `Limit` for a single number, a `Value` that was measured along with others, or a
line of text. Times are CPU seconds of the process, of one thread, so that a busy machine changes
them little; what counts are ratios.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import CDLL
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from graphlearn.bench.equality import agree
from graphlearn.train.memory import keep_memory

__all__ = ["Case", "Limit", "Measured", "Ratio", "Value", "measure", "peak_memory", "run"]

_LEAST = 0.02  # CPU seconds below which a call is repeated within a round


@dataclass(frozen=True)
class Case:
    """Several ways to compute one thing.

    Args:
        name: What is computed.
        input: On what.
        ways: Calls without arguments by name; the first one is ours.
        answers: What must agree, where the ways themselves are random or return nothing; by the
            same names.
        targets: Ratio to reach, by the name of an alternative.
        printed: CPU milliseconds of the published formulation, measured elsewhere; 0 if unknown.
        printed_target: How many times less we want to take than that.
        tolerance: Relative difference of floats that counts as agreement.
        rounds: How often each way is timed, in turns.
        seconds: CPU seconds after which no further round begins, but for the second.
        note: What a reader of the result must know.
    """

    name: str
    input: str
    ways: Mapping[str, Callable[[], Any]]
    answers: Mapping[str, Callable[[], Any]] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    printed: float = 0.0
    printed_target: float = 0.0
    tolerance: float = 1e-4
    rounds: int = 5
    seconds: float = 10.0
    note: str = ""


@dataclass(frozen=True)
class Limit:
    """One number, which as a rule must not be too large.

    Args:
        name: What it is.
        input: Of what.
        value: Measures it.
        unit: In which unit.
        at_most: The bound; None where the number is only recorded.
        rounds: How often it is measured; the least counts.
        note: What a reader of the result must know.
    """

    name: str
    input: str
    value: Callable[[], float]
    unit: str
    at_most: float | None
    rounds: int = 1
    note: str = ""


@dataclass(frozen=True)
class Ratio:
    """How our way compares with one alternative; `theirs` is empty where there is none.

    Times are medians in CPU milliseconds of one call, `ratio` is the median of theirs / ours over
    the rounds with its range, memory is the growth of the process at its peak in MB.
    """

    name: str
    input: str
    ours: str
    theirs: str
    ours_ms: float
    theirs_ms: float = 0.0
    ratio: float = 0.0
    low: float = 0.0
    high: float = 0.0
    rounds: int = 0
    ours_mb: float | None = None
    theirs_mb: float | None = None
    target: float = 0.0
    printed_ms: float = 0.0
    printed_target: float = 0.0
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether every target is reached."""
        printed = self.printed_ms >= self.printed_target * self.ours_ms
        return self.ratio >= self.target and printed


@dataclass(frozen=True)
class Value:
    """What a `Limit` came to, or one of several numbers that were measured together."""

    name: str
    input: str
    value: float
    unit: str
    at_most: float | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the bound holds, if there is one."""
        return self.at_most is None or self.value <= self.at_most


Measured = Ratio | Value


def run(
    cases: Iterable[Case | Limit | Value | str], *, smoke: bool = False
) -> Iterator[Measured | str]:
    """Measure what a benchmark yields, one after the other, on one thread.

    Args:
        cases: What `cases()` of a benchmark returned; values and lines of text are handed through.
        smoke: One round each: whether it runs and agrees, not how fast it is.

    Raises:
        ArithmeticError: if two ways do not agree.
    """
    keep_memory()  # as the trainer does, for all alternatives alike
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for case in cases:
            if isinstance(case, str | Value):
                yield case
            elif isinstance(case, Limit):
                rounds = range(1 if smoke else case.rounds)
                value = min(case.value() for _ in rounds)
                yield Value(case.name, case.input, value, case.unit, case.at_most, case.note)
            else:
                yield from measure(case, smoke=smoke)
    finally:
        torch.set_num_threads(threads)


def measure(case: Case, *, smoke: bool = False) -> list[Ratio]:
    """Check that all ways of a case agree, then time them in turns: A B C A B C ...

    Args:
        case: What to measure.
        smoke: Time a single round.

    Raises:
        ArithmeticError: if two ways do not agree; names both and says where.
    """
    ours, *others = case.ways
    case.ways[ours]()  # kernels are compiled at their first call
    peaks, calls = _check(case)
    times: dict[str, list[float]] = {name: [] for name in case.ways}
    began = time.process_time()
    for done in range(1 if smoke else case.rounds):
        if done >= 2 and time.process_time() - began > case.seconds:
            break
        for name, way in case.ways.items():
            times[name].append(_timed(way, 1 if smoke else calls[name]))
    return [_ratio(case, ours, theirs, times, peaks) for theirs in others or [""]]


def _check(case: Case) -> tuple[dict[str, float | None], dict[str, int]]:
    """Peak memory of each way, and how many calls of it make a round; all answers agree."""
    ours = next(iter(case.ways))
    peaks: dict[str, float | None] = {}
    calls: dict[str, int] = {}
    mine: Any = None
    for name, way in case.ways.items():
        with peak_memory() as peak:
            began = time.process_time()
            answer = way()
            spent = time.process_time() - began
        peaks[name] = peak[0] if peak else None
        calls[name] = min(max(int(_LEAST / max(spent, 1e-6)), 1), 1000)
        if case.answers is not None:
            answer = case.answers[name]()
        mine = answer if name == ours else mine
        agree(mine, answer, f"{case.name} on {case.input}: {ours} and {name}", case.tolerance)
    return peaks, calls


def _timed(way: Callable[[], Any], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        way()
    return (time.process_time() - began) / calls * 1e3


def _ratio(
    case: Case,
    ours: str,
    theirs: str,
    times: Mapping[str, list[float]],
    peaks: Mapping[str, float | None],
) -> Ratio:
    pairs = zip(times.get(theirs, []), times[ours], strict=False)
    once = list(case.ways).index(theirs) == 1 if theirs else True  # what is in print, said once
    ratios = [their / our for their, our in pairs] or [0.0]
    return Ratio(
        name=case.name,
        input=case.input,
        ours=ours,
        theirs=theirs,
        ours_ms=median(times[ours]),
        theirs_ms=median(times.get(theirs, [0.0])),
        ratio=median(ratios),
        low=min(ratios),
        high=max(ratios),
        rounds=len(times[ours]),
        ours_mb=peaks[ours],
        theirs_mb=peaks.get(theirs),
        target=case.targets.get(theirs, 0.0),
        printed_ms=case.printed if once else 0.0,
        printed_target=case.printed_target if once else 0.0,
        note=case.note,
    )


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """How much the process grows at its peak, in MB; empty where the system cannot say (Linux can).

    Yields:
        A list that holds the number after the block.
    """
    gc.collect()
    found: list[float] = []
    reset = Path("/proc/self/clear_refs")
    try:
        CDLL(None).malloc_trim(0)  # what earlier calls have left must be asked for again
        reset.write_text("5")
        before = _status("VmRSS")
    except (OSError, AttributeError, TypeError):
        yield found
        return
    yield found
    found.append((_status("VmHWM") - before) / 1e6)


def _status(key: str) -> int:
    """Bytes that Linux reports about this process."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith(f"{key}:"))

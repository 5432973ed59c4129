"""Runs on streams as time goes by: how good the scores are, and how full the caches."""

import csv
import io
import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, cycle
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, NamedTuple

from graphlearn.canvas import PALETTE, QUIET, canvas
from graphlearn.knobs import locate
from graphlearn.recipe import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FILE", "Lane", "Line", "rolling", "through_time", "timeline"]

_log = logging.getLogger(__name__)

FILE = "timeline.csv"
_DAY = 86400.0
_UNIX = (1e8, 5e9)  # streams that begin in 1973 to 2128 count seconds since 1970
_SHARE = 10  # a point is a mean over the tenth part of the batches
_QUALITY = {"ap": "average precision", "mrr": "MRR"}
_STYLES = ("-", "--", ":")  # of hops
_FAILS = (ImportError, LookupError, OSError, TypeError, ValueError)

Columns = Mapping[str, Sequence[float]]


class Lane(NamedTuple):
    """What is drawn of one recipe: the columns of `timeline` for each seed."""

    name: str
    seeds: Sequence[Columns]


class Line(NamedTuple):
    """A curve and its deviation over seeds."""

    time: list[float]
    mean: list[float]
    deviation: list[float]


def timeline(folder: Path) -> Columns:
    """How good a run is on the batches of its test, one after the other.

    The rows are computed from the best weights, which takes one pass over the test, and kept in
    `timeline.csv` until the weights change. What cannot be computed is said in the log.

    Args:
        folder: The folder of one finished run.

    Returns:
        For each batch `start` (when the stream begins), `time` (the mean over its events), `ap` and
        `auc` or `mrr`, and `occupancy/HOP` of each cache; nothing for a run that is not on a
        stream, or without weights.
    """
    try:
        recipe = find(str(folder / "recipe.toml"))
        if not hasattr(locate(recipe.task), "timeline"):
            return {}
        path, weights = folder / FILE, folder / "best.pt"
        if not weights.is_file():
            _log.warning("%s has no weights (best.pt), so it is left out of the timeline", folder)
            return {}
        if path.is_file() and path.stat().st_mtime >= weights.stat().st_mtime:
            return _read(path)
        _log.info("computing the timeline of %s", folder)
        return _computed(folder, path)
    except _FAILS as error:
        reason = str(error).partition("\n")[0]
        _log.warning("%s is left out of the timeline: %s", folder, reason)
        return {}


def _computed(folder: Path, path: Path) -> Columns:
    from graphlearn.runs import restore  # loads torch, which tables and bars do without
    from graphlearn.train.checkpoint import replacing

    task, dataset = restore(folder)
    found = task.timeline("test")  # type: ignore[operator]
    occupancy = found.pop("occupancy", None)
    columns = {"start": [float(dataset.data.t[0])] * len(found["time"])}
    columns |= {name: value.tolist() for name, value in found.items()}
    for hop in range(0 if occupancy is None else occupancy.shape[1]):
        columns[f"occupancy/{hop + 1}"] = occupancy[:, hop].tolist()
    text = io.StringIO()
    rows = zip(*columns.values(), strict=True)
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    try:
        with replacing(path) as file:
            file.write(text.getvalue().encode())
    except OSError as error:  # a folder that may only be read
        _log.warning("the timeline is not kept: %s", error)
    return columns


def _read(path: Path) -> Columns:
    """The columns of a file that was written once.

    Raises:
        ValueError: if it is damaged.
    """
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    try:
        head, *rows = lines
        if not (rows and {"start", "time"} <= set(head)):
            raise ValueError("rows or columns are missing")
        values = [[float(cell) for cell in row] for row in rows]
        return {name: list(column) for name, *column in zip(head, *values, strict=True)}
    except ValueError:
        raise ValueError(f"{path} is damaged; delete it, and it is computed again") from None


def rolling(values: Sequence[float], width: int) -> list[float]:
    """Mean over about `width` neighbours on each place; fewer at both ends.

    Args:
        values: In order of time.
        width: Number of values that a mean takes.
    """
    sums, half = [0.0, *accumulate(values)], width // 2
    ends = ((max(k - half, 0), min(k + half + 1, len(values))) for k in range(len(values)))
    return [(sums[last] - sums[first]) / (last - first) for first, last in ends]


def through_time(name: str, lanes: Sequence[Lane]) -> "Figure":
    """The quality over the time of the test, and below it the occupancy of caches if there are any.

    Args:
        name: Name of the data set.
        lanes: One for each recipe, with at least one seed.
    """
    columns = [key for lane in lanes for one in lane.seeds for key in one]
    panels = [key for key in _QUALITY if key in columns]
    cached = any(key.startswith("occupancy/") for key in columns)
    heights = [3.2] * len(panels) + [2.2] * cached
    figure, axes = canvas(
        len(heights), 1, size=(8.4, 1.2 + sum(heights)), heights=heights, sharex=True
    )
    clock = _clock(lanes)
    for axis, key in zip(axes, panels, strict=False):
        _lines(axis, lanes, key, clock)
        words = "in the test (%), rolling mean over a tenth of the batches"
        axis.set_title(f"{_QUALITY[key]} {words}", loc="left")
    if cached:
        _occupancy(axes[-1], lanes, clock)
    _label(axes[-1], clock)
    seeds = max(len(lane.seeds) for lane in lanes)
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    figure.suptitle(f"{name}: {over}", x=0.01, ha="left", fontsize=13)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=min(len(labels), 6))
    return figure


class _Clock(NamedTuple):
    """How times become positions: `(time - origin) / unit`."""

    origin: float
    unit: float
    words: str


def _clock(lanes: Sequence[Lane]) -> _Clock:
    """Dates where times are Unix seconds, days where a stream is long, else units of the data."""
    columns = [one for lane in lanes for one in lane.seeds]
    begin = min(one["time"][0] for one in columns)
    start = min(one["start"][0] for one in columns)
    if _UNIX[0] <= start <= _UNIX[1]:
        return _Clock(0.0, _DAY, "")
    if max(one["time"][-1] for one in columns) - start >= 2 * _DAY:
        return _Clock(begin, _DAY, "days since the test began, if times are in seconds")
    return _Clock(begin, 1.0, "time since the test began, in the units of the data")


def _label(axis: "Axes", clock: _Clock) -> None:
    if clock.words:
        axis.set_xlabel(clock.words)
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(locator)
    short = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_formatter(short)
    axis.set_xlabel("date (UTC)")


def _lines(axis: "Axes", lanes: Sequence[Lane], key: str, clock: _Clock, style: str = "-") -> None:
    for lane, color in zip(lanes, cycle(PALETTE)):
        seeds = [one for one in lane.seeds if key in one]
        if not seeds:
            continue
        line = _line(seeds, key)
        at = [(time - clock.origin) / clock.unit for time in line.time]
        dot = "o" if len(at) == 1 else ""  # a line of one point cannot be seen
        axis.plot(at, line.mean, color=color, lw=1.8, ls=style, marker=dot, label=lane.name)
        if len(seeds) > 1:
            low = [m - d for m, d in zip(line.mean, line.deviation, strict=True)]
            high = [m + d for m, d in zip(line.mean, line.deviation, strict=True)]
            axis.fill_between(at, low, high, color=color, alpha=0.18, lw=0)


def _occupancy(axis: "Axes", lanes: Sequence[Lane], clock: _Clock) -> None:
    from matplotlib.lines import Line2D

    found = {key for lane in lanes for one in lane.seeds for key in one}
    hops = sorted(key for key in found if key.startswith("occupancy/"))
    for key, style in zip(hops, cycle(_STYLES)):
        _lines(axis, lanes, key, clock, style)
    axis.set_title("slots of the caches that are taken (%)", loc="left")
    axis.set_ylim(0, 100)
    handles = [
        Line2D([], [], color=QUIET, ls=style, label=f"hop {key.rpartition('/')[2]}")
        for key, style in zip(hops, cycle(_STYLES))
    ]
    axis.legend(handles=handles, loc="best", ncols=len(handles), fontsize=10)


def _line(seeds: Sequence[Columns], key: str) -> Line:
    """Rolling means in percent, at the times of the first seed, since batches may differ."""
    curves = []
    for one in seeds:
        width = max(len(one["time"]) // _SHARE, 1)
        curves.append((rolling(one["time"], width), rolling(one[key], width)))
    time = curves[0][0]
    values = [[100 * value for value in _at(time, *curve)] for curve in curves]
    points = list(zip(*values, strict=True))
    return Line(time, [fmean(point) for point in points], [pstdev(point) for point in points])


def _at(wanted: Sequence[float], time: Sequence[float], values: Sequence[float]) -> list[float]:
    """Linear interpolation; beyond the ends, the value there."""
    found = []
    for moment in wanted:
        right = min(max(bisect_left(time, moment), 1), len(time) - 1)
        left = max(right - 1, 0)
        gap = time[right] - time[left]
        share = min(max((moment - time[left]) / gap, 0.0), 1.0) if gap else 0.0
        found.append(values[left] + share * (values[right] - values[left]))
    return found

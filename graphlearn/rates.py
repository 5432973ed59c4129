"""The picture of robustness: how good each defence is as the attack grows."""

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from graphlearn.canvas import INK, PALETTE, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Curve", "against_rate"]

_MARKS = "osD^vP"


class Curve(NamedTuple):
    """One defence: its result at each rate, in percent.

    Args:
        name: Name of the recipe.
        rates: Share of the edges that the attack has changed, ascending.
        means: Mean over seeds at each rate.
        stds: Deviation over seeds at each rate.
        published: Rate and value of each result in print.
    """

    name: str
    rates: Sequence[float]
    means: Sequence[float]
    stds: Sequence[float]
    published: Sequence[tuple[float, float]] = ()


def against_rate(name: str, curves: Sequence[Curve]) -> "Figure":
    """A line per defence, one deviation to each side; values in print as open marks.

    Args:
        name: Data set, attack and metric, for the title and the axis: `cora|meta|accuracy`.
        curves: At least one.
    """
    dataset, attack, metric = name.split("|")
    figure, (axis,) = canvas(1, 1, size=(7.2, 4.6))
    whole = attack == "nettack"  # flips of edges for each target instead of a share of all edges
    scale = 1.0 if whole else 100.0
    ends = []
    for place, (curve, color) in enumerate(zip(curves, cycle(PALETTE))):
        mark = _MARKS[place % len(_MARKS)]
        x = [scale * rate for rate in curve.rates]
        dashes = "-" if place < len(PALETTE) else "--"
        axis.plot(x, curve.means, color=color, marker=mark, ms=5, lw=1.8, ls=dashes)
        low = [m - d for m, d in zip(curve.means, curve.stds, strict=True)]
        high = [m + d for m, d in zip(curve.means, curve.stds, strict=True)]
        axis.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
        if curve.published:
            at, value = zip(*curve.published, strict=True)
            axis.plot(
                [scale * rate for rate in at], value, ls="", marker=mark, ms=9, mfc="none",
                color=color, mew=1.3,
            )  # fmt: skip
        ends.append((curve.means[-1], x[-1], curve.name, color))
    _name_lines(axis, ends)
    axis.set_xlabel("flips per target" if whole else "edges changed by the attack (%)")
    axis.set_ylabel(f"test {metric} (%)")
    axis.set_title(f"{dataset}: {metric} under {_said(attack)}", loc="left")
    if any(curve.published for curve in curves):
        axis.annotate(
            "open marks: published", (0.01, 0.02), xycoords="axes fraction", color=INK, fontsize=9
        )
    return figure


def _name_lines(axis, ends) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Each line's name at its end, moved apart where they would overlap."""
    low, high = axis.get_ylim()
    gap, last = 0.05 * (high - low), None
    right = max(x for _, x, _, _ in ends)
    for value, _, text, color in sorted(ends, key=lambda end: end[0]):
        place = value if last is None else max(value, last + gap)
        axis.annotate(
            text, (right, place), xytext=(10, 0), textcoords="offset points", va="center",
            color=color, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
        last = place


def _said(attack: str) -> str:
    return {"meta": "MetaAttack", "nettack": "Nettack", "dice": "DICE"}.get(attack, attack)

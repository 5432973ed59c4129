"""What all pictures of the package share: a palette, a style, and figures without a display."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "PALETTE", "QUIET", "canvas", "drawn"]

T = TypeVar("T")

# Okabe and Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
QUIET, INK = "#9AA0A6", "#202124"
_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5F6368",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8EAED",
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.facecolor": "white",
}


def canvas(
    rows: int,
    columns: int,
    *,
    size: tuple[float, float],
    heights: Sequence[float] | None = None,
    sharex: bool = False,
) -> "tuple[Figure, list[Axes]]":
    """A figure that needs no display, and its panels row by row.

    Args:
        rows: Panels from top to bottom.
        columns: Panels from left to right.
        size: Width and height in inches.
        heights: Ratios of the heights of the rows; equal ones by default.
        sharex: Whether all panels have one range and one set of labels below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, height_ratios=heights)
    return figure, list(axes.flat)


def drawn(draw: "Callable[[str, T], Figure]", name: str, content: T, path: Path) -> Path:
    """Draw in the style of the package and write the picture.

    Args:
        draw: From the name of a data set and what there is to show of it to a figure.
        name: The name.
        content: What there is to show.
        path: The file.

    Returns:
        The file.
    """
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        draw(name, content).savefig(path)
    return path

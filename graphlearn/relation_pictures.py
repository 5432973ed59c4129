"""The pictures of relation weights: a map of cells, and bands from sources to receivers."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from graphlearn.canvas import INK, PALETTE, QUIET, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from graphlearn.ops.paths import RelationWeight
    from graphlearn.relations import RelationWeights

__all__ = ["flow", "heat"]

# Inches.
_MARGIN, _LINE, _ROW, _CELL, _BEND, _BAR = 0.3, 0.15, 0.25, 1.05, 1.15, 0.14
_LONG = 50  # characters of a label, from which it takes a further line
_MOST = 30  # relations of one order to one type; a picture of more is not read
_SMALL, _TEXT, _BIG = 8.5, 9.5, 13.0  # points

Color: TypeAlias = tuple[float, float, float]


def heat(name: str, found: "RelationWeights") -> "Figure":
    """A panel per order: for each receiving type a column of cells, the strongest relation first.

    Args:
        name: Name of the data set.
        found: The weights of one run.
    """
    orders, colors = _orders(found), _colors(found)
    labels = {order: _labels(rows) for order, rows in orders.items()}
    left = {o: max(_width(text) for text in labels[o].values()) for o in orders}
    tall = [
        0.55 * len(_received(rows)) + sum(_deep(labels[order][row.path]) for row in rows)
        for order, rows in orders.items()
    ]
    wide = [left[order] + 0.3 + _CELL for order in orders]
    figure, axes = _pages(
        f"{name}: relation weights of {found.name}",
        _said(found, "mean ± standard deviation over nodes; the weights of a block add up to one"),
        sizes=[(width, 0.15 + max(tall)) for width in wide],
        across=True,
        key=colors,
    )
    top = max(row.mean for rows in orders.values() for row in rows) or 1.0
    for axis, (order, rows) in zip(axes, orders.items(), strict=True):
        right = left[order] + 0.3
        _write(axis, 0.0, 0.15, f"order {order}", size=11, weight="bold")
        y = 0.1
        for kind, some in _received(rows).items():
            y += 0.4
            _write(axis, 0.0, y, kind, weight="bold")
            axis.plot([0, right + _CELL], [y + 0.13] * 2, color="#DADCE0", lw=0.8)
            y += 0.15
            for row in some:
                label = labels[order][row.path]
                middle = y + _deep(label) / 2
                shade = QUIET if len(row.path) == 1 else colors[row.path[0]]
                _write(axis, right - 0.22, middle, label, ha="right")
                axis.plot([right - 0.11], [middle], "o", ms=6, color=shade, mew=0)
                _cell(axis, (right, y, _CELL, _deep(label)), row, math.sqrt(row.mean / top))
                y += _deep(label)
    return figure


def _deep(label: str) -> float:
    """Height of the row of a label."""
    return _ROW + _LINE * label.count("\n")


def _cell(
    axis: "Axes", box: tuple[float, float, float, float], row: "RelationWeight", share: float
) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    shades = LinearSegmentedColormap.from_list("weight", ["#F3F7FA", "#9CC7E4", PALETTE[0]])
    color = shades(share)
    x, y, wide, tall = box
    axis.add_patch(Rectangle((x, y + 0.01), wide, tall - 0.02, color=color, lw=0))
    ink = "white" if share > 0.85 else INK
    _write(
        axis, x + wide / 2, y + tall / 2, f"{_number(row.mean)} ± {row.std:.2f}",
        size=_SMALL, ha="center", color=ink,
    )  # fmt: skip


def flow(name: str, found: "RelationWeights") -> "Figure":
    """A panel per order: bands from source types through relations to the types that receive.

    Args:
        name: Name of the data set.
        found: The weights of one run.
    """
    orders, colors = _orders(found), _colors(found)
    plans = [_plan(rows, list(colors)) for rows in orders.values()]
    margin = max(_width(kind, weight="bold") for kind in colors) + 0.1
    middle = max(plan.wide for plan in plans)
    ends = (margin + _BAR, margin + _BAR + _BEND)
    width = 2 * ends[1] + middle
    figure, axes = _pages(
        f"{name}: what {found.name} listens to",
        _said(
            found, "from sources to the types that receive; a band is as wide as its mean weight"
        ),
        sizes=[(width, plan.height + 0.4) for plan in plans],
        across=False,
        key={},
    )
    for axis, order, plan in zip(axes, orders, plans, strict=True):
        _write(axis, 0.0, 0.15, f"order {order}", size=11, weight="bold")
        for kind, (low, high) in plan.sources.items():
            _bar(axis, margin, low, high, colors[kind])
            _write(axis, margin - 0.08, (low + high) / 2, kind, ha="right", weight="bold")
        for kind, (low, high) in plan.targets.items():
            _bar(axis, width - margin - _BAR, low, high, colors[kind])
            _write(axis, width - margin + 0.08, (low + high) / 2, kind, weight="bold")
        for band in plan.bands:
            color = QUIET if band.own else colors[band.kind]
            x = (ends[0], ends[1], width - ends[1], width - ends[0])
            _ribbon(axis, x, band, color)
    return figure


class _Band(NamedTuple):
    """One relation: the middles of its band at the source, in the middle, and at the target."""

    label: str
    kind: str
    own: bool
    at: tuple[float, float, float]
    thick: float


class _Plan(NamedTuple):
    """Where the parts of a flow are, in inches from the top of its panel."""

    sources: Mapping[str, tuple[float, float]]
    targets: Mapping[str, tuple[float, float]]
    bands: Sequence[_Band]
    wide: float
    height: float


def _plan(rows: "Sequence[RelationWeight]", kinds: Sequence[str]) -> _Plan:
    """Relations lie one below the other, by the type that receives and then by their source."""
    names = _labels(rows)
    labels = {row.path: f"{names[row.path]}  {_number(row.mean)}" for row in rows}
    received = _received(rows)
    scale = {1: 2.4, 2: 1.7}.get(len(received), 1.3 if len(received) < 6 else 1.0)
    centre: dict[tuple[str, ...], float] = {}
    end: dict[tuple[str, ...], float] = {}
    targets, y = {}, 0.4
    for kind, some in received.items():
        some = sorted(some, key=lambda row: (kinds.index(row.path[0]), len(row.path) == 1))
        first = y
        for row in some:
            slot = max(row.mean * scale, _LINE * (1 + labels[row.path].count("\n"))) + 0.1
            centre[row.path] = y + slot / 2
            y += slot
        total = scale * sum(row.mean for row in some)
        low = (first + y - total) / 2
        targets[kind] = (low, low + total)
        end |= _stacked(some, low, scale)
        y += 0.22
    height = y - 0.22
    start: dict[tuple[str, ...], float] = {}
    sources, sent = {}, {kind: [r for r in rows if r.path[0] == kind] for kind in kinds}
    sent = {kind: some for kind, some in sent.items() if some}
    bars = {kind: scale * sum(row.mean for row in some) for kind, some in sent.items()}
    free = (height - 0.4 - sum(max(bar, 0.2) for bar in bars.values())) / len(bars)
    y = 0.4
    for kind, some in sent.items():
        slot = max(bars[kind], 0.2) + free
        low = y + (slot - bars[kind]) / 2
        sources[kind] = (low, low + bars[kind])
        start |= _stacked(sorted(some, key=lambda row: centre[row.path]), low, scale)
        y += slot
    bands = [
        _Band(
            labels[row.path], row.path[0], len(row.path) == 1,
            (start[row.path], centre[row.path], end[row.path]), row.mean * scale,
        )
        for row in rows
    ]  # fmt: skip
    return _Plan(sources, targets, bands, max(map(_width, labels.values())) + 0.25, height)


def _stacked(
    rows: "Sequence[RelationWeight]", low: float, scale: float
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Each path, and the middle of its band where the bands of a bar lie one below the other."""
    for row in rows:
        yield row.path, low + row.mean * scale / 2
        low += row.mean * scale


def _ribbon(
    axis: "Axes", x: tuple[float, float, float, float], band: _Band, color: str | Color
) -> None:
    """A band that bends, is straight where its label is, and bends again."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    half = max(band.thick, 0.012) / 2  # one of no weight is still seen

    def edge(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        (a, s), (b, m), (c, _), (d, t) = points
        return [
            *((a, s), ((a + b) / 2, s), ((a + b) / 2, m), (b, m)),
            *((c, m), ((c + d) / 2, m), ((c + d) / 2, t), (d, t)),
        ]

    s, m, t = band.at
    middles = list(zip(x, (s, m, m, t), strict=True))
    upper = edge([(a, y - half) for a, y in middles])
    lower = edge([(a, y + half) for a, y in middles])[::-1]
    bends = [Outline.CURVE4] * 3
    codes = [Outline.MOVETO, *bends, Outline.LINETO, *bends]
    codes += [Outline.LINETO, *bends, Outline.LINETO, *bends, Outline.CLOSEPOLY]
    outline = Outline([*upper, *lower, upper[0]], codes)
    axis.add_patch(PathPatch(outline, facecolor=color, alpha=0.42, lw=0))
    box = {"boxstyle": "round,pad=0.18", "fc": "white", "alpha": 0.82, "lw": 0}
    _write(axis, (x[1] + x[2]) / 2, m, band.label, ha="center", bbox=box, zorder=4)


def _bar(axis: "Axes", x: float, low: float, high: float, color: str | Color) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((x, low), _BAR, max(high - low, 0.012), color=color, lw=0, zorder=3))


def _pages(
    title: str,
    note: str,
    *,
    sizes: Sequence[tuple[float, float]],
    across: bool,
    key: Mapping[str, Color],
) -> "tuple[Figure, list[Axes]]":
    """Panels whose units are inches, from the left or from above, with a title and a key below."""
    places, x, y = [], _MARGIN, 0.7
    for width, height in sizes:
        places.append((x, y))
        x, y = (x + width + _MARGIN, y) if across else (x, y + height)
    x = x - _MARGIN if across else x + max(width for width, _ in sizes)
    y += max(height for _, height in sizes) if across else 0.0
    texts = _width(title, size=_BIG, weight="bold"), _width(note, size=_SMALL)
    wide = max(x, _MARGIN + max(texts)) + _MARGIN
    marks = _key(list(key), wide)
    tall = y + (marks[-1][2] + 0.4 if marks else 0.25)
    figure, axes = canvas(1, len(sizes) + 1, size=(wide, tall))
    figure.set_layout_engine("none")
    boxes = [(*place, *size) for place, size in zip(places, sizes, strict=True)]
    for axis, (left, up, width, height) in zip(axes, [*boxes, (0, 0, wide, tall)], strict=True):
        axis.set_position((left / wide, 1 - (up + height) / tall, width / wide, height / tall))
        axis.set(xlim=(0, width), ylim=(height, 0))
        axis.axis("off")
    page = axes.pop()
    _write(page, _MARGIN, 0.32, title, size=_BIG, weight="bold")
    _write(page, _MARGIN, 0.57, note, size=_SMALL, color="#5F6368")
    for kind, x, down in marks:
        page.plot([x - 0.1], [y + down], "o", ms=6, color=key[kind], mew=0)
        _write(page, x, y + down, kind)
    if marks:
        _write(page, _MARGIN, y + marks[0][2], "source", color="#5F6368")
    return figure, axes


def _key(kinds: Sequence[str], wide: float) -> list[tuple[str, float, float]]:
    """Each type of the key, how far from the left its name is, and how far below the panels."""
    marks, x, y = [], _MARGIN + 0.75, 0.3
    for kind in kinds:
        if x + _width(kind) + _MARGIN > wide and x > _MARGIN + 0.75:
            x, y = _MARGIN + 0.75, y + _ROW
        marks.append((kind, x, y))
        x += _width(kind) + 0.35
    return marks


def _write(axis: "Axes", x: float, y: float, text: str, **looks: Any) -> None:  # noqa: ANN401
    looks = {"size": _TEXT, "color": INK, "va": "center_baseline", "ha": "left", **looks}
    axis.text(x, y, text, parse_math=False, linespacing=1.15, **looks)


def _width(text: str, *, size: float = _TEXT, weight: str = "normal") -> float:
    """Of the longest line, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(size=size, weight=weight)
    measure = TextToPath().get_text_width_height_descent
    return max(float(measure(line, font, False)[0]) for line in text.split("\n")) / 72


def _number(mean: float) -> str:
    return "< 0.01" if 0 < mean < 0.005 else f"{mean:.2f}"


def _orders(found: "RelationWeights") -> "dict[int, list[RelationWeight]]":
    """What is drawn of each order; types without nodes have no mean."""
    orders: dict[int, list[RelationWeight]] = {}
    for row in found.rows:
        if math.isfinite(row.mean):
            orders.setdefault(row.order, []).append(row)
    return {
        order: [row for some in _received(rows).values() for row in some[:_MOST]]
        for order, rows in orders.items()
    }


def _said(found: "RelationWeights", note: str) -> str:
    """The note under a title, and whether relations are left out."""
    count = Counter((row.order, row.path[-1]) for row in found.rows)
    return note + (f"; only the {_MOST} strongest to a type" if max(count.values()) > _MOST else "")


def _received(rows: "Iterable[RelationWeight]") -> "dict[str, list[RelationWeight]]":
    """The rows of each receiving type, the largest weight first."""
    received: dict[str, list[RelationWeight]] = {}
    for row in rows:
        received.setdefault(row.path[-1], []).append(row)
    return {kind: sorted(some, key=lambda row: -row.mean) for kind, some in received.items()}


def _colors(found: "RelationWeights") -> dict[str, Color]:
    """A colour for each type; from the seventh on the same ones lighter, then darker."""
    from matplotlib.colors import to_rgb

    kinds = dict.fromkeys(row.path[end] for end in (-1, 0) for row in found.rows)
    colors = {}
    for place, kind in enumerate(kinds):
        turn, color = divmod(place, len(PALETTE))
        towards, share = ((1.0, 0.0), (1.0, 0.55), (0.0, 0.45))[turn % 3]
        r, g, b = ((1 - share) * part + share * towards for part in to_rgb(PALETTE[color]))
        colors[kind] = (r, g, b)
    return colors


def _labels(rows: "Sequence[RelationWeight]") -> dict[tuple[str, ...], str]:
    """What each path is called in a panel: its relation, its types, or both where need be."""
    short = {row.path: _short(row.path) for row in rows}
    count = Counter((path[-1], label) for path, label in short.items())
    return {
        path: _wrapped(label if count[path[-1], label] == 1 else _whole(path))
        for path, label in short.items()
    }


def _short(path: Sequence[str]) -> str:
    if len(path) == 1:
        return "self"
    return path[1] if len(path) == 3 else " → ".join(path[::2])


def _whole(path: Sequence[str]) -> str:
    steps = [f"–{name}→ {kind}" for name, kind in zip(path[1::2], path[2::2], strict=True)]
    return " ".join([path[0], *steps])


def _wrapped(text: str) -> str:
    """A long label on several lines, each break before the arrow nearest to the middle."""
    breaks = [at for at in range(len(text)) if text.startswith((" –", " →"), at)]
    if len(text) <= _LONG or not breaks:
        return text
    at = min(breaks, key=lambda at: abs(at - len(text) / 2))
    return f"{_wrapped(text[:at])}\n{_wrapped(text[at + 1 :])}"

"""Tables of runs beside published results, learning curves over seeds, bars, and timelines."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from graphlearn.canvas import INK, PALETTE, QUIET, canvas, drawn
from graphlearn.gates import gates, listening
from graphlearn.groups import Group, collect
from graphlearn.rates import Curve, against_rate
from graphlearn.recipe import Published
from graphlearn.relation_pictures import flow, heat
from graphlearn.relations import relation_weights
from graphlearn.timeline import Lane, through_time, timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["natural", "number", "percent", "report", "table"]

_NO_SHARE = ("loss", "improvements")
_TELLING = ("ndcg", "recall")  # what papers show of the many measures of a ranking


def report(paths: Iterable[Path], out: Path) -> list[Path]:
    """Write `results.md`, `results.csv`, and per data set a bar chart and learning curves.

    For runs on a stream there is also a picture of how good they are as time goes by; it is
    computed from their weights the first time, see `graphlearn.timeline`.

    Args:
        paths: Run folders, or folders that hold some at any depth.
        out: Folder of the report; made if need be.

    Returns:
        The files that were written.

    Raises:
        FileNotFoundError: if there is no finished run.
    """
    groups = collect(paths)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "results.md", out / "results.csv"]
    datasets = list(dict.fromkeys(group.label for group in groups))
    parts = {name: [group for group in groups if group.label == name] for name in datasets}
    text = [f"## {name}\n\n{_markdown(part)}\n" for name, part in parts.items()]
    files[0].write_text("\n".join(text), encoding="utf-8")
    with files[1].open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([CSV_HEAD, *_csv_rows(groups)])
    for name, part in parts.items():
        files.append(drawn(_bars, name, part, out / f"bars-{name}.png"))
        if any(group.trained for group in part):
            files.append(drawn(_curves, name, part, out / f"curves-{name}.png"))
        if lanes := _lanes(part):
            files.append(drawn(through_time, name, lanes, out / f"time-{name}.png"))
        for group in part:
            if found := gates(group.folders[0]):
                path = out / f"gates-{group.recipe.name}-{name}.png"
                files.append(drawn(listening, name, found, path))
            if weights := relation_weights(group.folders[0]):
                end = f"{group.recipe.name}-{name}.png"
                files.append(drawn(heat, name, weights, out / f"relations-{end}"))
                files.append(drawn(flow, name, weights, out / f"flow-{end}"))
    for title, curves in _attacked(groups).items():
        path = out / f"rates-{'-'.join(title.split('|')[:2])}.png"
        files.append(drawn(against_rate, title, curves, path))
    return files


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Columns of text under a header, the first ones flush left and the others flush right.

    Args:
        head: Header cells.
        rows: Cells of each line.
        left: How many columns are words rather than numbers.
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(mean: float, std: float | None = None, *, scale: float = 100.0) -> str:
    """A metric as it is printed in papers: `89.05 ± 0.96`."""
    return f"{mean * scale:.2f}" + ("" if std is None else f" ± {std * scale:.2f}")


def number(name: str, mean: float, std: float | None = None) -> str:
    """A metric in percent, or as it is where it is no share (`loss`).

    Args:
        name: Name of the metric.
        mean: Its value.
        std: Its deviation.
    """
    return percent(mean, std, scale=1.0 if name in _NO_SHARE else 100.0)


def natural(name: str) -> tuple[str, int, str]:
    """Order in which hits@20 comes before hits@100, and no two names are equal."""
    word, _, number = name.partition("@")
    return word, int(number) if number.isdigit() else 0, name


def _attacked(groups: Sequence[Group]) -> dict[str, list[Curve]]:
    """For each data set and attack of which there are several rates: a curve per recipe."""
    found: dict[str, dict[str, dict[float, Group]]] = {}
    attacks: dict[str, set[str]] = {}
    for group in groups:
        data = group.recipe.values.get("data", {})
        if group.recipe.rate:
            attacks.setdefault(group.recipe.dataset, set()).add(str(data.get("attack", "meta")))
    for group in groups:
        recipe = group.recipe
        own = str(recipe.values.get("data", {}).get("attack", "meta"))
        for attack in attacks.get(recipe.dataset, ()):
            # The clean graph begins every curve of the same test nodes.
            clean = not recipe.rate and "nettack" not in (own, attack)
            if group.values(group.metric) and (clean or own == attack):
                title = f"{Path(recipe.dataset).name}|{attack}|{group.metric}"
                found.setdefault(title, {}).setdefault(recipe.name, {})[recipe.rate] = group
    curves = {title: [_curve(n, of) for n, of in names.items()] for title, names in found.items()}
    return {title: some for title, some in curves.items() if any(len(c.rates) > 1 for c in some)}


def _curve(name: str, groups: Mapping[float, Group]) -> Curve:
    rates = sorted(groups)
    values = [[100 * one for one in groups[rate].values(groups[rate].metric)] for rate in rates]
    printed = [(rate, groups[rate].published) for rate in rates]
    return Curve(
        name,
        rates,
        [fmean(some) for some in values],
        [pstdev(some) for some in values],
        [(rate, found.mean) for rate, found in printed if found],
    )


def _lanes(groups: Sequence[Group]) -> list[Lane]:
    """What there is to draw over time."""
    found = [
        Lane(group.recipe.name, [one for folder in group.folders if (one := timeline(folder))])
        for group in groups
    ]
    return [lane for lane in found if lane.seeds]


def _seeds(name: str, values: Sequence[float]) -> str:
    if not values:
        return "-"
    return number(name, fmean(values), pstdev(values) if len(values) > 1 else None)


def _printed(published: Published | None) -> str:
    if published is None:
        return "-"
    return percent(published.mean, published.std or None, scale=1.0)


def _markdown(groups: Sequence[Group]) -> str:
    """One line per recipe: test metrics as mean ± population deviation, in percent."""
    first = groups[0].metric
    others = {name for group in groups for result in group.results for name in result["test"]}
    names = [first, *sorted(others - {first}, key=natural)]
    head = ["model", "seeds", *names, f"published {first}"]
    rows = [
        [
            group.recipe.name,
            str(len(group.results)),
            *(_seeds(name, group.values(name)) for name in names),
            _printed(group.published),
        ]
        for group in groups
    ]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    note = "Test metrics in percent (a loss as it is), mean ± standard deviation over seeds.\n\n"
    return note + "\n".join(f"| {' | '.join(line)} |" for line in lines)


CSV_HEAD = ("dataset", "model", "split", "metric", "seeds", "mean", "std", "published", "source")


def _csv_rows(groups: Sequence[Group]) -> Iterable[Sequence[object]]:
    for group in groups:
        published = group.recipe.published
        for split in ("valid", "test"):
            for name in sorted({key for result in group.results for key in result[split]}):
                values = group.values(name, split)
                row = [group.label, group.recipe.name, split, name, len(values)]
                numbers = [f"{fmean(values):.6f}", f"{pstdev(values):.6f}"]
                if published and split == "test" and name == published.metric:
                    yield [*row, *numbers, f"{published.mean / 100:.6f}", published.source]
                else:
                    yield [*row, *numbers, "", ""]


def _bars(name: str, groups: Sequence[Group]) -> "Figure":
    """Mean and deviation of every model as a bar, the published value as a diamond on it."""
    figure, axes = canvas(1, 1, size=(7.2, 1.3 + 0.5 * len(groups)))
    axis, metric = axes[0], groups[0].metric
    tops = [group.published.mean for group in groups if group.published]
    widest = max([*tops, *(100 * value for group in groups for value in group.values(metric))])
    for place, group in enumerate(groups):
        values = [100 * value for value in group.values(metric)] or [0.0]
        deviation = pstdev(values)
        color = PALETTE[0] if group.trained else QUIET
        axis.barh(place, fmean(values), height=0.62, color=color, zorder=2)
        if deviation:
            axis.errorbar(fmean(values), place, xerr=deviation, color=INK, capsize=3, lw=1.2)
        published = group.published
        if published:
            axis.errorbar(
                published.mean, place, xerr=published.std or None, fmt="D", ms=7, lw=1.4,
                color=PALETTE[1], mfc="white", mew=1.6, capsize=3, zorder=4,
            )  # fmt: skip
        inside = fmean(values) > 0.15 * widest  # else the number does not fit into the bar
        axis.annotate(
            f"{fmean(values):.1f}", (0 if inside else fmean(values) + deviation, place),
            xytext=(7, 0), textcoords="offset points", va="center",
            color="white" if inside else INK, fontweight="bold" if inside else "normal",
        )  # fmt: skip
    axis.set_yticks(range(len(groups)), [group.recipe.name for group in groups])
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.margins(x=0.1)
    axis.set_xlim(left=0)
    axis.set_xlabel(f"test {_words(metric)} (%)")
    axis.set_title(f"{name}: {_over(groups)}", loc="left")
    _key(figure, groups)
    return figure


def _key(figure: "Figure", groups: Sequence[Group]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = []
    if any(group.trained for group in groups):
        handles.append(Patch(color=PALETTE[0], label="ours, trained"))
    if not all(group.trained for group in groups):
        handles.append(Patch(color=QUIET, label="ours, heuristic"))
    if any(group.published for group in groups):
        handles.append(
            Line2D(
                [], [], marker="D", ls="", color=PALETTE[1], mfc="white", mew=1.6, label="published"
            )
        )
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), fontsize=10)


def _curves(name: str, groups: Sequence[Group]) -> "Figure":
    """One panel per quantity: the mean over seeds as a line, one deviation to each side."""
    trained = [group for group in groups if group.trained]
    panels = _panels(trained)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure, axes = canvas(rows, columns, size=(4.2 * columns, 3.2 * rows + 0.4))
    for axis, panel in zip(axes, panels, strict=False):
        for group, color in zip(trained, cycle(PALETTE)):
            epochs, middle, deviation = _band(group, panel)
            if not panel.endswith(_NO_SHARE):
                middle = [100 * value for value in middle]
                deviation = [100 * value for value in deviation]
            dot = "o" if len(epochs) == 1 else ""  # a line of one point cannot be seen
            axis.plot(epochs, middle, color=color, lw=1.8, marker=dot, label=group.recipe.name)
            low = [m - d for m, d in zip(middle, deviation, strict=True)]
            high = [m + d for m, d in zip(middle, deviation, strict=True)]
            if len(group.results) > 1:
                axis.fill_between(epochs, low, high, color=color, alpha=0.18, lw=0)
        axis.set_title(_words(panel) + ("" if panel.endswith(_NO_SHARE) else " (%)"), loc="left")
        axis.set_xlabel("epoch")
        axis.locator_params(axis="x", integer=True)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(f"{name}: {_over(trained)}", x=0.01, ha="left", fontsize=13)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=len(labels))
    return figure


def _panels(groups: Sequence[Group]) -> list[str]:
    """The loss, the monitored metric, and the further ones of validation; six at most."""
    keys = {key for group in groups for rows in group.histories for row in rows for key in row}
    valid = sorted((key for key in keys if key.startswith("valid/")), key=natural)
    first = f"valid/{groups[0].metric}"

    def place(key: str) -> tuple[bool, int, bool]:  # parts of a split come last
        telling = key.removeprefix("valid/").partition("@")[0] in _TELLING
        return key != first, key.count("/"), not telling

    valid.sort(key=place)
    return ["loss", *valid][:6]


def _band(group: Group, key: str) -> tuple[list[float], list[float], list[float]]:
    """Epochs, means and deviations over the seeds that reached the epoch."""
    at: dict[float, list[float]] = {}
    for rows in group.histories:
        for row in rows:
            if key in row:
                at.setdefault(row["epoch"], []).append(row[key])
    epochs = sorted(at)
    return epochs, [fmean(at[epoch]) for epoch in epochs], [pstdev(at[epoch]) for epoch in epochs]


def _over(groups: Sequence[Group]) -> str:
    few, many = (pick(len(group.results) for group in groups) for pick in (min, max))
    if many == 1:
        return "one seed"
    return f"mean ± standard deviation over {many if few == many else f'{few} to {many}'} seeds"


def _words(key: str) -> str:
    """`valid/ap/new` as it stands over a panel: `validation AP, new`."""
    split, name = ("validation ", key[6:]) if key.startswith("valid/") else ("", key)
    name, _, group = name.partition("/")
    base, _, rest = name.partition("@")
    short = {"auc": "AUC", "ap": "AP", "mrr": "MRR", "ndcg": "NDCG", "hits": "Hits"}.get(base, base)
    short += {"": "", "batch": " by batch"}.get(rest, f"@{rest}")
    return split + short + (f", {group}" if group else "")

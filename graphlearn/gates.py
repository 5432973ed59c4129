"""What distance each node listens to: the gates of a run over its hops, as a picture."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from graphlearn.canvas import INK, PALETTE, QUIET, canvas
from graphlearn.knobs import locate
from graphlearn.recipe import find

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

__all__ = ["Gates", "gates", "listening"]

FILE = "gates.npz"
_ROWS = 600  # of the map; more nodes share a row
_FAILS = (OSError, ValueError, KeyError, RuntimeError)
_log = logging.getLogger(__name__)


class Gates(NamedTuple):
    """Gates of a run.

    Args:
        name: Name of the recipe.
        weight: Weight in [0, 1] of each hop for each node (node, hop).
        label: Class of each node, -1 where it has none.
        classes: Name of each class; empty where they have none.
    """

    name: str
    weight: "npt.NDArray[np.float32]"
    label: "npt.NDArray[np.int64]"
    classes: Sequence[str] = ()


def gates(folder: Path) -> Gates | None:
    """Gates of the best weights of a run; computed once and kept beside them.

    Args:
        folder: Folder of one run.

    Returns:
        None for a run without weights, or whose model has no gates.
    """
    import numpy as np

    try:
        recipe = find(str(folder / "recipe.toml"))
        weights = folder / "best.pt"
        if not hasattr(locate(recipe.model), "gates") or not weights.is_file():
            return None
        path = folder / FILE
        if not path.is_file() or path.stat().st_mtime < weights.stat().st_mtime:
            _log.info("computing the gates of %s", folder)
            return _computed(folder, path, recipe.name)
        with np.load(path, allow_pickle=False) as found:
            return Gates(
                recipe.name, found["weight"], found["label"], [str(c) for c in found["classes"]]
            )
    except _FAILS as error:
        _log.warning("%s has no picture of gates: %s", folder, str(error).partition("\n")[0])
        return None


def _computed(folder: Path, path: Path, name: str) -> Gates:
    import numpy as np

    from graphlearn.runs import restore  # loads torch, which tables and bars do without
    from graphlearn.train.checkpoint import replacing

    task, dataset = restore(folder)
    weight = task.gates()  # type: ignore[operator]
    found = Gates(
        name, weight.numpy(), dataset.data.y.numpy(), [str(one) for one in dataset.classes or ()]
    )
    content = io.BytesIO()
    np.savez_compressed(
        content, weight=found.weight, label=found.label, classes=np.array(found.classes, dtype=str)
    )
    try:
        with replacing(path) as file:
            file.write(content.getvalue())
    except OSError as error:  # a folder that may only be read
        _log.warning("the gates are not kept: %s", error)
    return found


def listening(name: str, found: Gates) -> "Figure":
    """Left every node as a line of its gates, grouped by class; right the mean of each class.

    Args:
        name: Name of the data set.
        found: The gates of one run.
    """
    order, bounds = _order(found)
    hops = found.weight.shape[1]
    figure, (left, right) = canvas(1, 2, size=(9.6, 4.8))
    rows = _pooled(found.weight[order])
    low, high = _range(rows)
    image = left.imshow(
        rows, aspect="auto", cmap="viridis", vmin=low, vmax=high,
        interpolation="nearest", extent=(-0.5, hops - 0.5, len(order), 0),
    )  # fmt: skip
    left.grid(False)
    for _, first, _ in bounds[1:]:
        left.axhline(first, color="white", lw=1)
    middles = [(first + last) / 2 for _, first, last in bounds]
    left.set_yticks(middles, [_class(found, label) for label, _, _ in bounds], fontsize=9)
    left.set_xlabel("hop (0: the node itself)")
    left.set_title(f"{name}: gates of {len(order):,} nodes", loc="left")
    figure.colorbar(image, ax=left, shrink=0.8)
    at = range(hops)
    for place, (label, first, last) in enumerate(bounds):
        color = PALETTE[place % len(PALETTE)] if len(bounds) <= 2 * len(PALETTE) else QUIET
        dashes = "-" if place < len(PALETTE) else "--"
        mean = found.weight[order[first:last]].mean(0)
        right.plot(at, mean, color=color, lw=1.3, ls=dashes, label=_class(found, label))
    right.plot(at, found.weight.mean(0), color=INK, lw=2.6, label="all nodes")
    right.set_xlabel("hop")
    right.set_title(f"{found.name}: mean gate", loc="left")
    right.locator_params(axis="x", integer=True)
    handles, labels = right.get_legend_handles_labels()
    if len(handles) > 12:
        handles, labels = handles[-1:], labels[-1:]
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 6), fontsize=9
    )
    return figure


def _order(found: Gates) -> "tuple[npt.NDArray[np.int64], list[tuple[int, int, int]]]":
    """Nodes by class, and within it by mean distance; first and last row of each class."""
    import numpy as np

    weight = found.weight.astype(np.float64)
    distance = (weight * np.arange(weight.shape[1])).sum(1) / np.maximum(weight.sum(1), 1e-12)
    order = np.lexsort((distance, found.label))
    labels, first = np.unique(found.label[order], return_index=True)
    ends = [*first[1:], len(order)]
    return order, [(int(a), int(b), int(c)) for a, b, c in zip(labels, first, ends, strict=True)]


def _range(rows: "npt.NDArray[np.float32]") -> tuple[float, float]:
    """What the colours span: gates often differ by little, all of them near one or near a half."""
    import numpy as np

    low, high = (float(value) for value in np.quantile(rows, (0.01, 0.99)))
    return (low, high) if high - low > 0.01 else (max(low - 0.01, 0.0), min(high + 0.01, 1.0))


def _pooled(rows: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    """At most `_ROWS` rows, each the mean of consecutive ones."""
    import numpy as np

    parts = np.array_split(rows, min(_ROWS, len(rows)))
    return np.stack([part.mean(0) for part in parts])


def _class(found: Gates, label: int) -> str:
    if label < 0:
        return "unlabelled"
    return found.classes[label] if found.classes else f"class {label}"

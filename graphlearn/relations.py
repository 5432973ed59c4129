"""What relations a run listens to: the mean weights of its meta relations."""

import csv
import io
import logging
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from graphlearn.knobs import locate
from graphlearn.recipe import find

if TYPE_CHECKING:
    from graphlearn.ops.paths import RelationWeight

__all__ = ["RelationWeights", "relation_weights"]

FILE = "relations.csv"
_HEAD = ["order", "path", "mean", "std"]
_FAILS = (OSError, ValueError, KeyError, RuntimeError)
_log = logging.getLogger(__name__)


class RelationWeights(NamedTuple):
    """Relation weights of a run.

    Args:
        name: Name of the recipe.
        rows: Mean weight of each meta relation of each order.
    """

    name: str
    rows: "Sequence[RelationWeight]"


def relation_weights(folder: Path) -> RelationWeights | None:
    """Relation weights of the best weights of a run; computed once and kept beside them.

    Args:
        folder: Folder of one run.

    Returns:
        None for a run without weights, or whose model has no relation weights. The mean over a type
        without nodes is not finite.
    """
    try:
        recipe = find(str(folder / "recipe.toml"))
        weights = folder / "best.pt"
        if not hasattr(locate(recipe.model), "relation_weights") or not weights.is_file():
            return None
        path = folder / FILE
        if path.is_file() and path.stat().st_mtime >= weights.stat().st_mtime:
            rows = _read(path)
        else:
            _log.info("computing the relation weights of %s", folder)
            rows = _computed(folder, path)
        return (
            RelationWeights(recipe.name, rows) if any(isfinite(row.mean) for row in rows) else None
        )
    except _FAILS as error:
        reason = str(error).partition("\n")[0]
        _log.warning("%s has no picture of relations: %s", folder, reason)
        return None


def _computed(folder: Path, path: Path) -> "list[RelationWeight]":
    from graphlearn.runs import restore  # loads torch, which tables and bars do without
    from graphlearn.train.checkpoint import replacing

    task, _ = restore(folder)
    rows: list[RelationWeight] = task.relation_weights() or []  # type: ignore[operator]
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(_HEAD)
    out.writerows([row.order, _joined(row.path), row.mean, row.std] for row in rows)
    try:
        with replacing(path) as file:
            file.write(text.getvalue().encode())
    except OSError as error:  # a folder that may only be read
        _log.warning("the relation weights are not kept: %s", error)
    return rows


def _joined(path: Sequence[str]) -> str:
    """`author>writes>paper`; a name with a `>` of its own is in quotation marks."""
    text = io.StringIO()
    csv.writer(text, delimiter=">", lineterminator="\n").writerow(path)
    return text.getvalue()[:-1]


def _read(path: Path) -> "list[RelationWeight]":
    """The rows of a file that was written once.

    Raises:
        ValueError: if it is damaged.
    """
    from graphlearn.ops.paths import RelationWeight

    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *lines = csv.reader(file)
        if head != _HEAD:
            raise ValueError("columns are missing")
        rows = []
        for order, joined, mean, std in lines:
            (names,) = csv.reader(io.StringIO(joined, newline=""), delimiter=">")
            rows.append(RelationWeight(int(order), tuple(names), float(mean), float(std)))
        return rows
    except (ValueError, csv.Error):
        raise ValueError(f"{path} is damaged; delete it, and it is computed again") from None

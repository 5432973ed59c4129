"""A user's own graph with classes of its nodes: tables of edges and labels, and archives.

A table of labels has the columns node, label and, if the split is fixed, split (`train`, `valid`
or `test`). An archive has labels `y` beside its edges, and may have `classes` and the node ids
`train`, `valid` and `test`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphlearn.data.archive import all_pairs, features, open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.edges import number_nodes, read_ends
from graphlearn.data.edges import read_features as read_node_features
from graphlearn.data.node_splits import split_nodes
from graphlearn.data.nodes import node_dataset
from graphlearn.data.pairs import simple_pairs
from graphlearn.data.table import Table, cells, line_of, read_table
from graphlearn.train.task import Split

__all__ = [
    "SPLITS",
    "number_classes",
    "read_labelled_archive",
    "read_labelled_edges",
    "read_labels",
]

_log = logging.getLogger(__name__)
_NODES = ("node", "id", "name", "node_id")
_LABELS = ("label", "class", "y", "target")
SPLITS: Mapping[str, Split] = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"valid": "valid", "val": "valid", "validation": "valid"},
}
"""What a table may call each split."""


class Labels(NamedTuple):
    """Labels of some nodes, as a table gives them.

    Args:
        table: Where they come from.
        nodes: Name or number of the node of each row.
        labels: Label of each row; empty for none.
        parts: Split of each row, or empty; None where the table does not say.
    """

    table: Table
    nodes: list[str]
    labels: list[str]
    parts: list[str] | None


def read_labelled_edges(
    path: Path,
    *,
    labels: Path | None = None,
    features: Path | None = None,
    num_nodes: int = 0,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A data set from a list of edges, see `read_edges`, and a table of labels.

    Args:
        path: The edges, a .csv, .tsv or .txt file, or one of them with .gz.
        labels: The labels: a row for each labelled node; other nodes have none.
        features: Features of the nodes, see `graphlearn.data.edges.read_features`.
        num_nodes: Number of nodes; 0 finds it from the features or the largest id.
        seed: Seed of the split.
        protocol: `auto` takes the split of the table if it has one, else divides each class;
            `public`, `random` and `stratified` say which.
        valid: Share of validation nodes of a stratified split.
        test: Share of its test nodes.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, a node is unknown, or the graph cannot be split.
    """
    if labels is None:
        raise ValueError(f"{path.name} needs the classes of its nodes: labels=..., a table")
    table = read_table(path)
    nodes = read_node_features(features) if features else None
    width = len(table.header or next(cells(table), []))
    if width > 2:
        _log.warning("%s: ignored %d further columns", path, width - 2)
    ids, count, names = number_nodes(table, read_ends(table, table.ends()), nodes, num_nodes)
    pairs = simple_pairs(torch.from_numpy(ids.T.copy()), count, source=path.name)
    found = read_labels(labels)
    index = _index(found, count, names)
    value, classes = number_classes(found.labels)
    y = torch.full((count,), -1)
    y[index] = value
    name = path.name.partition(".")[0] or path.name
    splits = split_nodes(
        y,
        protocol=protocol,
        source=name,
        seed=seed,
        given=_given(found, index),
        shares=(valid, test),
    )
    x = nodes.x if nodes else None
    return node_dataset(name, pairs, y, splits, count, x=x, names=names, classes=classes)


def read_labelled_archive(
    path: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A data set from an archive with labels `y`; other keys as in `graphlearn.data.archive`.

    Args:
        path: The archive.
        seed: Seed of the split.
        protocol: `auto` takes the split of the archive if it has one, else divides each class;
            `public`, `random` and `stratified` say which.
        valid: Share of validation nodes of a stratified split.
        test: Share of its test nodes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the archive is damaged, holds pickles, or has no labels.
    """
    arrays = open_npz(path)
    if "y" not in arrays or arrays["y"].ndim != 1 or arrays["y"].dtype.kind not in "iu":
        raise ValueError(f"{path.name} has no labels: expected whole numbers y of shape (N,)")
    y = torch.from_numpy(arrays["y"].astype(np.int64))
    pairs = all_pairs(arrays, len(y), source=path.name)
    given: dict[Split, Tensor] = {
        SPLITS[key]: torch.from_numpy(arrays[key].astype(np.int64))
        for key in ("train", "valid", "val", "test")
        if key in arrays
    }
    splits = split_nodes(
        y,
        protocol=protocol,
        source=path.name,
        seed=seed,
        given=given or None,
        shares=(valid, test),
    )
    return node_dataset(
        path.stem,
        pairs,
        y,
        splits,
        len(y),
        x=features(arrays, len(y), source=path.name),
        names=arrays["names"].tolist() if "names" in arrays else None,
        classes=arrays["classes"].tolist() if "classes" in arrays else None,
    )


def read_labels(path: Path) -> Labels:
    """The rows of a table of labels; a header may name the columns, in any order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a row is too short, or says what no split is; names the line.
    """
    table = _with_header(read_table(path))
    node, label, part = _columns(table)
    rows = list(cells(table))
    for k, row in enumerate(rows):
        if len(row) <= max(node, label, part) or not row[node]:
            raise ValueError(f"{line_of(table, k)}: expected a node and its label, got {row}")
    if part < 0:
        return Labels(table, [row[node] for row in rows], [row[label] for row in rows], None)
    for k, row in enumerate(rows):
        if row[part] and row[part].lower() not in SPLITS:
            raise ValueError(
                f"{line_of(table, k)}: a split must be train, valid or test, got {row[part]!r}"
            )
    parts = [row[part].lower() for row in rows]
    return Labels(table, [row[node] for row in rows], [row[label] for row in rows], parts)


def number_classes(labels: list[str]) -> tuple[Tensor, list[str] | None]:
    """A number for each label, and the names of the classes where these are no numbers from 0.

    Args:
        labels: Words or numbers; empty and -1 are no label.
    """
    named = sorted({label for label in labels if label not in ("", "-1")})
    if all(label.isdecimal() for label in named):
        named.sort(key=int)
        if [int(label) for label in named] == list(range(len(named))):
            number = {label: int(label) for label in named}
            return torch.tensor([number.get(label, -1) for label in labels]).long(), None
    number = {label: k for k, label in enumerate(named)}
    return torch.tensor([number.get(label, -1) for label in labels]).long(), named


def _with_header(table: Table) -> Table:
    """A header of words above words is one, if it says which column holds the labels."""
    first = tuple(cell.lower() for cell in next(cells(table), []))
    if table.header or not (set(first) & set(_LABELS) and set(first) & set(_NODES)):
        return table
    return table._replace(header=first, lines=table.lines[1:])


def _columns(table: Table) -> tuple[int, int, int]:
    """Where node, label and split are; -1 is no split."""
    header, width = table.header, len(next(cells(table), table.header))
    node = next((header.index(key) for key in _NODES if key in header), 0)
    label = next((header.index(key) for key in _LABELS if key in header), 1)
    if header:
        return node, label, header.index("split") if "split" in header else -1
    return node, label, 2 if width > 2 else -1


def _index(found: Labels, count: int, names: Sequence[str] | None) -> Tensor:
    """The node of each row."""
    known = [str(node) for node in range(count)] if names is None else names
    row_of = {name: k for k, name in enumerate(known)}
    seen: set[str] = set()
    for k, node in enumerate(found.nodes):
        if node not in row_of:
            raise ValueError(
                f"{line_of(found.table, k)}: node {node!r} is not in the graph of {count} nodes"
            )
        if node in seen:
            raise ValueError(f"{line_of(found.table, k)}: node {node!r} has two labels")
        seen.add(node)
    return torch.tensor([row_of[node] for node in found.nodes]).long()


def _given(found: Labels, index: Tensor) -> dict[Split, Tensor] | None:
    if found.parts is None:
        return None
    parts = [SPLITS.get(part) for part in found.parts]
    splits: tuple[Split, ...] = ("train", "valid", "test")
    return {split: index[torch.tensor([part == split for part in parts])] for split in splits}

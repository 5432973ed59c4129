"""A user's own graph: a text file of edges and, if there is one, a table of node features."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlearn.data.dataset import Dataset
from graphlearn.data.pairs import simple_pairs
from graphlearn.data.splits import link_dataset, split_links
from graphlearn.data.table import Table, cells, is_number, line_of, numbers, read_table

__all__ = ["NodeTable", "check_range", "number_nodes", "read_edges", "read_ends", "read_features"]

_log = logging.getLogger(__name__)
_KEYS = ("id", "name", "node", "node_id", "label")
_Ids = npt.NDArray[np.int64]
_Ends = npt.NDArray[Any]


class NodeTable(NamedTuple):
    """Node features, and the name of each row where the file has names."""

    x: Tensor
    names: list[str] | None


def read_edges(
    path: Path,
    *,
    features: Path | None = None,
    num_nodes: int = 0,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.1,
    test: float = 0.2,
) -> Dataset:
    """A data set from a list of edges, two columns separated by comma, tab, semicolon or space.

    Ids are either whole numbers from 0, or names of any kind. A file in which more than half of
    the ends are numbers is numeric, and another token in it is an error. Numbers of which less
    than half are in use are taken as names, unless features or `num_nodes` say otherwise.
    A header may name the columns (`src,dst`, `source,target`); other columns are ignored.

    Args:
        path: A .csv, .tsv or .txt file, or one of them with .gz.
        features: Features of the nodes, see `read_features`.
        num_nodes: Number of nodes; 0 finds it from the features or the largest id.
        seed: Seed of the split.
        protocol: `auto`, `random`, `planetoid` or `heart`.
        valid: Share of validation edges.
        test: Share of test edges.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, an id is not valid, or the graph cannot be split.
    """
    table = read_table(path)
    nodes = read_features(features) if features else None
    width = len(table.header or next(cells(table), []))
    if width > 2:
        _log.warning("%s: ignored %d further columns", path, width - 2)
    ends = read_ends(table, table.ends())
    ids, count, names = number_nodes(table, ends, nodes, num_nodes)
    pairs = simple_pairs(torch.from_numpy(ids.T.copy()), count, source=path.name)
    splits = split_links(pairs, count, protocol=protocol, seed=seed, valid=valid, test=test)
    return link_dataset(
        path.name.partition(".")[0] or path.name,
        splits,
        count,
        x=nodes.x if nodes else None,
        names=names,
        metric="hits@100" if protocol == "planetoid" else None,
    )


def read_features(path: Path) -> NodeTable:
    """Node features from a .npy array (N, F) or a text table with one row for each node.

    Row k belongs to node k, unless the first column is called id, name or node or holds words:
    then it says which node the row belongs to.

    Args:
        path: A .npy, .csv, .tsv or .txt file, text also with .gz.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if rows differ in length, or a feature is no finite number.
    """
    if path.suffix.lower() == ".npy":
        return NodeTable(_finite(_load_npy(path), str(path)), None)
    if not {".csv", ".tsv", ".txt"} & {suffix.lower() for suffix in path.suffixes[-2:]}:
        raise ValueError(f"features must be a .npy, .csv, .tsv or .txt file, got {path}")
    table = read_table(path)
    rows = list(cells(table)) if len(table.lines) else [[]]
    keyed = table.header[:1] in {(key,) for key in _KEYS} or not is_number((rows[0] or [""])[0])
    width = len(table.header or rows[0])
    values = None
    if all(len(row) == width for row in rows):
        values = numbers(table, list(range(int(keyed), width)), np.float32)
    if values is None or not np.isfinite(values).all():
        _refuse_features(table, rows, width, keyed)
    names = [row[0] for row in rows] if keyed else None
    if names and len(set(names)) < len(names):
        second = next(k for k, name in enumerate(names) if name in names[:k])
        raise ValueError(f"{line_of(table, second)}: node {names[second]!r} has two rows")
    return NodeTable(torch.from_numpy(values), names)


def read_ends(table: Table, columns: tuple[int, int]) -> _Ends:
    """Both ends of every row (E, 2): numbers if they all are, else names.

    Args:
        table: The rows.
        columns: Which columns hold the ends.

    Raises:
        ValueError: if an end is missing, or a word stands among numbers; names the line.
    """
    ids = numbers(table, list(columns), np.int64)
    return _read_names(table, list(columns)) if ids is None else ids


def number_nodes(
    table: Table, ends: _Ends, nodes: NodeTable | None, num_nodes: int
) -> tuple[_Ids, int, Sequence[str] | None]:
    """Ids from 0, the number of nodes, and their names where they have some.

    Args:
        table: Where the ends come from.
        ends: Numbers or names (E, 2), see `read_ends`.
        nodes: Features of the nodes, if there are any.
        num_nodes: Number of nodes; 0 finds it from the features or the largest id.

    Raises:
        ValueError: if an id is out of range, or does not fit the features; names the line.
    """
    known = nodes.x.shape[0] if nodes else num_nodes
    if nodes and num_nodes not in (0, known):
        raise ValueError(f"num_nodes is {num_nodes}, but the features have {known} rows")
    if nodes and nodes.names is not None:
        return _look_up(table, ends.astype(str), nodes.names), known, nodes.names
    if ends.dtype.kind == "U":
        if known:
            raise ValueError(
                f"{table.path} names its nodes: num_nodes must be 0, and the first column of the "
                "features must hold the names"
            )
        return _compact(ends)
    check_range(table, ends, known)
    largest = int(ends.max(initial=-1))
    if not known and 2 * len(np.unique(ends)) < largest + 1:
        _log.warning("%s: ids have gaps; they are kept as names of the nodes", table.path)
        return _compact(ends)
    return ends, known or largest + 1, None


def check_range(table: Table, ids: _Ids, known: int) -> None:
    """Refuse an id that is negative, or too large for the nodes there are.

    Args:
        table: Where the ids come from.
        ids: Both ends of every row (E, 2).
        known: Number of nodes; 0 is any number.

    Raises:
        ValueError: names the line of the first such id.
    """
    bad = (ids < 0) | (ids >= known) if known else ids < 0
    if bad.any():
        row, end = np.argwhere(bad)[0].tolist()
        where, value = line_of(table, row), ids[row, end]
        if value < 0:
            raise ValueError(f"{where}: node id {value} is negative; ids start at 0")
        raise ValueError(f"{where}: node id {value} is too large for {known} nodes, ids start at 0")


def _refuse_features(table: Table, rows: list[list[str]], width: int, keyed: bool) -> None:
    for k, row in enumerate(rows):
        if len(row) != width:
            raise ValueError(f"{line_of(table, k)}: expected {width} values, got {len(row)}")
        for cell in row[int(keyed) :]:
            if not is_number(cell) or not np.isfinite(np.float32(cell)):
                raise ValueError(f"{line_of(table, k)}: a feature must be a number, got {cell!r}")


def _load_npy(path: Path) -> npt.NDArray[np.float32]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no plain numpy array of numbers") from error
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        raise ValueError(
            f"{path}: features must be numbers of shape (nodes, features), "
            f"got {values.dtype} {values.shape}"
        )
    result: npt.NDArray[np.float32] = values.astype(np.float32)
    return result


def _finite(values: npt.NDArray[np.float32], source: str) -> Tensor:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ValueError(f"{source}: the features of node {bad[0]} are not finite")
    return torch.from_numpy(values)


def _read_names(table: Table, columns: list[int]) -> _Ends:
    rows = list(cells(table))
    for k, row in enumerate(rows):
        if len(row) <= max(columns) or not all(row[column] for column in columns):
            raise ValueError(f"{line_of(table, k)}: expected two ends of an edge, got {row}")
    tokens = [row[column] for row in rows for column in columns]
    if 2 * sum(map(is_number, tokens)) <= len(tokens):
        return np.array(tokens).reshape(-1, 2)
    for k, token in enumerate(tokens):
        if not token.removeprefix("-").isdecimal() or len(token) > 18:
            raise ValueError(f"{line_of(table, k // 2)}: node id {token!r} is not a whole number")
    return np.array(tokens, dtype=np.int64).reshape(-1, 2)


def _look_up(table: Table, ends: _Ends, names: list[str]) -> _Ids:
    row_of = {name: k for k, name in enumerate(names)}
    ids = np.array([row_of.get(name, -1) for name in ends.ravel()], dtype=np.int64).reshape(-1, 2)
    missing = np.argwhere(ids < 0)
    if len(missing):
        row, end = missing[0].tolist()
        raise ValueError(f"{line_of(table, row)}: node {str(ends[row, end])!r} has no features")
    return ids


def _compact(ends: _Ends) -> tuple[_Ids, int, list[str]]:
    """Ids in the order of the sorted names."""
    names, ids = np.unique(ends, return_inverse=True)
    return ids.reshape(-1, 2).astype(np.int64), len(names), [str(name) for name in names]

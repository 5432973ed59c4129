"""A folder of tables as a graph of several types.

`author.csv` holds the nodes of type `author`: a column `id`, perhaps `label` and `split` (`train`,
`valid` or `test`), and features in all other columns. `author-writes-paper.csv` holds the edges of
type (author, writes, paper): ids of authors and of papers. Every table has a header; .tsv and .gz
will do as well.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphlearn.data.dataset import Dataset
from graphlearn.data.hetero import EdgeType, hetero_dataset
from graphlearn.data.labels import SPLITS, number_classes
from graphlearn.data.node_splits import split_nodes
from graphlearn.data.table import Table, cells, check_width, is_number, line_of, numbers, read_table
from graphlearn.extras import nearest
from graphlearn.train.task import Split

__all__ = ["holds_tables", "read_hetero_folder"]

_log = logging.getLogger(__name__)
_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_SPECIAL = ("id", "label", "split")


class _Nodes(NamedTuple):
    """The nodes of a type: their table, ids, row of each id, and features."""

    table: Table
    ids: list[str]
    row_of: Mapping[str, int]
    x: Tensor | None


def read_hetero_folder(
    path: Path,
    *,
    target: str = "",
    undirected: bool = False,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A data set from a folder of node tables and edge tables.

    Args:
        path: The folder; files of another suffix are left alone.
        target: The node type whose classes are predicted; empty is the one with a column `label`.
        undirected: Add the reverse of every edge type that has none.
        seed: Seed of a split at random.
        protocol: `auto` takes the column `split` if there is one, else divides each class;
            `public`, `random` and `stratified` say which.
        valid: Share of validation nodes of a stratified split.
        test: Share of its test nodes.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a table is not valid, or an edge names a node that is not there; names file
            and line.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no such folder: {path}")
    node_files, edge_files = _files(path)
    if not node_files or not edge_files:
        raise ValueError(
            f"{path} must hold tables of nodes (paper.csv) and of edges "
            f"(author-writes-paper.csv), got {len(node_files)} and {len(edge_files)}"
        )
    nodes = {kind: _nodes(file) for kind, file in node_files.items()}
    target = _target(path, target, nodes)
    data = HeteroData()
    for kind, found in nodes.items():
        data[kind].num_nodes = len(found.ids)
        if found.x is not None:
            data[kind].x = found.x
    for edge_type, file in edge_files.items():
        for kind in (edge_type[0], edge_type[2]):
            if kind not in nodes:
                raise ValueError(
                    f"{file}: no table of the nodes of type {kind!r}{nearest(kind, nodes)}; "
                    f"expected {kind}.csv with a column id"
                )
        data[edge_type].edge_index = _edges(file, edge_type, nodes)
    y, classes = number_classes(_column(nodes[target].table, "label"))
    data[target].y = y
    name = path.resolve().name
    splits = split_nodes(
        y,
        protocol=protocol,
        source=name,
        seed=seed,
        given=_given(nodes[target].table),
        shares=(valid, test),
    )
    return hetero_dataset(
        name, data, target, splits, names=nodes[target].ids, classes=classes, undirected=undirected
    )


def holds_tables(path: Path) -> bool:
    """Whether a path is a folder with a table whose name is that of an edge type."""
    return path.is_dir() and any(stem.count("-") == 2 for stem in _stems(path))


def _stems(path: Path) -> dict[str, Path]:
    """The tables of a folder by what their names say, sorted."""
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        suffix = next((end for end in _SUFFIXES if file.name.lower().endswith(end)), "")
        if not suffix or file.name.startswith(".") or not file.is_file():
            continue
        stem = file.name[: -len(suffix)]
        if stem in found:
            raise ValueError(f"{path} holds {found[stem].name} and {file.name}; keep one of them")
        found[stem] = file
    return found


def _files(path: Path) -> tuple[dict[str, Path], dict[EdgeType, Path]]:
    """The tables of nodes by type, and those of edges."""
    nodes: dict[str, Path] = {}
    edges: dict[EdgeType, Path] = {}
    for stem, file in _stems(path).items():
        parts = stem.split("-")
        if len(parts) not in (1, 3) or not all(parts):
            raise ValueError(
                f"{file}: a table is called type.csv or source-relation-target.csv, got the parts "
                f"{parts}; rename it, for example with _ for -"
            )
        if len(parts) == 1:
            nodes[stem] = file
        else:
            edges[parts[0], parts[1], parts[2]] = file
    return nodes, edges


def _table(path: Path) -> Table:
    """A table whose first line is a header, whatever it looks like."""
    table = read_table(path)
    if table.separator is None:  # a single column, whose cells may hold spaces
        table = table._replace(separator="\t" if ".tsv" in path.name.lower() else ",")
        table = table._replace(header=(" ".join(table.header),) if table.header else ())
    if not table.header:
        header = tuple(cell.lower() for cell in next(cells(table)))
        table = table._replace(header=header, lines=table.lines[1:])
    twice = [name for k, name in enumerate(table.header) if name in table.header[:k]]
    if twice:
        raise ValueError(f"{path}: the header names the column {twice[0]!r} twice")
    width = check_width(table)
    if width != len(table.header):
        raise ValueError(
            f"{line_of(table, 0)}: expected {len(table.header)} values as in the header, "
            f"got {width}"
        )
    return table


def _nodes(path: Path) -> _Nodes:
    table = _table(path)
    if "id" not in table.header:
        raise ValueError(f"{path} must have a column id, its header is {', '.join(table.header)}")
    if not table.lines:
        raise ValueError(f"{path} holds no nodes, only a header")
    ids = _column(table, "id")
    row_of: dict[str, int] = {}
    for row, node in enumerate(ids):
        if not node or node in row_of:
            what = f"the id {node!r} is there twice" if node else "expected an id, got none"
            raise ValueError(f"{line_of(table, row)}: {what}")
        row_of[node] = row
    columns = [k for k, name in enumerate(table.header) if name not in _SPECIAL]
    return _Nodes(table, ids, row_of, _features(table, columns) if columns else None)


def _features(table: Table, columns: list[int]) -> Tensor:
    found = numbers(table, columns, np.float64)
    if found is None or not np.isfinite(found).all():
        for row, line in enumerate(cells(table)):
            for k in columns:
                if not is_number(line[k]) or not np.isfinite(float(line[k])):
                    raise ValueError(
                        f"{line_of(table, row)}: the feature {table.header[k]!r} must be a finite "
                        f"number, got {line[k]!r}"
                    )
    if found is None:  # a number that only Python reads
        found = np.array([[float(line[k]) for k in columns] for line in cells(table)])
    return torch.from_numpy(found.astype(np.float32))


def _edges(path: Path, edge_type: EdgeType, nodes: Mapping[str, _Nodes]) -> Tensor:
    table, kinds = _table(path), (edge_type[0], edge_type[2])
    if len(table.header) < 2:
        raise ValueError(
            f"{path} must have two columns, ids of {kinds[0]!r} and of {kinds[1]!r}, "
            f"its header is {table.header[0]!r}"
        )
    ends = _ends(table, kinds)
    if len(table.header) > 2:
        _log.warning("%s: ignored %d further columns", path, len(table.header) - 2)
    known = [{node.lower() for node in nodes[kind].ids} for kind in kinds]
    if all(table.header[k] in ids for k, ids in zip(ends, known, strict=True)):
        raise ValueError(
            f"{path} must begin with a header such as {kinds[0]},{kinds[1]}; its first line holds "
            f"the ids {table.header[ends[0]]!r} and {table.header[ends[1]]!r}"
        )
    rows: list[list[int]] = [[], []]
    for line, row in enumerate(cells(table)):
        for side, kind in enumerate(kinds):
            node = row[ends[side]]
            if node not in nodes[kind].row_of:
                raise ValueError(
                    f"{line_of(table, line)}: {node!r} is no id of {kind!r}, see "
                    f"{nodes[kind].table.path.name}"
                )
            rows[side].append(nodes[kind].row_of[node])
    return torch.tensor(rows, dtype=torch.long).reshape(2, -1)


def _ends(table: Table, kinds: tuple[str, str]) -> tuple[int, int]:
    """The columns of source and destination: those that the header calls so, else the first two."""
    header = list(table.header)
    for end in ("", "_id"):
        names = [f"{kind.lower()}{end}" for kind in kinds]
        if kinds[0] != kinds[1] and set(names) <= set(header):
            return header.index(names[0]), header.index(names[1])
    return table.ends()


def _target(path: Path, target: str, nodes: Mapping[str, _Nodes]) -> str:
    """The type whose nodes have labels, which must be said if there are several."""
    labelled = [kind for kind, found in nodes.items() if "label" in found.table.header]
    if target and target not in nodes:
        raise ValueError(
            f"{path} has no nodes of type {target!r}{nearest(target, nodes)}; "
            f"there are {', '.join(nodes)}"
        )
    if target and target not in labelled:
        raise ValueError(f"{nodes[target].table.path} has no column label")
    if not labelled:
        raise ValueError(
            f"{path}: no table of nodes has a column label; there are {', '.join(nodes)}"
        )
    if not target and len(labelled) > 1:
        raise ValueError(
            f"{path}: {' and '.join(labelled)} have a column label; say with target=... "
            "(--data.target) which is predicted"
        )
    return target or labelled[0]


def _column(table: Table, name: str) -> list[str]:
    k = table.header.index(name)
    return [line[k] for line in cells(table)]


def _given(table: Table) -> dict[Split, Tensor] | None:
    """The split that the table of the target says, None if it has no such column."""
    if "split" not in table.header:
        return None
    parts = [part.lower() for part in _column(table, "split")]
    for row, part in enumerate(parts):
        if part and part not in SPLITS:
            raise ValueError(
                f"{line_of(table, row)}: a split must be train, valid or test, got {part!r}"
            )
    splits: tuple[Split, ...] = ("train", "valid", "test")
    return {
        split: torch.tensor([k for k, part in enumerate(parts) if SPLITS.get(part) == split])
        for split in splits
    }

"""A user's own stream of events: a text file, an archive of arrays, or a PyG `TemporalData`."""

import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import TemporalData

from graphlearn.data.archive import features as node_features
from graphlearn.data.archive import open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.edges import check_range, number_nodes, read_ends, read_features
from graphlearn.data.streams import event_dataset
from graphlearn.data.table import (
    Table,
    cells,
    check_width,
    is_number,
    line_of,
    numbers,
    read_header,
    read_table,
)

__all__ = [
    "from_temporal_data",
    "holds_events",
    "read_event_archive",
    "read_events",
]

_log = logging.getLogger(__name__)
_TIMES = ("time", "timestamp", "ts", "t")
_LABELS = ("label", "state_label", "y")
_COUNTERS = ("", "idx", "index", "unnamed: 0")  # columns that only number the rows
_APART = ("user_id", "user")  # a source of this name is no node of the other side
_EXACT = 2.0**53  # whole numbers from here on are not all a float
_Array = npt.NDArray[Any]


class _Stream(NamedTuple):
    """Events as they were found; `where` is how a message calls the event of a row."""

    where: Callable[[int], str]
    src: _Array
    dst: _Array
    t: _Array
    num_nodes: int
    msg: _Array | None = None
    y: _Array | None = None
    x: Tensor | None = None
    names: Sequence[str] | None = None


class _Columns(NamedTuple):
    """What the columns of a table hold; `apart` says that both ends are numbered on their own."""

    ends: tuple[int, int]
    time: int
    label: int | None
    features: list[int]
    apart: bool


def read_events(
    path: Path,
    *,
    features: Path | None = None,
    num_nodes: int = 0,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
    strict: bool = False,
) -> Dataset:
    """A data set from a table of events: source, destination, time, and what else is known.

    A header names the columns: the two ends as in a list of edges (`src,dst`, `from,to`,
    `user_id,item_id`, ...), `time` (also `timestamp`, `ts`, `t`), if there is one `label` (also
    `state_label`, `y`); other columns of numbers are features of the event, columns of words are
    left out. Without a header these are the first three columns, and features. Users and items are
    numbered apart: the items come after the users. Ids follow the rules of `read_edges`.

    Args:
        path: A .csv, .tsv or .txt file, or one of them with .gz.
        features: Features of the nodes, see `read_features`.
        num_nodes: Number of nodes; 0 finds it from the features or the largest id.
        seed: Seed of the split, where nodes are drawn.
        protocol: `auto`, `transductive`, `inductive` or `new-node`, see `split_events`.
        valid: Share of validation events.
        test: Share of test events.
        replay: `all` or `reference`, see `split_events`.
        strict: Refuse events that are not in order of time.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, a row is not valid, or the stream cannot be split.
    """
    table = read_table(path)
    columns = _columns(table)
    nodes = read_features(features) if features else None
    t = _times(table, columns.time)
    ends = read_ends(table, columns.ends)
    if columns.apart:
        if nodes or num_nodes:
            raise ValueError(
                f"{path} numbers users and items apart: features and num_nodes do not apply"
            )
        ids, count, names = _number_apart(table, ends)
    else:
        ids, count, names = number_nodes(table, ends, nodes, num_nodes)
    y = _values(table, [] if columns.label is None else [columns.label], np.float64)
    stream = _Stream(
        lambda row: line_of(table, row),
        ids[:, 0],
        ids[:, 1],
        t,
        count,
        msg=_values(table, columns.features, np.float32),
        y=None if y is None else y[:, 0],
        x=nodes.x if nodes else None,
        names=names,
    )
    data = _sorted(path.name, stream, strict=strict)
    name = path.name.partition(".")[0] or path.name
    return event_dataset(
        name, data, count, protocol=protocol, seed=seed, valid=valid, test=test, replay=replay,
        names=names,
    )  # fmt: skip


def read_event_archive(
    path: Path,
    *,
    num_nodes: int = 0,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
    strict: bool = False,
) -> Dataset:
    """A data set from an archive of plain arrays.

    Keys: `src`, `dst` and `t` (E,), and where known `msg` (E, F), `y` (E,), `num_nodes`, node
    features `x` (N, F), and `names` or the ids of the source, `orig_id` (N,).

    Args:
        path: The archive (.npz).
        num_nodes: Number of nodes; 0 takes what the archive says, or the largest id.
        seed: Seed of the split, where nodes are drawn.
        protocol: `auto`, `transductive`, `inductive` or `new-node`, see `split_events`.
        valid: Share of validation events.
        test: Share of test events.
        replay: `all` or `reference`, see `split_events`.
        strict: Refuse events that are not in order of time.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the archive is damaged or holds no events, or they cannot be split.
    """
    arrays = open_npz(path)
    missing = [key for key in ("src", "dst", "t") if key not in arrays]
    if missing:
        raise ValueError(f"{path.name} has no array {missing[0]!r}, only {sorted(arrays)}")
    stream = _checked(path.name, arrays, num_nodes or int(arrays.get("num_nodes", 0)))
    names = arrays["names"] if "names" in arrays else arrays.get("orig_id")
    if names is not None and len(names) != stream.num_nodes:
        raise ValueError(f"{path.name}: {len(names)} names for {stream.num_nodes} nodes")
    x = node_features(arrays, stream.num_nodes, source=path.name)
    data = _sorted(path.name, stream._replace(x=x), strict=strict)
    return event_dataset(
        path.stem, data, stream.num_nodes, protocol=protocol, seed=seed, valid=valid, test=test,
        replay=replay, names=None if names is None else [str(name) for name in names.tolist()],
    )  # fmt: skip


def from_temporal_data(
    data: TemporalData,
    *,
    num_nodes: int = 0,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
    strict: bool = False,
) -> Dataset:
    """A data set from a PyG `TemporalData`, which is left as it is.

    Args:
        data: Holds `src`, `dst` and `t` (E,) and, if it has them, `msg` (E, F), `y` (E,) and node
            features `x` (N, F).
        num_nodes: Number of nodes; 0 finds it from the features or the largest id.
        seed: Seed of the split, where nodes are drawn.
        protocol: `auto`, `transductive`, `inductive` or `new-node`, see `split_events`.
        valid: Share of validation events.
        test: Share of test events.
        replay: `all` or `reference`, see `split_events`.
        strict: Refuse events that are not in order of time.

    Raises:
        ValueError: if events are missing or not valid, or they cannot be split.
    """
    keys = [key for key in ("src", "dst", "t", "msg", "y", "x") if key in data]
    missing = {"src", "dst", "t"} - set(keys)
    if missing:
        raise ValueError(f"the TemporalData object has no {min(missing)}")
    arrays = {key: data[key].detach().cpu().numpy() for key in keys}
    known = num_nodes or len(arrays.get("x", ()))
    stream = _checked("TemporalData", arrays, known)
    x = node_features(arrays, stream.num_nodes, source="TemporalData")
    ordered = _sorted("TemporalData", stream._replace(x=x), strict=strict)
    return event_dataset(
        "pyg", ordered, stream.num_nodes, protocol=protocol, seed=seed, valid=valid, test=test,
        replay=replay,
    )  # fmt: skip


def holds_events(path: Path) -> bool:
    """Whether a table has a header that names a time, or an archive the arrays of a stream.

    Args:
        path: A file of any kind; one that cannot be read holds none.
    """
    if path.suffix.lower() == ".npz":
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {"src", "dst", "t"} <= set(archive.files)
        except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile):
            return False
    header = read_header(path)
    return len(header) > 2 and any(name in header for name in _TIMES)


def _columns(table: Table) -> _Columns:
    """What each column holds, by the header or by its place."""
    width, header = check_width(table), table.header
    if not table.lines:
        raise ValueError(f"{table.path} holds no events")
    tail = bool(header) and "feature" in header[-1] and width != len(header)
    if header and not tail and width != len(header):
        raise ValueError(f"{table.path}: {len(header)} names of columns, but rows of {width}")
    times = [header.index(name) for name in _TIMES if name in header] if header else [2]
    if not times or width < 3:
        raise ValueError(
            f"{table.path}: an event needs source, destination and time, "
            + (
                f"got the columns {list(header)}; call one of them {', '.join(_TIMES)}"
                if header
                else f"got {width} columns"
            )
        )
    others = [k for k in range(width) if k != times[0]]
    source, target = table.ends()
    ends = (source, target) if times[0] not in (source, target) else (others[0], others[1])
    label = next((header.index(name) for name in _LABELS if name in header[:width]), None)
    last = len(header) - 1 if tail else width  # one name stands for all features that follow
    skipped = [k for k in range(min(last, len(header))) if header[k] in _COUNTERS]
    taken = {times[0], *ends, label, *skipped}
    features = [k for k in range(width) if k not in taken]
    apart = bool(header) and header[ends[0]] in _APART
    return _Columns(ends, times[0], label, features, apart)


def _times(table: Table, column: int) -> _Array:
    for kind in (np.int64, np.float64):  # in this order: a float holds 53 bits
        found = numbers(table, [column], kind)
        if found is not None:
            return found[:, 0]
    rows = ((row, line[column]) for row, line in enumerate(cells(table)))
    row, cell = next((row, cell) for row, cell in rows if not is_number(cell))
    raise ValueError(f"{line_of(table, row)}: time {cell!r} is not a number")


def _values(table: Table, columns: list[int], kind: type) -> _Array | None:
    """Some columns as finite numbers, without those of words; None if nothing is left."""
    found = numbers(table, columns, kind) if columns else None
    if columns and found is None:
        rows = list(cells(table))
        words = [k for k in columns if not any(is_number(row[k]) or not row[k] for row in rows)]
        if words:
            named = [table.header[k] if table.header else k + 1 for k in words]
            _log.warning("%s: ignored the columns %s, which hold words", table.path, named)
            return _values(table, [k for k in columns if k not in words], kind)
        bad = next(
            (n, row[k]) for n, row in enumerate(rows) for k in columns if not is_number(row[k])
        )
        what = f"{bad[1]!r} is not a number" if bad[1] else "is missing"
        raise ValueError(f"{line_of(table, bad[0])}: a feature {what}")
    if found is not None and not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise ValueError(f"{line_of(table, row)}: a feature is not finite")
    return found


def _number_apart(table: Table, ends: _Array) -> tuple[_Array, int, Sequence[str] | None]:
    """Ids of users, then of items, and names where they are not numbered from 0 already."""
    if ends.dtype.kind != "U":
        check_range(table, ends, 0)
    sides = [np.unique(ends[:, side], return_inverse=True) for side in (0, 1)]
    named = [own.dtype.kind == "U" or 2 * len(own) < int(own[-1]) + 1 for own, _ in sides]
    if not any(named):
        sizes = [int(own[-1]) + 1 for own, _ in sides]
        return ends + np.array([0, sizes[0]]), sum(sizes), None
    (users, user), (items, item) = sides
    ids = np.stack([user.reshape(-1), item.reshape(-1) + len(users)], axis=1)
    names = [str(name) for name in users.tolist()], [str(name) for name in items.tolist()]
    if set(names[0]) & set(names[1]):
        names = [f"user {name}" for name in names[0]], [f"item {name}" for name in names[1]]
    return ids, len(users) + len(items), names[0] + names[1]


def _checked(source: str, arrays: Mapping[str, _Array], num_nodes: int) -> _Stream:
    """Arrays of the right shape and kind; `num_nodes` of 0 is found from the largest id."""
    count = len(arrays["src"]) if arrays["src"].ndim else 0
    for key, kinds in (("src", "iu"), ("dst", "iu"), ("t", "iuf"), ("y", "biuf"), ("msg", "biuf")):
        if key not in arrays:
            continue
        array = arrays[key]
        flat = array.ndim == 1 or (key == "msg" and array.ndim == 2)
        if not flat or array.dtype.kind not in kinds or len(array) != count:
            what = "whole numbers" if kinds == "iu" else "numbers"
            raise ValueError(
                f"{source}: {key} must hold {count} rows of {what}, got {array.dtype} {array.shape}"
            )
    src, dst = (arrays[key].astype(np.int64) for key in ("src", "dst"))
    msg = arrays["msg"].reshape(count, -1).astype(np.float32) if "msg" in arrays else None
    if msg is not None and not np.isfinite(msg).all():
        row = int(np.flatnonzero(~np.isfinite(msg).all(axis=1))[0])
        raise ValueError(f"{source}, event {row}: a feature is not finite")
    found = max(int(src.max(initial=-1)), int(dst.max(initial=-1))) + 1
    where = f"{source}, event {{}}".format
    return _Stream(where, src, dst, arrays["t"], num_nodes or found, msg, arrays.get("y"))


def _sorted(source: str, stream: _Stream, *, strict: bool) -> TemporalData:
    """The stream in order of time, equal times in the order of the source."""
    t, where = stream.t, stream.where
    bad = np.flatnonzero(~(np.isfinite(t) & (t >= 0)))
    if len(bad):
        raise ValueError(
            f"{where(int(bad[0]))}: time must be a finite number from 0, got {t[bad[0]]}"
        )
    t = _whole(t)
    back = np.flatnonzero(t[1:] < t[:-1]) + 1
    order: slice | _Array = slice(None)
    if len(back):
        first = int(back[0])
        what = f"{where(first)}: time {t[first]} comes after {t[first - 1]}"
        if strict:
            raise ValueError(f"{what}; sort the events by time")
        _log.warning("%s: events were not in order of time, now they are (%s)", source, what)
        order = np.argsort(t, kind="stable")
    parts = {"src": stream.src, "dst": stream.dst, "t": t, "msg": stream.msg}
    if stream.y is not None:
        y = _whole(stream.y)
        parts["y"] = y if y.dtype == np.int64 else y.astype(np.float32)
    tensors = {
        key: torch.from_numpy(np.ascontiguousarray(part[order]))
        for key, part in parts.items()
        if part is not None
    }
    if stream.x is not None:
        tensors["x"] = stream.x
    return TemporalData(**tensors)


def _whole(values: _Array) -> _Array:
    """int64 where that is exact, else float64."""
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    values = values.astype(np.float64)
    exact = (values == np.floor(values)) & (np.abs(values) < _EXACT)
    return values.astype(np.int64) if exact.all() else values

"""The columns of a table of interactions: users, items, ratings and times."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graphlearn.data.table import (
    Table,
    cells,
    check_width,
    is_number,
    line_of,
    numbers,
    read_table,
)

__all__ = ["read_rows"]

_log = logging.getLogger(__name__)
_USERS = ("user", "user_id", "userid", "user-id", "u", "uid", "reviewer", "reviewer_id")
_ITEMS = (
    "i",
    "iid",
    "isbn",
    "asin",
    *(
        name + tail
        for name in ("item", "movie", "book", "product", "artist", "track", "business", "news")
        for tail in ("", "_id", "id", "-id")
    ),
)
_RATINGS = ("rating", "ratings", "score", "stars", "book-rating")
_TIMES = ("time", "timestamp", "ts", "t", "date")
_Array = npt.NDArray[Any]


def read_rows(path: Path) -> dict[str, _Array]:
    """The columns `user`, `item` and, where there are, `rating` and `time` of a table.

    Args:
        path: See `read_interactions`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a row is not valid; names the line.
    """
    table = _headed(read_table(path))
    width = check_width(table)
    if not table.lines:
        raise ValueError(f"{path} holds no interactions")
    if width < 2:
        raise ValueError(f"{path}: an interaction needs a user and an item, got {width} column")
    columns = _columns(table, width)
    return {what: _column(table, what, column) for what, column in columns.items()}


def _headed(table: Table) -> Table:
    """The table with `::` as a separator, and a header that has words below it too."""
    lines = table.lines
    header = table.header
    if table.separator is None and "::" in (lines or ["::".join(header)])[0]:
        split = tuple(name for cell in header for name in cell.split("::"))
        table = Table(table.path, split, [line.replace("::", "\t") for line in lines], "\t")
    if not table.header and table.lines:
        first = tuple(cell.lower() for cell in next(cells(table)))
        if set(first) & set(_USERS) and set(first) & set(_ITEMS):
            return table._replace(header=first, lines=table.lines[1:])
    return table


def _columns(table: Table, width: int) -> dict[str, int]:
    """Which column holds what, by the header or by its place."""
    header = table.header[:width]
    named = {
        what: next((header.index(name) for name in names if name in header), None)
        for what, names in (
            ("user", _USERS),
            ("item", _ITEMS),
            ("rating", _RATINGS),
            ("time", _TIMES),
        )
    }
    found = {what: column for what, column in named.items() if column is not None}
    if header and len(table.header) != width:
        raise ValueError(f"{table.path}: {len(table.header)} names of columns, but rows of {width}")
    if ("user" in found) != ("item" in found):
        raise ValueError(
            f"{table.path} has the columns {list(header)}; call those of users and items "
            "user and item"
        )
    if "user" in found:
        return found
    if header:
        _log.warning(
            "%s: the header %s names no users and items, the place of a column decides",
            table.path, list(header),
        )  # fmt: skip
    first = next(cells(table))
    places = {"user": 0, "item": 1}
    if width > 2 and any(is_number(row[2]) for row in cells(table)):
        places["rating"] = 2
    if width > 3 and "rating" in places and is_number(first[3]):
        places["time"] = 3
    return places


def _column(table: Table, what: str, column: int) -> _Array:
    kinds = (np.int64, np.float64) if what in ("rating", "time") else (np.int64,)
    for kind in kinds:
        found = numbers(table, [column], kind)
        if found is not None:
            bad = np.flatnonzero(~np.isfinite(found[:, 0]))
            if len(bad):
                where = line_of(table, int(bad[0]))
                raise ValueError(f"{where}: {what} must be a finite number, got {found[bad[0], 0]}")
            return found[:, 0]
    values = [row[column] for row in cells(table)]
    dated = what == "time" and _is_date(values[0])
    for row, value in enumerate(values):
        if what in ("rating", "time") and not (_is_date if dated else is_number)(value):
            kind_of = "a number or a date" if what == "time" else "a number"
            raise ValueError(f"{line_of(table, row)}: {what} must be {kind_of}, got {value!r}")
        if not value:
            raise ValueError(f"{line_of(table, row)}: the {what} is missing")
    return np.array(values, dtype="datetime64[s]").astype(np.int64) if dated else np.array(values)


def _is_date(value: str) -> bool:
    try:
        np.datetime64(value, "s")
    except ValueError:
        return False
    return value[:1].isdigit()  # numpy knows words such as "today" too

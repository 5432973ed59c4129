"""Reading delimited text fast, with the file and the line in every message."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "Table",
    "cells",
    "check_width",
    "is_number",
    "line_of",
    "numbers",
    "read_header",
    "read_table",
]

_ENDS = (
    ("src", "dst"),
    ("source", "target"),
    ("source", "destination"),
    ("from", "to"),
    ("head", "tail"),
    ("u", "v"),
    ("node1", "node2"),
    ("user_id", "item_id"),
    ("user", "item"),
    ("u", "i"),
    ("sender", "receiver"),
)


class Table(NamedTuple):
    """The lines of a text file that hold data.

    Args:
        path: Where they come from.
        header: Lower-case names of the columns; empty if the file has no header.
        lines: Data lines, without comments, blank lines and the header.
        separator: What stands between two cells; None is any white space.
    """

    path: Path
    header: tuple[str, ...]
    lines: list[str]
    separator: str | None

    def ends(self) -> tuple[int, int]:
        """The columns of the two ends of an edge: those the header names, else the first two."""
        for first, second in _ENDS:
            if first in self.header and second in self.header:
                return self.header.index(first), self.header.index(second)
        return 0, 1


def read_table(path: Path) -> Table:
    """The data lines of a text file; lines that start with # or % are comments.

    The first line is a header if it holds no number while the next one does, or if it names the
    two ends of an edge.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a damaged gzip file, is not UTF-8 text, or holds no data.
    """
    return _table(path, [line for _, line in _data_lines(_text(path))])


def read_header(path: Path) -> tuple[str, ...]:
    """The header that `read_table` would find, from the first lines alone; empty if there is none.

    A file that cannot be read has none either: whoever reads all of it says what is wrong.
    """
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    lines: list[str] = []
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            for line in file:
                lines += [line for _, line in _data_lines(line)]
                if len(lines) > 1:
                    break
        return _table(path, lines).header
    except (OSError, EOFError, ValueError, zlib.error):
        return ()


def numbers(table: Table, columns: list[int], dtype: type) -> npt.NDArray[Any] | None:
    """Some columns as an array, or None if a cell is missing or no number of that type."""
    if not table.lines:
        return np.empty((0, len(columns)), dtype)
    try:
        return np.loadtxt(
            table.lines,
            dtype=dtype,
            delimiter=table.separator,
            usecols=columns,
            comments=None,
            quotechar='"' if table.separator else None,
            ndmin=2,
        )
    except ValueError:
        return None


def cells(table: Table) -> Iterator[list[str]]:
    """The cells of each data line, quotes removed."""
    return (_split(line, table.separator) for line in table.lines)


def check_width(table: Table) -> int:
    """The number of cells of every row; that of a header may differ.

    Raises:
        ValueError: if rows differ in length; names the line.
    """
    mark = table.separator
    widths = [
        len(_split(line, mark)) if mark is None or '"' in line else line.count(mark) + 1
        for line in table.lines
    ]
    if len(set(widths)) > 1:
        row = next(k for k, width in enumerate(widths) if width != widths[0])
        raise ValueError(f"{line_of(table, row)}: expected {widths[0]} values, got {widths[row]}")
    return widths[0] if widths else len(table.header)


def line_of(table: Table, row: int) -> str:
    """How a message calls a row: file and line, counted from 1."""
    skipped, lines = row + bool(table.header), _data_lines(_text(table.path))
    number = next(number for k, (number, _) in enumerate(lines) if k == skipped)
    return f"{table.path}, line {number}"


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number, whole or not."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell  # what Python takes for a number, numpy does not


def _table(path: Path, lines: list[str]) -> Table:
    if not lines:
        raise ValueError(f"{path} holds no data")
    separator = _separator(path, lines[0])
    first = [cell.lower() for cell in _split(lines[0], separator)]
    second = _split(lines[1], separator) if len(lines) > 1 else []
    names_ends = any(a in first and b in first for a, b in _ENDS)
    if names_ends or (not any(map(is_number, first)) and any(map(is_number, second))):
        return Table(path, tuple(first), lines[1:], separator)
    return Table(path, (), lines, separator)


def _data_lines(text: str) -> list[tuple[int, str]]:
    lines = enumerate(text.splitlines(), start=1)
    return [(k, line) for k, line in lines if line[:1] not in "#%" and not line.isspace()]


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
        return raw.decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a truncated or damaged gzip file; copy it again") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from error


def _separator(path: Path, line: str) -> str | None:
    by_name = ",;\t" if ".csv" in path.name.lower() else "\t,;"
    return next((mark for mark in by_name if mark in line), None)


def _split(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    if '"' not in line:
        return [cell.strip() for cell in line.split(separator)]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]

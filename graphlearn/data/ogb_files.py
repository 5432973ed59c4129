"""Safe reading of OGB's official files as plain arrays, without unpickling Python objects.

Raw folders go through ogb's own readers, split files through torch's restricted reader with
exactly the NumPy types that OGB wrote. A failure names the file, and the line where there is one.
"""

import contextlib
import gzip
import hashlib
import importlib
import io
import math
import os
import pickle
import re
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch

__all__ = ["Arrays", "fingerprint", "ogb_module", "read_npz", "read_raw", "read_split", "write_npz"]

Arrays: TypeAlias = dict[str, np.ndarray]

_BROKEN = (
    *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, RuntimeError, RuntimeWarning),
    *(AssertionError, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
)


def ogb_module(name: str) -> ModuleType:
    """Import a module of ogb without the thread that asks a package index for updates.

    Args:
        name: Dotted name, `ogb.io.read_graph_raw` for example.
    """
    # ogb starts the thread only if it can import `outdated`; None makes that import fail.
    block = "ogb" not in sys.modules and "outdated" not in sys.modules
    if block:
        sys.modules["outdated"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    finally:
        if block:
            del sys.modules["outdated"]


def read_raw(
    folder: Path, layout: str, *, features: bool = False, node_files: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The graph of a raw folder, as ogb's own reader returns it.

    Args:
        folder: OGB's `raw` folder.
        layout: `csv` (one graph), `npz` (one graph, binary), or `triples` (typed nodes).
        features: Whether the set has node features.
        node_files: Further tables of the nodes (`node_year`).

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file cannot be read; the message names it.
    """
    needed = {
        "csv": ["edge", "num-node-list", "num-edge-list", *node_files] + ["node-feat"] * features,
        "npz": [],
        "triples": ["num-node-dict", "triplet-type-list"],
    }[layout]
    for path in [folder / f"{stem}.csv.gz" for stem in needed] or [folder / "data.npz"]:
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}; unpack OGB's archive of the set again")
    readers = ogb_module("ogb.io.read_graph_raw")
    try:
        with _quiet():
            if layout == "csv":
                graph = readers.read_csv_graph_raw(folder, additional_node_files=list(node_files))
            elif layout == "npz":
                graph = readers.read_binary_graph_raw(folder)
            else:
                graph = readers.read_csv_heterograph_raw(folder)
        return dict(graph[0])
    except _BROKEN as error:
        raise ValueError(_diagnosis(folder, error)) from error


def read_split(path: Path, *, trust_pickle: bool = False) -> Mapping[str, Any]:
    """The dictionary of arrays or tensors in one split file of OGB.

    Args:
        path: A `.pt` file.
        trust_pickle: Fall back to full unpickling, which runs whatever code the file holds.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is broken, or would need full unpickling without `trust_pickle`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; unpack OGB's archive of the set again")
    try:
        with _quiet(), torch.serialization.safe_globals(_numpy_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as error:
        protocol = _pickle_protocol(path)
        if protocol is None:
            raise ValueError(f"{path} is not a file of torch, or only a part of one") from error
        if not trust_pickle:
            raise ValueError(_refusal(path, protocol, error)) from error
        content = _unpickle(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must hold a dictionary, got {type(content).__name__}")
    return content


def read_npz(path: Path) -> Arrays:
    """All arrays of a NumPy archive, never unpickling any.

    Raises:
        ValueError: if it is broken or holds Python objects.
    """
    try:
        # Opened here, because NumPy leaves a broken archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return {key: archive[key] for key in archive.files}
    except _BROKEN as error:
        raise ValueError(
            f"{path} is not a readable npz file of plain arrays ({_line(error)}); "
            "fetch or convert it again"
        ) from error


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a new name and rename it, so that no reader ever sees half a file.

    Raises:
        OSError: if the folder cannot be written; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w") as archive:
            for key, values in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, values, allow_pickle=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def fingerprint(folder: Path) -> str:
    """Digest of the names, sizes and times of all raw and split files."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*folder.glob("raw/**/*"), *folder.glob("split/**/*")]):
        if path.is_file():
            state = path.stat()
            digest.update(
                f"{path.relative_to(folder)} {state.st_size} {state.st_mtime_ns}\n".encode()
            )
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The readers print and draw bars. A cast that cannot hold a value is only a RuntimeWarning to
    # NumPy, but a broken file to us.
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        yield


def _numpy_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What OGB's arrays are pickled with; NumPy 2 renamed its private package."""
    rebuild: Any = np.empty(0).__reduce__()[0]
    scalar: Any = np.int64(0).__reduce__()[0]
    moved = [
        (function, f"numpy.{package}.multiarray.{name}")
        for package in ("core", "_core")
        for function, name in ((rebuild, "_reconstruct"), (scalar, "scalar"))
    ]
    kinds = ["?", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "U1"]
    classes = {type(np.dtype(kind)) for kind in kinds}
    return [*moved, np.ndarray, np.dtype, *sorted(classes, key=lambda c: c.__name__)]


def _pickle_protocol(path: Path) -> int | None:
    """Protocol of the pickle in a file of torch, None if there is none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inner = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                start = archive.read(inner)[:2]
        else:
            with path.open("rb") as file:
                start = file.read(2)
    except (*_BROKEN, StopIteration):
        return None
    return start[1] if len(start) == 2 and start[0] == pickle.PROTO[0] else None


def _refusal(path: Path, protocol: int, error: BaseException) -> str:
    advice = "pass trust_pickle=True only if you trust where it came from"
    if protocol > 2:
        return (
            f"{path} is a pickle of protocol {protocol}, which can only be read by running "
            f"what it holds; {advice}"
        )
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found:
        return f"{path} refused: unpickling it would call {found[1]}, expected arrays; {advice}"
    return f"{path} cannot be read as plain arrays ({_line(error)}); is it complete? else {advice}"


def _unpickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False)
    except (*_BROKEN, ImportError, AttributeError) as error:
        raise ValueError(f"{path} cannot be unpickled ({_line(error)})") from error


def _diagnosis(folder: Path, error: BaseException) -> str:
    """The file of a raw folder that made a reader fail, found by a second look at each."""
    for path in sorted([*folder.rglob("*.csv.gz"), *folder.glob("*.npz")]):
        fault = _fault(path)
        if fault:
            return f"{path}{fault}"
    return f"{folder} is not OGB's raw folder of this set ({_line(error)})"


def _fault(path: Path) -> str:
    try:
        if path.suffix == ".npz":
            read_npz(path)
            return ""
        numeric = path.name not in ("num-node-dict.csv.gz", "triplet-type-list.csv.gz")
        width = None
        with gzip.open(path, "rt") as lines:
            for number, line in enumerate(lines, start=1):
                cells = line.rstrip("\n").split(",")
                width = width or len(cells)
                if len(cells) != width:
                    return f" line {number}: expected {width} columns, got {len(cells)}"
                wrong = [cell for cell in cells if not _is_number(cell)] if numeric else []
                if wrong:
                    return f" line {number}: expected a number, got {wrong[0]!r}"
    except _BROKEN as error:
        return f" is broken ({_line(error)}); fetch it again"
    return ""


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

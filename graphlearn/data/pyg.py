"""Cora, Citeseer and Pubmed for link prediction, read through PyG from the public raw files.

The raw files are pickles. Each is checked against a list of harmless names before anything is
unpickled, so a file from an untrusted source cannot run code.
"""

import pickletools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid
from torch_geometric.io import read_planetoid_data

from graphlearn.data.archive import all_pairs, features, fixed_splits, open_npz
from graphlearn.data.dataset import Dataset, LinkSplit
from graphlearn.data.fetch import fetch
from graphlearn.data.pairs import simple_pairs
from graphlearn.data.splits import (
    check_no_leak,
    link_dataset,
    planetoid_links,
    random_links,
)
from graphlearn.train.task import Split

__all__ = ["check_pickle", "load_planetoid", "raw_folder", "read_named", "read_raw"]

_FOLDERS = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
_SIZES = {"cora": 2708, "citeseer": 3327, "pubmed": 19717}
_HARMLESS = frozenset(
    f"{module} {name}"
    for names, modules in (
        ("csr_matrix", "scipy.sparse.csr scipy.sparse._csr scipy.sparse"),
        ("_reconstruct scalar", "numpy.core.multiarray numpy._core.multiarray"),
        ("ndarray dtype", "numpy"),
        ("encode", "_codecs"),
        ("defaultdict OrderedDict", "collections"),
        ("list dict int object", "__builtin__ builtins"),
    )
    for module in modules.split()
    for name in names.split()
)
_LOOKUPS = frozenset({"STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"})


def load_planetoid(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.1,
    test: float = 0.2,
) -> Dataset:
    """A Planetoid graph, split for link prediction; features are left as they are.

    Looks for `planetoid/<Name>/raw/ind.*` (the layout of PyG) and, for the exact splits of the
    literature, `<name>_linkpred/<name>_linkpred.npz` below `root`. Missing raw files are fetched
    into `root` from where PyG has them.

    Args:
        name: `cora`, `citeseer` or `pubmed`.
        root: Folder of the data sets; it is only written to for a download.
        seed: Seed of the split. With `heart` there is one 85/5/10 split for all seeds.
        protocol: `auto` and `planetoid` are 70/10/20 with Hits@100; also `random` and `heart`.
        valid: Share of validation edges, only with `random`.
        test: Share of test edges, only with `random`.

    Raises:
        FileNotFoundError: if files are missing and cannot be fetched.
        ValueError: if a file is damaged or refused, or the options do not fit.
    """
    if protocol not in ("auto", "planetoid", "random", "heart"):
        raise ValueError(
            f"protocol must be auto, planetoid, random or heart for {name}, got {protocol!r}"
        )
    if protocol != "random" and (valid, test) != (0.1, 0.2):
        raise ValueError(
            f"protocol {protocol!r} of {name} fixes the shares, got valid={valid} and test={test}; "
            "use protocol 'random' for your own"
        )
    archive = root / f"{name}_linkpred" / f"{name}_linkpred.npz"
    arrays = open_npz(archive) if archive.is_file() else {}
    pairs, x, y = _graph(name, root, arrays)
    splits: dict[Split, LinkSplit] | None
    if protocol == "random":
        splits = random_links(pairs, len(x), seed=seed, valid=valid, test=test)
    elif protocol == "heart":
        splits = random_links(pairs, len(x), seed=0, valid=0.05, test=0.1)
    else:
        splits = fixed_splits(arrays, len(x), seed, source=archive.name)
        splits = splits or planetoid_links(pairs, len(x), seed=seed)
    dataset = link_dataset(name, splits, len(x), x=x, y=y, metric="hits@100")
    check_no_leak(dataset)
    return dataset


def read_raw(name: str, folder: Path) -> Data:
    """The graph in a folder of `ind.*` files, after each was found harmless.

    Args:
        name: `cora`, `citeseer` or `pubmed`.
        folder: Holds the eight files.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is refused or damaged.
    """
    for part in _PARTS[:-1]:
        check_pickle(folder / f"ind.{name}.{part}")
    if not (folder / f"ind.{name}.test.index").is_file():
        raise FileNotFoundError(f"no such file: {folder / f'ind.{name}.test.index'}")
    try:
        with warnings.catch_warnings():  # the reader changes the filters of the whole process
            warnings.simplefilter("ignore", DeprecationWarning)
            return read_planetoid_data(str(folder), name)
    except Exception as error:
        raise ValueError(f"the files in {folder} do not fit together; fetch them again") from error


def raw_folder(name: str, root: Path) -> Path:
    """Where the raw files are, after fetching them if they are nowhere.

    Args:
        name: `cora`, `citeseer` or `pubmed`.
        root: Folder of the data sets.

    Raises:
        FileNotFoundError: if they are nowhere and cannot be fetched.
    """
    folder = root / "planetoid" / _FOLDERS[name] / "raw"
    for place in (folder, root / _FOLDERS[name] / "raw"):
        if (place / f"ind.{name}.graph").is_file():
            return place
    try:
        fetch(folder, {file: f"{Planetoid.url}/{file}" for file in _files(name)})
    except OSError as error:
        raise FileNotFoundError(
            f"no raw files of {name} in {folder}, and fetching them failed ({error}); copy the "
            f"eight ind.{name}.* files there, or set GRAPHLEARN_DATA to the folder that has them"
        ) from error
    return folder


def read_named(name: str, root: Path) -> Data:
    """The graph of a name from its raw files, after a check of its size.

    Args:
        name: `cora`, `citeseer` or `pubmed`.
        root: Folder of the data sets; it is only written to for a download.

    Raises:
        FileNotFoundError: if files are missing and cannot be fetched.
        ValueError: if a file is refused or damaged, or is of another graph.
    """
    data = read_raw(name, raw_folder(name, root))
    if data.num_nodes != _SIZES[name]:
        raise ValueError(f"{name} must have {_SIZES[name]} nodes, got {data.num_nodes}")
    return data


def check_pickle(path: Path) -> None:
    """Refuse a pickle that names anything but plain arrays and containers; runs nothing.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is refused, or is no pickle.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            named = opcode.name in ("GLOBAL", "INST")
            if opcode.name in _LOOKUPS or (named and argument not in _HARMLESS):
                what = repr(argument) if named else f"a name by {opcode.name}"
                raise _Refused(f"{path} is refused: it is a pickle that asks for {what}")
    except _Refused as refusal:
        raise ValueError(str(refusal)) from None
    except Exception as error:
        raise ValueError(f"{path} is damaged or no pickle; fetch it again") from error


class _Refused(Exception):
    """Tells a refusal from whatever a malformed pickle makes the parser raise."""


def _graph(
    name: str, root: Path, arrays: Mapping[str, npt.NDArray[Any]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs, features and labels: from the archive if it has them all, else from the raw files."""
    source = f"{name}_linkpred.npz"
    if "edge_index" in arrays and "x_indptr" in arrays and "y" in arrays:
        num_nodes = int(arrays["x_shape"][0])
        x = features(arrays, num_nodes, source=source)
        pairs = all_pairs(arrays, num_nodes, source=source)
        assert x is not None
        return pairs, x, torch.from_numpy(arrays["y"].astype(np.int64))
    data = read_named(name, root)
    return simple_pairs(data.edge_index, data.num_nodes, source=name), data.x, data.y


def _files(name: str) -> list[str]:
    return [f"ind.{name}.{part}" for part in _PARTS]

"""The co-purchase graphs of Amazon and the co-author graphs of the KDD Cup 2016.

A file holds the sparse rows of the adjacency matrix and of the features. Arrays of Python objects,
which some copies have beside them, are never read.

Reference: Shchur et al., "Pitfalls of Graph Neural Network Evaluation", 2018.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.datasets import Amazon

from graphlearn.data.dataset import Dataset
from graphlearn.data.fetch import fetch
from graphlearn.data.node_splits import largest_component, split_nodes
from graphlearn.data.nodes import node_dataset, sparse_rows, undirected

__all__ = ["load_shchur"]


class _Files(NamedTuple):
    """Where PyG looks for a graph, and how many nodes it has."""

    folder: str
    file: str
    num_nodes: int


_FILES = {
    "amazon-computers": _Files("amazon/Computers/raw", "amazon_electronics_computers.npz", 13752),
    "amazon-photo": _Files("amazon/Photo/raw", "amazon_electronics_photo.npz", 7650),
    "coauthor-cs": _Files("coauthor/CS/raw", "ms_academic_cs.npz", 18333),
    "coauthor-physics": _Files("coauthor/Physics/raw", "ms_academic_phy.npz", 34493),
}


def load_shchur(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A co-purchase or co-author graph with the classes of its nodes, and sparse 0/1 features.

    These graphs come without a split. The usual one is drawn from the largest component: 20
    training and 30 validation nodes of each class, all others are the test. Nodes outside that
    component stay in the graph, and are in no split.

    The published loader of DAGNN took positions within the component for node ids, so that its
    splits were not 20 for each class; here they are ids.

    Args:
        name: `amazon-computers`, `amazon-photo`, `coauthor-cs` or `coauthor-physics`.
        root: Folder of the data sets; it is only written to for a download.
        seed: Seed of the split.
        protocol: `auto` and `random`, or `stratified`.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if the file is missing and cannot be fetched.
        ValueError: if it is damaged or holds Python objects, or the options do not fit.
    """
    path = _located(name, root)
    arrays = _read(path)
    num_nodes = len(arrays["labels"])
    if num_nodes != _FILES[name].num_nodes:
        raise ValueError(f"{name} must have {_FILES[name].num_nodes} nodes, got {num_nodes}")
    adjacency = _rows(arrays, "adj", path)
    if adjacency.shape != (num_nodes, num_nodes):
        raise ValueError(
            f"{path}: the adjacency must be {num_nodes} x {num_nodes}, got {tuple(adjacency.shape)}"
        )
    counts = adjacency.crow_indices().diff()
    row = torch.repeat_interleave(torch.arange(num_nodes), counts)
    edge_index = undirected(torch.stack([row, adjacency.col_indices()]), num_nodes)
    y = torch.from_numpy(arrays["labels"].astype(np.int64))
    splits = split_nodes(
        y,
        protocol=protocol,
        source=name,
        seed=seed,
        usual="random",
        nodes=largest_component(edge_index, num_nodes),
        shares=(valid, test),
    )
    # Counts of words and of purchases become 0 and 1, as everybody has it.
    arrays["attr_data"] = (arrays["attr_data"] > 0).astype(np.float32)
    x = _rows(arrays, "attr", path)
    classes = arrays["class_names"].tolist() if "class_names" in arrays else None
    return node_dataset(name, edge_index, y, splits, num_nodes, x=x, classes=classes)


def _located(name: str, root: Path) -> Path:
    """Where the file is, after fetching it if it is nowhere."""
    folder, file, _ = _FILES[name]
    path = root / folder / file
    if path.is_file():
        return path
    try:
        fetch(path.parent, {file: f"{Amazon.url}{file}"})
    except OSError as error:
        raise FileNotFoundError(
            f"no file {path}, and fetching it failed ({error}); copy it there, or set "
            "GRAPHLEARN_DATA to the folder that has it"
        ) from error
    return path


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    needed = [
        f"{part}_{key}"
        for part in ("adj", "attr")
        for key in ("data", "indices", "indptr", "shape")
    ]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in [*needed, "labels"]}
            if "class_names" in archive.files and _is_plain(archive, "class_names"):
                arrays["class_names"] = archive["class_names"]
            return arrays
    except KeyError as error:
        raise ValueError(f"{path} has no array {error.args[0].split()[0]!r}") from error
    except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no archive of plain arrays: {error}") from error


def _is_plain(archive: Any, key: str) -> bool:  # noqa: ANN401
    try:
        archive[key]
    except ValueError:
        return False
    return True


def _rows(arrays: dict[str, npt.NDArray[Any]], part: str, path: Path) -> torch.Tensor:
    shape = arrays[f"{part}_shape"]
    if shape.shape != (2,):
        raise ValueError(f"{path}, {part}: a matrix has two sizes, got shape {shape.tolist()}")
    rows, columns = shape.tolist()
    return sparse_rows(
        arrays[f"{part}_indptr"],
        arrays[f"{part}_indices"],
        arrays[f"{part}_data"],
        (rows, columns),
        source=f"{path}, {part}",
    )

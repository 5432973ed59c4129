"""Graphs with attacked structure: the benchmark of Pro-GNN, and folders of the same layout.

A folder holds plain arrays; `{rate}` is the share of the clean edges that was changed, or for
`nettack` the number of changes for each target:

- `features.npz`, `adj_clean.npz`: sparse rows as scipy writes them; `labels.npy` (N,), -1 for none;
- `split.npz`: node ids `train`, `val` and `test`;
- `meta/adj_{rate}.npz`, `nettack/adj_{rate}.npz`: the same adjacency after an attack;
- `nettack/target_nodes.npy`: the nodes that were attacked, all of them test nodes.

Attacks were computed for the split of the folder, so there is no other one.

Reference: Jin et al., "Graph Structure Learning for Robust Graph Neural Networks", KDD 2020.
"""

import copy
import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.data.archive import open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.nodes import node_dataset, sparse_rows, undirected
from graphlearn.data.ogb_files import write_npz
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows
from graphlearn.train.task import Split

__all__ = ["attacked", "load_robust", "read_robust", "save_robust"]

_PARTS: Mapping[Split, str] = {"train": "train", "valid": "val", "test": "test"}
_STORED = ("meta", "nettack")
_MADE: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "random": ("RandomAttack", {"mode": "add"}),
    "dice": ("DICEAttack", {}),
}


def load_robust(
    name: str, root: Path, *, protocol: str = "auto", attack: str = "meta", rate: float = 0.0
) -> Dataset:
    """A graph of the benchmark, clean or as an attack left it; see `read_robust`.

    Args:
        name: `robust_cora` or `robust_polblogs`.
        root: Folder that holds `<name>/`.
        protocol: `auto` and `public` are the split of the folder; there is no other.
        attack: `meta` or `nettack`.
        rate: Share of changed edges, or changes for each target of `nettack`; 0 is the clean graph.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file or an option is not valid.
    """
    return read_robust(root / name, protocol=protocol, attack=attack, rate=rate)


def read_robust(
    path: Path, *, protocol: str = "auto", attack: str = "meta", rate: float = 0.0
) -> Dataset:
    """A graph of a folder, clean or as an attack left it.

    `data.clean_edge_index` is the graph before the attack, for diagnostics only. Under `nettack`,
    `data.target_nodes` are the attacked nodes, and they are the test.

    Args:
        path: The folder.
        protocol: `auto` and `public` are the split of the folder; there is no other.
        attack: `meta` or `nettack`.
        rate: Share of changed edges, or changes for each target of `nettack`; 0 is the clean graph.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file or an option is not valid.
    """
    if protocol not in ("auto", "public"):
        raise ValueError(
            f"protocol must be auto or public for {path.name}, whose attacks were computed for its "
            f"own split, got {protocol!r}"
        )
    if attack not in _STORED:
        raise ValueError(f"attack must be meta or nettack for {path.name}, got {attack!r}")
    y = _array(path / "labels.npy")
    num_nodes = len(y)
    clean = _adjacency(path / "adj_clean.npz", num_nodes)
    file = path / attack / f"adj_{rate:g}.npz"
    edge_index = clean if rate == 0 else _adjacency(_stored(file), num_nodes)
    arrays = open_npz(path / "split.npz")
    missing = set(_PARTS.values()) - set(arrays)
    if missing:
        raise ValueError(f"{path / 'split.npz'} has no array {min(missing)!r}")
    splits = {
        split: _ids(arrays[key], path / "split.npz", num_nodes) for split, key in _PARTS.items()
    }
    targets = None
    if attack == "nettack":
        source = path / "nettack" / "target_nodes.npy"
        targets = splits["test"] = _ids(_array(source), source, num_nodes)
    return node_dataset(
        path.name,
        edge_index,
        torch.from_numpy(y),
        splits,
        num_nodes,
        x=_features(path / "features.npz", num_nodes),
        clean_edge_index=clean,
        target_nodes=targets,
    )


def save_robust(
    folder: Path,
    dataset: Dataset,
    graphs: Mapping[float, Int[Tensor, "2 _"]],
    *,
    attack: str = "meta",
) -> None:
    """Write a data set and attacked versions of its graph as a folder that `load` reads.

    Files that are there are replaced, one by one; other files are left alone.

    Args:
        folder: Where to; made if it is not there.
        dataset: For node classification; its `clean_edge_index` is the clean graph, or where it
            has none, its `edge_index`.
        graphs: The attacked edges of each rate.
        attack: `meta` for any attack that is not aimed at nodes; `nettack` needs `target_nodes`.

    Raises:
        ValueError: if the data set is of another kind, or has no targets for `nettack`.
        OSError: if the folder cannot be written.
    """
    data = dataset.data
    if dataset.kind != "node":
        raise ValueError(f"only data sets of nodes can be saved, {dataset.name} is {dataset.kind}")
    if attack not in _STORED or (attack == "nettack" and "target_nodes" not in data):
        raise ValueError(f"attack must be meta, or nettack with data.target_nodes, got {attack!r}")
    for rate in graphs:
        if rate <= 0:
            raise ValueError(f"rates must be positive, the clean graph is always saved, got {rate}")
    num_nodes, width = int(dataset.facts["num_nodes"]), int(dataset.facts["in_channels"])
    (folder / attack).mkdir(parents=True, exist_ok=True)
    clean = data.clean_edge_index if "clean_edge_index" in data else data.edge_index
    for rate, edge_index in graphs.items():
        write_npz(folder / attack / f"adj_{rate:g}.npz", _rows_of(edge_index, num_nodes))
    write_npz(folder / "features.npz", _arrays(feature_rows(data.x), width))
    write_npz(
        folder / "split.npz", {key: dataset.splits[split].numpy() for split, key in _PARTS.items()}
    )
    np.save(folder / "labels.npy", data.y.numpy(), allow_pickle=False)
    if "target_nodes" in data:
        (folder / "nettack").mkdir(exist_ok=True)
        np.save(folder / "nettack" / "target_nodes.npy", data.target_nodes.numpy())
    # The mark of a whole folder comes last.
    write_npz(folder / "adj_clean.npz", _rows_of(clean, num_nodes))


def attacked(dataset: Dataset, attack: str, rate: float, *, seed: int = 0) -> Dataset:
    """A data set after an attack that needs no model, made on the spot.

    Args:
        dataset: For node classification.
        attack: `random` adds edges; `dice` removes edges within classes, adds some across.
        rate: Share of the edges.
        seed: Seed of the attack.

    Raises:
        ValueError: if the attack is unknown, or there is no room for so many changes.
    """
    if attack not in _MADE:
        raise ValueError(f"attack must be random or dice, got {attack!r}")
    data = copy.copy(dataset.data)
    if rate:
        name, settings = _MADE[attack]
        make = getattr(importlib.import_module("graphlearn.attacks"), name)
        result = make(**settings).attack(data, float(rate), seed=seed)
        data.edge_index = undirected(result.edge_index, int(dataset.facts["num_nodes"]))
    if "clean_edge_index" not in data:
        data.clean_edge_index = dataset.data.edge_index
    return replace(dataset, data=data)


def _stored(path: Path) -> Path:
    if path.is_file():
        return path
    found = (file.stem.removeprefix("adj_") for file in path.parent.glob("adj_*.npz"))
    rates = sorted(found, key=lambda rate: (len(rate.partition(".")[0]), rate))
    there = f"there are the rates 0, {', '.join(rates)}" if rates else "there is the clean graph"
    raise FileNotFoundError(f"no such file: {path}; {there}")


def _adjacency(path: Path, num_nodes: int) -> Tensor:
    """The edges of a symmetric 0/1 matrix without diagonal, both directions."""
    rows = _sparse(path)
    if rows.shape != (num_nodes, num_nodes):
        raise ValueError(f"{path}: expected {num_nodes} x {num_nodes}, got {tuple(rows.shape)}")
    if not (rows.values() == 1).all():
        value = rows.values()[rows.values() != 1][0]
        raise ValueError(f"{path}: every stored entry must be 1, got {float(value):g}")
    row = torch.repeat_interleave(torch.arange(num_nodes), rows.crow_indices().diff())
    edge_index = torch.stack([row, rows.col_indices()])
    loops = (edge_index[0] == edge_index[1]).nonzero()
    if len(loops):
        raise ValueError(f"{path}: node {int(row[loops[0, 0]])} is its own neighbour")
    keys = edge_index[0] * num_nodes + edge_index[1]
    alone = ~torch.isin(edge_index[1] * num_nodes + edge_index[0], keys)
    if alone.any():
        first = tuple(edge_index[:, alone][:, 0].tolist())
        raise ValueError(f"{path}: the edge {first} has no opposite; the matrix must be symmetric")
    return edge_index


def _features(path: Path, num_nodes: int) -> Tensor:
    x = _sparse(path)
    if x.shape[0] != num_nodes:
        raise ValueError(f"{path}: expected the features of {num_nodes} nodes, got {x.shape[0]}")
    return x


def _sparse(path: Path) -> Tensor:
    """A sparse matrix as scipy writes it."""
    arrays = open_npz(path)
    missing = {"indptr", "indices", "data", "shape", "format"} - set(arrays)
    if missing:
        raise ValueError(f"{path} is no sparse matrix of scipy, no array {min(missing)!r}")
    form = arrays["format"].item()
    if form not in (b"csr", "csr"):
        raise ValueError(f"{path}: the format must be csr, got {form!r}")
    if arrays["shape"].shape != (2,):
        raise ValueError(f"{path}: a matrix has two sizes, got shape {arrays['shape'].tolist()}")
    rows, columns = arrays["shape"].tolist()
    return sparse_rows(
        arrays["indptr"], arrays["indices"], arrays["data"], (rows, columns), source=str(path)
    )


def _array(path: Path) -> np.ndarray:
    """A vector of whole numbers."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no plain numpy array: {error}") from error
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{path} must hold whole numbers of shape (N,)")
    return values.astype(np.int64)


def _ids(values: np.ndarray, source: Path, num_nodes: int) -> Tensor:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{source} must hold node ids of shape (n,), got {values.dtype}")
    if values.size and not 0 <= values.min() <= values.max() < num_nodes:
        bad = values[(values < 0) | (values >= num_nodes)][0]
        raise ValueError(f"{source}: node ids must lie in [0, {num_nodes}), got {bad}")
    return torch.from_numpy(values.astype(np.int64))


def _rows_of(edge_index: Tensor, num_nodes: int) -> dict[str, Any]:
    return _arrays(CSR.from_edge_index(undirected(edge_index, num_nodes), num_nodes), num_nodes)


def _arrays(rows: CSR, width: int) -> dict[str, Any]:
    """What scipy's `load_npz` expects."""
    value = torch.ones(rows.num_entries) if rows.weight is None else rows.weight
    return {
        "indptr": rows.ptr.numpy().astype(np.int32),
        "indices": rows.col.numpy(),
        "data": value.numpy(),
        "shape": np.array((rows.num_rows, width)),
        "format": np.array(b"csr"),
    }

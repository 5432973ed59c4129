"""Graphs in plain .npz archives, with or without fixed splits; nothing is ever unpickled.

Keys: `edge` (E, 2) with every undirected edge once, or `edge_index` (2, E) in any direction, and
where known `num_nodes`, node features `x` (N, F) or as sparse ones (`x_indptr`, `x_indices`,
`x_shape`), labels `y` and `names`. Fixed splits come in three forms:

- `seed{s}_perm`, a permutation of the edges, with `n_test` and `n_valid`: first the test edges,
  then those of validation, then training; with `seed{s}_valid_neg` and `seed{s}_test_neg`;
- `seed{s}_train`, `seed{s}_valid`, `seed{s}_valid_neg`, `seed{s}_test`, `seed{s}_test_neg`;
- the same names without a seed and with `_edge`: `train_edge`, `valid_edge`, `valid_edge_neg`, ...
"""

import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.data.dataset import Dataset, LinkSplit
from graphlearn.data.pairs import simple_pairs
from graphlearn.data.splits import check_no_leak, link_dataset, split_links
from graphlearn.train.task import Split

__all__ = ["all_pairs", "features", "fixed_splits", "open_npz", "read_npz"]

_log = logging.getLogger(__name__)
_OFFICIAL = {
    "train": "train_edge",
    "valid": "valid_edge",
    "valid_neg": "valid_edge_neg",
    "test": "test_edge",
    "test_neg": "test_edge_neg",
}
Arrays = Mapping[str, npt.NDArray[Any]]


def read_npz(
    path: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.1,
    test: float = 0.2,
) -> Dataset:
    """A data set from an archive; `auto` takes the fixed split of this seed if there is one.

    Args:
        path: The archive.
        seed: Which fixed split, or the seed of a random one.
        protocol: `auto`, `random`, `planetoid` or `heart`.
        valid: Share of validation edges in a random split.
        test: Share of test edges in a random split.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the archive is damaged, holds pickles, or does not describe a graph.
    """
    arrays = open_npz(path)
    num_nodes = _num_nodes(arrays)
    splits = fixed_splits(arrays, num_nodes, seed, source=path.name) if protocol == "auto" else None
    metric = "hits@100" if protocol == "planetoid" else None
    if splits and (valid, test) != (0.1, 0.2):
        raise ValueError(
            f"{path.name} has fixed splits, valid={valid} and test={test} do not apply; "
            "use protocol 'random' to draw your own"
        )
    if not splits:
        pairs = all_pairs(arrays, num_nodes, source=path.name)
        splits = split_links(pairs, num_nodes, protocol=protocol, seed=seed, valid=valid, test=test)
    dataset = link_dataset(
        path.stem,
        splits,
        num_nodes,
        x=features(arrays, num_nodes, source=path.name),
        y=torch.from_numpy(arrays["y"].astype(np.int64)) if "y" in arrays else None,
        names=arrays["names"].tolist() if "names" in arrays else None,
        metric=metric,
    )
    check_no_leak(dataset)
    return dataset


def open_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an archive, read without unpickling.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or holds Python objects.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no archive of plain arrays: {error}") from error


def all_pairs(arrays: Arrays, num_nodes: int, *, source: str) -> Int[Tensor, "2 pair"]:
    """Every undirected edge of an archive once.

    Raises:
        ValueError: if the archive has no edges, or they are not valid.
    """
    keys = ("edge",) if "edge" in arrays else ("train_edge", "valid_edge", "test_edge")
    if "edge_index" in arrays:
        edge_index = _pairs(arrays["edge_index"].T, num_nodes, f"{source}: edge_index")
    elif all(key in arrays for key in keys):
        parts = [_pairs(arrays[key], num_nodes, f"{source}: {key}") for key in keys]
        edge_index = torch.cat(parts, dim=1)
    else:
        raise ValueError(f"{source} has no array 'edge' or 'edge_index', only {sorted(arrays)}")
    return simple_pairs(edge_index, num_nodes, source=source)


def features(arrays: Arrays, num_nodes: int, *, source: str) -> Tensor | None:
    """Dense node features of an archive, or None.

    Raises:
        ValueError: if they do not fit the nodes, or are not finite.
    """
    if "x_indptr" in arrays:
        rows, columns = arrays["x_shape"].tolist()
        row = np.repeat(np.arange(rows), np.diff(arrays["x_indptr"]))
        column = arrays["x_indices"]
        if len(row) != len(column) or (len(column) and int(column.max()) >= columns):
            raise ValueError(f"{source}: x_indptr, x_indices and x_shape do not fit together")
        dense = np.zeros((rows, columns), dtype=np.float32)
        dense[row, column] = arrays.get("x_data", np.float32(1))
    elif "x" in arrays:
        dense = arrays["x"].astype(np.float32)
    else:
        return None
    if dense.ndim != 2 or len(dense) != num_nodes:
        raise ValueError(f"{source}: features must have shape ({num_nodes}, F), got {dense.shape}")
    bad = np.flatnonzero(~np.isfinite(dense).all(axis=1))
    if len(bad):
        raise ValueError(f"{source}: the features of node {bad[0]} are not finite")
    return torch.from_numpy(dense)


def fixed_splits(
    arrays: Arrays, num_nodes: int, seed: int, *, source: str
) -> dict[Split, LinkSplit] | None:
    """The fixed split of a seed, or None if the archive has none for it.

    Raises:
        ValueError: if the split is not valid.
    """
    if f"seed{seed}_perm" in arrays:
        parts = _permuted(arrays, seed, source)
    elif f"seed{seed}_train" in arrays or "train_edge" in arrays:
        named = {part: f"seed{seed}_{part}" for part in _OFFICIAL}
        keys = _OFFICIAL if "train_edge" in arrays else named
        parts = {part: _get(arrays, key, source) for part, key in keys.items()}
    else:
        if any(key.startswith("seed") for key in arrays):
            _log.warning("%s: no fixed split for seed %d, one is drawn", source, seed)
        return None
    pairs = {key: _pairs(part, num_nodes, f"{source}: {key}") for key, part in parts.items()}
    return {
        "train": LinkSplit(pairs["train"]),
        "valid": LinkSplit(pairs["valid"], pairs["valid_neg"]),
        "test": LinkSplit(pairs["test"], pairs["test_neg"]),
    }


def _permuted(arrays: Arrays, seed: int, source: str) -> dict[str, npt.NDArray[Any]]:
    edge, order = _get(arrays, "edge", source), arrays[f"seed{seed}_perm"]
    if not np.array_equal(np.sort(order), np.arange(len(edge))):
        raise ValueError(f"{source}: seed{seed}_perm is no permutation of {len(edge)} edges")
    num_test = int(_get(arrays, "n_test", source))
    num_held = num_test + int(_get(arrays, "n_valid", source))
    edge = edge[order]
    return {
        "train": edge[num_held:],
        "valid": edge[num_test:num_held],
        "valid_neg": _get(arrays, f"seed{seed}_valid_neg", source),
        "test": edge[:num_test],
        "test_neg": _get(arrays, f"seed{seed}_test_neg", source),
    }


def _get(arrays: Arrays, key: str, source: str) -> npt.NDArray[Any]:
    if key not in arrays:
        raise ValueError(f"{source} has no array {key!r}")
    return arrays[key]


def _num_nodes(arrays: Arrays) -> int:
    if "num_nodes" in arrays:
        return int(arrays["num_nodes"])
    if "x_shape" in arrays:
        return int(arrays["x_shape"][0])
    if "x" in arrays:
        return len(arrays["x"])
    keys = ("edge", "edge_index", "train_edge", "valid_edge", "test_edge")
    edges = [arrays[key] for key in keys if key in arrays]
    return max((int(part.max()) for part in edges if part.size), default=-1) + 1


def _pairs(array: npt.NDArray[Any], num_nodes: int, source: str) -> Int[Tensor, "2 pair"]:
    """Checked pairs (2, P) from an array (P, 2)."""
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{source} must hold whole numbers of shape (P, 2), got {array.dtype} {array.shape}"
        )
    pairs = array.astype(np.int64)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < num_nodes:
        bad = pairs[(pairs < 0) | (pairs >= num_nodes)][0]
        raise ValueError(f"{source}: node ids must lie in [0, {num_nodes}), got {bad}")
    return torch.from_numpy(pairs.T.copy())

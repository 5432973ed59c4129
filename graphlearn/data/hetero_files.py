"""A user's own graph of several types: an archive, or a PyG `HeteroData`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphlearn.data.archive import open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.hetero import hetero_dataset, node_counts
from graphlearn.data.node_splits import masked_split, split_nodes
from graphlearn.data.nodes import sparse_rows
from graphlearn.extras import nearest
from graphlearn.train.task import Split

__all__ = [
    "archive_parts",
    "from_hetero_nodes",
    "given_ids",
    "holds_labels",
    "holds_types",
    "read_hetero_archive",
]

_IDS: Mapping[Split, str] = {"train": "train_idx", "valid": "val_idx", "test": "test_idx"}


def from_hetero_nodes(
    data: HeteroData,
    *,
    target: str = "",
    undirected: bool = False,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A data set from a PyG `HeteroData` of which one node type has classes `y`.

    Args:
        data: See `graphlearn.data.hetero.hetero_dataset`; the target type may have the masks
            `train_mask`, `val_mask` and `test_mask`, (N,) or (N, S) for S splits.
        target: The node type whose classes are predicted; empty is the one that has `y`.
        undirected: Add the reverse of every edge type that has none.
        seed: Which of the splits, or the seed of one at random.
        protocol: `auto` takes the masks if there are any, else divides each class; `public`,
            `random` and `stratified` say which.
        valid: Share of validation nodes of a stratified split.
        test: Share of its test nodes.

    Raises:
        ValueError: if types, edges, labels or masks are missing or do not fit together.
    """
    target = _target("HeteroData", target, data)
    stored = data[target]
    counts, y = node_counts("HeteroData", data), _single_label("HeteroData", target, stored)
    given = masked_split(stored, counts[target], seed, source=f"HeteroData: {target}")
    splits = split_nodes(
        y, protocol=protocol, source="HeteroData", seed=seed, given=given, shares=(valid, test)
    )
    return hetero_dataset("pyg", data, target, splits, undirected=undirected)


def holds_labels(data: HeteroData) -> bool:
    """Whether some node type has classes `y`."""
    return any("y" in data[kind] for kind in data.node_types)


def read_hetero_archive(
    path: Path,
    *,
    target: str = "",
    undirected: bool = False,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A data set from an archive of typed nodes and edges, in the layout of the `-gtn` sets.

    Keys: `node_types` and `edge_types` (`source__relation__destination`); for each node type `T`
    perhaps `num_nodes__T`, features `x__T` (N, F) or their sparse rows `x__T__indptr`,
    `x__T__indices`, `x__T__data` (optional) and `x__T__shape`; for each edge type `E`
    `edge_index__E` (2, e), sources first; `y__T` of the target, -1 for no label. `train_idx`,
    `val_idx`, `test_idx`, `target`, `classes` and `names` are optional.

    Args:
        path: The archive.
        target: The node type whose classes are predicted; empty is the one it says, or that has
            labels.
        undirected: Add the reverse of every edge type that has none.
        seed: Seed of a split at random.
        protocol: `auto` takes the split of the archive if it has one, else divides each class;
            `public`, `random` and `stratified` say which.
        valid: Share of validation nodes of a stratified split.
        test: Share of its test nodes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the archive is damaged, holds pickles, or its parts do not fit together.
    """
    arrays = open_npz(path)
    data, said = archive_parts(arrays, path.name)
    target = _target(path.name, target or said, data)
    y = _single_label(path.name, target, data[target])
    # Split and names belong to the type that the archive says.
    own = arrays if target == (said or target) else {}
    given = given_ids(own, path.name)
    splits = split_nodes(
        y, protocol=protocol, source=path.name, seed=seed, given=given, shares=(valid, test)
    )
    return hetero_dataset(
        path.stem,
        data,
        target,
        splits,
        undirected=undirected,
        names=own["names"].tolist() if "names" in own else None,
        classes=own["classes"].tolist() if "classes" in own else None,
    )


def holds_types(path: Path) -> bool:
    """Whether a file is an archive of typed nodes; one that cannot be read is none."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return "node_types" in archive.files
    except Exception:  # whoever reads all of it says what is wrong
        return False


def archive_parts(arrays: Mapping[str, npt.NDArray[Any]], source: str) -> tuple[HeteroData, str]:
    """The nodes and edges of an archive, and the target type that it names, or nothing.

    Args:
        arrays: Its arrays.
        source: What messages call it.

    Raises:
        ValueError: if an array is missing or has another form.
    """
    missing = [key for key in ("node_types", "edge_types") if key not in arrays]
    if missing:
        raise ValueError(f"{source} has no array {missing[0]!r}, only {sorted(arrays)}")
    data = HeteroData()
    for kind in arrays["node_types"].tolist():
        stored, x = data[kind], _archived_features(arrays, kind, source)
        if x is not None:
            stored.x = x
        if f"num_nodes__{kind}" in arrays:
            stored.num_nodes = int(arrays[f"num_nodes__{kind}"])
        if f"y__{kind}" in arrays:
            stored.y = torch.from_numpy(_whole(arrays, f"y__{kind}", 1, source))
    for text in arrays["edge_types"].tolist():
        edge_type = tuple(text.split("__"))
        if len(edge_type) != 3 or {edge_type[0], edge_type[2]} - set(data.node_types):
            raise ValueError(
                f"{source}: an edge type must be source__relation__destination of the types "
                f"{', '.join(data.node_types)}, got {text!r}"
            )
        ends = _whole(arrays, f"edge_index__{text}", 2, source)
        data[edge_type].edge_index = torch.from_numpy(ends)
    return data, str(arrays["target"]) if "target" in arrays else ""


def _archived_features(
    arrays: Mapping[str, npt.NDArray[Any]], kind: str, source: str
) -> Tensor | None:
    key = f"x__{kind}"
    if key in arrays:
        if arrays[key].dtype.kind not in "fiub":
            raise ValueError(f"{source}: {key} must hold numbers, got {arrays[key].dtype}")
        return torch.from_numpy(arrays[key].astype(np.float32))
    if f"{key}__indptr" not in arrays:
        return None
    parts = [arrays.get(f"{key}__{part}") for part in ("indptr", "indices", "shape")]
    if any(part is None for part in parts) or np.size(arrays[f"{key}__shape"]) != 2:
        raise ValueError(f"{source}: {key}__indptr needs {key}__indices and {key}__shape (2,)")
    rows, columns = arrays[f"{key}__shape"].tolist()
    return sparse_rows(
        arrays[f"{key}__indptr"],
        arrays[f"{key}__indices"],
        arrays.get(f"{key}__data"),
        (rows, columns),
        source=f"{source}: {key}",
    )


def _whole(
    arrays: Mapping[str, npt.NDArray[Any]], key: str, axes: int, source: str
) -> npt.NDArray[np.int64]:
    if key not in arrays:
        raise ValueError(f"{source} has no array {key!r}")
    array = arrays[key]
    if array.dtype.kind not in "iu" or array.ndim != axes:
        raise ValueError(
            f"{source}: {key} must hold whole numbers in {axes} axes, got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array.astype(np.int64)


def given_ids(arrays: Mapping[str, npt.NDArray[Any]], source: str) -> dict[Split, Tensor] | None:
    """The split of an archive, None if it has none.

    Args:
        arrays: Its arrays.
        source: What messages call it.

    Raises:
        ValueError: if a part is missing, or holds no ids.
    """
    if not any(key in arrays for key in _IDS.values()):
        return None
    return {split: torch.from_numpy(_whole(arrays, key, 1, source)) for split, key in _IDS.items()}


def _target(source: str, target: str, data: HeteroData) -> str:
    """The target type, which must be said if several types have labels."""
    labelled = [kind for kind in data.node_types if data[kind].get("y") is not None]
    kinds = list(data.node_types)
    if target and target not in kinds:
        raise ValueError(
            f"{source}: no node type {target!r}{nearest(target, kinds)}; it has {', '.join(kinds)}"
        )
    if not labelled:
        raise ValueError(
            f"{source}: no node type has labels y; one of {', '.join(kinds)} needs them"
        )
    if target and target not in labelled:
        raise ValueError(
            f"{source}: node type {target!r} has no labels y, only {' and '.join(labelled)}"
        )
    if not target and len(labelled) > 1:
        raise ValueError(
            f"{source}: {' and '.join(labelled)} have labels; say with target=... (--data.target) "
            "which are predicted"
        )
    return target or labelled[0]


def _single_label(source: str, target: str, stored: Mapping[str, Any]) -> Tensor:
    """The labels, which must be one for each node."""
    y: Tensor = stored["y"].cpu()
    if y.dim() != 1 or y.is_floating_point() or y.dtype == torch.bool:
        kind = str(y.dtype).removeprefix("torch.")
        raise ValueError(
            f"{source}: y of {target!r} must hold one whole number for each node, got {kind} of "
            f"shape {tuple(y.shape)}; several labels of one node are not supported"
        )
    return y

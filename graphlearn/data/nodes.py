"""Data sets for node classification: one graph, a class for each labelled node, three splits."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.data.dataset import Dataset
from graphlearn.data.node_splits import MASKS
from graphlearn.data.pairs import both_directions, pair_keys
from graphlearn.ops.backend import check_range
from graphlearn.train.task import Split

__all__ = [
    "checked_features",
    "checked_labels",
    "checked_splits",
    "node_dataset",
    "sparse_rows",
    "undirected",
    "warn_of_unseen",
]

_log = logging.getLogger(__name__)


def node_dataset(
    name: str,
    edge_index: Int[Tensor, "2 edge"],
    y: Tensor,
    splits: Mapping[Split, Tensor],
    num_nodes: int,
    *,
    x: Tensor | None = None,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    clean_edge_index: Int[Tensor, "2 _"] | None = None,
    target_nodes: Int[Tensor, " hit"] | None = None,
    metric: str = "accuracy",
) -> Dataset:
    """A node-classification data set, after a check that its parts fit together.

    Args:
        name: As it is written in run folders.
        edge_index: Edges in any order and direction; the data set holds each in both, once, and
            no self loop.
        y: Class of each node (N,); -1 has no label, and is in no split.
        splits: Ids of the nodes of `train`, `valid` and `test`; no node is in two of them.
        num_nodes: Number of nodes N.
        x: Features, float (N, F), dense or as a sparse CSR tensor, or ids (N,) that stand for
            one-hot rows; nodes without features get their own number as id.
        names: Name of each node.
        classes: Name of each class; without it there are as many as the largest label says.
        clean_edge_index: The edges before an attack, to compare with; no model may see them.
        target_nodes: Nodes that an attack was aimed at.
        metric: Metric to report.

    Raises:
        ValueError: if ids, labels, splits or features are not valid; names the first culprit.
    """
    from torch_geometric.data import Data

    y = checked_labels(name, y, num_nodes, classes)
    parts = checked_splits(name, y, splits)
    x = torch.arange(num_nodes) if x is None else checked_features(x, num_nodes, f"{name}: x")
    num_classes = len(classes) if classes is not None else int(y.max()) + 1
    warn_of_unseen(name, y[parts["train"]], num_classes, classes)
    data = Data(x=x, edge_index=undirected(edge_index, num_nodes), y=y, num_nodes=num_nodes)
    for split, ids in parts.items():
        data[MASKS[split]] = torch.zeros(num_nodes, dtype=torch.bool).index_fill_(0, ids, True)
    if clean_edge_index is not None:
        data.clean_edge_index = undirected(clean_edge_index, num_nodes)
    if target_nodes is not None:
        check_range(num_nodes, target_nodes)
        data.target_nodes = target_nodes.long()
    facts: dict[str, Any] = {
        "num_nodes": num_nodes,
        "in_channels": x.shape[1] if x.dim() == 2 else int(x.max()) + 1,
        "out_channels": num_classes,
    }
    return Dataset(name, "node", metric, data, parts, facts, names, classes)


def undirected(edge_index: Int[Tensor, "2 edge"], num_nodes: int) -> Int[Tensor, "2 _"]:
    """Every edge once in each direction, sorted by row, without self loops.

    Args:
        edge_index: Edges in any order and direction, repeats included.
        num_nodes: Number of nodes.

    Raises:
        ValueError: if an id lies outside the graph.
    """
    check_range(num_nodes, edge_index)
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    keys = torch.unique(pair_keys(edge_index, num_nodes))
    return both_directions(torch.stack([keys // max(num_nodes, 1), keys % max(num_nodes, 1)]))


def checked_features(x: Tensor, num_nodes: int, source: str) -> Tensor:
    """Ids (N,) as they are, features (N, F) as finite float32, on the CPU.

    Args:
        x: Dense, or a sparse CSR tensor.
        num_nodes: How many rows there must be.
        source: Where they come from, for messages.

    Raises:
        ValueError: if the shape is another one, an id is negative or a number is not finite.
    """
    if x.dim() not in (1, 2) or x.shape[0] != num_nodes:
        raise ValueError(
            f"{source} must have shape ({num_nodes}, F) or ({num_nodes},), got {tuple(x.shape)}"
        )
    if x.dim() == 1:
        if x.is_floating_point() or (num_nodes and int(x.min()) < 0):
            raise ValueError(f"{source} of shape ({num_nodes},) must hold ids from 0")
        return x.long().cpu()
    x = x.float().cpu()
    sparse = x.layout == torch.sparse_csr
    bad = (~(x.values() if sparse else x).isfinite()).nonzero()
    if len(bad):
        entry = bad[0, 0]
        node = torch.searchsorted(x.crow_indices(), entry, right=True) - 1 if sparse else entry
        raise ValueError(f"{source}: the features of node {int(node)} are not finite")
    return x


def sparse_rows(
    ptr: npt.NDArray[Any],
    col: npt.NDArray[Any],
    value: npt.NDArray[Any] | None,
    shape: tuple[int, int],
    *,
    source: str,
) -> Tensor:
    """Sparse features from the arrays of a file, as a float32 CSR tensor with sorted columns.

    Args:
        ptr: First entry of each row, and the number of entries.
        col: Column of each entry.
        value: Value of each entry; None is one.
        shape: Number of rows and of columns.
        source: What the arrays came from, for messages.

    Raises:
        ValueError: if they do not fit together, repeat a column in a row, or are not finite.
    """
    rows, columns = shape
    ptr, col = ptr.astype(np.int64), col.astype(np.int64)
    value = np.ones(len(col), np.float32) if value is None else value.astype(np.float32)
    fits = ptr.ndim == col.ndim == value.ndim == 1 and len(ptr) == rows + 1
    fits = fits and ptr[0] == 0 and ptr[-1] == len(col) == len(value)
    if not fits or (np.diff(ptr) < 0).any() or ((col < 0) | (col >= columns)).any():
        raise ValueError(f"{source}: its arrays are not the sparse rows of a {rows} x {columns}")
    row = np.repeat(np.arange(rows), np.diff(ptr))
    order = np.argsort(row * columns + col, kind="stable")
    keys = (row * columns + col)[order]
    if (keys[1:] == keys[:-1]).any():
        twice = keys[:-1][keys[1:] == keys[:-1]][0]
        raise ValueError(f"{source}: row {twice // columns} holds column {twice % columns} twice")
    if not np.isfinite(value).all():
        raise ValueError(f"{source}: row {row[~np.isfinite(value)][0]} is not finite")
    with warnings.catch_warnings():  # torch says once in a process that the layout is in beta
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(ptr),
            torch.from_numpy(col[order]),
            torch.from_numpy(value[order]),
            size=shape,
        )


def checked_labels(name: str, y: Tensor, num_nodes: int, classes: Sequence[str] | None) -> Tensor:
    """Labels as whole numbers on the CPU, -1 for none.

    Args:
        name: What they belong to, for messages.
        y: The labels.
        num_nodes: How many there must be.
        classes: Name of each class, if they have names.

    Raises:
        ValueError: if they are of another shape or type, or out of range.
    """
    if y.dim() != 1 or len(y) != num_nodes or y.is_floating_point() or y.dtype == torch.bool:
        kind = str(y.dtype).removeprefix("torch.")
        raise ValueError(
            f"{name}: y must hold {num_nodes} whole numbers, got {kind} of shape {tuple(y.shape)}"
        )
    y = y.long().cpu()
    bad = y < -1 if classes is None else (y < -1) | (y >= len(classes))
    if bad.any():
        node = int(bad.nonzero()[0])
        most = "C" if classes is None else len(classes)
        raise ValueError(
            f"{name}: labels must lie in [0, {most}), or be -1 for none, "
            f"got {int(y[node])} at node {node}"
        )
    return y


def checked_splits(name: str, y: Tensor, splits: Mapping[Split, Tensor]) -> dict[Split, Tensor]:
    """The sorted node ids of the three splits.

    Args:
        name: What they belong to, for messages.
        y: Label of each node, -1 for none.
        splits: Ids in any order.

    Raises:
        ValueError: if a split is empty, names a node twice or one that has no label or that is not
            there, or if two splits share a node.
    """
    owner: dict[int, Split] = {}
    parts: dict[Split, Tensor] = {}
    taken = torch.full((len(y),), -1)
    for number, split in enumerate(MASKS):
        ids = splits[split].long().cpu() if split in splits else torch.empty(0).long()
        if not len(ids):
            raise ValueError(f"{name}: the split {split!r} is empty, it must hold a node at least")
        if not 0 <= int(ids.min()) <= int(ids.max()) < len(y):
            bad = int(ids[(ids < 0) | (ids >= len(y))][0])
            raise ValueError(f"{name}: node ids of {split} must lie in [0, {len(y)}), got {bad}")
        parts[split] = ids.sort().values
        twice = parts[split][1:][parts[split].diff() == 0]
        if len(twice):
            raise ValueError(f"{name}: node {int(twice[0])} is in {split} twice")
        both = ids[taken[ids] >= 0]
        if len(both):
            other = owner[int(taken[both[0]])]
            raise ValueError(f"{name}: node {int(both[0])} is in both {other} and {split}")
        if (y[ids] < 0).any():
            bad = int(ids[y[ids] < 0][0])
            raise ValueError(f"{name}: node {bad} is in {split} but has no label")
        owner[number], taken[ids] = split, number
    return parts


def warn_of_unseen(
    name: str, train: Tensor, num_classes: int, classes: Sequence[str] | None
) -> None:
    """Log how many classes have no training node.

    Args:
        name: What they belong to.
        train: Label of each training node.
        num_classes: Number of classes.
        classes: Name of each, if they have names.
    """
    unseen = (torch.bincount(train, minlength=num_classes) == 0).nonzero().flatten().tolist()
    if unseen:
        first = repr(classes[unseen[0]]) if classes is not None else str(unseen[0])
        _log.warning(
            "%s: %d of %d classes have no training node, the first is %s",
            *(name, len(unseen), num_classes, first),
        )

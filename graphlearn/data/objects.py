"""Graphs that are already in memory: networkx graphs and PyG `Data` objects."""

import logging
from pathlib import Path
from typing import Any

import networkx as nx
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphlearn.data.dataset import Dataset
from graphlearn.data.edges import read_features
from graphlearn.data.labels import number_classes
from graphlearn.data.node_splits import masked_split, split_nodes
from graphlearn.data.nodes import checked_features, node_dataset
from graphlearn.data.pairs import simple_pairs
from graphlearn.data.splits import link_dataset, split_links

__all__ = ["from_data", "from_networkx", "nodes_from_data", "nodes_from_networkx"]

_log = logging.getLogger(__name__)


def from_networkx(
    graph: nx.Graph,  # type: ignore[type-arg]
    *,
    features: Path | None = None,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.1,
    test: float = 0.2,
) -> Dataset:
    """A data set from a networkx graph of any class; multi-edges are merged.

    Nodes 0 to N-1 keep their number, any other labels become names in the order of the graph.
    Features come from a file, or from the node attribute `x` if every node has it.

    Args:
        graph: The graph; a directed one is taken as undirected.
        features: Features of the nodes, see `read_features`; keyed by the label as text, or in the
            order of the nodes.
        seed: Seed of the split.
        protocol: `auto`, `random`, `planetoid` or `heart`.
        valid: Share of validation edges.
        test: Share of test edges.

    Raises:
        ValueError: if features do not fit the nodes, or the graph cannot be split.
    """
    labels, names, pairs, x = _simple(graph, features)
    splits = split_links(pairs, len(labels), protocol=protocol, seed=seed, valid=valid, test=test)
    metric = "hits@100" if protocol == "planetoid" else None
    name = str(graph.name) or "networkx"
    return link_dataset(name, splits, len(labels), x=x, names=names, metric=metric)


def from_data(
    data: Data,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.1,
    test: float = 0.2,
) -> Dataset:
    """A data set from a PyG `Data` object, whose `edge_index` is split anew.

    Args:
        data: Holds `edge_index` and, if it has them, `x` (N, F) or ids (N,) and `y`.
        seed: Seed of the split.
        protocol: `auto`, `random`, `planetoid` or `heart`.
        valid: Share of validation edges.
        test: Share of test edges.

    Raises:
        ValueError: if there are no edges, features do not fit, or the graph cannot be split.
    """
    if data.edge_index is None:
        raise ValueError("the Data object has no edge_index")
    num_nodes = int(data.num_nodes or 0)
    x = None if data.x is None else checked_features(data.x, num_nodes, "Data.x")
    pairs = simple_pairs(data.edge_index.cpu(), num_nodes, source="Data.edge_index")
    splits = split_links(pairs, num_nodes, protocol=protocol, seed=seed, valid=valid, test=test)
    metric = "hits@100" if protocol == "planetoid" else None
    return link_dataset("pyg", splits, num_nodes, x=x, y=data.y, metric=metric)


def nodes_from_networkx(
    graph: nx.Graph,  # type: ignore[type-arg]
    *,
    features: Path | None = None,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A node-classification data set from a networkx graph whose nodes have an attribute `y`.

    The attribute may also be called `label`; a node without it has no label. It may be a word or a
    number. Everything else is as in `from_networkx`.

    Args:
        graph: The graph; a directed one is taken as undirected.
        features: Features of the nodes.
        seed: Seed of the split.
        protocol: `auto` and `stratified` divide each class; or `random`.
        valid: Share of validation nodes of a stratified split.
        test: Share of its test nodes.

    Raises:
        ValueError: if no node has a label, features do not fit, or the graph cannot be split.
    """
    nodes, names, pairs, x = _simple(graph, features)
    given = [graph.nodes[node] for node in nodes]
    key = "y" if any("y" in attributes for attributes in given) else "label"
    if not any(key in attributes for attributes in given):
        raise ValueError("networkx: no node has an attribute y or label that says its class")
    y, classes = number_classes([_said(attributes.get(key)) for attributes in given])
    splits = split_nodes(y, protocol=protocol, source="networkx", seed=seed, shares=(valid, test))
    name = str(graph.name) or "networkx"
    return node_dataset(name, pairs, y, splits, len(nodes), x=x, names=names, classes=classes)


def _said(label: object) -> str:
    """A label as text, nothing where there is none."""
    if label is None or label != label:  # a table with gaps has nan there
        return ""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def nodes_from_data(
    data: Data,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A node-classification data set from a PyG `Data` object with classes `y`.

    Args:
        data: Holds `edge_index`, `y` (N,) with -1 for no label and, if it has them, `x` and the
            masks `train_mask`, `val_mask` and `test_mask`, (N,) or (N, S) for S splits.
        seed: Which of the splits, or the seed of one at random.
        protocol: `auto` takes the masks if there are any, else divides each class; `public`,
            `random` and `stratified` say which.
        valid: Share of validation nodes of a stratified split.
        test: Share of its test nodes.

    Raises:
        ValueError: if edges, labels or masks are missing or do not fit together.
    """
    if data.edge_index is None or data.y is None:
        missing = "edge_index" if data.edge_index is None else "labels y"
        raise ValueError(f"the Data object has no {missing}")
    if data.get("edge_weight") is not None:
        _log.warning("the edge_weight of the Data object is not used")
    # PyG does not take the labels for a sign of how many nodes there are.
    known = data.x is not None or "num_nodes" in data
    num_nodes = int(data.num_nodes or 0) if known else len(data.y)
    y = data.y.cpu().flatten() if data.y.numel() == num_nodes else data.y.cpu()
    if y.dim() != 1 or len(y) != num_nodes or y.is_floating_point():
        kind = str(y.dtype).removeprefix("torch.")
        raise ValueError(
            f"Data.y must hold {num_nodes} whole numbers, got {kind} of shape {tuple(y.shape)}"
        )
    x = data.x
    if x is not None:
        x = checked_features(x, num_nodes, "Data.x")
    pairs = simple_pairs(data.edge_index.cpu(), num_nodes, source="Data.edge_index")
    splits = split_nodes(
        y,
        protocol=protocol,
        source="Data",
        seed=seed,
        given=masked_split(data.to_dict(), num_nodes, seed),
        shares=(valid, test),
    )
    return node_dataset("pyg", pairs, y, splits, num_nodes, x=x)


def _simple(
    graph: nx.Graph,  # type: ignore[type-arg]
    features: Path | None,
) -> tuple[list[Any], list[str] | None, Tensor, Tensor | None]:
    """Nodes in order, their names, every edge once, and features."""
    labels = list(graph.nodes)
    numbered = set(labels) == set(range(len(labels)))
    labels = sorted(labels) if numbered else labels
    names = None if numbered else [str(label) for label in labels]
    number = {label: k for k, label in enumerate(labels)}
    if graph.is_directed():
        _log.warning("networkx: a directed graph is taken as undirected")
    ends = [(number[u], number[v]) for u, v in graph.edges()]
    x = _file_features(features, labels) if features else _node_features(graph, labels)
    edge_index = torch.tensor(ends, dtype=torch.long).reshape(-1, 2).T
    pairs = simple_pairs(edge_index, len(labels), source="networkx")
    return labels, names, pairs, x


def _file_features(path: Path, labels: list[Any]) -> Tensor:
    nodes = read_features(path)
    if nodes.names is None:
        return checked_features(nodes.x, len(labels), str(path))
    row_of = {name: k for k, name in enumerate(nodes.names)}
    missing = [label for label in labels if str(label) not in row_of]
    if missing:
        raise ValueError(f"{path}: node {str(missing[0])!r} has no features")
    return nodes.x[torch.tensor([row_of[str(label)] for label in labels])]


def _node_features(
    graph: nx.Graph,  # type: ignore[type-arg]
    labels: list[Any],
) -> Tensor | None:
    rows = [graph.nodes[label].get("x") for label in labels]
    if all(row is None for row in rows):
        return None
    width = next(torch.as_tensor(row).numel() for row in rows if row is not None)
    for label, row in zip(labels, rows, strict=True):
        got = 0 if row is None else torch.as_tensor(row).numel()
        if got != width:
            raise ValueError(f"node {label!r}: attribute x must have {width} values, got {got}")
    x = torch.stack([torch.as_tensor(row, dtype=torch.float32).flatten() for row in rows])
    return checked_features(x, len(labels), "attribute x")

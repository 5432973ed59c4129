"""Data sets for the classes of nodes in a graph whose nodes and edges are of several types.

For an edge type (source, relation, destination) nodes of type `destination` receive messages from
nodes of type `source`, as everywhere in PyG; a type at which no edge type ends receives none.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor
from torch_geometric.data import HeteroData

from graphlearn.data.dataset import Dataset
from graphlearn.data.node_splits import MASKS
from graphlearn.data.nodes import (
    checked_features,
    checked_labels,
    checked_splits,
    warn_of_unseen,
)
from graphlearn.extras import nearest
from graphlearn.train.task import Split

__all__ = ["EdgeType", "hetero_dataset", "node_counts", "written"]

EdgeType: TypeAlias = tuple[str, str, str]
_log = logging.getLogger(__name__)


def hetero_dataset(
    name: str,
    data: HeteroData,
    target: str,
    splits: Mapping[Split, Tensor],
    *,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    undirected: bool = False,
    metric: str = "accuracy",
) -> Dataset:
    """A data set for the classes of one type of nodes, after a check that its parts fit together.

    Edges keep their direction; repeated ones of a type are merged, which is logged. Missing
    features are no fault: models learn an embedding of each node of such a type.

    Args:
        name: As it is written in run folders.
        data: For each node type `x` (N, F), dense or sparse CSR, or, without features, its
            `num_nodes`; for each edge type `edge_index` in any order; `y` (N,) of the target type,
            -1 for no label. It is left as it is.
        target: The type whose nodes have classes.
        splits: Ids of the target nodes of `train`, `valid` and `test`; no node is in two of them.
        names: Name of each target node.
        classes: Name of each class; without it there are as many as the largest label says.
        undirected: Add the reverse (destination, rev_relation, source) of every edge type that has
            none under any name.
        metric: Metric to report.

    Raises:
        ValueError: if types, ids, labels, splits or features are not valid; names the first
            culprit.
    """
    counts = node_counts(name, data)
    if target not in counts:
        raise ValueError(
            f"{name}: no node type {target!r}{nearest(target, counts)}; it has {', '.join(counts)}"
        )
    num_nodes = counts[target]
    labels = data[target].get("y")
    if labels is None:
        raise ValueError(f"{name}: the nodes of type {target!r} have no labels y")
    y = checked_labels(f"{name}: {target}", labels, num_nodes, classes)
    if not (y >= 0).any():
        raise ValueError(f"{name}: no node of type {target!r} has a label, all are -1")
    parts = checked_splits(name, y, splits)
    if names is not None and len(names) != num_nodes:
        raise ValueError(f"{name}: names must name {num_nodes} nodes, got {len(names)}")
    num_classes = len(classes) if classes is not None else int(y.max()) + 1
    warn_of_unseen(name, y[parts["train"]], num_classes, classes)
    edges = _edges(name, data, counts)
    _reverse(name, edges, counts, undirected)
    _warn_of_deaf(name, edges, counts, undirected)
    made = HeteroData()
    for kind, x in _features(name, data, counts).items():
        made[kind].num_nodes = counts[kind]
        if x is not None:
            made[kind].x = x
    made[target].y = y
    for split, ids in parts.items():
        mask = torch.zeros(num_nodes, dtype=torch.bool).index_fill_(0, ids, True)
        made[target][MASKS[split]] = mask
    for edge_type, edge_index in edges.items():
        made[edge_type].edge_index = edge_index
    facts: dict[str, Any] = {
        "metadata": (tuple(counts), tuple(edges)),
        "target": target,
        "in_channels": {kind: made[kind].x.shape[1] if "x" in made[kind] else 0 for kind in counts},
        "num_nodes_dict": counts,
        "num_nodes": num_nodes,
        "out_channels": num_classes,
    }
    return Dataset(name, "hetero", metric, made, parts, facts, names, classes)


def node_counts(name: str, data: HeteroData) -> dict[str, int]:
    """The number of nodes of every type, those included that only edges name.

    Where neither `num_nodes`, `x` nor `y` says it, it is found from the largest id of an edge.

    Args:
        name: What messages call the data.
        data: The nodes and edges.

    Raises:
        ValueError: if two sources disagree, or there is nothing to tell.
    """
    ends = [kind for edge_type in data.edge_types for kind in (edge_type[0], edge_type[2])]
    counts = {}
    for kind in dict.fromkeys([*data.node_types, *ends]):
        stored = data[kind] if kind in data.node_types else {}
        said = {
            **({"num_nodes": int(stored["num_nodes"])} if "num_nodes" in stored else {}),
            **{key: int(stored[key].shape[0]) for key in ("x", "y") if key in stored},
        }
        if len(set(said.values())) > 1:
            both = " but ".join(f"{key} says {count}" for key, count in said.items())
            raise ValueError(f"{name}: the number of nodes of type {kind!r} is unclear: {both}")
        counts[kind] = next(iter(said.values())) if said else _largest(name, data, kind)
    return counts


def written(edge_type: EdgeType) -> str:
    """An edge type as messages write it.

    Example:
        >>> written(("author", "writes", "paper"))
        '(author, writes, paper)'
    """
    return f"({', '.join(edge_type)})"


def _largest(name: str, data: HeteroData, kind: str) -> int:
    """One more than the largest id of a type in the edges."""
    ids = [
        data[edge_type].edge_index[side]
        for edge_type in data.edge_types
        for side in (0, 1)
        if edge_type[2 * side] == kind and data[edge_type].get("edge_index") is not None
    ]
    found = max((int(part.max()) + 1 for part in ids if part.numel()), default=0)
    if not found:
        raise ValueError(
            f"{name}: nothing says how many nodes of type {kind!r} there are; give x or num_nodes"
        )
    _log.info("%s: %d nodes of type %r, by the largest id of an edge", name, found, kind)
    return found


def _features(name: str, data: HeteroData, counts: Mapping[str, int]) -> dict[str, Tensor | None]:
    """Features of each type, None where it has none."""
    found: dict[str, Tensor | None] = {}
    for kind, count in counts.items():
        x = data[kind].get("x") if kind in data.node_types else None
        if x is not None and x.dim() != 2:
            raise ValueError(
                f"{name}: x of {kind!r} must have shape ({count}, F), got {tuple(x.shape)}; leave "
                "it out if the type has no features"
            )
        if x is not None and x.shape[1] > 0:
            found[kind] = checked_features(x, count, f"{name}: x of {kind!r}")
        else:
            found[kind] = None
    without = [kind for kind, x in found.items() if x is None]
    if without:
        _log.info(
            "%s: no features of %s; models learn an embedding of each of these nodes",
            *(name, ", ".join(without)),
        )
    return found


def _edges(name: str, data: HeteroData, counts: Mapping[str, int]) -> dict[EdgeType, Tensor]:
    """Every pair of each edge type once, sorted by destination, then source."""
    found: dict[EdgeType, Tensor] = {}
    if not data.edge_types:
        raise ValueError(f"{name} has no edge types")
    for edge_type in data.edge_types:
        if len(edge_type) != 3 or not all(edge_type):
            raise ValueError(
                f"{name}: an edge type must name source, relation and destination, got {edge_type}"
            )
        stored, what = data[edge_type], f"{name}: edge type {written(edge_type)}"
        edge_index = stored.get("edge_index")
        if edge_index is None:
            raise ValueError(f"{what} has no edge_index, only {sorted(stored.keys())}")
        if edge_index.dim() != 2 or len(edge_index) != 2 or edge_index.is_floating_point():
            kind = str(edge_index.dtype).removeprefix("torch.")
            raise ValueError(
                f"{what}: edge_index must hold whole numbers of shape (2, E), got {kind} of shape "
                f"{tuple(edge_index.shape)}"
            )
        ignored = [key for key in ("edge_weight", "edge_attr") if key in stored]
        if ignored:
            _log.warning("%s: %s is not used", what, " and ".join(ignored))
        edge_index = edge_index.long().cpu()
        _check_ids(what, edge_type, edge_index, counts)
        kept = _sorted(edge_index, counts[edge_type[0]])
        if kept.shape[1] < edge_index.shape[1]:
            _log.info("%s: merged %d repeated edges", what, edge_index.shape[1] - kept.shape[1])
        found[edge_type] = kept
    return found


def _check_ids(
    what: str, edge_type: EdgeType, edge_index: Tensor, counts: Mapping[str, int]
) -> None:
    for side, row in enumerate(edge_index):
        kind = edge_type[2 * side]
        bad = ((row < 0) | (row >= counts[kind])).nonzero()
        if len(bad):
            edge = int(bad[0])
            raise ValueError(
                f"{what}: ids of {kind!r} (row {side} of edge_index) must lie in "
                f"[0, {counts[kind]}), got {int(row[edge])} at edge {edge}"
            )


def _sorted(edge_index: Int[Tensor, "2 _"], num_sources: int) -> Int[Tensor, "2 _"]:
    """Each pair once, sorted by destination, then source."""
    width = max(num_sources, 1)
    keys = torch.unique(edge_index[1] * width + edge_index[0])
    return torch.stack([keys % width, keys // width])


def _reverse(
    name: str, edges: dict[EdgeType, Tensor], counts: Mapping[str, int], undirected: bool
) -> None:
    """Add the reverse edge types that are missing, or say which they are."""
    missing = {}
    for (source, relation, destination), edge_index in edges.items():
        back = _sorted(edge_index.flip(0), counts[destination])
        there = [kind for kind in edges if (kind[0], kind[2]) == (destination, source)]
        if not any(torch.equal(edges[kind], back) for kind in there):
            missing[source, relation, destination] = back
    if missing and not undirected:
        _log.warning(
            "%s: no reverse of %s, so messages go one way; undirected=True (--data.undirected) "
            "adds it",
            *(name, ", ".join(map(written, missing))),
        )
        return
    for (source, relation, destination), back in missing.items():
        added = (destination, f"rev_{relation}", source)
        if added in edges:
            raise ValueError(
                f"{name}: {written(added)} is not the reverse of "
                f"{written((source, relation, destination))}, which undirected=True would call "
                "so; rename it, or leave undirected out"
            )
        edges[added] = back
    if missing:
        _log.info("%s: added the reverse of %s", name, ", ".join(map(written, missing)))


def _warn_of_deaf(
    name: str, edges: Mapping[EdgeType, Tensor], counts: Mapping[str, int], undirected: bool
) -> None:
    deaf = [kind for kind in counts if not any(edge_type[2] == kind for edge_type in edges)]
    if deaf:
        advice = "" if undirected else "; undirected=True (--data.undirected) adds reverse edges"
        _log.warning("%s: nodes of %s receive no messages%s", name, ", ".join(deaf), advice)

"""What a model may see of a heterogeneous data set when nodes of later splits are hidden.

The published files have a leak. In those of ACM, features of authors and subjects are the union of
the words of their papers; in those of IMDB, features of directors and actors are the mean of their
movies: papers and movies of the test included. Here such features are made again from what may be
seen.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from graphlearn.data.dataset import Dataset
from graphlearn.ops.csr import CSR
from graphlearn.ops.paths import EdgeType
from graphlearn.ops.rows import feature_rows
from graphlearn.train.task import Split

__all__ = ["Derived", "View", "check_visible", "derived_types", "visible"]

Rule = Literal["union", "mean"]

_log = logging.getLogger(__name__)
_HIDDEN: Mapping[Split, tuple[Split, ...]] = {
    "train": ("valid", "test"),
    "valid": ("test",),
    "test": (),
}


class View(NamedTuple):
    """A graph as it may be seen; every node keeps its number.

    Args:
        x: Features of the types that have some; hidden nodes have none other than zero.
        edge_index: Edges of each type, sources and receivers, of which none is hidden.
        hidden: Target nodes that may not be seen.
    """

    x: Mapping[str, Tensor | CSR]
    edge_index: Mapping[EdgeType, Tensor]
    hidden: Tensor


class Derived(NamedTuple):
    """How features of a type were made.

    Args:
        source: From those of which type.
        edges: Which edges join the two.
        rule: The union of 0/1 words of all neighbours, or the mean of their features.
    """

    source: str
    edges: EdgeType
    rule: Rule


def visible(dataset: Dataset, split: Split, *, recompute_neighbor_features: bool = True) -> View:
    """What may be seen in a split: its nodes, those of earlier splits, and those of none.

    Edges of hidden target nodes are left out, and so are their features; other types are never
    filtered. In the test nothing is hidden.

    Args:
        dataset: A data set of kind "hetero".
        split: What the pass is for.
        recompute_neighbor_features: Make features that were made from those of target nodes again,
            from the visible ones.
    """
    data, target = dataset.data, str(dataset.facts["target"])
    parts = [dataset.splits[later] for later in _HIDDEN[split]]
    hidden = torch.cat([torch.empty(0).long(), *parts]).sort().values
    x: dict[str, Tensor | CSR] = {
        kind: data[kind].x for kind in data.node_types if "x" in data[kind]
    }
    edges: dict[EdgeType, Tensor] = {kind: data[kind].edge_index for kind in data.edge_types}
    if not len(hidden):
        return View(x, edges, hidden)
    gone = torch.zeros(int(dataset.facts["num_nodes"]), dtype=torch.bool)
    gone[hidden] = True
    for kind, pairs in edges.items():
        for end, name in ((0, kind[0]), (1, kind[2])):
            if name == target:
                pairs = pairs[:, ~gone[pairs[end]]]
        edges[kind] = pairs
    derived = derived_types(dataset)
    if target in x:
        x[target] = _without(x[target], gone)
    if derived and not recompute_neighbor_features:
        _log.warning(
            "%s: features of %s were made from those of hidden %s nodes as well; "
            "recompute_neighbor_features makes them again from what may be seen",
            *(dataset.name, " and ".join(derived), target),
        )
        return View(x, edges, hidden)
    for name, how in derived.items():
        x[name] = _made(x[how.source], edges[how.edges], how, int(data[name].num_nodes))
    return View(x, edges, hidden)


def derived_types(dataset: Dataset) -> dict[str, Derived]:
    """Types whose features were made from those of their neighbours of another type.

    Only types that lead back to the target matter: those made from its features, and those made
    from these. All their features must be the union, or the mean, of those of the neighbours.

    Args:
        dataset: A data set of kind "hetero".

    Returns:
        How, for each such type; it comes after the one that it is made from.
    """
    data, target = dataset.data, str(dataset.facts["target"])
    rows = {kind: feature_rows(data[kind].x) for kind in data.node_types if "x" in data[kind]}
    found: dict[str, Derived] = {}
    sources = [target]
    for source in sources:
        for kind in data.edge_types:
            other = kind[2] if kind[0] == source else kind[0]
            if source not in (kind[0], kind[2]) or other in (source, target, *found):
                continue
            if not {source, other} <= rows.keys():
                continue
            for rule in get_args(Rule):
                how = Derived(source, kind, rule)
                made = _made(rows[source], data[kind].edge_index, how, rows[other].num_rows)
                if _same(made, rows[other]):
                    found[other] = how
                    sources.append(other)
                    break
    return found


def check_visible(dataset: Dataset, view: View) -> None:
    """Check that nothing of a hidden node can be seen.

    Args:
        dataset: A data set of kind "hetero".
        view: What `visible` returned.

    Raises:
        ValueError: if an edge ends in a hidden node, one has a feature, or a feature that is made
            from those of others has a word that no visible neighbour has.
    """
    target = str(dataset.facts["target"])
    gone = torch.zeros(int(dataset.facts["num_nodes"]), dtype=torch.bool)
    gone[view.hidden] = True
    for kind, pairs in view.edge_index.items():
        for end, name in ((0, kind[0]), (1, kind[2])):
            if name == target and gone[pairs[end]].any():
                node = int(pairs[end][gone[pairs[end]]][0])
                raise ValueError(f"an edge {'-'.join(kind)} ends in the hidden {target} {node}")
    if target in view.x:
        rows = feature_rows(view.x[target])
        told = rows.rows()[rows.weight != 0]
        if gone[told].any():
            raise ValueError(f"the hidden {target} {int(told[gone[told]][0])} has features")
    for name, how in derived_types(dataset).items():
        rows = feature_rows(view.x[name])
        made = _made(view.x[how.source], view.edge_index[how.edges], how, rows.num_rows)
        if not _same(made, rows):
            raise ValueError(
                f"features of {name} hold more than those of the visible {how.source} nodes next "
                "to them"
            )


def _without(x: Tensor | CSR, gone: Tensor) -> CSR | Tensor:
    """The same features with zeros for some nodes."""
    if isinstance(x, Tensor) and x.layout != torch.sparse_csr:
        return x.masked_fill(gone.unsqueeze(1), 0.0)
    rows = feature_rows(x)
    kept = ~gone[rows.rows()]
    assert rows.weight is not None
    count = torch.zeros(rows.num_rows, dtype=torch.long).index_add_(0, rows.rows(), kept.long())
    ptr = torch.nn.functional.pad(count.cumsum(0), (1, 0))
    return CSR(ptr, rows.col[kept], rows.num_cols, weight=rows.weight[kept])


def _made(x: Tensor | CSR, pairs: Tensor, how: Derived, num_nodes: int) -> CSR:
    """Features of the type at the other end of the edges."""
    rows = feature_rows(x)
    assert rows.weight is not None
    near, node = pairs if how.edges[0] == how.source else pairs.flip(0)
    count = rows.ptr.diff()[near]
    owner = torch.repeat_interleave(node, count)
    shift = torch.repeat_interleave(rows.ptr[near] - (count.cumsum(0) - count), count)
    entry = torch.arange(len(owner)) + shift
    found = CSR.from_edge_index(
        torch.stack([owner, rows.col[entry].long()]),
        num_nodes,
        num_cols=rows.num_cols,
        weight=rows.weight[entry].double(),
    )
    assert found.weight is not None
    if how.rule == "union":
        return replace(found, weight=torch.ones(found.num_entries))
    degree = torch.bincount(node, minlength=num_nodes)
    return replace(found, weight=(found.weight / degree[found.rows()]).float())


def _same(one: CSR, other: CSR) -> bool:
    same = one.num_cols == other.num_cols and torch.equal(one.ptr, other.ptr)
    if not (same and torch.equal(one.col, other.col)):
        return False
    assert one.weight is not None and other.weight is not None
    return bool(torch.isclose(one.weight, other.weight, rtol=1e-5, atol=0).all())

"""Edges that similarity takes away from a graph, and edges that it adds."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.ops.adjacency import edges_once, row_sums
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows
from graphlearn.ops.similar import cosine, jaccard, nearest_rows

__all__ = ["Similarity", "add_nearest", "entries", "prune_edges"]

Similarity = Literal["jaccard", "cosine"]


def prune_edges(
    graph: CSR, x: Tensor | CSR, threshold: float, *, similarity: Similarity, strict: bool
) -> tuple[CSR, Int[Tensor, "2 pair"]]:
    """The graph without edges between unlike nodes, and these edges.

    A symmetric graph loses both directions, and each edge is listed once. Loops stay. Weights of
    the edges that stay are those of the graph, with their gradients.

    Args:
        graph: Adjacency.
        x: What nodes are compared by.
        threshold: Similarity below which an edge goes.
        similarity: `jaccard` of the positions that are not zero, or `cosine`.
        strict: An edge of exactly the threshold stays.
    """
    pairs = edges_once(graph) if graph.symmetric else entries(graph)
    score = jaccard(feature_rows(x), pairs) if similarity == "jaccard" else cosine(x, pairs)
    gone = pairs[:, score < threshold if strict else score <= threshold]
    return graph.without(gone), gone


def add_nearest(
    graph: CSR,
    h: Float[Tensor, "node chan"],
    k: int,
    *,
    degree_threshold: int = 1,
    exclude_self: bool = True,
    exclude_existing: bool = False,
    symmetrize: bool = True,
    min_sim: float | None = None,
) -> CSR:
    """The graph with edges from each node to the `k` most similar nodes of some degree.

    The published code has `exclude_self=False`, so that a node that is a candidate finds itself
    first and gains at most `k - 1` neighbours, and `symmetrize=False`: the edge leads from the
    node to what it has found, and only the node itself listens to it. A node whose vector is zero
    is like none, and gains none.

    Args:
        graph: Adjacency; entries that are switched off are gone from the result.
        h: Vectors to compare by their cosine.
        k: How many; 0 adds none.
        degree_threshold: Only nodes of a larger degree are found.
        exclude_self: A node does not find itself.
        exclude_existing: A node does not find its neighbours.
        symmetrize: Add the opposite direction too.
        min_sim: Cosine that an added edge must exceed; None is no bound.
    """
    size = graph.num_rows
    row, col, weight = graph.rows(), graph.col.long(), graph.weight
    if graph.keep is not None:
        row, col = row[graph.keep], col[graph.keep]
        weight = None if weight is None else weight[graph.keep]
    old = row * size + col
    new = old[:0]
    if k and size:
        near, score = nearest_rows(
            h.detach(),
            k,
            candidates=row_sums(graph).detach() > degree_threshold,
            exclude_self=exclude_self,
            without=graph if exclude_existing else None,
        )
        node = torch.arange(size, device=near.device).unsqueeze(1)
        taken = (near >= 0) & (near != node) & (h.detach() != 0).any(1, keepdim=True)
        taken &= score > (-math.inf if min_sim is None else min_sim)
        start, end = node.expand_as(near)[taken], near[taken]
        new = start * size + end
        new = torch.cat([new, end * size + start]) if symmetrize else new
        new = torch.unique(new)
        new = new[~torch.isin(new, old)]
    keys, order = torch.cat([old, new]).sort()
    if weight is not None:
        weight = torch.cat([weight, weight.new_ones(len(new))])[order]
    bounds = torch.arange(size + 1, device=keys.device) * size
    ptr = torch.searchsorted(keys, bounds)
    symmetric = graph.symmetric and (symmetrize or not len(new))
    return CSR(ptr, (keys % max(size, 1)).int(), size, weight=weight, symmetric=symmetric)


def entries(graph: CSR) -> Int[Tensor, "2 pair"]:
    """All kept entries off the diagonal, as pairs.

    Args:
        graph: Square matrix, which need not be symmetric.
    """
    pairs = torch.stack([graph.rows(), graph.col.long()])
    real = pairs[0] != pairs[1]
    return pairs[:, real if graph.keep is None else real & graph.keep]

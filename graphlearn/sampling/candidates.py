"""Pairs of nodes that might be linked, in blocks of bounded memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from scipy.sparse import csr_array
from torch import Tensor

from graphlearn.ops.csr import CSR
from graphlearn.ops.locate import expand_rows

__all__ = ["all_pairs", "two_hop_pairs"]


def two_hop_pairs(
    graph: CSR, *, block: int = 1 << 21, nodes: Int[Tensor, " node"] | None = None
) -> Iterator[Int[Tensor, "2 pair"]]:
    """Pairs that share a neighbour and are not adjacent, each once, the smaller id first.

    Args:
        graph: Undirected; entries switched off by `graph.keep` still count as edges.
        block: About how many pairs are held at a time; one row more at most.
        nodes: Only pairs with at least one end among these; None means all.

    Raises:
        ValueError: if the graph is directed, `block` is not positive or `nodes` are out of range.
    """
    rows = _checked_rows(graph, block, nodes)
    degree = graph.ptr.diff()
    paths = torch.zeros(graph.num_entries + 1, dtype=torch.int64, device=graph.ptr.device)
    torch.cumsum(degree[graph.col.long()], 0, out=paths[1:])
    reach = paths[graph.ptr].diff().clamp_(max=graph.num_rows)
    return _two_hop_blocks(graph, _row_blocks(rows, reach[rows], block), _chosen(graph, nodes))


def all_pairs(
    graph: CSR, *, block: int = 1 << 21, nodes: Int[Tensor, " node"] | None = None
) -> Iterator[Int[Tensor, "2 pair"]]:
    """Pairs that are not adjacent, each once, the smaller id first.

    Args:
        graph: Undirected; entries switched off by `graph.keep` still count as edges.
        block: About how many pairs are held at a time; one row more at most.
        nodes: Only pairs with at least one end among these; None means all.

    Raises:
        ValueError: if the graph is directed, `block` is not positive or `nodes` are out of range.
    """
    rows = _checked_rows(graph, block, nodes)
    cost = torch.full_like(rows, graph.num_rows)
    return _all_blocks(graph, _row_blocks(rows, cost, block), _chosen(graph, nodes))


def _two_hop_blocks(
    graph: CSR, blocks: Iterator[Tensor], chosen: Tensor | None
) -> Iterator[Tensor]:
    device = graph.col.device
    # Truth values: what matters is that there is a path, and sums of them cannot overflow.
    ones = torch.ones(graph.num_entries, dtype=torch.bool)
    links = csr_array(
        (ones.numpy(), graph.col.cpu().numpy(), graph.ptr.cpu().numpy()),
        shape=(graph.num_rows, graph.num_rows),
    )
    for rows in blocks:
        found = (links[rows.cpu().numpy()] @ links).tocoo()
        u = rows[torch.from_numpy(found.row).long().to(device)]
        v = torch.from_numpy(found.col).long().to(device)
        pairs = _once(u, v, chosen)
        pairs = pairs[:, graph.locate(pairs) < 0]
        if pairs.shape[1]:
            yield pairs


def _all_blocks(graph: CSR, blocks: Iterator[Tensor], chosen: Tensor | None) -> Iterator[Tensor]:
    for rows in blocks:
        shape = (rows.numel(), graph.num_rows)
        free = torch.ones(shape, dtype=torch.bool, device=rows.device)
        entry, owner = expand_rows(graph.ptr, rows)
        free[owner, graph.col[entry].long()] = False
        index, v = free.nonzero().T
        pairs = _once(rows[index], v, chosen)
        if pairs.shape[1]:
            yield pairs


def _once(u: Tensor, v: Tensor, chosen: Tensor | None) -> Tensor:
    """Leave each unordered pair where it is met first: at its smaller end that has a row."""
    first = u < v
    if chosen is not None:
        first |= ~chosen[v]
    u, v = u[first], v[first]
    return torch.stack([torch.minimum(u, v), torch.maximum(u, v)])


def _checked_rows(graph: CSR, block: int, nodes: Tensor | None) -> Tensor:
    if not graph.symmetric:
        raise ValueError(
            "candidates need an undirected graph, got a directed one; "
            "build it with CSR.from_edge_index(..., undirected=True)"
        )
    if block < 1:
        raise ValueError(f"block must be at least 1 pair, got {block}")
    if nodes is None:
        return torch.arange(graph.num_rows, device=graph.ptr.device)
    if nodes.numel() and not 0 <= int(nodes.min()) <= int(nodes.max()) < graph.num_rows:
        raise ValueError(
            f"nodes must lie in [0, {graph.num_rows}), got {int(nodes.min())} to {int(nodes.max())}"
        )
    rows: Tensor = torch.unique(nodes.to(graph.ptr.device).long())
    return rows


def _chosen(graph: CSR, nodes: Tensor | None) -> Tensor | None:
    if nodes is None:
        return None
    chosen = torch.zeros(graph.num_rows, dtype=torch.bool, device=graph.ptr.device)
    chosen[nodes.to(chosen.device).long()] = True
    return chosen


def _row_blocks(rows: Tensor, cost: Tensor, block: int) -> Iterator[Tensor]:
    """Cut the rows so that a part costs at most `block` and one row more."""
    before = cost.cumsum(0) - cost
    sizes = torch.unique_consecutive(before // block, return_counts=True)[1]
    return iter(torch.split(rows, sizes.tolist()))

"""Pairs of nodes that carry no edge."""

import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.ops.csr import CSR

__all__ = ["absent", "corrupt", "uniform"]


def uniform(
    graph: CSR, num: int, *, seed: int, undirected: bool = False, distinct: bool = True
) -> Int[Tensor, "2 num"]:
    """Pairs of different nodes without an edge, each as likely as any other, in random order.

    Pairs are drawn and those with an edge thrown away; where that would throw away most of them,
    the pairs without an edge are listed instead. Random numbers are drawn on the CPU, so the
    device of the graph does not change the result.

    Args:
        graph: Square; entries switched off by `graph.keep` still count as edges.
        num: Number of pairs, exactly.
        seed: Decides the result, alone.
        undirected: Return the smaller id first, and take an edge in either direction for an edge.
        distinct: Return no pair twice.

    Raises:
        ValueError: if the graph is not square or has fewer such pairs.

    Example:
        >>> path = CSR.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, undirected=True)
        >>> uniform(path, 1, seed=0, undirected=True)
        tensor([[0],
                [2]])
    """
    nodes = graph.num_rows
    if nodes != graph.num_cols:
        raise ValueError(
            f"negatives need a square graph, got {nodes} rows and {graph.num_cols} columns"
        )
    generator = torch.Generator().manual_seed(seed)
    cells = nodes * (nodes - 1) // (2 if undirected else 1)
    taken = graph.num_entries // 2 if undirected and graph.symmetric else graph.num_entries
    if num == 0:
        return graph.ptr.new_empty((2, 0))
    if cells and 2 * taken <= cells and (2 * num <= cells - taken or not distinct):
        accept = (cells - taken - (num if distinct else 0)) / cells
        return _reject(graph, num, generator, accept, undirected=undirected, distinct=distinct)
    _check_enough(graph, num, cells, undirected=undirected, distinct=distinct)
    free = _complement(graph, undirected=undirected)
    if distinct:
        pick = torch.randperm(free.shape[1], generator=generator)[:num]
    else:
        pick = torch.randint(free.shape[1], (num,), generator=generator)
    return free[:, pick.to(free.device)]


def absent(graph: CSR, num: int, *, seed: int) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """Cells of a matrix that hold no entry, each as likely as any other, drawn independently.

    Cells are drawn and those with an entry drawn again; where more than half of the matrix is
    filled, the empty cells are listed instead. Random numbers are drawn on the CPU.

    Args:
        graph: Rows and columns may be of different kinds; entries switched off count as entries.
        num: Number of cells; there are none in a full matrix, and as many as are empty at most.
        seed: Decides the result, alone.

    Returns:
        Row and column of each.

    Example:
        >>> full = CSR.from_edge_index(torch.tensor([[0, 0, 1], [0, 1, 1]]), 2)
        >>> absent(full, 3, seed=0)
        (tensor([1]), tensor([0]))
    """
    rows, columns = graph.num_rows, graph.num_cols
    free = rows * columns - graph.num_entries
    num = min(num, free)
    generator = torch.Generator().manual_seed(seed)
    device = graph.col.device
    if 2 * free < rows * columns:
        empty = torch.ones((rows, columns), dtype=torch.bool, device=device)
        empty[graph.rows(), graph.col.long()] = False
        cells = empty.flatten().nonzero().squeeze(1)
        cells = cells[torch.randint(max(free, 1), (num,), generator=generator).to(device)]
        return cells // columns, cells % columns
    found = _cells(rows, columns, num, generator).to(device)
    again = (graph.locate(found) >= 0).nonzero().squeeze(1)
    while len(again):
        new = _cells(rows, columns, len(again), generator).to(device)
        found[:, again] = new
        again = again[graph.locate(new) >= 0]
    return found[0], found[1]


def corrupt(
    pos: Int[Tensor, "2 pair"], num_nodes: int, k: int, *, seed: int
) -> Int[Tensor, "2 pair {k}"]:
    """For each pair, `k` pairs with the same source and a target drawn from all nodes.

    As in the published training on ogbl-citation2, a draw may be the source or a true target.

    Args:
        pos: Pairs whose targets are replaced.
        num_nodes: Number of nodes to draw from.
        k: Draws for each pair.
        seed: Decides the result, alone.
    """
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(num_nodes, (pos.shape[1], k), generator=generator).to(pos.device)
    return torch.stack([pos[0, :, None].expand_as(target), target])


def _cells(rows: int, columns: int, num: int, generator: torch.Generator) -> Tensor:
    """Rows and columns, uniform; there is none to draw where a side is empty."""
    sides = (max(rows, 1), max(columns, 1))
    return torch.stack([torch.randint(side, (num,), generator=generator) for side in sides])


def _reject(
    graph: CSR,
    num: int,
    generator: torch.Generator,
    accept: float,
    *,
    undirected: bool,
    distinct: bool,
) -> Tensor:
    """Draw until there are `num`; at least the share `accept` of the draws is new and free.

    Which of too many are kept must not depend on their ids, or the sample would be biased: the
    last permutation sees to that where pairs were sorted to be told apart.
    """
    nodes = graph.num_rows
    keys = graph.ptr.new_empty(0)
    while keys.numel() < num:
        count = int(1.05 * (num - keys.numel()) / accept) + 16
        pairs = _draw(nodes, count, generator, undirected=undirected).to(keys.device)
        linked = graph.locate(pairs) >= 0
        if undirected and not graph.symmetric:
            linked |= graph.locate(pairs.flip(0)) >= 0
        free = pairs[:, ~linked]
        keys = torch.cat([keys, free[0] * nodes + free[1]])
        keys = torch.unique(keys) if distinct else keys
    if distinct:
        keys = keys[torch.randperm(keys.numel(), generator=generator).to(keys.device)]
    keys = keys[:num]
    return torch.stack([keys // nodes, keys % nodes])


def _draw(nodes: int, count: int, generator: torch.Generator, *, undirected: bool) -> Tensor:
    """Ordered or unordered pairs of different nodes, uniform."""
    u = torch.randint(nodes, (count,), generator=generator)
    v = torch.randint(nodes - 1, (count,), generator=generator)
    v += v >= u
    if undirected:
        u, v = torch.minimum(u, v), torch.maximum(u, v)
    return torch.stack([u, v])


def _check_enough(graph: CSR, num: int, cells: int, *, undirected: bool, distinct: bool) -> None:
    """Count before listing: a wild `num` must not cost a table of all pairs."""
    u, v = graph.rows(), graph.col.long()
    if undirected:
        u, v = torch.minimum(u, v), torch.maximum(u, v)
    taken = torch.unique((u * graph.num_cols + v)[u != v]).numel()
    if cells - taken < (num if distinct else 1):
        kind = "distinct negatives" if distinct else "negatives"
        raise ValueError(
            f"{num} {kind} asked for, but only {cells - taken} pairs of nodes have no edge; "
            "ask for fewer"
        )


def _complement(graph: CSR, *, undirected: bool) -> Tensor:
    """All pairs without an edge; the table is at most a few times the edges plus the result."""
    nodes = graph.num_rows
    free = torch.ones((nodes, nodes), dtype=torch.bool, device=graph.col.device)
    free[graph.rows(), graph.col.long()] = False
    free = (free & free.T).triu(1) if undirected else free.fill_diagonal_(False)
    return free.nonzero().T.contiguous()

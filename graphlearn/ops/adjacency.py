"""Adjacency as matrices that models multiply with: self loops and normalisations."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.ops.csr import CSR

__all__ = ["edges_once", "gcn_norm", "power_norm", "row_sums", "with_loops"]


def with_loops(graph: CSR, weight: float = 1.0) -> CSR:
    """The same matrix with a value on every diagonal entry that is not there yet.

    Entries that were switched off are gone from the result.

    Args:
        graph: Square matrix.
        weight: Value of the new entries.

    Raises:
        ValueError: if the matrix is not square.

    Example:
        >>> g = CSR.from_edge_index(torch.tensor([[0], [1]]), 2, undirected=True)
        >>> with_loops(g).col
        tensor([0, 1, 0, 1], dtype=torch.int32)
    """
    size = _size(graph)
    row, col, value = graph.rows(), graph.col.long(), graph.weight
    if graph.keep is not None:
        row, col = row[graph.keep], col[graph.keep]
        value = None if value is None else value[graph.keep]
    missing = torch.ones(size, dtype=torch.bool, device=col.device)
    missing[row[row == col]] = False
    loops = missing.nonzero().squeeze(1)
    row, col = torch.cat([row, loops]), torch.cat([col, loops])
    order = (row * size + col).argsort()
    if value is not None or weight != 1.0:
        old = torch.ones(len(row) - len(loops), device=col.device) if value is None else value
        value = torch.cat([old, old.new_full((len(loops),), weight)])[order]
    count = torch.bincount(row, minlength=size)
    ptr = torch.nn.functional.pad(count.cumsum(0), (1, 0))
    return CSR(ptr, col[order].int(), size, weight=value, symmetric=graph.symmetric)


def row_sums(graph: CSR) -> Float[Tensor, " row"]:
    """Sum of the kept values of each row.

    Args:
        graph: Any matrix; without values every kept entry counts one.
    """
    value = graph.values()
    if value is None:
        return graph.degree().float()
    return value.new_zeros(graph.num_rows).index_add_(0, graph.rows(), value)


def gcn_norm(graph: CSR, *, loops: float = 1.0) -> CSR:
    r"""The symmetric normalisation of graph convolutions.

    .. math:: \hat A = D^{-1/2} (A + w I) D^{-1/2}, \qquad D_{ii} = \sum_j (A + w I)_{ij}

    Differentiable in the weights of the graph. A row whose sum is not positive stays zero.

    Reference: Thomas Kipf, Max Welling, "Semi-Supervised Classification with Graph Convolutional
    Networks", ICLR 2017.

    Args:
        graph: Square matrix.
        loops: Weight :math:`w` of a self loop, put where a node has none; 0 adds none.

    Raises:
        ValueError: if the matrix is not square.
    """
    graph = with_loops(graph, loops) if loops else graph
    total = row_sums(graph)
    scale = torch.where(total > 0, total.clamp(min=1e-30).rsqrt(), 0.0)
    value = scale[graph.rows()] * scale[graph.col.long()]
    old = graph.values()
    return replace(graph, keep=None, weight=value if old is None else old * value)


def power_norm(
    graph: CSR, alpha: float, *, loops: float = 1.0, row_normalize: bool | None = None
) -> CSR:
    r"""Propagation that trusts nodes by a power of their degree.

    .. math:: w_{ij} = (d_i d_j)^\alpha (A + w I)_{ij}, \qquad
              P_{ij} = w_{ij} \Big/ \sum_{j'} w_{ij'}

    with :math:`d` the row sums of :math:`A + w I`. At :math:`\alpha = -1/2` the published form
    leaves the rows as they are, which is `gcn_norm`.

    Reference: Kuan Li, Yang Liu, Xiang Ao, Jianfeng Chi, Jinghua Feng, Hao Yang, Qing He, "Reliable
    Representations Make A Stronger Defender: Unsupervised Structure Refinement for Robust GNN",
    KDD 2022.

    Args:
        graph: Square matrix.
        alpha: Above 0 neighbours of high degree count more, 0 is the mean.
        loops: Weight :math:`w` of a self loop; 0 adds none.
        row_normalize: Whether rows are divided by their sums; None: unless alpha is -0.5.

    Raises:
        ValueError: if the matrix is not square.
    """
    if row_normalize is None:
        row_normalize = alpha != -0.5
    graph = with_loops(graph, loops) if loops else graph
    total = row_sums(graph)
    # Of a row that is normalised a factor cancels, and large powers would overflow without one.
    unit = _reference(total, alpha) if row_normalize else 1.0
    scale = torch.where(total > 0, (total.clamp(min=1e-30) / unit) ** alpha, 0.0)
    row, col, old = graph.rows(), graph.col.long(), graph.values()
    value = scale[col] if row_normalize else scale[row] * scale[col]
    value = value if old is None else old * value
    graph = replace(graph, keep=None, weight=value)
    if row_normalize:
        sums = row_sums(graph)
        value = value / torch.where(sums > 0, sums, 1.0)[row]
        graph = replace(graph, weight=value, symmetric=False)
    return graph


def edges_once(graph: CSR) -> Int[Tensor, "2 pair"]:
    """Every edge of an undirected graph once, the smaller end first, in order.

    Args:
        graph: Symmetric matrix; loops and entries that were switched off are left out.
    """
    row, col = graph.rows(), graph.col.long()
    once = row < col if graph.keep is None else (row < col) & graph.keep
    return torch.stack([row[once], col[once]])


def _reference(total: Tensor, alpha: float) -> Tensor | float:
    """The degree whose power is the largest."""
    positive = total[total > 0]
    if not positive.numel():
        return 1.0
    return positive.max() if alpha >= 0 else positive.min()


def _size(graph: CSR) -> int:
    if graph.num_rows != graph.num_cols:
        raise ValueError(
            f"an adjacency must be square, got {graph.num_rows} rows and {graph.num_cols} columns"
        )
    return graph.num_rows

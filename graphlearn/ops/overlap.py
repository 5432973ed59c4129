"""Common neighbours of node pairs: lists, counts, sums of node vectors, and what is left over."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graphlearn.ops.backend import Context, check_ids, kernels
from graphlearn.ops.csr import CSR
from graphlearn.ops.locate import expand_rows, locate_reference

__all__ = [
    "contains",
    "difference",
    "difference_reference",
    "overlap",
    "overlap_count",
    "overlap_reference",
    "overlap_sum",
]


def overlap(graph: CSR, pairs: Int[Tensor, "2 pair"]) -> CSR:
    r"""Common neighbours of every pair, one row for each pair.

    Row :math:`k` holds :math:`N(i_k) \cap N(j_k)`, ascending. Entries of the graph that are not
    kept take no part. :math:`O(\sum_k \min(d_{i_k}, d_{j_k}))`.

    Args:
        graph: Neighbour lists.
        pairs: Nodes to intersect; the order of the two ends does not matter.

    Example:
        >>> g = CSR.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, undirected=True)
        >>> overlap(g, torch.tensor([[0], [2]])).col
        tensor([1], dtype=torch.int32)
    """
    src, dst = pairs.long()
    ptr, col = _overlap(graph.ptr, graph.col, graph.keep, src, dst, graph.num_cols)
    return CSR(ptr, col, graph.num_cols)


def difference(graph: CSR, pairs: Int[Tensor, "2 pair"]) -> tuple[CSR, CSR]:
    r"""Neighbours of only one end of every pair, one row for each pair.

    Returns :math:`N(i_k) \setminus N(j_k)` and :math:`N(j_k) \setminus N(i_k)`. An entry that is
    not kept counts as absent: its node then belongs to the other end alone.

    Args:
        graph: Neighbour lists.
        pairs: Nodes to compare.
    """
    src, dst = pairs.long()
    ptr_i, col_i, ptr_j, col_j = _difference(
        graph.ptr, graph.col, graph.keep, src, dst, graph.num_cols
    )
    return CSR(ptr_i, col_i, graph.num_cols), CSR(ptr_j, col_j, graph.num_cols)


def overlap_count(graph: CSR, pairs: Int[Tensor, "2 pair"]) -> Int[Tensor, " pair"]:
    r"""Number of common neighbours of every pair, :math:`|N(i_k) \cap N(j_k)|`.

    On dense graphs rows are packed into bits; the cheaper way is chosen from the sizes.

    Args:
        graph: Neighbour lists.
        pairs: Nodes to intersect.
    """
    src, dst = pairs.long()
    out: Tensor = _overlap_count(graph.ptr, graph.col, graph.keep, src, dst, graph.num_cols)
    return out


def overlap_sum(
    graph: CSR, pairs: Int[Tensor, "2 pair"], x: Float[Tensor, "node chan"]
) -> Float[Tensor, "pair chan"]:
    r"""Sum of a node vector over the common neighbours of every pair.

    .. math:: y_k = \sum_{u \in N(i_k) \cap N(j_k)} x_u

    The lists are never stored; the gradient with respect to `x` walks them once more.

    Args:
        graph: Neighbour lists.
        pairs: Nodes to intersect.
        x: Vector of each node; half precision is summed in float32.

    Raises:
        ValueError: if `x` has not one row for each node.
    """
    if x.shape[0] != graph.num_cols:
        raise ValueError(f"x must have {graph.num_cols} rows, one per node, got {x.shape[0]}")
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    src, dst = pairs.long()
    out: Tensor = _overlap_sum(graph.ptr, graph.col, graph.keep, src, dst, x)
    return out


def contains(graph: CSR, pairs: Int[Tensor, "2 pair"]) -> Bool[Tensor, " pair"]:
    """Whether each pair is an entry of the graph, kept or not.

    Args:
        graph: Neighbour lists.
        pairs: Row and column of each entry that is asked for.
    """
    return graph.locate(pairs) >= 0


def overlap_reference(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor]:
    """Look every neighbour of the first end up among those of the second."""
    entry, pair, shared = _lookup(ptr, col, keep, src, dst)
    return _lists(col[entry[shared]], pair[shared], src.numel())


def difference_reference(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Look every neighbour of either end up among those of the other, and keep the misses."""
    out: list[Tensor] = []
    for one, other in ((src, dst), (dst, src)):
        entry, pair, shared = _lookup(ptr, col, keep, one, other)
        out += _lists(col[entry[~shared]], pair[~shared], src.numel())
    return out[0], out[1], out[2], out[3]


def _lookup(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Kept entries of the rows `src`, their pair, and whether row `dst` has their column too."""
    entry, pair = expand_rows(ptr, src)
    if keep is not None:
        kept = keep[entry]
        entry, pair = entry[kept], pair[kept]
    found = locate_reference(ptr, col, dst[pair], col[entry].long())
    shared = found >= 0
    return entry, pair, shared if keep is None or found.numel() == 0 else shared & keep[found]


def _lists(nodes: Tensor, pair: Tensor, num_pairs: int) -> tuple[Tensor, Tensor]:
    """Pack `nodes`, sorted by pair, into rows."""
    ptr = torch.zeros(num_pairs + 1, dtype=torch.int64, device=pair.device)
    torch.cumsum(torch.bincount(pair, minlength=num_pairs), 0, out=ptr[1:])
    return ptr, nodes


@torch.library.custom_op("graphlearn::overlap", mutates_args=())
def _overlap(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor]:
    check_ids(ptr.numel() - 1, src, dst)
    fast = kernels(ptr.device)
    return (fast.overlap if fast else overlap_reference)(ptr, col, keep, src, dst, num_cols)


@_overlap.register_fake
def _(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor]:
    hits = torch.library.get_ctx().new_dynamic_size()
    return ptr.new_empty(src.shape[0] + 1), col.new_empty(hits)


@torch.library.custom_op("graphlearn::difference", mutates_args=())
def _difference(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_ids(ptr.numel() - 1, src, dst)
    fast = kernels(ptr.device)
    return (fast.difference if fast else difference_reference)(ptr, col, keep, src, dst, num_cols)


@_difference.register_fake
def _(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    context, pairs = torch.library.get_ctx(), src.shape[0] + 1
    first, second = context.new_dynamic_size(), context.new_dynamic_size()
    return (
        ptr.new_empty(pairs), col.new_empty(first), ptr.new_empty(pairs), col.new_empty(second)
    )  # fmt: skip


@torch.library.custom_op("graphlearn::overlap_count", mutates_args=())
def _overlap_count(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> Tensor:
    check_ids(ptr.numel() - 1, src, dst)
    fast = kernels(ptr.device)
    if fast:
        return fast.overlap_count(ptr, col, keep, src, dst, num_cols)
    return overlap_reference(ptr, col, keep, src, dst, num_cols)[0].diff()


@_overlap_count.register_fake
def _(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> Tensor:
    return torch.empty_like(src)


@torch.library.custom_op("graphlearn::overlap_sum", mutates_args=())
def _overlap_sum(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, x: Tensor
) -> Tensor:
    check_ids(ptr.numel() - 1, src, dst)
    fast = kernels(ptr.device)
    if fast:
        return fast.overlap_sum(ptr, col, keep, src, dst, x)
    entry, pair, shared = _lookup(ptr, col, keep, src, dst)
    node, pair = col[entry[shared]].long(), pair[shared]
    return x.new_zeros(src.numel(), x.shape[1]).index_add_(0, pair, x[node])


@_overlap_sum.register_fake
def _(ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, x: Tensor) -> Tensor:
    return x.new_empty(src.shape[0], x.shape[1])


@torch.library.custom_op("graphlearn::overlap_spread", mutates_args=())
def _overlap_spread(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, grad: Tensor,
    num_nodes: int,
) -> Tensor:  # fmt: skip
    """The transpose of `overlap_sum`: adds the row of every pair to its common neighbours."""
    check_ids(ptr.numel() - 1, src, dst)
    fast = kernels(ptr.device)
    if fast:
        return fast.overlap_spread(ptr, col, keep, src, dst, grad, num_nodes)
    entry, pair, shared = _lookup(ptr, col, keep, src, dst)
    node, pair = col[entry[shared]].long(), pair[shared]
    return grad.new_zeros(num_nodes, grad.shape[1]).index_add_(0, node, grad[pair])


@_overlap_spread.register_fake
def _(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, grad: Tensor,
    num_nodes: int,
) -> Tensor:  # fmt: skip
    return grad.new_empty(num_nodes, grad.shape[1])


def _save(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    *graph, x = inputs
    ctx.save_for_backward(*graph)
    ctx.num_nodes = x.shape[0]


def _sum_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    spread = _overlap_spread(*ctx.saved_tensors, grad.contiguous(), ctx.num_nodes)
    return None, None, None, None, None, spread


def _save_spread(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])


def _spread_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    total = _overlap_sum(*ctx.saved_tensors, grad.contiguous())
    return None, None, None, None, None, total, None


_overlap_sum.register_autograd(_sum_backward, setup_context=_save)
_overlap_spread.register_autograd(_spread_backward, setup_context=_save_spread)

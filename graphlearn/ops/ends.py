r"""Values of the entries of a symmetric matrix from the two ends of each, and sums over rows.

What attention and sheaves share: an entry (i, j) gets :math:`a_i + b_j`, is turned into a weight or
a map, is looked at from its other end, and is added up over the row.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context, kernels
from graphlearn.ops.csr import CSR

__all__ = ["end_sums", "flipped", "row_totals"]


def end_sums(
    graph: CSR, left: Float[Tensor, "node chan"], right: Float[Tensor, "node chan"]
) -> Float[Tensor, "edge chan"]:
    r"""What the two ends of each entry bring, :math:`y_{(i, j)} = a_i + b_j`.

    Args:
        graph: Symmetric matrix; entries switched off by `keep` get a value as well.
        left: What a node brings to the entries of its row.
        right: What it brings to the entries of its column.

    Raises:
        ValueError: if the matrix is not symmetric.
    """
    out: Tensor = _sums(graph.ptr, graph.col, graph.reverse(), left, right)
    return out


def flipped(graph: CSR, value: Float[Tensor, "edge chan"]) -> Float[Tensor, "edge chan"]:
    """The value of the entry (j, i) at each entry (i, j).

    Args:
        graph: Symmetric matrix.
        value: Value of each entry.

    Raises:
        ValueError: if the matrix is not symmetric.
    """
    out: Tensor = _flip(value, graph.reverse())
    return out


def row_totals(graph: CSR, value: Float[Tensor, "edge chan"]) -> Float[Tensor, "row chan"]:
    r"""Sum over each row, :math:`y_i = \sum_{e = (i, j)} v_e`; entries switched off count as well.

    Args:
        graph: Any matrix.
        value: Value of each entry.
    """
    out: Tensor = _totals(graph.ptr, value)
    return out


def _rows(ptr: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(ptr.numel() - 1, device=ptr.device), ptr.diff())


def _sums_reference(ptr: Tensor, col: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return left[_rows(ptr)] + right[col.long()]


def _totals_reference(ptr: Tensor, entry: Tensor | None, value: Tensor) -> Tensor:
    """Sum of each row, of the values at `entry` where that is given."""
    value = value if entry is None else value[entry]
    return value.new_zeros(ptr.numel() - 1, value.shape[1]).index_add_(0, _rows(ptr), value)


@torch.library.custom_op("graphlearn::end_sums", mutates_args=())
def _sums(ptr: Tensor, col: Tensor, reverse: Tensor, left: Tensor, right: Tensor) -> Tensor:
    fast = kernels(left.device)
    return (getattr(fast, "end_sums", None) or _sums_reference)(ptr, col, left, right)


@_sums.register_fake
def _(ptr: Tensor, col: Tensor, reverse: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(col.shape[0], left.shape[1])


@torch.library.custom_op("graphlearn::row_totals", mutates_args=())
def _totals(ptr: Tensor, value: Tensor) -> Tensor:
    fast = kernels(value.device)
    return (getattr(fast, "row_totals", None) or _totals_reference)(ptr, None, value)


@_totals.register_fake
def _(ptr: Tensor, value: Tensor) -> Tensor:
    return value.new_empty(ptr.shape[0] - 1, value.shape[1])


@torch.library.custom_op("graphlearn::column_totals", mutates_args=())
def _columns(ptr: Tensor, reverse: Tensor, value: Tensor) -> Tensor:
    """Sums over columns: over the rows of the flipped values."""
    fast = kernels(value.device)
    return (getattr(fast, "row_totals", None) or _totals_reference)(ptr, reverse, value)


@_columns.register_fake
def _(ptr: Tensor, reverse: Tensor, value: Tensor) -> Tensor:
    return value.new_empty(ptr.shape[0] - 1, value.shape[1])


@torch.library.custom_op("graphlearn::flipped", mutates_args=())
def _flip(value: Tensor, reverse: Tensor) -> Tensor:
    return value[reverse]


@_flip.register_fake
def _(value: Tensor, reverse: Tensor) -> Tensor:
    return torch.empty_like(value)


def _save_sums(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ptr, _, reverse, _, _ = inputs
    ctx.save_for_backward(ptr, reverse)


def _sums_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    ptr, reverse = ctx.saved_tensors
    left = _totals(ptr, grad) if ctx.needs_input_grad[3] else None
    right = _columns(ptr, reverse, grad) if ctx.needs_input_grad[4] else None
    return None, None, None, left, right


def _save_totals(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _totals_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    (ptr,) = ctx.saved_tensors
    return None, torch.repeat_interleave(grad, ptr.diff(), dim=0)


def _save_flip(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _flip_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _flip(grad, ctx.saved_tensors[0]), None  # to flip twice is to do nothing


_sums.register_autograd(_sums_backward, setup_context=_save_sums)
_totals.register_autograd(_totals_backward, setup_context=_save_totals)
_flip.register_autograd(_flip_backward, setup_context=_save_flip)

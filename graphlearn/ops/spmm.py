"""Message passing without weights of its own: sparse times dense, with its gradients."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context, kernels
from graphlearn.ops.csr import CSR

__all__ = ["propagate", "propagate_reference"]


def propagate(
    graph: CSR,
    x: Float[Tensor, "node chan"],
    *,
    weight: Float[Tensor, " edge"] | None = None,
    reduce: Literal["sum", "mean", "max"] = "sum",
) -> Float[Tensor, "row chan"]:
    r"""Gather the vectors of the neighbours and reduce them.

    .. math:: y_i = \bigoplus_{e = (i, j)} w_e \, x_j

    over the kept entries of row :math:`i`; a row without entries gives zero. Differentiable in `x`
    and in `weight`; a symmetric matrix serves as its own transpose in the backward pass.

    Args:
        graph: Matrix of rows by columns; its `keep` and `weight` are honoured.
        x: Vector of each column; half precision is reduced in float32.
        weight: Value of each entry, multiplied with those of the graph; may need a gradient. An
            entry of value zero takes no part in `sum` and `max`.
        reduce: `mean` divides by the number of kept entries.

    Raises:
        ValueError: if `x` has not one row for each column of the matrix.
    """
    if x.shape[0] != graph.num_cols:
        raise ValueError(f"x must have {graph.num_cols} rows, one per column, got {x.shape[0]}")
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    value = graph.values()
    if weight is not None:
        value = weight if value is None else value * weight
    if value is not None:
        value = value.to(x.dtype)
    if reduce == "max":
        out: Tensor = _propagate_max(graph.ptr, graph.col, value, x)[0]
        return out
    symmetric = graph.symmetric and weight is None
    out = _propagate(graph.ptr, graph.col, value, x, symmetric)
    if reduce == "mean":
        out = out / graph.degree().clamp(min=1).unsqueeze(1)
    return out


def propagate_reference(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor) -> Tensor:
    """Gather every message, then add them row by row."""
    message = _weighted(x[col.long()], weight)
    return x.new_zeros(ptr.numel() - 1, x.shape[1]).index_add_(0, _rows(ptr), message)


def _spread_reference(
    ptr: Tensor, col: Tensor, weight: Tensor | None, grad: Tensor, num_cols: int
) -> Tensor:
    message = _weighted(grad[_rows(ptr)], weight)
    return grad.new_zeros(num_cols, grad.shape[1]).index_add_(0, col.long(), message)


def _dot_reference(ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    return (x[col.long()] * grad[_rows(ptr)]).sum(1)


def _max_reference(
    ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor
) -> tuple[Tensor, Tensor]:
    entry = torch.arange(col.numel(), device=col.device)
    row = _rows(ptr)
    message = x[col.long()]
    if weight is not None:
        message = message * weight.unsqueeze(1)
        entry, row, message = entry[weight != 0], row[weight != 0], message[weight != 0]
    where = row.unsqueeze(1).expand_as(message)
    best = x.new_full((ptr.numel() - 1, x.shape[1]), -torch.inf)
    best = best.scatter_reduce(0, where, message, "amax")
    # The first entry that reaches the maximum, as the kernels choose it.
    first = torch.where(message == best[row], entry.unsqueeze(1), col.numel())
    arg = torch.full_like(best, col.numel(), dtype=torch.int64)
    arg = arg.scatter_reduce(0, where, first, "amin")
    empty = arg == col.numel()
    return best.masked_fill(empty, 0), arg.masked_fill(empty, -1)


def _weighted(rows: Tensor, weight: Tensor | None) -> Tensor:
    """Scale each row; one of weight zero takes no part, whatever it holds."""
    if weight is None:
        return rows
    weight = weight.unsqueeze(1)
    return torch.where(weight != 0, rows * weight, 0)


def _rows(ptr: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(ptr.numel() - 1, device=ptr.device), ptr.diff())


@torch.library.custom_op("graphlearn::propagate", mutates_args=())
def _propagate(
    ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor, symmetric: bool
) -> Tensor:
    fast = kernels(x.device)
    return (fast.propagate if fast else propagate_reference)(ptr, col, weight, x)


@_propagate.register_fake
def _(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor, symmetric: bool) -> Tensor:
    return x.new_empty(ptr.shape[0] - 1, x.shape[1])


@torch.library.custom_op("graphlearn::propagate_spread", mutates_args=())
def _propagate_spread(
    ptr: Tensor, col: Tensor, weight: Tensor | None, grad: Tensor, num_cols: int
) -> Tensor:
    fast = kernels(grad.device)
    return (fast.propagate_spread if fast else _spread_reference)(ptr, col, weight, grad, num_cols)


@_propagate_spread.register_fake
def _(ptr: Tensor, col: Tensor, weight: Tensor | None, grad: Tensor, num_cols: int) -> Tensor:
    return grad.new_empty(num_cols, grad.shape[1])


@torch.library.custom_op("graphlearn::propagate_dot", mutates_args=())
def _propagate_dot(ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    fast = kernels(x.device)
    return (fast.propagate_dot if fast else _dot_reference)(ptr, col, x, grad)


@_propagate_dot.register_fake
def _(ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    return x.new_empty(col.shape[0])


@torch.library.custom_op("graphlearn::propagate_max", mutates_args=())
def _propagate_max(
    ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor
) -> tuple[Tensor, Tensor]:
    fast = kernels(x.device)
    return (fast.propagate_max if fast else _max_reference)(ptr, col, weight, x)


@_propagate_max.register_fake
def _(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
    size = (ptr.shape[0] - 1, x.shape[1])
    return x.new_empty(size), ptr.new_empty(size)


def _save_sum(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ptr, col, weight, x, ctx.symmetric = inputs
    ctx.num_cols = x.shape[0]
    ctx.save_for_backward(ptr, col, weight, x if ctx.needs_input_grad[2] else None)


def _sum_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    ptr, col, weight, x = ctx.saved_tensors
    grad_x = grad_weight = None
    if ctx.needs_input_grad[3]:
        if ctx.symmetric:
            grad_x = _propagate(ptr, col, weight, grad, True)
        else:
            grad_x = _propagate_spread(ptr, col, weight, grad, ctx.num_cols)
    if ctx.needs_input_grad[2]:
        grad_weight = _propagate_dot(ptr, col, x, grad)
    return None, None, grad_weight, grad_x, None


def _save_spread(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ptr, col, weight, grad, _ = inputs
    ctx.save_for_backward(ptr, col, weight, grad if ctx.needs_input_grad[2] else None)


def _spread_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    ptr, col, weight, spread = ctx.saved_tensors
    grad_x = grad_weight = None
    if ctx.needs_input_grad[3]:
        grad_x = _propagate(ptr, col, weight, grad, False)
    if ctx.needs_input_grad[2]:
        grad_weight = _propagate_dot(ptr, col, grad, spread)
    return None, None, grad_weight, grad_x, None


def _save_max(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, col, weight, x = inputs
    ctx.save_for_backward(col, weight, x if ctx.needs_input_grad[2] else None, output[1])
    ctx.num_cols = x.shape[0]
    ctx.mark_non_differentiable(output[1])


def _max_backward(ctx: Context, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    col, weight, x, arg = ctx.saved_tensors
    grad_x = grad.new_zeros(ctx.num_cols, grad.shape[1])
    grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[2] else None
    if col.numel():
        value, entry = grad * (arg >= 0), arg.clamp(min=0)
        channel = torch.arange(grad.shape[1], device=grad.device).expand_as(grad)
        place = (col[entry].long(), channel)
        scaled = value if weight is None else value * weight[entry]
        grad_x = grad_x.index_put(place, scaled, accumulate=True)
        if grad_weight is not None:
            grad_weight = grad_weight.index_put((entry,), value * x[place], accumulate=True)
    return None, None, grad_weight, grad_x


_propagate.register_autograd(_sum_backward, setup_context=_save_sum)
_propagate_spread.register_autograd(_spread_backward, setup_context=_save_spread)
_propagate_max.register_autograd(_max_backward, setup_context=_save_max)

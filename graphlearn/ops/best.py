"""The best of several scores of pairs whose two ends each bring a part."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.ops.backend import Context, check_ids, kernels

__all__ = ["best_sum", "best_sum_reference"]


def best_sum(
    left: Float[Tensor, "row head"],
    right: Float[Tensor, "col head"],
    row: Int[Tensor, " pair"],
    col: Int[Tensor, " pair"],
) -> Float[Tensor, " pair"]:
    r"""Largest sum over the heads of what both ends of a pair bring.

    .. math:: y_p = \max_h \left( a_{i_p}^{(h)} + b_{j_p}^{(h)} \right)

    The gradient goes to the head that is the largest, among equals to the first.

    Args:
        left: :math:`a`.
        right: :math:`b`.
        row: First end of each pair.
        col: Second end.

    Raises:
        ValueError: if an id lies outside, under `GRAPHLEARN_CHECK=1`.
    """
    check_ids(left.shape[0], row)
    check_ids(right.shape[0], col)
    out: Tensor = _best(left, right.to(left.dtype), row.long(), col.long())[0]
    return out


def best_sum_reference(
    left: Tensor, right: Tensor, row: Tensor, col: Tensor
) -> tuple[Tensor, Tensor]:
    """Gather both ends, add, take the largest and say which it was."""
    score = left[row] + right[col]
    best = score.amax(1)
    return best, (score == best.unsqueeze(1)).int().argmax(1)


def best_spread_reference(
    grad: Tensor, head: Tensor, row: Tensor, col: Tensor, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """Add the gradient of each pair to the entries of both ends that it came from."""
    return (
        torch.zeros_like(left).index_put((row, head), grad, accumulate=True),
        torch.zeros_like(right).index_put((col, head), grad, accumulate=True),
    )


@torch.library.custom_op("graphlearn::best_sum", mutates_args=())
def _best(left: Tensor, right: Tensor, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    found = getattr(kernels(left.device), "best_sum", None) or best_sum_reference
    return found(left, right, row, col)


@_best.register_fake
def _(left: Tensor, right: Tensor, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    return left.new_empty(row.shape[0]), row.new_empty(row.shape[0])


@torch.library.custom_op("graphlearn::best_spread", mutates_args=())
def _spread(
    grad: Tensor, head: Tensor, row: Tensor, col: Tensor, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    found = getattr(kernels(grad.device), "best_spread", None) or best_spread_reference
    return found(grad, head, row, col, left, right)


@_spread.register_fake
def _(
    grad: Tensor, head: Tensor, row: Tensor, col: Tensor, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(left), torch.empty_like(right)


def _save(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    left, right, row, col = inputs
    ctx.save_for_backward(output[1], row, col, left, right)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Context, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return *_spread(grad.contiguous(), *ctx.saved_tensors), None, None


_best.register_autograd(_backward, setup_context=_save)

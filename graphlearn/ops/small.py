"""Products of very many very small matrices, for which batched routines cost too much each."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context, kernels

__all__ = ["small_product", "small_product_reference"]


def small_product(
    left: Float[Tensor, "edge row mid"],
    right: Float[Tensor, "edge mid col"],
    *,
    transpose_left: bool = False,
) -> Float[Tensor, "edge row col"]:
    r""":math:`C_e = A_e B_e`, or :math:`A_e^\top B_e`, for square matrices of one size.

    Args:
        left: :math:`A_e`.
        right: :math:`B_e`.
        transpose_left: Transpose the first factor.
    """
    out: Tensor = _product(left, right, transpose_left, False)
    return out


def small_product_reference(left: Tensor, right: Tensor, first: bool, second: bool) -> Tensor:
    """The batched product of torch."""
    return (left.mT if first else left) @ (right.mT if second else right)


@torch.library.custom_op("graphlearn::small_product", mutates_args=())
def _product(left: Tensor, right: Tensor, first: bool, second: bool) -> Tensor:
    fast = kernels(left.device)
    return (getattr(fast, "small_product", None) or small_product_reference)(
        left, right, first, second
    ).contiguous()


@_product.register_fake
def _(left: Tensor, right: Tensor, first: bool, second: bool) -> Tensor:
    return torch.empty_like(left, memory_format=torch.contiguous_format)


def _save(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    left, right, ctx.first, ctx.second = inputs
    ctx.save_for_backward(left, right)


def _backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    left, right = ctx.saved_tensors
    first, second = ctx.first, ctx.second
    grad_left = grad_right = None
    if ctx.needs_input_grad[0]:
        if first:
            grad_left = _product(right, grad, second, True)
        else:
            grad_left = _product(grad, right, False, not second)
    if ctx.needs_input_grad[1]:
        if second:
            grad_right = _product(grad, left, True, first)
        else:
            grad_right = _product(left, grad, not first, False)
    return grad_left, grad_right, None, None


_product.register_autograd(_backward, setup_context=_save)

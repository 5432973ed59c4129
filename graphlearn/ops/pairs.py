"""Elementwise products of the vectors of two nodes."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.ops.backend import Context, check_ids, kernels

__all__ = ["pair_product", "pair_product_reference"]


def pair_product(
    x: Float[Tensor, "node chan"], pairs: Int[Tensor, "2 pair"]
) -> Float[Tensor, "pair chan"]:
    r"""Hadamard product of the two ends of every pair, :math:`y_k = x_{i_k} \odot x_{j_k}`.

    Rows are read once and never gathered into memory of their own; the gradient is added in the
    order of the pairs.

    Args:
        x: Vector of each node.
        pairs: Node pairs.
    """
    src, dst = pairs.long()
    out: Tensor = _product(x.contiguous(), src, dst)
    return out


def pair_product_reference(x: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    """Gather both ends, then multiply."""
    return x[src] * x[dst]


def _spread_reference(x: Tensor, src: Tensor, dst: Tensor, grad: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    return out.index_add_(0, src, grad * x[dst]).index_add_(0, dst, grad * x[src])


@torch.library.custom_op("graphlearn::pair_product", mutates_args=())
def _product(x: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    check_ids(x.shape[0], src, dst)
    fast = kernels(x.device) if x.dtype in (torch.float32, torch.float64) else None
    return (fast.pair_product if fast else pair_product_reference)(x, src, dst)


@_product.register_fake
def _(x: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    return x.new_empty(src.shape[0], x.shape[1])


@torch.library.custom_op("graphlearn::pair_spread", mutates_args=())
def _spread(x: Tensor, src: Tensor, dst: Tensor, grad: Tensor) -> Tensor:
    fast = kernels(x.device) if x.dtype in (torch.float32, torch.float64) else None
    return (fast.pair_spread if fast else _spread_reference)(x, src, dst, grad)


@_spread.register_fake
def _(x: Tensor, src: Tensor, dst: Tensor, grad: Tensor) -> Tensor:
    return torch.empty_like(x)


def _save(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _spread(*ctx.saved_tensors, grad.contiguous()), None, None


_product.register_autograd(_backward, setup_context=_save)

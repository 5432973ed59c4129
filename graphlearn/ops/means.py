"""The mean of several propagations as one linear map, which is its own transpose."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context, kernels
from graphlearn.ops.csr import CSR
from graphlearn.ops.spmm import propagate_reference

__all__ = ["mean_hops", "mean_hops_reference"]


def mean_hops(graph: CSR, x: Float[Tensor, "node chan"], hops: int) -> Float[Tensor, "node chan"]:
    r"""Mean of the vectors after 0, 1, ..., K propagations.

    .. math:: y = \frac{1}{K + 1} \sum_{k=0}^{K} A^k x
              = \frac{1}{K + 1} \big( x + A (x + A (x + \ldots)) \big)

    In the second form each propagation adds x as it goes, no power is kept, and the gradient in x
    is the same map, as A is symmetric.

    Args:
        graph: Symmetric matrix; its `keep` and `weight` are honoured.
        x: Vector of each node.
        hops: Number K of propagations.

    Raises:
        ValueError: if the matrix is not symmetric, `hops` is negative, or `x` has not one row for
            each node.
    """
    if not graph.symmetric or hops < 0 or x.shape[0] != graph.num_cols:
        raise ValueError(
            f"mean_hops needs a symmetric matrix, hops of at least 0 and {graph.num_cols} vectors, "
            f"got symmetric={graph.symmetric}, hops={hops} and {x.shape[0]} vectors"
        )
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    value = graph.values()
    out: Tensor = _mean(graph.ptr, graph.col, None if value is None else value.to(x.dtype), x, hops)
    return out


def mean_hops_reference(
    ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor, hops: int
) -> Tensor:
    """One propagation after the other."""
    y = x
    for _ in range(hops):
        y = x + propagate_reference(ptr, col, weight, y)
    return y / (hops + 1)


@torch.library.custom_op("graphlearn::mean_hops", mutates_args=())
def _mean(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor, hops: int) -> Tensor:
    fast = kernels(x.device)
    return (getattr(fast, "mean_hops", None) or mean_hops_reference)(ptr, col, weight, x, hops)


@_mean.register_fake
def _(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor, hops: int) -> Tensor:
    return torch.empty_like(x)


def _save(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ptr, col, weight, _, ctx.hops = inputs
    ctx.save_for_backward(ptr, col, weight)


def _backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    ptr, col, weight = ctx.saved_tensors
    return None, None, None, _mean(ptr, col, weight, grad.contiguous(), ctx.hops), None


_mean.register_autograd(_backward, setup_context=_save)

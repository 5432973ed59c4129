"""Message passing in which every edge has a small matrix: block-sparse times dense."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context, kernels
from graphlearn.ops.csr import CSR

__all__ = ["transport", "transport_reference"]


def transport(
    graph: CSR,
    block: Float[Tensor, "edge stalk stalk"] | Float[Tensor, "edge stalk"],
    x: Float[Tensor, "node chan"],
) -> Float[Tensor, "node chan"]:
    r"""Move the vectors of the neighbours along the edges and add them up.

    .. math:: y_i = \sum_{e = (i, j)} B_e \, x_j, \qquad B_{(j, i)} = B_{(i, j)}^\top

    A vector of d * f channels is d rows of f channels, of which :math:`B_e`, d by d or the diagonal
    of such a matrix, makes d new rows. As the whole is symmetric, the backward pass in `x` is the
    same product. Nothing larger than `block` is stored, whatever f is.

    Args:
        graph: Symmetric matrix; its `weight` and `keep` are not looked at.
        block: :math:`B_e` of each entry; that of the entry (j, i) must be the transpose of that of
            (i, j), as only then is the gradient in `x` right.
        x: Vector of each node.

    Raises:
        ValueError: if the graph is not symmetric, or shapes do not fit.
    """
    if not graph.symmetric:
        raise ValueError("transport needs an undirected graph, each edge in both directions")
    if block.shape[0] != graph.num_entries or x.shape[0] != graph.num_cols:
        raise ValueError(
            f"transport needs {graph.num_entries} blocks and {graph.num_cols} vectors, "
            f"got {block.shape[0]} and {x.shape[0]}"
        )
    if x.shape[1] % block.shape[1]:
        raise ValueError(
            f"the channels of x must be a multiple of {block.shape[1]}, got {x.shape[1]}"
        )
    out: Tensor = _transport(graph.ptr, graph.col, block.to(x.dtype), x)
    return out


def transport_reference(ptr: Tensor, col: Tensor, block: Tensor, x: Tensor) -> Tensor:
    """Gather every vector, multiply, then add row by row."""
    stalk = block.shape[1]
    message = x[col.long()].view(-1, stalk, x.shape[1] // stalk)
    moved = block.unsqueeze(-1) * message if block.ndim == 2 else block @ message
    out = x.new_zeros(ptr.numel() - 1, x.shape[1])
    return out.index_add_(0, _rows(ptr), moved.flatten(1))


def _dot_reference(
    ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor, stalk: int, full: bool
) -> Tensor:
    """Gradient of each block: products of the rows of both ends."""
    size = (-1, stalk, x.shape[1] // stalk)
    left, right = grad[_rows(ptr)].view(size), x[col.long()].view(size)
    return left @ right.mT if full else (left * right).sum(2)


def _rows(ptr: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(ptr.numel() - 1, device=ptr.device), ptr.diff())


@torch.library.custom_op("graphlearn::transport", mutates_args=())
def _transport(ptr: Tensor, col: Tensor, block: Tensor, x: Tensor) -> Tensor:
    fast = kernels(x.device)
    return (getattr(fast, "transport", None) or transport_reference)(ptr, col, block, x)


@_transport.register_fake
def _(ptr: Tensor, col: Tensor, block: Tensor, x: Tensor) -> Tensor:
    return x.new_empty(ptr.shape[0] - 1, x.shape[1])


@torch.library.custom_op("graphlearn::transport_dot", mutates_args=())
def _transport_dot(
    ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor, stalk: int, full: bool
) -> Tensor:
    fast = kernels(x.device)
    found = getattr(fast, "transport_dot", None) or _dot_reference
    return found(ptr, col, x, grad, stalk, full)


@_transport_dot.register_fake
def _(ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor, stalk: int, full: bool) -> Tensor:
    return x.new_empty((col.shape[0], stalk, stalk) if full else (col.shape[0], stalk))


def _save(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ptr, col, block, x = inputs
    ctx.stalk, ctx.full = block.shape[1], block.ndim == 3
    ctx.save_for_backward(ptr, col, block, x if ctx.needs_input_grad[2] else None)


def _backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    ptr, col, block, x = ctx.saved_tensors
    grad_block = grad_x = None
    if ctx.needs_input_grad[2]:
        grad_block = _transport_dot(ptr, col, x, grad, ctx.stalk, ctx.full)
    if ctx.needs_input_grad[3]:
        grad_x = _transport(ptr, col, block, grad)
    return None, None, grad_block, grad_x


_transport.register_autograd(_backward, setup_context=_save)

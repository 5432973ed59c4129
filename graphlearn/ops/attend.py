"""Attention of rows over their columns with several heads, and sums weighted by it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context, kernels
from graphlearn.ops.csr import CSR

__all__ = ["attend", "attention"]


def attention(
    graph: CSR,
    left: Float[Tensor, "row head"],
    right: Float[Tensor, "col head"],
    *,
    scale: Float[Tensor, ""] | float = 1.0,
    slope: Float[Tensor, ""] | float = 0.2,
) -> Float[Tensor, "edge head"]:
    r"""Additive attention over the entries of each row.

    .. math:: \alpha_{ij} = \mathrm{softmax}_{j \in N(i)}
              \left( \kappa \, \mathrm{LeakyReLU}_s (a_i + b_j) \right)

    The weights of a row add up to one for each head; a row without entries has none. Differentiable
    in all four arguments.

    Args:
        graph: Matrix of rows by columns; its `weight` and `keep` are not looked at.
        left: What a row brings, :math:`a_i`.
        right: What a column brings, :math:`b_j`.
        scale: Sharpness :math:`\kappa`.
        slope: Slope :math:`s` of negative sums; 1 leaves them as they are.

    Raises:
        ValueError: if `left` or `right` does not fit the matrix.
    """
    want = (graph.num_rows, graph.num_cols)
    if (left.shape[0], right.shape[0]) != want:
        raise ValueError(
            f"attention needs {want[0]} rows and {want[1]} columns, "
            f"got {left.shape[0]} and {right.shape[0]}"
        )
    if left.dtype in (torch.bfloat16, torch.float16):
        left = left.float()
    knobs = torch.stack([torch.as_tensor(one).to(left) for one in (scale, slope)])
    out: Tensor = _attention(graph.ptr, graph.col, left, right.to(left.dtype), knobs)
    return out


def attend(
    graph: CSR, alpha: Float[Tensor, "edge head"], value: Float[Tensor, "col chan"]
) -> Float[Tensor, "row chan"]:
    r"""Sum of the vectors of a row's columns, each head weighing its own channels.

    .. math:: z_i^{(h)} = \sum_{e = (i, j)} \alpha_e^{(h)} v_j^{(h)}

    A row without entries gives zero. Nothing of the size of entries by channels is stored.

    Args:
        graph: Matrix of rows by columns; its `weight` and `keep` are not looked at.
        alpha: Weight of each entry and head.
        value: Vector of each column: the channels of the first head, then those of the next, ...

    Raises:
        ValueError: if shapes do not fit.
    """
    heads = alpha.shape[1]
    if alpha.shape[0] != graph.num_entries or value.shape[0] != graph.num_cols:
        raise ValueError(
            f"attend needs weights of {graph.num_entries} entries and {graph.num_cols} vectors, "
            f"got {alpha.shape[0]} and {value.shape[0]}"
        )
    if value.shape[1] % heads:
        raise ValueError(
            f"the channels of value must be a multiple of {heads} heads, got {value.shape[1]}"
        )
    if value.dtype in (torch.bfloat16, torch.float16):
        value = value.float()
    out: Tensor = _attend(graph.ptr, graph.col, alpha.to(value.dtype), value)
    return out


def attention_reference(
    ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor
) -> Tensor:
    """Score every entry, subtract the largest of its row, exponentiate, divide by the sum."""
    row = _rows(ptr)
    score = left[row] + right[col.long()]
    score = knobs[0] * torch.where(score > 0, score, knobs[1] * score)
    place = row.unsqueeze(1).expand_as(score)
    most = left.new_full((ptr.numel() - 1, left.shape[1]), -torch.inf)
    most = most.scatter_reduce(0, place, score, "amax")
    power = (score - most[row]).exp()
    return power / torch.zeros_like(most).index_add_(0, row, power)[row]


def attention_grad_reference(
    ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor, alpha: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of what rows and columns bring, and of scale and slope."""
    row, target = _rows(ptr), col.long()
    drawn = torch.zeros_like(left).index_add_(0, row, alpha * grad)
    inner = alpha * (grad - drawn[row])
    score = left[row] + right[target]
    above = score > 0
    entry = inner * knobs[0] * torch.where(above, 1.0, knobs[1]).to(score.dtype)
    scale = (inner * torch.where(above, score, knobs[1] * score)).sum()
    slope = (inner * knobs[0] * torch.where(above, 0.0, score)).sum()
    return (
        torch.zeros_like(left).index_add_(0, row, entry),
        torch.zeros_like(right).index_add_(0, target, entry),
        torch.stack([scale, slope]),
    )


def attend_reference(ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor) -> Tensor:
    """Gather every vector, weigh the parts of the heads, then add row by row."""
    message = value[col.long()].view(-1, alpha.shape[1], value.shape[1] // alpha.shape[1])
    message = (message * alpha.unsqueeze(2)).flatten(1)
    return value.new_zeros(ptr.numel() - 1, value.shape[1]).index_add_(0, _rows(ptr), message)


def attend_grad_reference(
    ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the weights and of the vectors."""
    size = (-1, alpha.shape[1], value.shape[1] // alpha.shape[1])
    back, target = grad[_rows(ptr)].view(size), col.long()
    weights = (back * value[target].view(size)).sum(2)
    message = (back * alpha.unsqueeze(2)).flatten(1)
    return weights, torch.zeros_like(value).index_add_(0, target, message)


def _rows(ptr: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(ptr.numel() - 1, device=ptr.device), ptr.diff())


@torch.library.custom_op("graphlearn::attention", mutates_args=())
def _attention(ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor) -> Tensor:
    found = getattr(kernels(left.device), "attention", None) or attention_reference
    return found(ptr, col, left, right, knobs)


@_attention.register_fake
def _(ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor) -> Tensor:
    return left.new_empty(col.shape[0], left.shape[1])


@torch.library.custom_op("graphlearn::attention_grad", mutates_args=())
def _attention_grad(
    ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor, alpha: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    found = getattr(kernels(left.device), "attention_grad", None) or attention_grad_reference
    return found(ptr, col, left, right, knobs, alpha, grad)


@_attention_grad.register_fake
def _(
    ptr: Tensor, col: Tensor, left: Tensor, right: Tensor, knobs: Tensor, alpha: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(left), torch.empty_like(right), torch.empty_like(knobs)


@torch.library.custom_op("graphlearn::attend", mutates_args=())
def _attend(ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor) -> Tensor:
    found = getattr(kernels(value.device), "attend", None) or attend_reference
    return found(ptr, col, alpha, value)


@_attend.register_fake
def _(ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor) -> Tensor:
    return value.new_empty(ptr.shape[0] - 1, value.shape[1])


@torch.library.custom_op("graphlearn::attend_grad", mutates_args=())
def _attend_grad(
    ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    found = getattr(kernels(value.device), "attend_grad", None) or attend_grad_reference
    return found(ptr, col, alpha, value, grad)


@_attend_grad.register_fake
def _(
    ptr: Tensor, col: Tensor, alpha: Tensor, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(alpha), torch.empty_like(value)


def _save_attention(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _attention_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    ptr, col, left, right, knobs, alpha = ctx.saved_tensors
    return None, None, *_attention_grad(ptr, col, left, right, knobs, alpha, grad.contiguous())


def _save_attend(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _attend_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    ptr, col, alpha, value = ctx.saved_tensors
    return None, None, *_attend_grad(ptr, col, alpha, value, grad.contiguous())


_attention.register_autograd(_attention_backward, setup_context=_save_attention)
_attend.register_autograd(_attend_backward, setup_context=_save_attend)

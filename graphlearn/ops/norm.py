"""Normalisations whose bits do not depend on the number of threads."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context
from graphlearn.settings import reference_ops

__all__ = ["batch_norm", "layer_norm"]


def layer_norm(
    x: Float[Tensor, "row chan"],
    weight: Float[Tensor, " chan"],
    bias: Float[Tensor, " chan"],
    eps: float = 1e-5,
) -> Float[Tensor, "row chan"]:
    r"""Standardise each row, then scale and shift each channel.

    .. math:: y = \gamma \odot (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta

    As `torch.nn.functional.layer_norm`, except that on the CPU the gradients of weight and bias
    are added in the order of the rows. Torch adds partial sums, one for each thread, so that a
    seed would give another model on another number of threads.

    Args:
        x: Rows to normalise; half precision is normalised in float32.
        weight: Scale of each channel.
        bias: Shift of each channel.
        eps: Added to the variance.
    """
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    if reference_ops() or x.device.type != "cpu":
        return torch.nn.functional.layer_norm(x, weight.shape, weight, bias, eps)
    out: Tensor = _layer_norm(x, weight, bias, eps)[0]
    return out


@torch.library.custom_op("graphlearn::layer_norm", mutates_args=())
def _layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.native_layer_norm(x, weight.shape, weight, bias, eps)


@_layer_norm.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    row = x.new_empty(x.shape[0], 1)
    return torch.empty_like(x), row, torch.empty_like(row)


@torch.library.custom_op("graphlearn::layer_norm_sums", mutates_args=())
def _sums(x: Tensor, mean: Tensor, rstd: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of weight and bias."""
    if x.device.type == "cpu" and not reference_ops():
        from graphlearn.ops import cpu

        return cpu.layer_norm_sums(x, mean, rstd, grad)
    return (grad * (x - mean) * rstd).sum(0), grad.sum(0)


@_sums.register_fake
def _(x: Tensor, mean: Tensor, rstd: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


def _save(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, _ = inputs
    ctx.save_for_backward(x, weight, bias, output[1], output[2])
    ctx.mark_non_differentiable(output[1], output[2])


def _backward(ctx: Context, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, bias, mean, rstd = ctx.saved_tensors
    grad = grad.contiguous()
    grad_x = torch.ops.aten.native_layer_norm_backward(
        grad, x, weight.shape, mean, rstd, weight, bias, [True, False, False]
    )[0]
    return grad_x, *_sums(x, mean, rstd, grad), None


_layer_norm.register_autograd(_backward, setup_context=_save)


def batch_norm(
    x: Float[Tensor, "row chan"],
    mean: Float[Tensor, " chan"],
    var: Float[Tensor, " chan"],
    weight: Float[Tensor, " chan"],
    bias: Float[Tensor, " chan"],
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "row chan"]:
    r"""Each channel standardised over the rows, with the same bits for any number of threads.

    .. math:: y = (x - \mu) / \sqrt{\sigma^2 + \epsilon} \cdot w + b

    Args:
        x: Rows to normalise.
        mean: Running mean; updated in training, used outside it.
        var: Running variance, likewise.
        weight: Scale :math:`w`.
        bias: Shift :math:`b`.
        training: Whether mean and variance are those of `x`.
        momentum: Share of the new value in the running ones.
        eps: Added to the variance.

    Raises:
        ValueError: if there is a single row to be trained on, which has no variance.
    """
    if training and len(x) == 1:
        raise ValueError("batch normalisation needs at least 2 rows in training, got 1")
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    values = (x, weight, bias, mean, var, training, momentum, eps)
    out: Tensor = _BatchNorm.apply(*values)  # type: ignore[no-untyped-call]
    return out


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, *values: Any) -> Tensor:  # noqa: ANN401
        from graphlearn.ops.cpu.jit import exact

        x, weight, bias, mean, var, ctx.training, momentum, ctx.eps = values
        with exact():
            out, center, scale = torch.native_batch_norm(
                x, weight, bias, mean, var, ctx.training, momentum, ctx.eps
            )
        ctx.save_for_backward(x, weight, mean.clone(), var.clone(), center, scale)
        return out

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        from graphlearn.ops.cpu.jit import exact

        with exact():
            grads = torch.ops.aten.native_batch_norm_backward(
                grad, *ctx.saved_tensors, ctx.training, ctx.eps, [True, True, True]
            )
        return (*grads, None, None, None, None, None)

"""Dropout whose mask is a function of a seed, so that it is never stored."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphlearn.ops.backend import Context, kernels

__all__ = ["Dropout", "dropout", "dropout_reference"]

_CHUNK = 1 << 16  # elements that share one key


def dropout(
    x: Float[Tensor, "*shape"], p: float, *, seed: int | None = None, relu: bool = False
) -> Float[Tensor, "*shape"]:
    r"""Zero each element with probability `p` and scale the others by :math:`1 / (1 - p)`.

    With `relu`, negative elements are zeroed as well: :math:`\max(0, \mathrm{drop}(x))` in one
    pass. The mask comes from a counter-based hash of the seed and the position: it is the same on
    every device and for any number of threads, and the backward pass computes it again.

    Args:
        x: Any float tensor.
        p: Probability in [0, 1).
        seed: Which mask; None draws one from torch's default generator.
        relu: Apply the rectifier too.

    Raises:
        ValueError: if `p` lies outside [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout must lie in [0, 1), got {p}")
    if seed is None:
        seed = int(torch.empty((), dtype=torch.int64).random_())
    out: Tensor = _dropout(x.contiguous(), p, seed, relu)
    return out


class Dropout(nn.Module):
    """Dropout, followed by a rectifier if asked for; outside training the rectifier alone.

    Args:
        p: Probability in [0, 1).
        relu: Apply the rectifier too.

    Raises:
        ValueError: if `p` lies outside [0, 1).
    """

    def __init__(self, p: float, *, relu: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {p}")
        self.p, self.relu = p, relu

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop in training.

        Args:
            x: Any float tensor.
        """
        if self.training and self.p > 0:
            return dropout(x, self.p, relu=self.relu)
        return x.relu() if self.relu else x

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"p={self.p}, relu={self.relu}"


def dropout_reference(x: Tensor, p: float, seed: int, relu: bool) -> Tensor:
    """The same mask in torch, in 64-bit integers that are cut to 32 bits after each step."""
    position = torch.arange(x.numel(), device=x.device)
    chunk = position // _CHUNK
    key = _mix64(chunk + _signed(seed))
    low, high = key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF
    h = (position % _CHUNK * 0x9E3779B9 + low) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    h = h ^ (h >> 15) ^ high
    h = (h * 0x735A2D97) & 0xFFFFFFFF
    h = h ^ (h >> 15)
    keep = (h >= int(p * 2**32)).view(x.shape)
    out = torch.where(keep, x * (1 / (1 - p)), 0.0).to(x.dtype)
    return out.relu() if relu else out


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _mix64(value: Tensor) -> Tensor:
    """The splitmix64 finaliser; int64 products wrap, shifts are made logical by masks."""
    value = value + _signed(0x9E3779B97F4A7C15)
    value = (value ^ ((value >> 30) & ((1 << 34) - 1))) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ ((value >> 27) & ((1 << 37) - 1))) * _signed(0x94D049BB133111EB)
    return value ^ ((value >> 31) & ((1 << 33) - 1))


@torch.library.custom_op("graphlearn::dropout", mutates_args=())
def _dropout(x: Tensor, p: float, seed: int, relu: bool) -> Tensor:
    fast = kernels(x.device)
    if fast is None:
        return dropout_reference(x, p, seed, relu)
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return fast.dropout(wide, p, seed, relu).to(x.dtype)


@_dropout.register_fake
def _(x: Tensor, p: float, seed: int, relu: bool) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("graphlearn::rectify", mutates_args=())
def _rectify(out: Tensor, grad: Tensor, scale: float) -> Tensor:
    """The gradient of rectified dropout: what is positive went through."""
    fast = kernels(out.device)
    if fast and out.dtype == grad.dtype and out.dtype in (torch.float32, torch.float64):
        return fast.rectify(out, grad, scale)
    return torch.where(out > 0, grad * scale, 0.0).to(grad.dtype)


@_rectify.register_fake
def _(out: Tensor, grad: Tensor, scale: float) -> Tensor:
    return torch.empty_like(grad)


def _save(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.p, ctx.seed, ctx.relu = inputs
    ctx.save_for_backward(*([output] if ctx.relu else []))


def _backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    if ctx.relu:
        (out,) = ctx.saved_tensors
        return _rectify(out, grad, 1 / (1 - ctx.p)), None, None, None
    return _dropout(grad.contiguous(), ctx.p, ctx.seed, False), None, None, None


_dropout.register_autograd(_backward, setup_context=_save)

"""Matrix products whose bits do not depend on the number of threads."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["product"]


def product(
    left: Float[Tensor, "row mid"], right: Float[Tensor, "mid chan"]
) -> Float[Tensor, "row chan"]:
    """Matrix product that gives the same bits for any number of threads, gradients included.

    The library below torch splits the sums of a product by the threads that it may use. Here it may
    use one. Under autocast, on other devices and where a graph is traced, it is torch's product.

    Args:
        left: First factor.
        right: Second factor.
    """
    plain = left.device.type != "cpu" or torch.is_autocast_enabled("cpu")
    if plain or torch.compiler.is_compiling():
        return left @ right
    out: Tensor = _Product.apply(left, right)  # type: ignore[no-untyped-call]
    return out


class _Product(torch.autograd.Function):
    """The backward pass is made of products again, so that it can be differentiated."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:  # noqa: ANN401
        from graphlearn.ops.cpu.jit import exact

        ctx.save_for_backward(left, right)
        with exact():
            return left @ right

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: ANN401
        left, right = ctx.saved_tensors
        return (
            product(grad, right.t()) if ctx.needs_input_grad[0] else None,
            product(left.t(), grad) if ctx.needs_input_grad[1] else None,
        )

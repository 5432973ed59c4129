"""The inverse square root of many small symmetric matrices, with an exact gradient."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["inverse_root"]

_TINY = 1e-6  # share of the largest eigenvalue below which one counts as zero


def inverse_root(
    matrix: Float[Tensor, "node stalk stalk"],
) -> Float[Tensor, "node stalk stalk"]:
    r""":math:`A^{-1/2}` of symmetric positive semi-definite matrices; zero on their kernel.

    With :math:`A = Q \Lambda Q^\top` and :math:`s_i = \sqrt{\lambda_i}` the gradient is

    .. math:: G \mapsto Q \Big( K \odot Q^\top G Q \Big) Q^\top, \qquad
              K_{ij} = - \frac{1}{s_i s_j (s_i + s_j)},

    which, unlike the gradient of the eigenvectors, is finite where eigenvalues are equal, so that
    nothing has to be perturbed.

    Args:
        matrix: The matrices; only their symmetric part has a gradient.

    Example:
        >>> inverse_root(torch.tensor([[[4.0, 0.0], [0.0, 0.0]]]))
        tensor([[[0.5000, 0.0000],
                 [0.0000, 0.0000]]])
    """
    out: Tensor = _InverseRoot.apply(matrix)  # type: ignore[no-untyped-call]
    return out


class _InverseRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:  # noqa: ANN401
        value, vector = torch.linalg.eigh(matrix)
        top = value.amax(-1, keepdim=True).clamp(min=torch.finfo(value.dtype).tiny)
        inverse = torch.where(value > _TINY * top, value.clamp(min=0).rsqrt(), 0.0)
        ctx.save_for_backward(inverse, vector)
        out: Tensor = (vector * inverse.unsqueeze(-2)) @ vector.mT
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        inverse, vector = ctx.saved_tensors
        left, right = inverse.unsqueeze(-1), inverse.unsqueeze(-2)
        # 1 / (s_i s_j (s_i + s_j)) in terms of 1 / s, where zero stands for the kernel.
        both = left + right
        factor = -torch.where(both > 0, (left * right).square() / both, 0.0)
        grad = vector.mT @ ((grad + grad.mT) / 2) @ vector
        out: Tensor = vector @ (factor * grad) @ vector.mT
        return out

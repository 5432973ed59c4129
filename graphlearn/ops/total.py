"""A sum whose bits do not depend on the number of threads."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["total"]

_BLOCK = 1 << 14  # values added at once: torch splits longer sums by the number of threads


def total(values: Float[Tensor, " row"]) -> Float[Tensor, ""]:
    """Sum in fixed blocks.

    Args:
        values: What is added.
    """
    return torch.stack([block.sum() for block in torch.split(values, _BLOCK)]).sum()

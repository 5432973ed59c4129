"""Whether two ways to compute one thing gave the same answer."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["agree"]


def agree(ours: object, theirs: object, what: str, tolerance: float = 1e-4) -> None:
    """Compare two answers: numbers, tensors, or sequences and dictionaries of them.

    Integers must be equal. Floats may differ by `tolerance` times the largest magnitude of the
    tensor they are in, since sums in another order round differently.

    Args:
        ours: One answer.
        theirs: The other.
        what: Whose answers they are, for the message.
        tolerance: Relative difference of floats.

    Raises:
        ArithmeticError: if they differ.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping) and ours.keys() == theirs.keys():
        for key in ours:
            agree(ours[key], theirs[key], f"{what}, {key}", tolerance)
    elif (
        isinstance(ours, list | tuple)
        and isinstance(theirs, list | tuple)
        and len(ours) == len(theirs)
    ):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            agree(one, other, f"{what}, part {place}", tolerance)
    elif isinstance(ours, Tensor) and isinstance(theirs, Tensor) and ours.shape == theirs.shape:
        _agree_tensors(ours.detach(), theirs.detach(), what, tolerance)
    elif isinstance(ours, int | float) and isinstance(theirs, int | float):
        _agree_tensors(torch.tensor(ours), torch.tensor(theirs), what, tolerance)
    else:
        raise ArithmeticError(f"{what} do not agree: {_form(ours)} against {_form(theirs)}")


def _agree_tensors(ours: Tensor, theirs: Tensor, what: str, tolerance: float) -> None:
    if ours.numel() == 0:
        return
    if not ours.is_floating_point() and not theirs.is_floating_point():
        wrong = int((ours != theirs).sum())
        if wrong:
            raise ArithmeticError(f"{what} do not agree: {wrong} of {ours.numel()} integers differ")
        return
    gap = float((ours.double() - theirs.double()).abs().max())
    scale = float(theirs.double().abs().max())
    if not gap <= tolerance * max(scale, 1e-30):
        raise ArithmeticError(f"{what} do not agree: they differ by {gap:.3g}, of {scale:.3g}")


def _form(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__

"""Binary search for single entries of a CSR matrix."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.settings import reference_ops

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["expand_rows", "kernels", "locate", "locate_reference"]


def kernels(device: torch.device) -> "ModuleType | None":
    """The module of fast kernels for a device; None sends the caller to its reference."""
    if reference_ops():
        return None
    if device.type == "cpu":
        from graphlearn.ops import cpu

        return cpu
    if device.type == "cuda":
        try:
            from graphlearn.ops import gpu
        except ImportError:  # builds of torch for CUDA bring Triton; others have the reference
            return None
        return gpu
    return None


def expand_rows(
    ptr: Int[Tensor, " _"], rows: Int[Tensor, " row"]
) -> tuple[Int[Tensor, " edge"], Int[Tensor, " edge"]]:
    """All entries of the given rows, and the position in `rows` that each belongs to."""
    start, size = ptr[rows], ptr[rows + 1] - ptr[rows]
    owner = torch.repeat_interleave(torch.arange(rows.numel(), device=rows.device), size)
    first = size.cumsum(0) - size
    entry = torch.arange(owner.numel(), device=rows.device) + (start - first)[owner]
    return entry, owner


def locate_reference(ptr: Tensor, col: Tensor, row: Tensor, target: Tensor) -> Tensor:
    """Position of each entry `(row, target)`, or -1; sorted int64 keys and one search."""
    if col.numel() == 0:
        return torch.full_like(row, -1)
    width = int(torch.maximum(col.max().long(), target.max() if target.numel() else row.new_zeros(())))
    rows = torch.repeat_interleave(torch.arange(ptr.numel() - 1, device=ptr.device), ptr.diff())
    keys = rows * (width + 1) + col
    wanted = row * (width + 1) + target
    found = torch.searchsorted(keys, wanted).clamp_(max=keys.numel() - 1)
    return torch.where(keys[found] == wanted, found, -1)


@torch.library.custom_op("graphlearn::locate", mutates_args=())
def _locate(ptr: Tensor, col: Tensor, row: Tensor, target: Tensor) -> Tensor:
    fast = kernels(ptr.device)
    return (fast.locate if fast else locate_reference)(ptr, col, row, target)


@_locate.register_fake
def _(ptr: Tensor, col: Tensor, row: Tensor, target: Tensor) -> Tensor:
    return torch.empty_like(row)


def locate(
    ptr: Int[Tensor, " _"],
    col: Int[Tensor, " edge"],
    row: Int[Tensor, " pair"],
    target: Int[Tensor, " pair"],
) -> Int[Tensor, " pair"]:
    """Position in `col` of each entry `(row, target)`, or -1 where there is none.

    Args:
        ptr: First entry of each row (N + 1).
        col: Columns, ascending within a row.
        row: Row of each entry that is looked for.
        target: Its column.
    """
    return _locate(ptr, col, row, target)

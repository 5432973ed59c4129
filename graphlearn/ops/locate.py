"""Binary search for single entries of a CSR matrix."""

import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.ops.backend import check_ids, kernels

__all__ = ["expand_rows", "locate", "locate_reference"]


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
    if col.numel() == 0 or row.numel() == 0:
        return torch.full_like(row, -1)
    width = max(int(col.max()), int(target.max()))
    rows = torch.repeat_interleave(torch.arange(ptr.numel() - 1, device=ptr.device), ptr.diff())
    keys = rows * (width + 1) + col
    wanted = row * (width + 1) + target
    found = torch.searchsorted(keys, wanted).clamp_(max=keys.numel() - 1)
    return torch.where((keys[found] == wanted) & (target >= 0), found, -1)


@torch.library.custom_op("graphlearn::locate", mutates_args=())
def _locate(ptr: Tensor, col: Tensor, row: Tensor, target: Tensor) -> Tensor:
    check_ids(ptr.numel() - 1, row)
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
    out: Tensor = _locate(ptr, col, row.long(), target.long())
    return out

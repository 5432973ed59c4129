"""GPU kernel of the look-up of single entries, and the binary search that others share."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import jit, launch

__all__ = ["locate", "search"]


@jit
def search(col: tl.tensor, low: tl.tensor, high: tl.tensor, target: tl.tensor) -> tl.tensor:
    """First position in [low, high) whose column is not below the target, for a block of them."""
    while tl.max(high - low, axis=0) > 0:
        open_ = low < high
        middle = (low + high) >> 1
        below = tl.load(col + middle, mask=open_, other=0) < target
        low = tl.where(open_ & below, middle + 1, low)
        high = tl.where(open_ & (below == 0), middle, high)
    return low


@jit
def _locate(
    ptr: tl.tensor,
    col: tl.tensor,
    row: tl.tensor,
    target: tl.tensor,
    out: tl.tensor,
    size: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    k = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = k < size
    r = tl.load(row + k, mask=inside, other=0)
    wanted = tl.load(target + k, mask=inside, other=0)
    first = tl.load(ptr + r, mask=inside, other=0)
    end = tl.load(ptr + r + 1, mask=inside, other=0)
    found = search(col, first, end, wanted)
    hit = inside & (found < end)
    hit = hit & (tl.load(col + found, mask=hit, other=0) == wanted)
    tl.store(out + k, tl.where(hit, found, -1), mask=inside)


def locate(ptr: Tensor, col: Tensor, row: Tensor, target: Tensor) -> Tensor:
    """See `graphlearn.ops.locate`."""
    out = torch.empty(row.shape, dtype=torch.int64, device=row.device)
    size, block = row.numel(), 128
    arrays = (ptr, col, row.contiguous(), target.contiguous(), out)
    launch(_locate, (triton.cdiv(size, block),), *arrays, size, BLOCK=block)
    return out

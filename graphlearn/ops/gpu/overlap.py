"""GPU kernels of the common-neighbour ops: one program a pair, the shorter row in the longer."""

import torch
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import blocks, jit, launch
from graphlearn.ops.gpu.locate import search
from graphlearn.ops.gpu.spmm import propagate_spread

__all__ = [
    "difference",
    "overlap",
    "overlap_count",
    "overlap_spread",
    "overlap_sum",
]

_ENTRIES = 32  # of a row that a program looks up at a time: one warp
_TILE = 16  # of them whose vectors are loaded at a time


@jit
def _probe(
    col: tl.tensor,
    keep: tl.tensor,
    at: tl.tensor,
    end: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    BLOCK: tl.constexpr,
) -> tl.tensor:
    """Columns from entry `at` on, which are kept, and which the row [first, last) keeps too."""
    entry = at + tl.arange(0, BLOCK)
    kept = entry < end
    if keep is not None:
        kept = kept & (tl.load(keep + entry, mask=kept, other=0) != 0)
    node = tl.load(col + entry, mask=kept, other=0)
    found = search(col, tl.where(kept, first, last), tl.where(kept, last, last), node)
    shared = kept & (found < last)
    shared = shared & (tl.load(col + found, mask=shared, other=0) == node)
    if keep is not None:
        shared = shared & (tl.load(keep + found, mask=shared, other=0) != 0)
    return node, kept, shared


@jit
def _count(
    ptr: tl.tensor,
    col: tl.tensor,
    keep: tl.tensor,
    one: tl.tensor,
    other: tl.tensor,
    out: tl.tensor,
    ALONE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Number of entries of row `one` that row `other` has too, or with ALONE has not."""
    k = tl.program_id(0).to(tl.int64)
    i, j = tl.load(one + k), tl.load(other + k)
    end, first, last = tl.load(ptr + i + 1), tl.load(ptr + j), tl.load(ptr + j + 1)
    total = tl.zeros([BLOCK], tl.int64)
    for at in range(tl.load(ptr + i), end, BLOCK):
        _, kept, shared = _probe(col, keep, at, end, first, last, BLOCK)
        if ALONE:
            shared = kept & (shared == 0)
        total += shared.to(tl.int64)
    tl.store(out + k, tl.sum(total, axis=0))


@jit
def _fill(
    ptr: tl.tensor,
    col: tl.tensor,
    keep: tl.tensor,
    one: tl.tensor,
    other: tl.tensor,
    start: tl.tensor,
    out: tl.tensor,
    ALONE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write what `_count` counted, ascending, from `start` on."""
    k = tl.program_id(0).to(tl.int64)
    i, j = tl.load(one + k), tl.load(other + k)
    first, last = tl.load(ptr + j), tl.load(ptr + j + 1)
    to, stop = tl.load(start + k), tl.load(start + k + 1)
    begin, end = tl.load(ptr + i), tl.load(ptr + i + 1)
    if to == stop:
        end = begin
    for at in range(begin, end, BLOCK):
        node, kept, shared = _probe(col, keep, at, end, first, last, BLOCK)
        if ALONE:
            shared = kept & (shared == 0)
        rank = tl.cumsum(shared.to(tl.int64), axis=0)
        tl.store(out + to + rank - 1, node, mask=shared)
        to += tl.sum(shared.to(tl.int64), axis=0)


@jit
def _sum(
    ptr: tl.tensor,
    col: tl.tensor,
    keep: tl.tensor,
    one: tl.tensor,
    other: tl.tensor,
    x: tl.tensor,
    out: tl.tensor,
    channels: tl.tensor,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    k = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    i, j = tl.load(one + k), tl.load(other + k)
    end, first, last = tl.load(ptr + i + 1), tl.load(ptr + j), tl.load(ptr + j + 1)
    total = tl.zeros([WIDE], x.dtype.element_ty)
    for at in range(tl.load(ptr + i), end, BLOCK):
        node, _, shared = _probe(col, keep, at, end, first, last, BLOCK)
        place = node.to(tl.int64)[:, None] * channels + channel[None, :]
        total += tl.sum(tl.load(x + place, mask=shared[:, None] & inside[None, :], other=0), axis=0)
    tl.store(out + k * channels + channel, total, mask=inside)


def _shorter(ptr: Tensor, src: Tensor, dst: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of each pair, that with the shorter row first."""
    swap = ptr[src + 1] - ptr[src] > ptr[dst + 1] - ptr[dst]
    return torch.where(swap, dst, src), torch.where(swap, src, dst)


def _lists(
    ptr: Tensor, col: Tensor, keep: Tensor | None, one: Tensor, other: Tensor, alone: bool
) -> tuple[Tensor, Tensor]:
    arrays, sizes = (ptr, col, keep, one, other), {"ALONE": alone, "BLOCK": _ENTRIES}
    count = torch.zeros(one.numel() + 1, dtype=torch.int64, device=one.device)
    launch(_count, (one.numel(),), *arrays, count[1:], **sizes, num_warps=1)
    start = count.cumsum(0)
    out = torch.empty(int(start[-1]), dtype=torch.int32, device=one.device)
    launch(_fill, (one.numel(),), *arrays, start, out, **sizes, num_warps=1)
    return start, out


def overlap(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor]:
    """See `graphlearn.ops.overlap`."""
    return _lists(ptr, col, keep, *_shorter(ptr, src, dst), alone=False)


def difference(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `graphlearn.ops.difference`."""
    src, dst = src.contiguous(), dst.contiguous()
    return (
        *_lists(ptr, col, keep, src, dst, alone=True),
        *_lists(ptr, col, keep, dst, src, alone=True),
    )


def overlap_count(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> Tensor:
    """See `graphlearn.ops.overlap_count`."""
    out = torch.empty(src.shape, dtype=torch.int64, device=src.device)
    arrays = (ptr, col, keep, *_shorter(ptr, src, dst), out)
    launch(_count, (src.numel(),), *arrays, ALONE=False, BLOCK=_ENTRIES, num_warps=1)
    return out


def overlap_sum(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, x: Tensor
) -> Tensor:
    """See `graphlearn.ops.overlap_sum`."""
    x, channels = x.contiguous(), x.shape[1]
    wide, parts = blocks(channels)
    out = torch.empty(src.numel(), channels, dtype=x.dtype, device=x.device)
    arrays = (ptr, col, keep, *_shorter(ptr, src, dst), x, out, channels)
    launch(_sum, (src.numel(), parts), *arrays, BLOCK=_TILE, WIDE=wide, num_warps=2)
    return out


def overlap_spread(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, grad: Tensor,
    num_nodes: int,
) -> Tensor:  # fmt: skip
    """The transpose of `overlap_sum`."""
    start, node = overlap(ptr, col, keep, src, dst, num_nodes)
    return propagate_spread(start, node, None, grad, num_nodes)

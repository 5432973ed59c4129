"""GPU kernels of sparse times dense: one program a row and block of channels."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import blocks, group, jit, launch

__all__ = ["propagate", "propagate_dot", "propagate_max", "propagate_spread"]

_TILE = 16  # entries whose vectors are loaded at a time


@jit
def _gather(
    ptr: tl.tensor,
    col: tl.tensor,
    weight: tl.tensor,
    x: tl.tensor,
    out: tl.tensor,
    channels: tl.tensor,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    r = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    end = tl.load(ptr + r + 1)
    total = tl.zeros([WIDE], x.dtype.element_ty)
    for at in range(tl.load(ptr + r), end, BLOCK):
        entry = at + tl.arange(0, BLOCK)
        kept = entry < end
        if weight is not None:
            w = tl.load(weight + entry, mask=kept, other=0)
            kept = kept & (w != 0)
        node = tl.load(col + entry, mask=kept, other=0).to(tl.int64)
        place = node[:, None] * channels + channel[None, :]
        rows = tl.load(x + place, mask=kept[:, None] & inside[None, :], other=0)
        if weight is not None:
            rows = rows * w[:, None]
        total += tl.sum(rows, axis=0)
    tl.store(out + r * channels + channel, total, mask=inside)


@jit
def _max(
    ptr: tl.tensor,
    col: tl.tensor,
    weight: tl.tensor,
    x: tl.tensor,
    out: tl.tensor,
    arg: tl.tensor,
    channels: tl.tensor,
    WIDE: tl.constexpr,
) -> None:
    r = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    largest = tl.zeros([WIDE], x.dtype.element_ty)
    best = tl.full([WIDE], -1, tl.int64)
    for e in range(tl.load(ptr + r), tl.load(ptr + r + 1)):
        node = tl.load(col + e).to(tl.int64)
        value = tl.load(x + node * channels + channel, mask=inside, other=0)
        better = inside
        if weight is not None:
            w = tl.load(weight + e + tl.zeros([WIDE], tl.int64))
            value = value * w
            better = better & (w != 0)
        better = better & ((best < 0) | (value > largest))
        largest = tl.where(better, value, largest)
        best = tl.where(better, e, best)
    tl.store(out + r * channels + channel, largest, mask=inside)
    tl.store(arg + r * channels + channel, best, mask=inside)


@jit
def _dot(
    row: tl.tensor,
    col: tl.tensor,
    x: tl.tensor,
    grad: tl.tensor,
    out: tl.tensor,
    size: tl.tensor,
    channels: tl.tensor,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    entry = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    valid = entry < size
    r = tl.load(row + entry, mask=valid, other=0)
    c = tl.load(col + entry, mask=valid, other=0).to(tl.int64)
    total = tl.zeros([BLOCK], x.dtype.element_ty)
    for first in range(0, channels, WIDE):
        channel = first + tl.arange(0, WIDE)
        mask = valid[:, None] & (channel < channels)[None, :]
        a = tl.load(x + c[:, None] * channels + channel[None, :], mask=mask, other=0)
        b = tl.load(grad + r[:, None] * channels + channel[None, :], mask=mask, other=0)
        total += tl.sum(a * b, axis=1)
    tl.store(out + entry, total, mask=valid)


def propagate(ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor) -> Tensor:
    """See `graphlearn.ops.propagate`, reduce="sum"."""
    x, (rows, channels) = x.contiguous(), (ptr.numel() - 1, x.shape[1])
    wide, parts = blocks(channels)
    out = torch.empty(rows, channels, dtype=x.dtype, device=x.device)
    arrays = (ptr, col, _values(weight, x), x, out, channels)
    launch(_gather, (rows, parts), *arrays, BLOCK=_TILE, WIDE=wide, num_warps=2)
    return out


def propagate_spread(
    ptr: Tensor, col: Tensor, weight: Tensor | None, grad: Tensor, num_cols: int
) -> Tensor:
    """The transpose of `propagate`: adds each row of `grad` to the columns of its entries."""
    start, order = group(col, num_cols)
    weight = None if weight is None else weight[order]
    return propagate(start, _rows(ptr, col)[order], weight, grad)


def propagate_dot(ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    """Inner product of `x[col]` and `grad[row]` at each entry: the gradient of its weight."""
    x, grad, size = x.contiguous(), grad.contiguous(), col.numel()
    wide, _ = blocks(x.shape[1])
    out = torch.empty(size, dtype=x.dtype, device=x.device)
    arrays = (_rows(ptr, col), col, x, grad, out, size, x.shape[1])
    launch(_dot, (triton.cdiv(size, _TILE),), *arrays, BLOCK=_TILE, WIDE=wide, num_warps=2)
    return out


def propagate_max(
    ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Largest value of each row and channel, and the entry it came from (-1: none)."""
    x, (rows, channels) = x.contiguous(), (ptr.numel() - 1, x.shape[1])
    wide, parts = blocks(channels)
    out = torch.empty(rows, channels, dtype=x.dtype, device=x.device)
    arg = torch.empty(rows, channels, dtype=torch.int64, device=x.device)
    arrays = (ptr, col, _values(weight, x), x, out, arg, channels)
    launch(_max, (rows, parts), *arrays, WIDE=wide, num_warps=1)
    return out, arg


def _values(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(x.dtype).contiguous()


def _rows(ptr: Tensor, col: Tensor) -> Tensor:
    ids = torch.arange(ptr.numel() - 1, device=ptr.device)
    return torch.repeat_interleave(ids, ptr.diff(), output_size=col.numel())

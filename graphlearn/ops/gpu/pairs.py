"""GPU kernels of the products of pairs."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import blocks, group, jit, launch

__all__ = ["pair_product", "pair_spread"]

_TILE = 16  # pairs that a program holds at a time


@jit
def _multiply(
    x: tl.tensor,
    src: tl.tensor,
    dst: tl.tensor,
    out: tl.tensor,
    size: tl.tensor,
    channels: tl.tensor,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    k = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    valid = k < size
    i = tl.load(src + k, mask=valid, other=0)
    j = tl.load(dst + k, mask=valid, other=0)
    mask = valid[:, None] & (channel < channels)[None, :]
    a = tl.load(x + i[:, None] * channels + channel[None, :], mask=mask, other=0)
    b = tl.load(x + j[:, None] * channels + channel[None, :], mask=mask, other=0)
    tl.store(out + k[:, None] * channels + channel[None, :], a * b, mask=mask)


@jit
def _add(
    ptr: tl.tensor,
    pair: tl.tensor,
    other: tl.tensor,
    x: tl.tensor,
    grad: tl.tensor,
    out: tl.tensor,
    channels: tl.tensor,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    """Row `i` of `out`: the sum over its pairs of their gradient times the vector of the other."""
    i = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = channel < channels
    end = tl.load(ptr + i + 1)
    total = tl.zeros([WIDE], x.dtype.element_ty)
    for at in range(tl.load(ptr + i), end, BLOCK):
        entry = at + tl.arange(0, BLOCK)
        valid = entry < end
        k = tl.load(pair + entry, mask=valid, other=0)
        j = tl.load(other + entry, mask=valid, other=0)
        mask = valid[:, None] & inside[None, :]
        g = tl.load(grad + k[:, None] * channels + channel[None, :], mask=mask, other=0)
        b = tl.load(x + j[:, None] * channels + channel[None, :], mask=mask, other=0)
        total += tl.sum(g * b, axis=0)
    tl.store(out + i * channels + channel, total, mask=inside)


def pair_product(x: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    """See `graphlearn.ops.pair_product`."""
    size, channels = src.numel(), x.shape[1]
    wide, parts = blocks(channels)
    out = torch.empty(size, channels, dtype=x.dtype, device=x.device)
    arrays = (x, src.contiguous(), dst.contiguous(), out, size, channels)
    grid = (triton.cdiv(size, _TILE), parts)
    launch(_multiply, grid, *arrays, BLOCK=_TILE, WIDE=wide, num_warps=2)
    return out


def pair_spread(x: Tensor, src: Tensor, dst: Tensor, grad: Tensor) -> Tensor:
    """The gradient of `pair_product` with respect to `x`."""
    start, order = group(torch.stack([src, dst], 1).view(-1), x.shape[0])
    other = torch.stack([dst, src], 1).view(-1)[order]
    wide, parts = blocks(x.shape[1])
    out = torch.empty_like(x)
    arrays = (start, order // 2, other, x, grad, out, x.shape[1])
    launch(_add, (x.shape[0], parts), *arrays, BLOCK=_TILE, WIDE=wide, num_warps=2)
    return out

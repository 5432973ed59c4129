"""GPU kernels of dropout."""

from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.jit import jit, launch

__all__ = ["dropout", "rectify"]

_CHUNK = 1 << 16  # elements that share one key
_BLOCK = 1024  # divides a chunk


@partial(jit, do_not_specialize=["seed"])
def _drop(
    x: tl.tensor,
    out: tl.tensor,
    seed: tl.tensor,
    size: tl.tensor,
    RELU: tl.constexpr,
    THRESHOLD: tl.constexpr,
    SCALE: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    first = tl.program_id(0).to(tl.int64) * BLOCK
    z = (seed.to(tl.int64) + first // CHUNK).to(tl.uint64, bitcast=True) + 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    z = z ^ (z >> 31)
    low, high = z.to(tl.uint32), (z >> 32).to(tl.uint32)
    h = (first % CHUNK + tl.arange(0, BLOCK)).to(tl.uint32) * 0x9E3779B9 + low
    h = (h ^ (h >> 16)) * 0x21F0AAAD
    h = (h ^ (h >> 15) ^ high) * 0x735A2D97
    h = h ^ (h >> 15)
    place = first + tl.arange(0, BLOCK)
    value = tl.load(x + place, mask=place < size, other=0)
    value = value * tl.full([BLOCK], SCALE, x.dtype.element_ty)
    kept = h >= THRESHOLD
    if RELU:
        kept = kept & ((value < 0) == 0)
    tl.store(out + place, tl.where(kept, value, 0.0), mask=place < size)


@jit
def _rectify(
    out: tl.tensor,
    grad: tl.tensor,
    result: tl.tensor,
    size: tl.tensor,
    SCALE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    scale = tl.full([BLOCK], SCALE, grad.dtype.element_ty)
    value = tl.load(grad + place, mask=inside, other=0) * scale
    passed = tl.load(out + place, mask=inside, other=0) > 0
    tl.store(result + place, tl.where(passed, value, 0.0), mask=inside)


def dropout(x: Tensor, p: float, seed: int, relu: bool) -> Tensor:
    """See `graphlearn.ops.dropout`."""
    out = torch.empty_like(x)
    launch(
        _drop,
        (triton.cdiv(x.numel(), _BLOCK),),
        *(x, out, seed, x.numel()),
        RELU=relu,
        THRESHOLD=int(p * 2**32),
        SCALE=1 / (1 - p),
        CHUNK=_CHUNK,
        BLOCK=_BLOCK,
    )
    return out


def rectify(out: Tensor, grad: Tensor, scale: float) -> Tensor:
    """`grad * scale` where `out` is positive, else zero."""
    result = torch.empty_like(out)
    arrays = (out, grad.contiguous(), result, out.numel())
    launch(_rectify, (triton.cdiv(out.numel(), _BLOCK),), *arrays, SCALE=scale, BLOCK=_BLOCK)
    return result

"""CPU kernels of dropout."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["dropout", "rectify"]

_CHUNK = 1 << 16


@jit
def _drop(
    first: int,
    last: int,
    x: Array,
    seed: np.uint64,
    threshold: np.uint32,
    scale: float,
    relu: bool,
    out: Array,
) -> None:
    for chunk in range(first, last):
        z = seed + np.uint64(chunk) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        low, high = np.uint32(z & np.uint64(0xFFFFFFFF)), np.uint32(z >> np.uint64(32))
        start = chunk * _CHUNK
        part, target = x[start : start + _CHUNK], out[start : start + _CHUNK]
        for i in range(part.size):
            h = np.uint32(np.uint32(i) * np.uint32(0x9E3779B9) + low)
            h = np.uint32(np.uint32(h ^ np.uint32(h >> np.uint32(16))) * np.uint32(0x21F0AAAD))
            h = np.uint32(np.uint32(h ^ np.uint32(h >> np.uint32(15))) ^ high)
            h = np.uint32(h * np.uint32(0x735A2D97))
            h = np.uint32(h ^ np.uint32(h >> np.uint32(15)))
            value = part[i] * scale
            if h < threshold or (relu and value < 0):
                value = part.dtype.type(0)
            target[i] = value


def dropout(x: Tensor, p: float, seed: int, relu: bool) -> Tensor:
    """See `graphlearn.ops.dropout`."""
    x = x.detach()
    out = torch.empty_like(x)
    flat, target = x.view(-1).numpy(), out.view(-1).numpy()
    settings = (
        np.uint64(seed & ((1 << 64) - 1)),
        np.uint32(int(p * 2**32)),
        flat.dtype.type(1 / (1 - p)),
        relu,
    )
    share(_drop, -(-flat.size // _CHUNK), flat.size, flat, *settings, target)
    return out


@jit
def _rectify(first: int, last: int, out: Array, grad: Array, scale: float, result: Array) -> None:
    for chunk in range(first, last):
        start, end = chunk * _CHUNK, min(out.size, (chunk + 1) * _CHUNK)
        a, g, target = out[start:end], grad[start:end], result[start:end]
        for i in range(target.size):
            target[i] = g[i] * scale if a[i] > 0 else g.dtype.type(0)


def rectify(out: Tensor, grad: Tensor, scale: float) -> Tensor:
    """`grad * scale` where `out` is positive, else zero."""
    result = torch.empty_like(out)
    flat = [tensor.detach().view(-1).numpy() for tensor in (out, grad.contiguous(), result)]
    settings = (flat[0], flat[1], flat[0].dtype.type(scale), flat[2])
    share(_rectify, -(-flat[0].size // _CHUNK), flat[0].size, *settings)
    return result

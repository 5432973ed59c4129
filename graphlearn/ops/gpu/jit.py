"""How the GPU kernels are compiled and started.

Every kernel is deterministic: a program owns its row of the output, lists are counted before they
are filled, and what flows backwards is gathered through a transposed list instead of being added
by atomics. With `TRITON_INTERPRET=1` the same kernels run on CPU tensors, which is how they are
tested without a GPU.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor

__all__ = ["blocks", "group", "jit", "launch"]


def jit(kernel: Callable[..., object], **options: object) -> Any:  # noqa: ANN401 (untyped in Triton)
    """Compile a kernel at its first call.

    Args:
        kernel: Function in Triton's language; a wrapper that checks its annotations is taken off.
        options: Passed on to `triton.jit`.
    """
    return triton.jit(inspect.unwrap(kernel), **options)


def launch(
    kernel: Any,  # noqa: ANN401 (untyped in Triton)
    grid: tuple[int, ...],
    *args: Tensor | int | None,
    **constants: object,
) -> None:
    """Start a kernel on the device of its first argument; an empty grid starts nothing.

    Args:
        kernel: Compiled by `jit`.
        grid: Number of programs along each axis.
        args: Arrays, sizes, and None for an array that is absent.
        constants: What the kernel is compiled for.
    """
    if 0 not in grid:
        with torch.cuda.device_of(args[0]):  # type: ignore[no-untyped-call]
            kernel[grid](*args, **constants)


def blocks(channels: int, limit: int = 128) -> tuple[int, int]:
    """Width of a block of channels (a power of two), and how many there are.

    Args:
        channels: Number of channels.
        limit: Widest block; what it holds lies in registers.
    """
    wide = min(triton.next_power_of_2(max(channels, 1)), limit)
    return wide, triton.cdiv(channels, wide)


def group(ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Positions grouped by id: the first of each group (size + 1), and the positions in order.

    Args:
        ids: Any number of ids.
        size: Number of groups.
    """
    ordered, order = ids.sort(stable=True)
    bounds = torch.arange(size + 1, device=ids.device, dtype=ids.dtype)
    return torch.searchsorted(ordered, bounds), order

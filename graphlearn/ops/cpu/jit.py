"""How the CPU kernels are compiled, and how threads share their work.

A kernel takes the range of rows, pairs or channels it works on. Ranges never share a sum, so every
kernel gives the same bits whatever the number of threads. Threads are Python's own, since kernels
release the interpreter: unlike numba's, they leave the OpenMP settings of torch alone.
"""

import inspect
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Array", "bytes_of", "exact", "jit", "share", "threads_for"]

Array: TypeAlias = NDArray[Any]  # what a kernel works on; numba compiles it for each kind

_OPTIONS = {"cache": True, "nogil": True, "boundscheck": False}
_FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums and products in any order, NaN kept

_WORTH = 1 << 17  # elementary steps below which a second thread costs more than it saves


def jit(kernel: Callable[..., Any], *, fast: bool = False) -> Callable[..., Any]:
    """Compile a kernel at its first call, and keep the result on disk.

    Args:
        kernel: Function on arrays and numbers; a wrapper that checks its annotations is taken off.
        fast: Let sums and quotients be vectorised: the order of a sum then depends on the processor
            (not on threads), and a division by zero gives infinity instead of an exception.
    """
    options = {"fastmath": _FAST, "error_model": "numpy"} if fast else {}
    # Tests wrap every function in shape checks, which numba can neither compile nor cache.
    compiled: Callable[..., Any] = nb.njit(**_OPTIONS, **options)(inspect.unwrap(kernel))
    return compiled


def threads_for(work: int) -> int:
    """How many threads a kernel should use: as many as torch has, one for little work.

    Args:
        work: Elementary steps, roughly a nanosecond each.
    """
    return torch.get_num_threads() if work > _WORTH else 1


def share(kernel: Callable[..., Any], size: int, work: int, *args: object) -> None:
    """Call `kernel(first, last, *args)` on consecutive ranges that cover `range(size)`.

    Args:
        kernel: Compiled function that releases the interpreter.
        size: Number of rows, pairs or parts.
        work: Elementary steps in all.
        args: The arrays of the kernel.
    """
    parts = min(threads_for(work), size)
    if parts <= 1:
        kernel(0, size, *args)
        return
    bounds = [size * part // parts for part in range(parts + 1)]
    pool = _pool(os.getpid(), parts)
    waiting = [
        pool.submit(kernel, first, last, *args) for first, last in itertools.pairwise(bounds[1:])
    ]
    kernel(0, bounds[1], *args)
    for future in waiting:
        future.result()


@contextmanager
def exact() -> Iterator[None]:
    """Matrix products of torch in 32 bits, whose sums do not depend on the number of threads.

    Autocast would hand bfloat16 to kernels that know floats; and the library that multiplies
    splits even small matrices by the threads that it may use.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                yield
        else:
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """One pool for each process, because a fork does not inherit threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="graphlearn")


def bytes_of(mask: Tensor | None) -> NDArray[np.uint8]:
    """A mask as bytes; no mask is an empty array, because kernels take no None."""
    return np.empty(0, np.uint8) if mask is None else mask.numpy().view(np.uint8)

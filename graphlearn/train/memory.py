"""How memory that a training step gives back is treated, by the C library and by Python."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keep_memory", "settled"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt


def keep_memory() -> bool:
    """Keep freed memory in the process, so that the next step finds its pages in place.

    By default glibc returns every large tensor to the system and asks for it again, and the kernel
    zeroes each page anew, which takes a good part of a step on the CPU. The price is that memory
    between steps is not given back.

    Returns:
        Whether the C library took the setting; other systems than Linux with glibc do not.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))


@contextmanager
def settled() -> Iterator[None]:
    """Spare the garbage collector all that was there before.

    What imports and set-up have made (hundreds of thousands of objects) is not garbage, yet the
    collector would walk through it again and again while small steps run.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

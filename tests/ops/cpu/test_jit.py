"""How the CPU kernels are compiled, and how threads share their work."""

import os

import numpy as np
import pytest
import torch

from graphlearn.ops.cpu import jit


@jit.jit
def _mark(first: int, last: int, out: jit.Array) -> None:
    for i in range(first, last):
        out[i] += 1


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_ranges_cover_everything_once(threads, size, with_threads):
    with_threads(threads)
    out = np.zeros(size)
    jit.share(_mark, size, 100, out)
    assert (out == 1).all()


def test_little_work_is_done_by_one_thread(with_threads, monkeypatch):
    with_threads(2)
    monkeypatch.setattr(jit, "_WORTH", 1000)
    assert (jit.threads_for(1000), jit.threads_for(1001)) == (1, 2)


def test_an_error_in_a_thread_is_raised(with_threads):
    with_threads(2)

    def fail(first, last):
        if first:
            raise RuntimeError("second half")

    with pytest.raises(RuntimeError, match="second half"):
        jit.share(fail, 2, 1)


def test_every_process_has_its_own_pool():
    assert jit._pool(os.getpid(), 2) is jit._pool(os.getpid(), 2)
    assert jit._pool(os.getpid(), 2) is not jit._pool(os.getpid() + 1, 2)


def test_a_missing_mask_is_empty():
    assert jit.bytes_of(None).size == 0
    assert jit.bytes_of(torch.tensor([True, False])).tolist() == [1, 0]


def test_compiled_kernels_are_kept_on_disk():
    from graphlearn.ops.cpu import spmm

    spmm.propagate(torch.tensor([0, 1]), torch.tensor([0]).int(), None, torch.ones(1, 1))
    hits, misses = (
        sum(c.values()) for c in (spmm._gather.stats.cache_hits, spmm._gather.stats.cache_misses)
    )
    assert hits + misses > 0

"""The allocator keeps pages: a freed block comes back without page faults."""

import resource
import sys

import pytest
import torch

from graphlearn.train.memory import keep_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_reused_without_page_faults():
    if not keep_memory():
        pytest.skip("this C library has no mallopt")
    torch.ones(1 << 24)  # 64 MB, freed at once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(1 << 24)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 4 * (1 << 26) // 4096 // 4  # a fresh mapping each time would need them all


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_memory() is False

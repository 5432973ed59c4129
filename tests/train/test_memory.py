"""The allocator keeps pages: what a step frees comes back to the next without page faults."""

import resource
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from graphlearn.train.memory import keep_memory
if sys.argv[1] == "keep" and not keep_memory():
    print("no mallopt")
    sys.exit()
def step():
    tensors = [torch.ones(size << 18) for size in (40, 8, 33, 64, 16, 36)]
    return sum(t.sum() for t in tensors)
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    run = [sys.executable, "-c", SCRIPT, mode]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    if out == "no mallopt":
        pytest.skip("this C library has no mallopt")
    return int(out)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_reused_without_page_faults():
    pages = 5 * (197 << 20) // resource.getpagesize()  # what fresh memory would cost
    assert faults("keep") < pages // 20


def test_other_systems_are_left_alone(monkeypatch):
    from graphlearn.train.memory import keep_memory

    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_memory() is False


def test_the_collector_is_spared_while_steps_run():
    import gc

    from graphlearn.train.memory import settled

    before = gc.get_freeze_count()
    with pytest.raises(KeyboardInterrupt), settled():
        assert gc.get_freeze_count() > before + 1000
        raise KeyboardInterrupt
    assert gc.get_freeze_count() == 0

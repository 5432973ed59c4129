"""How the GPU kernels are compiled and started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def test_channels_are_cut_into_powers_of_two(gpu):
    from graphlearn.ops.gpu.jit import blocks

    assert [blocks(c) for c in (0, 1, 3, 128, 129)] == [(1, 0), (1, 1), (4, 1), (128, 1), (128, 2)]


def test_positions_are_grouped_in_their_order(gpu):
    from graphlearn.ops.gpu.jit import group

    start, order = group(torch.tensor([2, 0, 2, 2], dtype=torch.int32), 4)
    assert start.tolist() == [0, 1, 1, 4, 4]
    assert order.tolist() == [1, 0, 2, 3]


def test_without_triton_there_are_no_gpu_kernels():
    code = "import sys; sys.modules['triton'] = None; import graphlearn.ops.gpu"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError" in found.stderr or "ModuleNotFoundError" in found.stderr


@pytest.mark.slow
def test_every_kernel_compiles_for_cuda(gpu):
    script = Path(__file__).with_name("compile_for_cuda.py")
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    found = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) >= 18

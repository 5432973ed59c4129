"""Where the GPU kernels are tested: in Triton's interpreter, or on a GPU."""

import os
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def gpu() -> ModuleType:
    """The GPU kernels."""
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    from graphlearn.ops import gpu

    return gpu


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """`cpu` for the interpreter, `cuda` for a GPU; a process can do one of them."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if request.param == "cpu" and not interpreted:
        pytest.skip("kernels are compiled for the GPU; the interpreter needs TRITON_INTERPRET=1")
    if request.param == "cuda" and (interpreted or not torch.cuda.is_available()):
        pytest.skip("needs a CUDA device, and TRITON_INTERPRET not set")
    return request.param

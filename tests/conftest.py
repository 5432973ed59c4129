"""Shared settings of the tests."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config: pytest.Config) -> None:
    """GPU kernels run in Triton's interpreter, unless tests that need the GPU were asked for.

    Triton looks at this when it is imported, which torch may do at any time; hence so early.
    """
    if "not gpu" in config.option.markexpr or not os.path.exists("/dev/nvidiactl"):
        os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def level_of_the_log() -> Iterator[None]:
    """A command sets the package's level, which is one for the whole process: put it back."""
    level = logging.getLogger("graphlearn").level
    yield
    logging.getLogger("graphlearn").setLevel(level)


@pytest.fixture
def data_root() -> Path:
    """Folder of the real data sets, or a skip that says why."""
    root = os.environ.get("GRAPHLEARN_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("set GRAPHLEARN_DATA to the folder of the real data sets")
    return Path(root)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Annotations of shapes are not checked: `torch.compile` cannot trace the check."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)

"""Shared settings of the tests."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def data_root() -> Path:
    """Folder of the real data sets, or a skip that says why."""
    root = os.environ.get("GRAPHLEARN_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("set GRAPHLEARN_DATA to the folder of the real data sets")
    return Path(root)

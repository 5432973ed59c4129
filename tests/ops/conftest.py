"""Settings shared by the tests of ops."""

from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture
def with_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, which even little work is then divided among."""
    from graphlearn.ops.cpu import jit

    monkeypatch.setattr(jit, "_WORTH", 0)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)

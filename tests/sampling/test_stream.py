import pytest
import torch

from graphlearn.sampling.stream import Events, windows


def test_windows_cover_the_stream_in_order():
    ids = torch.tensor([2, 3, 5, 8, 9])
    parts = list(windows(ids, 2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts), ids)
    assert list(windows(ids[:0], 3)) == []


def test_a_window_needs_a_size():
    with pytest.raises(ValueError, match="the batch size must be at least 1, got 0"):
        windows(torch.arange(3), 0)


def test_events_keep_their_order():
    one = torch.tensor([1])
    assert Events(one, one + 1, one + 2, one + 3)._fields == ("src", "dst", "t", "eid")

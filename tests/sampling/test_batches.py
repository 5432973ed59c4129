import pytest
import torch

from graphlearn.sampling.batches import fold, index_batches


def test_every_item_comes_once():
    batches = list(index_batches(10, 4, seed=0))
    assert [b.numel() for b in batches] == [4, 4, 2]
    assert torch.cat(batches).sort().values.equal(torch.arange(10))


def test_the_seed_decides_the_order():
    first, again, other = (torch.cat(list(index_batches(50, 7, seed=s))) for s in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = torch.cat(list(index_batches(20, 6, seed=3)))
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(99)
    assert torch.cat(list(index_batches(20, 6, seed=3))).equal(first)


def test_in_order_without_shuffle():
    assert torch.cat(list(index_batches(7, 3, seed=0, shuffle=False))).equal(torch.arange(7))


def test_drop_last():
    assert [b.numel() for b in index_batches(10, 4, seed=0, drop_last=True)] == [4, 4]
    assert [b.numel() for b in index_batches(8, 4, seed=0, drop_last=True)] == [4, 4]


def test_nothing_gives_no_batch():
    assert list(index_batches(0, 4, seed=0)) == []


def test_errors_come_at_the_call():
    with pytest.raises(ValueError, match="batch size must be at least 1, got 0"):
        index_batches(10, 0, seed=0)
    with pytest.raises(ValueError, match="no full batch: 3 items, batch size 4; lower it"):
        index_batches(3, 4, seed=0, drop_last=True)


def test_fold_separates_places():
    seeds = {fold(s, a, b) for s in range(5) for a in range(5) for b in range(5)}
    assert len(seeds) == 125
    assert all(0 <= s < 2**63 for s in seeds)
    assert fold(0, 1, 2) == fold(0, 1, 2) != fold(0, 2, 1)
    assert fold(7) != fold(7, 0) != fold(7, 0, 0)

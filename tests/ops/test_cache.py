"""The N-cache as a module: its state, how large it is, and what it refuses."""

import pytest
import torch
from cache_cases import play, small_stream

from graphlearn.ops.cache import NCache
from graphlearn.ops.commit import Tables


def filled(**settings):
    """A cache after eight events among five nodes, in two batches."""
    stream = small_stream("mix")
    options = {"slots": (4, 2), "dim": 2, "wide_dim": 3, "alpha": 0.5, "seed": 7}
    cache = NCache(5, **options | settings)
    for first in (0, 4):
        part = slice(first, first + 4)
        src, dst, t = stream.src[part], stream.dst[part], stream.t[part]
        nodes, at = torch.unique(torch.stack([src, dst]), return_inverse=True)
        fresh = torch.full((len(nodes), 1 + sum(cache.slots), 2), 1.0 + first)
        events = (src, dst, t, torch.arange(first, first + 4))
        cache.commit(events, list(at), fresh, torch.ones(len(nodes), 3))
    return cache


def test_the_state_is_that_of_the_op():
    cache, tables = filled(), play(small_stream("mix"), None)
    assert torch.equal(cache.key, tables.key) and torch.equal(cache.eid, tables.eid)
    assert torch.equal(cache.ts, tables.ts) and int(cache.batch_no) == 2
    assert cache.keys(1).tolist()[0] == [2, 3, 1, 4] and cache.keys(2).tolist()[0] == [-1, 2]
    assert cache.events(1).tolist()[0] == [1, 5, 0, 6] and cache.events(2).tolist()[0] == [-1, 3]


def test_occupancy_is_the_share_of_the_slots_that_hold_a_key():
    cache = filled()
    assert cache.occupancy() == [13 / 20, 5 / 10]
    cache.reset()
    assert cache.occupancy() == [0.0, 0.0]


def test_reset_forgets_everything():
    cache = filled()
    cache.reset()
    fresh = NCache(5, slots=(4, 2), dim=2, wide_dim=3, alpha=0.5, seed=7)
    assert all(torch.equal(a, b) for a, b in zip(cache.tables, fresh.tables, strict=True))


def test_a_snapshot_is_a_copy_that_comes_back():
    cache = filled()
    saved = cache.snapshot()
    before = Tables(*(table.clone() for table in cache.tables))
    cache.reset()
    cache.restore(saved)
    assert all(torch.equal(a, b) for a, b in zip(cache.tables, before, strict=True))
    with pytest.raises(ValueError, match=r"key has shape \(5, 6\), expected \(6, 6\) for 6 nodes"):
        NCache(6, slots=(4, 2), dim=2, wide_dim=3).restore(saved)


def test_state_dict_of_other_sizes_is_refused():
    state = filled().state_dict()
    with pytest.raises(ValueError, match=r"rep has shape \(5, 7, 2\), expected \(5, 7, 4\)"):
        NCache(5, slots=(4, 2), dim=4, wide_dim=3).load_state_dict(state)


def test_the_whole_state_is_saved():
    cache, other = filled(), NCache(5, slots=(4, 2), dim=2, wide_dim=3)
    other.load_state_dict(cache.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(cache.tables, other.tables, strict=True))


def test_a_million_nodes_take_what_the_formula_says():
    cache = NCache(10**6, slots=(32, 16), dim=4, wide_dim=72)
    a_node = 48 * (4 + 4 + 8 + 16) + (4 + 8 + 16) + 4 * 72 + 4
    assert cache.nbytes == 10**6 * a_node + 8
    wide_event = 4 + 8  # shared with hop 0, so that it is saved
    assert a_node + wide_event == 48 * 32 + 28 + 288 + 16


def test_ids_and_times_that_32_bit_floats_cannot_hold():
    last, late = 2**24 + 3, 2.0**31 + 1
    cache = NCache(2**24 + 4, slots=(1,), dim=1, wide_dim=1, alpha=1.0)
    src, dst = torch.tensor([last]), torch.tensor([last - 1])
    events = (src, dst, torch.tensor([late], dtype=torch.float64), torch.tensor([2**24 + 1]))
    cache.commit(
        events, (torch.tensor([1]), torch.tensor([0])), torch.ones(2, 2, 1), torch.ones(2, 1)
    )
    assert cache.keys(1)[last].item() == last - 1 and cache.keys(1)[last - 1].item() == last
    assert cache.ts[last, 1].item() == late and cache.events(1)[last].item() == 2**24 + 1
    counts, met = cache.join(torch.stack([src, dst]))
    assert met.item() == late and counts[0, 1 + 16] == 1 and counts[0, 2 + 8] == 1


def test_given_numbers_stand_in_for_the_random_ones():
    """One number for each candidate that exists: a slot is kept where it is not below alpha."""
    found = []
    for number in (0.9, 0.1):
        cache = NCache(4, slots=(1, 1), dim=1, wide_dim=1, alpha=0.5)
        for event, other in enumerate((1, 2)):
            src, dst = torch.tensor([0]), torch.tensor([other])
            rows = torch.tensor([0]), torch.tensor([1])
            events = (src, dst, src, torch.tensor([event]))
            far = (cache.keys(1)[[other, 0]] >= 0).sum()
            rand = [torch.full((2,), number), torch.full((int(far),), number)]
            cache.commit(events, rows, torch.zeros(2, 3, 1), torch.zeros(2, 1), rand=rand)
        found.append((cache.keys(1)[0].item(), cache.keys(2)[2].item()))
    assert found == [(1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_nodes": 0}, r"num_nodes must lie in \[1, 2\^31\), got 0"),
        ({"slots": (4, 4, 4)}, r"slots must be up to two numbers in \[1, 4096\], got \(4, 4, 4\)"),
        ({"slots": (0,)}, r"slots must be up to two numbers in \[1, 4096\], got \(0,\)"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"wide_dim": 0}, "wide_dim must be at least 1, got 0"),
        ({"alpha": -0.1}, r"alpha must lie in \[0, 1\], got -0.1"),
    ],
)
def test_bad_settings(settings, message):
    options = {"num_nodes": 3} | settings
    with pytest.raises(ValueError, match=message):
        NCache(options.pop("num_nodes"), **options)


def test_its_settings_are_printed():
    assert repr(NCache(3)) == "NCache(3, slots=(32, 16), alpha=0.9, hash='mix')"

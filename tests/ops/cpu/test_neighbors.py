import itertools

import numpy as np
import pytest

from graphlearn.ops.cpu import neighbors
from graphlearn.ops.cpu.neighbors import expand, order_rows, renumber

PTR = np.array([0, 0, 5, 205, 206])


def test_all_entries_of_small_rows():
    entry, count = expand(PTR, np.array([3, 0, 1]), 5, 1)
    assert entry.tolist() == [205, 0, 1, 2, 3, 4] and count.tolist() == [1, 0, 5]
    entry, count = expand(PTR, np.array([2]), -1, 1)
    assert entry.tolist() == list(range(5, 205)) and count.tolist() == [200]
    entry, count = expand(PTR, np.array([], dtype=np.int64), 5, 1)
    assert len(entry) == len(count) == 0


@pytest.mark.parametrize("fanout", [1, 2, 31, 32, 33, 150, 199])
def test_different_entries_of_a_large_row(fanout):
    entry, count = expand(PTR, np.array([2, 2]), fanout, 9)
    assert count.tolist() == [fanout] * 2
    assert len(set(entry[:fanout].tolist())) == fanout
    assert entry.min() >= 5 and entry.max() < 205
    assert entry[:fanout].tolist() == entry[fanout:].tolist()  # the node decides, not its place


@pytest.mark.parametrize("fanout", [32, 33])
def test_comparing_and_hashing_are_the_same_draws(fanout):
    """More than 32 draws of a row are told apart by a hash table, fewer one by one."""
    assert neighbors._FEW == 32
    taken = []
    for draw, top in enumerate(range(200 - fanout, 200)):
        own = neighbors._mix(np.uint64(4) ^ np.uint64(2))
        number = int(neighbors._below(own, draw, top + 1))
        taken.append(top if number in taken else number)
    assert (expand(PTR, np.array([2]), fanout, 4)[0] - 5).tolist() == taken


def test_numbers_in_the_order_of_first_sight():
    place = np.full(10, -1, dtype=np.int32)
    nodes, local = renumber(np.array([7, 3, 7, 9]), np.empty(0, dtype=np.int64), place)
    assert nodes.tolist() == [7, 3, 9] and local.tolist() == [0, 1, 0, 2]
    nodes, local = renumber(np.array([3, 0], dtype=np.int32), nodes, place)
    assert nodes.tolist() == [7, 3, 9, 0] and local.tolist() == [1, 3]
    assert place.tolist() == [3, -1, -1, 1, -1, -1, -1, 0, -1, 2]


def test_rows_are_put_in_order():
    rng = np.random.default_rng(0)
    ptr = np.array([0, 0, 1, 48, 97, 300])
    local = np.concatenate([rng.permutation(500)[: b - a] for a, b in itertools.pairwise(ptr)])
    local, entry = local.astype(np.int32), np.arange(300)
    before = dict(enumerate(local.tolist()))
    order_rows(ptr, local, entry)
    assert [before[k] for k in entry.tolist()] == local.tolist()
    for a, b in itertools.pairwise(ptr):
        assert (np.diff(local[a:b]) > 0).all() and set(entry[a:b]) == set(range(a, b))

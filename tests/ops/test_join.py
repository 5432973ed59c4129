"""Joining the caches of two nodes: against sets, and against the list behind the counts."""

from itertools import product

import pytest
import torch
from cache_cases import play, random_rows, small_stream
from checks import using

from graphlearn.ops import cpu
from graphlearn.ops.join import join, listing

KERNELS = pytest.mark.parametrize("kernels", [None, cpu])
RULES = [
    {"slots": (), "hash": "mix", "seed": 0},
    {"slots": (4,), "hash": "mix", "seed": 7},
    {"slots": (4, 2), "hash": "quadratic", "seed": 7},
    {"slots": (5, 7), "hash": "mix", "seed": 2**33 + 1},
    {"slots": (40, 3), "hash": "quadratic", "seed": 8},
]
ALL = torch.tensor(list(product(range(6), range(6)))).t()


def sets(key, slots, node):
    """Keys of each hop of a node."""
    held = [{node}]
    first = 0
    for size in slots:
        held.append({w for w in key[node, first : first + size].tolist() if w >= 0})
        first += size
    return held


def codes(key, slots, u, v):
    found = {}
    for node, shift in ((u, 0), (v, 3)):
        for hop, held in enumerate(sets(key, slots, node)):
            for w in held:
                found[w] = found.get(w, 0) + (1 << (hop + shift))
    return found


@KERNELS
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(("draw", "largest"), [(0, 9), (1, 6), (2, 2**31 - 1), (3, 2**25)])
def test_counts_equal_sets(draw, largest, rules, kernels):
    key, ts = random_rows(6, **rules, largest=largest, draw=draw)
    with using(kernels):
        counts, met = join(key, ts, ALL, **rules)
    near = sum(rules["slots"][:1])
    for (u, v), count, time in zip(ALL.t().tolist(), counts, met.tolist(), strict=True):
        expected = torch.bincount(torch.tensor([*codes(key, rules["slots"], u, v).values()]))
        assert torch.equal(count[: len(expected)].long(), expected)
        assert not count[len(expected) :].any()
        times = [-1.0]
        for owner, other in ((u, v), (v, u)):
            for place in range(near):
                if key[owner, place] == other:
                    times.append(ts[owner, 1 + place].item())
        assert time == max(times)


@KERNELS
@pytest.mark.parametrize("rules", RULES)
def test_the_list_is_what_is_counted(rules, kernels):
    key, ts = random_rows(6, **rules, largest=8, draw=3)
    with using(kernels):
        counts, _ = join(key, ts, ALL, **rules)
        ptr, node, code, where = listing(key, ALL, **rules)
    assert ptr.diff().tolist() == counts.sum(1).tolist()
    pair = torch.arange(36).repeat_interleave(ptr.diff())
    assert torch.equal(torch.bincount(64 * pair + code, minlength=36 * 64), counts.view(-1).long())
    bit = torch.arange(6)
    assert torch.equal(where >= 0, code[:, None] >> bit & 1 == 1)
    slots = torch.cat([torch.arange(6)[:, None], key.long()], 1)  # hop 0 in front
    for side in range(2):
        held = slots[ALL[side, pair][:, None], where[:, 3 * side : 3 * side + 3].clamp(min=0)]
        assert ((held == node[:, None]) | (where[:, 3 * side : 3 * side + 3] < 0)).all()


@KERNELS
def test_nobody_met_in_an_empty_cache(kernels):
    key, ts = torch.full((3, 6), -1, dtype=torch.int32), torch.zeros(3, 7, dtype=torch.float64)
    pairs, rules = torch.tensor([[0, 1], [2, 1]]), {"slots": (4, 2), "hash": "mix", "seed": 0}
    with using(kernels):
        counts, met = join(key, ts, pairs, **rules)
        ptr, node, code, where = listing(key, pairs, **rules)
    assert met.tolist() == [-1, -1]
    assert counts.nonzero().tolist() == [[0, 1], [0, 8], [1, 9]]
    assert (ptr.tolist(), node.tolist(), code.tolist()) == ([0, 2, 3], [0, 2, 1], [1, 8, 9])
    assert where[:, [1, 2, 4, 5]].eq(-1).all()


@KERNELS
def test_the_last_meeting_is_found_from_either_side(kernels):
    tables = play(small_stream("mix"), kernels)
    rules = {"slots": (4, 2), "hash": "mix", "seed": 7}
    pairs = torch.tensor([[0, 3, 2, 4, 1, 3, 0], [3, 0, 3, 1, 1, 4, 4]])
    with using(kernels):
        _, met = join(tables.key, tables.ts, pairs, **rules)
    assert met.tolist() == [15, 15, 13, 17, -1, -1, 16]


@KERNELS
def test_no_pairs(kernels):
    key, ts = random_rows(3, (4,), hash="mix", seed=0, largest=3, draw=0)
    none, rules = torch.empty(2, 0, dtype=torch.int64), {"slots": (4,), "hash": "mix", "seed": 0}
    with using(kernels):
        assert [x.shape for x in join(key, ts, none, **rules)] == [(0, 64), (0,)]
        assert [x.shape for x in listing(key, none, **rules)] == [(1,), (0,), (0,), (0, 6)]


@pytest.mark.parametrize("op", ["join", "listing"])
def test_ids_outside_are_found_where_that_is_asked_for(op, monkeypatch):
    monkeypatch.setenv("GRAPHLEARN_CHECK", "1")
    key, ts = random_rows(3, (4,), hash="mix", seed=0, largest=3, draw=0)
    pairs, rules = torch.tensor([[0], [3]]), {"slots": (4,), "hash": "mix", "seed": 0}
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 3\), got 3 to 3|got 0 to 3"):
        join(key, ts, pairs, **rules) if op == "join" else listing(key, pairs, **rules)


def test_opcheck(unchecked):
    key, ts = random_rows(6, (4, 2), hash="mix", seed=0, largest=8, draw=1)
    rest = ([4, 2], False, 0)
    torch.library.opcheck(torch.ops.graphlearn.join.default, (key, ts, ALL, *rest))
    torch.library.opcheck(torch.ops.graphlearn.listing.default, (key, ALL, *rest))

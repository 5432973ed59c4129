"""The CPU kernels that join caches equal the reference, for any number of threads."""

import pytest
import torch
from cache_cases import play, random_rows, streams
from checks import check_op
from hypothesis import given, settings

from graphlearn.ops import cpu
from graphlearn.ops.join import join, listing

RULES = [
    {"slots": slots, "hash": hash, "seed": seed}
    for slots in ((), (3,), (4, 2), (40, 9))
    for hash, seed in (("mix", 0), ("quadratic", 8))
]


def both(nodes, draw=0, count=50):
    return torch.randint(nodes, (2, count), generator=torch.Generator().manual_seed(draw))


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(("draw", "largest"), [(0, 2**31 - 1), (1, 9)])
def test_equals_the_reference(draw, largest, rules):
    key, ts = random_rows(9, **rules, largest=largest, draw=draw)
    check_op(join, key, ts, both(9), kernels=cpu, **rules)
    check_op(listing, key, both(9), kernels=cpu, **rules)


@settings(max_examples=60, deadline=None)
@given(streams())
def test_equals_the_reference_after_a_stream(stream):
    tables, pairs = play(stream, cpu), both(stream.num_nodes)
    rules = {"slots": stream.slots, "hash": stream.hash, "seed": stream.seed}
    check_op(join, tables.key, tables.ts, pairs, kernels=cpu, **rules)
    check_op(listing, tables.key, pairs, kernels=cpu, **rules)


def test_a_strided_list_of_pairs():
    key, ts = random_rows(9, (4, 2), hash="mix", seed=0, largest=9, draw=1)
    pairs, rules = both(9).t().contiguous().t(), {"slots": (4, 2), "hash": "mix", "seed": 0}
    check_op(join, key, ts, pairs, kernels=cpu, **rules)
    check_op(listing, key, pairs, kernels=cpu, **rules)


def test_any_number_of_threads_gives_the_same_bits(with_threads):
    rules = {"slots": (4, 2), "hash": "mix", "seed": 0}
    key, ts = random_rows(9, **rules, largest=9, draw=1)
    found = []
    for threads in (1, 2):
        with_threads(threads)
        found.append((*join(key, ts, both(9), **rules), *listing(key, both(9), **rules)))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

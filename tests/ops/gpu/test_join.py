"""The GPU kernels that join caches equal the reference."""

import pytest
import torch
from cache_cases import random_rows
from checks import check_op

from graphlearn.ops.join import join, listing

RULES = [
    {"slots": slots, "hash": hash, "seed": seed}
    for slots in ((), (3,), (4, 2), (40, 9))
    for hash, seed in (("mix", 0), ("quadratic", 8))
]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(("draw", "largest"), [(0, 2**31 - 1), (1, 6)])
def test_equals_the_reference(draw, largest, rules, gpu, device):
    key, ts = random_rows(6, **rules, largest=largest, draw=draw)
    pairs = torch.randint(6, (2, 5), generator=torch.Generator().manual_seed(draw))
    options = {"kernels": gpu, "device": device, **rules}
    check_op(join, key, ts, pairs, **options)
    check_op(listing, key, pairs, **options)


@pytest.mark.parametrize("count", [0, 3])
def test_empty_rows(count, gpu, device):
    key, ts = torch.full((3, 6), -1, dtype=torch.int32), torch.zeros(3, 7, dtype=torch.float64)
    pairs = torch.tensor([[0, 1, 2], [1, 1, 0]])[:, :count]
    options = {"slots": (4, 2), "hash": "mix", "seed": 3, "kernels": gpu, "device": device}
    check_op(join, key, ts, pairs, **options)
    check_op(listing, key, pairs, **options)


def test_a_strided_list_of_pairs(gpu, device):
    key, ts = random_rows(6, (4, 2), hash="mix", seed=0, largest=6, draw=1)
    pairs = torch.tensor([[0, 1], [5, 4], [2, 2]]).t()
    options = {"slots": (4, 2), "hash": "mix", "seed": 0, "kernels": gpu, "device": device}
    check_op(join, key, ts, pairs, **options)
    check_op(listing, key, pairs, **options)

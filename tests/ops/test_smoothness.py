"""Smoothness against its definition, pair by pair."""

import itertools

import pytest
import torch

from graphlearn.ops.smoothness import smoothness


@pytest.mark.parametrize("block", [1, 3, 4, 1024])
def test_equals_the_definition(block):
    torch.manual_seed(0)
    x = torch.randn(13, 5)
    x[4] = 0
    unit = [row / max(float(row.norm()), 1e-12) for row in x.double()]
    each = [float((a - b).norm()) / 2 for a, b in itertools.permutations(unit, 2)]
    assert smoothness(x, block=block) == pytest.approx(sum(each) / len(each), rel=1e-6)


def test_its_range():
    assert smoothness(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])) == pytest.approx(1.0)
    assert smoothness(torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.5, 1.0]])) < 1e-7


def test_small_differences_are_seen():
    angle = 1e-6
    x = torch.tensor([[1.0, 0.0], [1.0, angle]], dtype=torch.float64)
    assert smoothness(x) == pytest.approx(angle / 2, rel=1e-6)


def test_random_pairs_come_close_and_never_pair_a_node_with_itself():
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    made = torch.Generator().manual_seed(1)
    found = smoothness(x, samples=20_000, generator=made)
    assert found == pytest.approx(smoothness(x), rel=0.02)
    two = torch.tensor([[1.0], [-1.0]])
    assert smoothness(two, samples=50, generator=made) == 1.0


def test_what_it_needs():
    with pytest.raises(ValueError, match="smoothness needs at least two rows, got 1"):
        smoothness(torch.ones(1, 3))
    with pytest.raises(ValueError, match="block at least 1, got 0 and 0"):
        smoothness(torch.ones(2, 3), block=0)
    with pytest.raises(ValueError, match="block at least 1, got -1 and 1024"):
        smoothness(torch.ones(2, 3), samples=-1)

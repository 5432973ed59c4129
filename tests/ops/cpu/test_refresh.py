"""The CPU kernels that refresh slots equal the reference, and so do their gradients."""

import pytest
import torch
from cache_cases import refresh_case, refreshed

from graphlearn.ops import cpu


def check(case, absolute=False):
    found = refreshed(case, cpu, absolute=absolute)
    for one, two in zip(found, refreshed(case, None, absolute=absolute), strict=True):
        scale = max(1.0, two.abs().max().item()) if two.numel() else 1.0
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("edge_dim", [0, 3])
@pytest.mark.parametrize("width", [1, 4, 5, 16])
def test_equals_the_reference(width, edge_dim, absolute):
    check(refresh_case(width, edge_dim, late=1e9), absolute)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("late", [0.0, 2.0**33])
def test_early_and_late_times(late, absolute):
    check(refresh_case(late=late, rows=30), absolute)


@pytest.mark.parametrize("held", [0.0, 1.0])
@pytest.mark.parametrize("rows", [0, 1, 8, 30])
def test_empty_and_full_rows(rows, held):
    check(refresh_case(rows=rows, held=held))


@pytest.mark.parametrize("times", [0, 1, 20])
@pytest.mark.parametrize("wide", [0, 72])
def test_any_number_of_channels_and_frequencies(wide, times):
    check(refresh_case(times=times, wide=wide, edge_dim=1, late=100.0))


def test_far_from_zero_the_gates_are_shut():
    nodes, now, tables, edge, weights = refresh_case()
    check((nodes, now, tables, edge, weights._replace(inner=100 * weights.inner)))


@pytest.mark.parametrize("edge_dim", [0, 3])
def test_any_number_of_threads_gives_the_same_bits(edge_dim, with_threads):
    case, found = refresh_case(edge_dim=edge_dim, rows=50), []
    for threads in (1, 2):
        with_threads(threads)
        found.append(refreshed(case, cpu))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

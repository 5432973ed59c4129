"""The GPU kernels that refresh slots equal the reference, and so do their gradients."""

import sys

import pytest
import torch
from cache_cases import refresh_case, refreshed


def check(case, gpu, device, absolute=False):
    found = refreshed(case, gpu, device, absolute=absolute)
    for one, two in zip(found, refreshed(case, None, absolute=absolute), strict=True):
        scale = max(1.0, two.abs().max().item()) if two.numel() else 1.0
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("edge_dim", [0, 3])
@pytest.mark.parametrize("width", [1, 4, 5, 16])
def test_equals_the_reference(width, edge_dim, absolute, gpu, device):
    check(refresh_case(width, edge_dim), gpu, device, absolute)


@pytest.mark.parametrize("held", [0.0, 1.0])
@pytest.mark.parametrize("rows", [0, 1, 8])
def test_empty_and_full_rows(rows, held, gpu, device):
    check(refresh_case(rows=rows, held=held), gpu, device)


def test_sums_over_several_spans(gpu, device, monkeypatch):
    # By name, as the package exports a function of that name.
    monkeypatch.setattr(sys.modules["graphlearn.ops.gpu.refresh"], "_SPAN", 64)
    check(refresh_case(rows=30), gpu, device)


@pytest.mark.parametrize("times", [0, 1, 20])
@pytest.mark.parametrize("wide", [0, 20])
def test_any_number_of_channels_and_frequencies(wide, times, gpu, device):
    check(refresh_case(times=times, wide=wide, edge_dim=1, late=100.0), gpu, device)


def test_frequencies_may_be_frozen(gpu, device):
    nodes, now, tables, edge, weights = refresh_case()
    given = [x.to(device) for x in (nodes, now, *tables[:4], tables.wide, edge, *weights)]
    grad = torch.ones(7, 7, 4, device=device)
    full = gpu.refresh_grad(grad, *given, False, True)
    part = gpu.refresh_grad(grad, *given, False, False)
    assert all(torch.equal(one, two) for one, two in zip(full[:5], part[:5], strict=True))
    assert not any(x.any() for x in part[5:])


def test_tiles_get_smaller_as_vectors_grow(gpu):
    from graphlearn.ops.gpu.refresh import _sizes

    assert [_sizes(width, False)["LANES"] for width in (1, 4, 5, 16, 17, 64)] == [
        64, 64, 32, 16, 4, 1,
    ]  # fmt: skip


def test_the_same_bits_again(gpu, device):
    case = refresh_case(rows=20)
    for one, two in zip(*(refreshed(case, gpu, device) for _ in range(2)), strict=True):
        assert torch.equal(one, two)

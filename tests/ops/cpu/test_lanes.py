"""Sums in vector registers equal those of torch, for every width and kind of float."""

import numba as nb
import pytest
import torch

from graphlearn.ops.cpu.lanes import LANES, add, dot, gather

WIDTHS = [LANES, 8, 12, 32, 44, 76]


@nb.njit
def gathered(out, x, width, col, weight):
    gather(out, 1, x, width, col, weight, 1, col.size)


@nb.njit
def added(out, x, factor, width):
    add(out, 2, factor, x, 1, width)


@nb.njit
def product(x, y, width):
    return dot(x, 2, y, 1, width)


def rows(width, dtype):
    generator = torch.Generator().manual_seed(width)
    return torch.randn(3, width, dtype=dtype, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", WIDTHS)
def test_gather(width, dtype):
    x, out = rows(width, dtype), torch.full((3, width), 7.0, dtype=dtype)
    col = torch.tensor([9, 2, 0, 2], dtype=torch.uint32)  # the first entry is left out
    weight = torch.tensor([1.0, 0.5, -2.0, 3.0], dtype=dtype)
    gathered(out.view(-1).numpy(), x.view(-1).numpy(), width, col.numpy(), weight.numpy())
    torch.testing.assert_close(out[1], 3.5 * x[2] - 2 * x[0])
    assert (out[[0, 2]] == 7).all(), "other rows stay"


def test_a_row_without_entries_is_zero():
    x, out = rows(8, torch.float32), torch.full((3, 8), 7.0)
    none = torch.zeros(1, dtype=torch.uint32).numpy()
    gathered(out.view(-1).numpy(), x.view(-1).numpy(), 8, none, torch.ones(1).numpy())
    assert (out[1] == 0).all() and (out[[0, 2]] == 7).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", WIDTHS)
def test_add_and_dot(width, dtype):
    x, y = rows(width, dtype), rows(width, dtype).flip(0)
    factor = torch.tensor(0.25, dtype=dtype).numpy()[()]
    out = y.clone()
    added(out.view(-1).numpy(), x.view(-1).numpy(), factor, width)
    torch.testing.assert_close(out[2], y[2] + 0.25 * x[1])
    assert torch.equal(out[:2], y[:2])
    found = product(x.view(-1).numpy(), y.view(-1).numpy(), width)
    torch.testing.assert_close(torch.tensor(found, dtype=dtype), x[2] @ y[1])

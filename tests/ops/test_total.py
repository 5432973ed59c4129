"""Sums in fixed blocks."""

import torch

from graphlearn.ops.total import total


def test_the_sum_and_its_gradient():
    values = torch.randn(40_000, dtype=torch.float64).requires_grad_()
    out = total(values)
    torch.testing.assert_close(out, values.sum())
    (grad,) = torch.autograd.grad(out, values)
    assert torch.equal(grad, torch.ones_like(values))


def test_no_values_and_one_block():
    assert total(torch.zeros(0)) == 0
    assert total(torch.tensor([1.5, 2.0])) == 3.5


def test_bits_do_not_depend_on_threads():
    values = torch.randn(200_001)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            found.append(float(total(values)))
    finally:
        torch.set_num_threads(before)
    assert len(set(found)) == 1

"""Products that do not depend on threads."""

import pytest
import torch

from graphlearn.ops.product import product


def test_values_and_gradients():
    left = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    right = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(product(left, right), left @ right)
    assert torch.autograd.gradcheck(product, (left, right))
    assert torch.autograd.gradgradcheck(product, (left, right))


def test_empty_factors():
    assert product(torch.zeros(0, 3), torch.zeros(3, 2)).shape == (0, 2)
    assert product(torch.zeros(2, 0), torch.zeros(0, 3)).eq(0).all()


def test_bits_do_not_depend_on_threads():
    """Shapes of a hidden layer on Cora, where torch's own gradients differ by threads."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(2708, 64, generator=generator, requires_grad=True)
    right = torch.randn(64, 7, generator=generator, requires_grad=True)
    back = torch.randn(2708, 7, generator=generator)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            out = product(left, right)
            found.append([out, *torch.autograd.grad(out, (left, right), back)])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_mixed_precision_is_that_of_torch():
    left, right = torch.randn(5, 3, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(left, right).dtype == torch.bfloat16


@pytest.mark.usefixtures("unchecked")
def test_it_can_be_traced():
    left, right = torch.randn(5, 3), torch.randn(3, 4)
    compiled = torch.compile(product, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(left, right), left @ right)

"""Products of the two ends of a pair."""

import pytest
import torch
from checks import CASES, using, vectors

from graphlearn.ops import cpu, pair_product

KERNELS = pytest.mark.parametrize("kernels", [None, cpu])


@KERNELS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equals_the_plain_product(dtype, kernels):
    x, pairs = torch.randn(5, 3).to(dtype), torch.tensor([[0, 4, 4, 2], [1, 4, 0, 3]])
    with using(kernels):
        assert torch.equal(pair_product(x, pairs), x[pairs[0]] * x[pairs[1]])


def test_the_order_of_the_ends_does_not_matter():
    x, pairs = vectors(9), CASES["dense"][1]
    assert torch.equal(pair_product(x, pairs), pair_product(x, pairs.flip(0)))


@KERNELS
@pytest.mark.parametrize("name", ["dense", "isolated", "duplicate", "no pairs", "no nodes"])
def test_gradcheck(name, kernels):
    graph, pairs = CASES[name]
    x = vectors(graph.num_cols, 2, torch.float64)
    with using(kernels):
        assert torch.autograd.gradcheck(lambda x: pair_product(x, pairs), x)


def test_the_gradient_in_half_precision():
    x = torch.randn(5, 3).bfloat16().requires_grad_()
    pairs = torch.tensor([[0, 1], [1, 1]])
    (grad,) = torch.autograd.grad(pair_product(x, pairs).sum(), x)
    torch.testing.assert_close(grad[0], x[1].detach())
    torch.testing.assert_close(grad[1], (x[0] + 2 * x[1]).detach())


def test_layouts_that_are_not_contiguous():
    x, pairs = torch.randn(3, 5).t(), torch.tensor([[0, 1], [2, 1], [4, 4]]).t()
    assert torch.equal(pair_product(x, pairs), x[pairs[0]] * x[pairs[1]])


def test_opcheck(unchecked):
    pairs = torch.tensor([[0, 1, 1], [1, 1, 2]])
    x = vectors(3)
    torch.library.opcheck(torch.ops.graphlearn.pair_product.default, (x, *pairs.contiguous()))
    torch.library.opcheck(
        torch.ops.graphlearn.pair_spread.default, (x.detach(), *pairs, vectors(3).detach())
    )


def test_traces_without_a_break(unchecked):
    x, pairs = vectors(9), CASES["dense"][1]
    traced = torch.compile(pair_product, fullgraph=True, backend="aot_eager")
    assert torch.equal(traced(x, pairs), pair_product(x, pairs))

"""The best score of pairs: against gathering, gradients, threads, checks."""

import pytest
import torch
from checks import using

from graphlearn.ops import cpu
from graphlearn.ops.best import best_sum

OPS = torch.ops.graphlearn


def case(pairs, heads, dtype=torch.float64):
    generator = torch.Generator().manual_seed(pairs)
    make = lambda size: torch.randn(size, heads, generator=generator, dtype=dtype)  # noqa: E731
    draw = lambda size: torch.randint(size, (pairs,), generator=generator)  # noqa: E731
    return make(9).requires_grad_(), make(5).requires_grad_(), draw(9), draw(5)


@pytest.mark.parametrize("kernels", [None, cpu])
@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("pairs", [0, 1, 40])
def test_equals_gathering_both_ends(pairs, heads, kernels):
    left, right, row, col = case(pairs, heads)
    with using(kernels):
        out = best_sum(left, right, row, col)
        got = torch.autograd.grad(out.square().sum(), [left, right])
    want = (left[row] + right[col]).max(1).values if pairs else left.new_zeros(0)
    torch.testing.assert_close(out, want)
    if pairs:
        torch.testing.assert_close(got, torch.autograd.grad(want.square().sum(), [left, right]))


@pytest.mark.parametrize("kernels", [None, cpu])
def test_among_equals_the_first_gets_the_gradient(kernels):
    left = torch.zeros(2, 3, requires_grad=True)
    right = torch.tensor([[0.0, 1.0, 1.0]])
    with using(kernels):
        best_sum(left, right, torch.tensor([1]), torch.tensor([0])).sum().backward()
    assert left.grad.tolist() == [[0, 0, 0], [0, 1, 0]]


def test_threads_give_the_same_bits():
    left, right, row, col = case(100_000, 2, torch.float32)
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        out = best_sum(left, right, row, col)
        found.append((out, *torch.autograd.grad(out.square().sum(), [left, right])))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_opcheck():
    left, right, row, col = case(12, 2, torch.float32)
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(OPS.best_sum, (left, right, row, col), test_utils=kinds)
    plain = (torch.ones(12), torch.ones(12).long(), row, col, left.detach(), right.detach())
    torch.library.opcheck(OPS.best_spread, plain)


def test_ids_outside_are_found_where_that_is_asked_for(monkeypatch):
    left, right, _, col = case(12, 2)
    monkeypatch.setenv("GRAPHLEARN_CHECK", "1")
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 5\), got 0 to 8"):
        best_sum(left, right, col, torch.tensor([8] + [0] * 11))

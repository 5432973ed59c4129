"""Products of small matrices: against torch, gradients."""

import pytest
import torch
from checks import using

from graphlearn.ops import cpu
from graphlearn.ops.small import small_product

OPS = torch.ops.graphlearn


def matrices(count, size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(count + size)
    return torch.randn(2, count, size, size, generator=generator, dtype=dtype).unbind()


@pytest.mark.parametrize("kernels", [None, cpu])
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("turned", [False, True])
def test_equals_torch_with_gradients(kernels, size, count, turned):
    left, right = (value.requires_grad_() for value in matrices(count, size))
    with using(kernels):
        out = small_product(left, right, transpose_left=turned)
        expected = (left.mT if turned else left) @ right
        torch.testing.assert_close(out, expected)
        if count:
            assert torch.autograd.gradcheck(
                lambda a, b: small_product(a, b, transpose_left=turned), (left, right)
            )
            assert torch.autograd.gradgradcheck(
                lambda a, b: small_product(a, b, transpose_left=turned), (left, right)
            )


def test_one_tensor_as_both_factors():
    (value, _) = matrices(4, 3)
    value.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: small_product(m, m, transpose_left=True), value)


def test_opcheck():
    left, right = (value.requires_grad_() for value in matrices(3, 2, torch.float32))
    for first, second in ((False, False), (True, False), (False, True)):
        torch.library.opcheck(OPS.small_product, (left, right, first, second))

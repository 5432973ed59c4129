"""The CPU kernel of small products equals the reference, gradients included."""

import pytest
import torch
from checks import check_op

from graphlearn.ops import cpu
from graphlearn.ops.small import small_product


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("turned", [False, True])
def test_equals_the_reference(size, turned, dtype):
    left, right = (torch.randn(7, size, size, dtype=dtype, requires_grad=True) for _ in range(2))
    check_op(small_product, left, right, transpose_left=turned, kernels=cpu)
    check_op(small_product, left.mT, right, transpose_left=turned, kernels=cpu)
    check_op(small_product, left.detach()[:0], right.detach()[:0], kernels=cpu)

"""CPU kernels of the best score of pairs equal the reference, gradients included."""

import pytest
import torch
from checks import check_op, vectors

from graphlearn.ops import cpu
from graphlearn.ops.best import best_sum


@pytest.mark.parametrize("heads", [1, 2, 5])
@pytest.mark.parametrize("pairs", [1, 3, 200])
def test_equals_the_reference(pairs, heads):
    generator = torch.Generator().manual_seed(heads)
    left, right = vectors(7, heads, torch.float64), vectors(4, heads, torch.float64)
    row, col = (torch.randint(size, (pairs,), generator=generator) for size in (7, 4))
    check_op(best_sum, left, right, row, col, kernels=cpu)

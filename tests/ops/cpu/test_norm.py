"""The kernel adds rows in order: against float64, over block borders and channel ranges."""

import pytest
import torch

from graphlearn.ops.cpu.norm import layer_norm_sums


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1000])
def test_sums_equal_float64(rows):
    torch.manual_seed(0)
    x, grad = torch.randn(rows, 5), torch.randn(rows, 5)
    mean, rstd = torch.randn(rows, 1), torch.rand(rows, 1)
    weight, bias = layer_norm_sums(x, mean, rstd, grad)
    exact = (grad.double() * (x.double() - mean) * rstd).sum(0)
    torch.testing.assert_close(weight.double(), exact, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(bias.double(), grad.double().sum(0), rtol=1e-5, atol=1e-4)

"""GPU dropout has the bits of the reference."""

import pytest
import torch
from checks import using

from graphlearn.ops.dropout import dropout, dropout_reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("seed", [0, 1, -7, 2**40, 2**63 - 1, -(2**63)])
def test_bits_of_the_reference(seed, relu, dtype, gpu, device):
    torch.manual_seed(0)
    x = torch.randn(3, 700, dtype=dtype)
    out = gpu.dropout(x.to(device), 0.3, seed, relu).cpu()
    assert torch.equal(out, dropout_reference(x, 0.3, seed, relu))


def test_every_chunk_has_its_own_key(gpu, device):
    x = torch.ones((1 << 16) + 1500)
    out = gpu.dropout(x.to(device), 0.5, 3, False).cpu()
    assert torch.equal(out, dropout_reference(x, 0.5, 3, False))
    assert not torch.equal(out[:1500], out[1 << 16 :])


@pytest.mark.parametrize("p", [0.0, 0.9999999999])
def test_extreme_probabilities(p, gpu, device):
    x = torch.ones(50)
    out = gpu.dropout(x.to(device), p, 0, False).cpu()
    assert torch.equal(out, dropout_reference(x, p, 0, False))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("relu", [False, True])
def test_the_gradient_passes_where_the_value_did(relu, dtype, gpu, device):
    x = torch.randn(40, 3, device=device, dtype=dtype, requires_grad=True)
    with using(gpu):
        out = dropout(x, 0.4, seed=5, relu=relu)
        (grad,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(grad, (out != 0).to(dtype) * torch.tensor(1 / 0.6, dtype=dtype))


def test_a_nan_stays_visible(gpu, device):
    x = torch.full((8,), torch.nan)
    assert gpu.dropout(x.to(device), 0.0, 0, True).isnan().all()


def test_nothing_in_nothing_out(gpu, device):
    assert gpu.dropout(torch.empty(0, 4, device=device), 0.5, 0, False).shape == (0, 4)

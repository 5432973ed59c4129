"""CPU dropout has the bits of the reference, for any number of threads."""

import pytest
import torch
from checks import using

from graphlearn.ops import cpu
from graphlearn.ops.dropout import dropout, dropout_reference

CHUNK = 1 << 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("seed", [0, -7, 2**40, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("shape", [(0, 4), (3, 700), (CHUNK,), (2 * CHUNK + 3,)])
def test_bits_of_the_reference(shape, seed, relu, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype)
    assert torch.equal(cpu.dropout(x, 0.3, seed, relu), dropout_reference(x, 0.3, seed, relu))


@pytest.mark.parametrize("p", [0.0, 0.9999999999])
def test_extreme_probabilities(p):
    x = torch.ones(50)
    assert torch.equal(cpu.dropout(x, p, 0, False), dropout_reference(x, p, 0, False))


@pytest.mark.parametrize("relu", [False, True])
def test_the_gradient_is_that_of_the_reference(relu):
    grads = []
    for kernels in (None, cpu):
        torch.manual_seed(0)
        x = torch.randn(40, 3, requires_grad=True)
        with using(kernels):
            out = dropout(x, 0.4, seed=5, relu=relu)
            grads += torch.autograd.grad(out.square().sum(), x)
    assert torch.equal(*grads)


def test_any_number_of_threads_gives_the_same_bits(with_threads):
    x = torch.randn(3 * CHUNK)
    found = []
    for threads in (1, 2):
        with_threads(threads)
        found.append(cpu.dropout(x, 0.5, 1, True))
    assert torch.equal(*found)


def test_a_nan_stays_visible():
    assert cpu.dropout(torch.full((8,), torch.nan), 0.0, 0, True).isnan().all()

"""Dropout from a seed: what is kept, gradients, tracing, messages."""

import pytest
import torch
from checks import using

from graphlearn.ops import cpu, dropout
from graphlearn.ops.dropout import Dropout

KERNELS = pytest.mark.parametrize("kernels", [None, cpu])


@KERNELS
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_kept_as_should_be(p, kernels):
    with using(kernels):
        kept = dropout(torch.ones(300, 700), p, seed=1) != 0
    count, n = int(kept.sum()), kept.numel()
    assert abs(count - n * (1 - p)) < 5 * (n * p * (1 - p)) ** 0.5
    for axis in (0, 1):  # neither rows nor columns share their fate
        spread = kept.double().mean(axis).std()
        assert spread < 2 * (p * (1 - p) / kept.shape[axis]) ** 0.5


@KERNELS
def test_what_is_kept_is_scaled(kernels):
    x = torch.randn(50, 20, dtype=torch.float64)
    with using(kernels):
        out = dropout(x, 0.25, seed=3)
    torch.testing.assert_close(out[out != 0], x[out != 0] / 0.75)


def test_the_seed_decides():
    x = torch.ones(1000)
    assert torch.equal(dropout(x, 0.5, seed=4), dropout(x, 0.5, seed=4))
    assert not torch.equal(dropout(x, 0.5, seed=4), dropout(x, 0.5, seed=5))


def test_without_a_seed_the_generator_of_torch_decides():
    x, found = torch.ones(1000), []
    for _ in range(2):
        torch.manual_seed(0)
        found.append((dropout(x, 0.5), dropout(x, 0.5)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(*found[0])


def test_the_mask_belongs_to_the_position_not_to_the_layout():
    x = torch.ones(30, 40)
    assert torch.equal(dropout(x, 0.5, seed=0), dropout(x.t().contiguous().t(), 0.5, seed=0))


@KERNELS
def test_with_the_rectifier(kernels):
    x = torch.randn(40, 5)
    with using(kernels):
        both = dropout(x, 0.3, seed=1, relu=True)
        assert torch.equal(both, dropout(x, 0.3, seed=1).relu())


@KERNELS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays(dtype, kernels):
    x = torch.randn(40, 5).to(dtype)
    with using(kernels):
        out = dropout(x, 0.3, seed=1, relu=True)
    assert out.dtype == dtype
    torch.testing.assert_close(out, dropout(x.float(), 0.3, seed=1, relu=True).to(dtype))


@KERNELS
@pytest.mark.parametrize("relu", [False, True])
def test_gradcheck(relu, kernels):
    torch.manual_seed(0)
    x = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    with using(kernels):
        assert torch.autograd.gradcheck(lambda x: dropout(x, 0.4, seed=7, relu=relu), x)
    assert torch.autograd.gradgradcheck(lambda x: dropout(x, 0.4, seed=7), x)


@pytest.mark.parametrize("relu", [False, True])
def test_opcheck(relu, unchecked):
    x = torch.randn(9, 4, requires_grad=True)
    torch.library.opcheck(torch.ops.graphlearn.dropout.default, (x, 0.4, 7, relu))
    torch.library.opcheck(torch.ops.graphlearn.rectify.default, (x.detach(), x.detach(), 1.5))


def test_traces_without_a_break(unchecked):
    traced = torch.compile(
        lambda x: dropout(x, 0.4, seed=7, relu=True) * 2, fullgraph=True, backend="aot_eager"
    )
    x = torch.randn(9, 4, requires_grad=True)
    assert torch.equal(traced(x), dropout(x, 0.4, seed=7, relu=True) * 2)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_the_probability_must_be_one(p):
    with pytest.raises(ValueError, match=rf"dropout must lie in \[0, 1\), got {p}"):
        dropout(torch.ones(3), p)
    with pytest.raises(ValueError, match=rf"dropout must lie in \[0, 1\), got {p}"):
        Dropout(p)


def test_the_module_drops_in_training_only():
    x, module = torch.randn(100, 3), Dropout(0.5, relu=True)
    assert (module(x) == 0).sum() > (x <= 0).sum()
    module.eval()
    assert torch.equal(module(x), x.relu())
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert repr(module) == "Dropout(p=0.5, relu=True)"

"""Layer normalisation equals torch's, and its gradients do not depend on threads."""

import pytest
import torch

from graphlearn.ops.norm import batch_norm, layer_norm


def parts(rows, chan, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    make = lambda *size: torch.randn(*size, generator=generator, dtype=dtype)  # noqa: E731
    return make(rows, chan), make(chan), make(chan), make(rows, chan)


def gradients(norm, x, weight, bias, grad):
    inputs = [t.clone().requires_grad_() for t in (x, weight, bias)]
    out = norm(*inputs)
    out.backward(grad)
    return [out.detach(), *(t.grad for t in inputs)]


def theirs(x, weight, bias):
    return torch.nn.functional.layer_norm(x, weight.shape, weight, bias)


@pytest.mark.parametrize("rows", [0, 1, 5, 600])
def test_equals_torch(rows):
    given = parts(rows, 7)
    for ours, other in zip(gradients(layer_norm, *given), gradients(theirs, *given), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def test_reference_is_used_where_asked(monkeypatch):
    given = parts(9, 4)
    fast = gradients(layer_norm, *given)
    monkeypatch.setenv("GRAPHLEARN_OPS", "reference")
    for ours, other in zip(fast, gradients(layer_norm, *given), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)


def test_gradcheck():
    x, weight, bias, _ = (t.requires_grad_() for t in parts(4, 3, torch.float64))
    assert torch.autograd.gradcheck(layer_norm, (x, weight, bias))


def test_opcheck(unchecked):
    x, weight, bias, grad = parts(4, 3)
    torch.library.opcheck(torch.ops.graphlearn.layer_norm.default, (x, weight, bias, 1e-5))
    _, mean, rstd = torch.ops.graphlearn.layer_norm(x, weight, bias, 1e-5)
    torch.library.opcheck(torch.ops.graphlearn.layer_norm_sums.default, (x, mean, rstd, grad))


def test_half_precision_is_normalised_in_float32():
    x, weight, bias, _ = parts(4, 3)
    assert layer_norm(x.bfloat16(), weight, bias).dtype == torch.float32


def test_same_bits_for_any_number_of_threads():
    given, before, found = parts(3000, 96), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(gradients(layer_norm, *given))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def batch_case(rows: int, chan: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=dtype)  # noqa: E731
    return [draw(rows, chan), draw(chan), draw(chan).exp(), draw(chan), draw(chan)]


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_equals_that_of_torch(training):
    mine, theirs = (batch_case(9, 4), batch_case(9, 4))
    for case in (mine, theirs):
        for place in (0, 3, 4):
            case[place].requires_grad_()
    out = batch_norm(*mine, training=training, momentum=0.3)
    expected = torch.nn.functional.batch_norm(*theirs, training, 0.3)
    back = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    out.backward(back)
    expected.backward(back)
    torch.testing.assert_close(out, expected)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a.grad, b.grad)


def test_batch_norm_does_not_depend_on_threads():
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            case = batch_case(40_000, 16, torch.float32)
            for place in (0, 3, 4):
                case[place].requires_grad_()
            out = batch_norm(*case, training=True)
            out.backward(out.detach().sin())
            found.append([out, *case, *(case[place].grad for place in (0, 3, 4))])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_batch_norm_of_one_row_is_refused_in_training():
    case = batch_case(1, 4)
    with pytest.raises(ValueError, match="batch normalisation needs at least 2 rows in training"):
        batch_norm(*case, training=True)
    assert batch_norm(*case, training=False).isfinite().all()

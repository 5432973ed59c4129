"""Attention over rows: against dense softmax, gradients, threads, messages."""

import pytest
import torch
from checks import using
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.ops import CSR, cpu
from graphlearn.ops.attend import attend, attention

OPS = torch.ops.graphlearn


def case(rows, columns, entries, seed=0):
    """A matrix of different sides; the last row is empty, and with it the last column."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high: torch.randint(high, (entries,), generator=generator)  # noqa: E731
    edges = torch.stack([draw(max(rows - 1, 1)), draw(max(columns - 1, 1))])
    return CSR.from_edge_index(edges, rows, num_cols=columns)


def dense(graph, left, right, scale, slope, value):
    """Softmax over all columns with minus infinity where there is no entry, then a product."""
    score = left[:, None] + right[None]
    score = scale * torch.where(score > 0, score, slope * score)
    there = torch.zeros(graph.num_rows, graph.num_cols, dtype=torch.bool)
    there[graph.rows(), graph.col.long()] = True
    power = torch.where(there[:, :, None], score.exp(), 0.0)
    alpha = power / power.sum(1, keepdim=True).clamp(min=1e-300)
    parts = value.view(len(value), left.shape[1], -1)
    out = torch.einsum("ijh,jhf->ihf", alpha, parts).flatten(1)
    return alpha[graph.rows(), graph.col.long()], out


@pytest.mark.parametrize("kernels", [None, cpu])
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 12),
    entries=st.integers(0, 40),
    heads=st.integers(1, 3),
    width=st.sampled_from([1, 4]),
    seed=st.integers(0, 99),
)
def test_equals_dense_algebra(rows, columns, entries, heads, width, seed, kernels):
    graph = case(rows, columns, entries, seed)
    torch.manual_seed(seed)
    make = lambda *size: torch.randn(size, dtype=torch.float64, requires_grad=True)  # noqa: E731
    left, right, value = make(rows, heads), make(columns, heads), make(columns, heads * width)
    scale, slope = make(), make()
    inputs = [left, right, scale, slope, value]
    with using(kernels):
        alpha = attention(graph, left, right, scale=scale, slope=slope)
        out = attend(graph, alpha, value)
        want_alpha, want = dense(graph, left, right, scale, slope, value)
        torch.testing.assert_close((alpha, out), (want_alpha, want))
        got = torch.autograd.grad(out.square().sum(), inputs, retain_graph=True)
        wanted = torch.autograd.grad(want.square().sum(), inputs, retain_graph=True)
        torch.testing.assert_close(got, wanted)
        alone = torch.autograd.grad((alpha * alpha.detach().cos()).sum(), inputs[:4])
        wanted = torch.autograd.grad((want_alpha * alpha.detach().cos()).sum(), inputs[:4])
        torch.testing.assert_close(alone, wanted)


@pytest.mark.parametrize("kernels", [None, cpu])
def test_gradients_are_right(kernels):
    graph = case(7, 5, 18)
    make = lambda *size: torch.randn(size, dtype=torch.float64, requires_grad=True)  # noqa: E731
    knobs = (torch.tensor(1.3).double().requires_grad_(), torch.tensor(0.2).double())

    def both(left, right, scale, slope, value):
        return attend(graph, attention(graph, left, right, scale=scale, slope=slope), value)

    with using(kernels):
        inputs = (make(7, 2), make(5, 2), knobs[0], knobs[1].requires_grad_(), make(5, 6))
        assert torch.autograd.gradcheck(both, inputs)


def test_weights_of_a_row_add_up_to_one_however_large_the_scores():
    graph = case(40, 30, 300)
    alpha = attention(graph, 300 * torch.randn(40, 2), 300 * torch.randn(30, 2), scale=5.0)
    sums = torch.zeros(40, 2).index_add_(0, graph.rows(), alpha)
    torch.testing.assert_close(sums, (graph.ptr.diff() > 0).float()[:, None].expand(40, 2))


def test_threads_give_the_same_bits():
    graph = case(3000, 2000, 60_000)
    left, right = torch.randn(3000, 2), torch.randn(2000, 2)
    value, grad = torch.randn(2000, 64), torch.randn(3000, 64)
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        inputs = [one.clone().requires_grad_() for one in (left, right, torch.ones(()), value)]
        out = attend(graph, attention(graph, *inputs[:2], scale=inputs[2]), inputs[3])
        found.append([out, *torch.autograd.grad((out * grad).sum(), inputs)])
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_half_precision_is_reduced_in_float32():
    graph = case(7, 5, 18)
    left, right, value = torch.randn(7, 2), torch.randn(5, 2), torch.randn(5, 4)
    short = [one.bfloat16() for one in (left, right, value)]
    alpha = attention(graph, *short[:2])
    out = attend(graph, alpha, short[2])
    assert alpha.dtype == out.dtype == torch.float32
    wide = [one.float() for one in short]
    torch.testing.assert_close(out, attend(graph, attention(graph, *wide[:2]), wide[2]))


def test_opcheck():
    graph = case(7, 5, 18)
    left, right = torch.randn(7, 2, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    knobs, value = torch.ones(2, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    args = (graph.ptr, graph.col, left, right, knobs)
    torch.library.opcheck(OPS.attention, args, test_utils=kinds)
    alpha = torch.rand(graph.num_entries, 2, requires_grad=True)
    args = (graph.ptr, graph.col, alpha, value)
    torch.library.opcheck(OPS.attend, args, test_utils=kinds)
    plain = [one.detach() for one in (left, right, knobs, alpha, alpha)]
    torch.library.opcheck(OPS.attention_grad, (graph.ptr, graph.col, *plain))
    plain = [one.detach() for one in (alpha, value, torch.randn(7, 4))]
    torch.library.opcheck(OPS.attend_grad, (graph.ptr, graph.col, *plain))


def test_messages():
    graph = case(7, 5, 18)
    with pytest.raises(ValueError, match="attention needs 7 rows and 5 columns, got 5 and 7"):
        attention(graph, torch.zeros(5, 2), torch.zeros(7, 2))
    alpha = torch.zeros(graph.num_entries, 2)
    with pytest.raises(ValueError, match=r"weights of \d+ entries and 5 vectors, got \d+ and 7"):
        attend(graph, alpha, torch.zeros(7, 4))
    with pytest.raises(ValueError, match="must be a multiple of 2 heads, got 3"):
        attend(graph, alpha, torch.zeros(5, 3))

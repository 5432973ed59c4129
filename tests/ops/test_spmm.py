"""Sparse times dense: the reference against dense matrices, gradients, tracing, messages."""

from dataclasses import replace

import pytest
import torch
from checks import CASES, link_cases, using, vectors, weights
from hypothesis import given, settings

from graphlearn.ops import CSR, cpu, propagate

OPS = torch.ops.graphlearn


def matrix(graph, weight=None):
    """The dense matrix, zero where nothing is kept."""
    out = torch.zeros(graph.num_rows, graph.num_cols, dtype=torch.float64)
    value = torch.ones(graph.num_entries, dtype=torch.float64)
    for part in (graph.values(), weight):
        value = value if part is None else value * part.detach().double()
    out[graph.rows(), graph.col.long()] = value
    return out


@pytest.mark.parametrize("kernels", [None, cpu])
@settings(max_examples=50, deadline=None)
@given(case=link_cases())
def test_equals_dense_algebra(case, kernels):
    graph, _ = case
    x, weight = vectors(graph.num_cols, dtype=torch.float64), weights(graph.num_entries)
    a, b = matrix(graph), matrix(graph, weight)
    degree = graph.degree().clamp(min=1).unsqueeze(1)
    largest = torch.where(a.unsqueeze(2) != 0, a.unsqueeze(2) * x, -torch.inf).amax(1)
    with using(kernels):
        torch.testing.assert_close(propagate(graph, x), a @ x)
        torch.testing.assert_close(propagate(graph, x, weight=weight), b @ x)
        torch.testing.assert_close(propagate(graph, x, reduce="mean"), a @ x / degree)
        largest = largest.masked_fill(largest.isinf(), 0)
        torch.testing.assert_close(propagate(graph, x, reduce="max"), largest)


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
@pytest.mark.parametrize("name", ["dense", "isolated", "empty", "no nodes"])
@pytest.mark.parametrize("kernels", [None, cpu])
def test_gradcheck(name, reduce, kernels):
    graph, _ = CASES[name]
    x = vectors(graph.num_cols, 2, torch.float64)
    weight = weights(graph.num_entries, torch.float64).detach() + 0.1
    with using(kernels):
        assert torch.autograd.gradcheck(
            lambda x, weight: propagate(graph, x, weight=weight, reduce=reduce),
            (x, weight.requires_grad_()),
        )
        assert torch.autograd.gradcheck(lambda x: propagate(graph, x, reduce=reduce), x)


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_second_derivatives(reduce):
    graph, _ = CASES["isolated"]
    x = vectors(graph.num_cols, 2, torch.float64)
    for symmetric in (True, False):
        one = replace(graph, symmetric=symmetric)
        assert torch.autograd.gradgradcheck(lambda x, g=one: propagate(g, x, reduce=reduce), x)


@pytest.mark.parametrize("kernels", [None, cpu])
@pytest.mark.parametrize("masked", [False, True])
def test_a_symmetric_matrix_serves_as_its_own_transpose(masked, kernels):
    torch.manual_seed(0)
    edges, weight = torch.randint(30, (2, 90)), torch.rand(90)
    graph = CSR.from_edge_index(edges, 30, weight=weight, undirected=True)
    graph = graph.without(edges[:, :20]) if masked else graph
    grads = []
    with using(kernels):
        for symmetric in (True, False):
            x = vectors(30)
            out = propagate(replace(graph, symmetric=symmetric), x, reduce="mean")
            grads += torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("kernels", [None, cpu])
@pytest.mark.parametrize("reduce", ["sum", "max"])
def test_an_entry_that_is_not_kept_hides_whatever_it_points_at(reduce, kernels):
    graph, _ = CASES["isolated"]
    graph = graph.without(torch.tensor([[0], [1]]))
    x = torch.ones(6, 2)
    x[0], x[1] = torch.nan, torch.inf
    with using(kernels):
        assert propagate(graph, x, reduce=reduce)[1].tolist() == [1, 1]
        assert propagate(graph, x, reduce=reduce)[0].tolist() == [0, 0]


def test_half_precision_is_reduced_in_float32():
    graph, _ = CASES["dense"]
    x = torch.randn(9, 2, dtype=torch.float16)
    assert torch.equal(propagate(graph, x), propagate(graph, x.float()))


def test_x_must_have_a_row_for_each_column():
    graph, _ = CASES["dense"]
    with pytest.raises(ValueError, match="x must have 9 rows, one per column, got 10"):
        propagate(graph, torch.ones(10, 2))


@pytest.mark.parametrize("weighted", [False, True])
def test_opcheck(weighted, unchecked):
    graph, _ = CASES["dense"]
    weight = weights(graph.num_entries) if weighted else None
    rows, x = (graph.ptr, graph.col), vectors(9)
    torch.library.opcheck(OPS.propagate.default, (*rows, weight, x, False))
    torch.library.opcheck(OPS.propagate_spread.default, (*rows, weight, x, 9))
    torch.library.opcheck(OPS.propagate_max.default, (*rows, weight, x))
    torch.library.opcheck(OPS.propagate_dot.default, (*rows, x.detach(), x.detach()))


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_traces_without_a_break(reduce, unchecked):
    graph, _ = CASES["dense"]

    def step(graph, weight, x):
        return propagate(graph, x.relu(), weight=weight, reduce=reduce).square().sum()

    traced = torch.compile(step, fullgraph=True, backend="aot_eager")
    found = []
    for run in (step, traced):
        x, weight = vectors(9), weights(graph.num_entries)
        out = run(graph, weight, x)
        found.append((out, *torch.autograd.grad(out, (x, weight))))
    torch.testing.assert_close(*found)


def test_the_reference_is_used_where_asked(monkeypatch):
    graph, _ = CASES["hub"]
    x = vectors(graph.num_cols)
    fast = propagate(graph, x)
    monkeypatch.setattr("graphlearn.ops.cpu.propagate", None)  # would fail if it were called
    monkeypatch.setenv("GRAPHLEARN_OPS", "reference")
    torch.testing.assert_close(propagate(graph, x), fast)

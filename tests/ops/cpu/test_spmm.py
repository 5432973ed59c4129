"""CPU kernels of sparse times dense equal the reference, and so do their gradients."""

import pytest
import torch
from checks import CASES, check_op, link_cases, vectors, weights
from hypothesis import given, settings

from graphlearn.ops import CSR, cpu, propagate


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, dtype, weighted, reduce):
    graph, _ = CASES[name]
    weight = weights(graph.num_entries, dtype) if weighted else None
    x = vectors(graph.num_cols, dtype=dtype)
    check_op(propagate, graph, x, weight=weight, reduce=reduce, kernels=cpu)


@settings(max_examples=60, deadline=None)
@given(case=link_cases())
def test_small_graphs_equal_the_reference(case):
    graph, _ = case
    for reduce in ("sum", "mean", "max"):
        check_op(propagate, graph, vectors(graph.num_cols), reduce=reduce, kernels=cpu)


def test_rows_and_columns_may_differ_in_number():
    graph = CSR.from_edge_index(torch.tensor([[0, 2, 2], [4, 0, 1]]), 3, num_cols=5)
    check_op(propagate, graph, vectors(5), kernels=cpu)
    check_op(propagate, graph, vectors(5), reduce="max", kernels=cpu)


@pytest.mark.parametrize("reduce", ["sum", "max"])
@pytest.mark.parametrize("weighted", [False, True])
def test_any_number_of_threads_gives_the_same_bits(weighted, reduce, with_threads):
    torch.manual_seed(0)
    graph = CSR.from_edge_index(torch.randint(40, (2, 400)), 40)
    found = []
    for threads in (1, 2):
        with_threads(threads)
        x, weight = vectors(40, 17), weights(graph.num_entries)
        out = propagate(graph, x, weight=weight if weighted else None, reduce=reduce)
        leaves = (x, weight) if weighted else (x,)
        found.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

"""CPU kernels of the common-neighbour ops equal the reference."""

import sys

import pytest
import torch
from checks import CASES, check_op, graph_case, link_cases, vectors
from hypothesis import given, settings

from graphlearn.ops import cpu, difference, overlap, overlap_count, overlap_sum

kernels = sys.modules["graphlearn.ops.cpu.overlap"]  # the package exports a function of that name
PROBE, BITS = 0, 512 << 20  # memory that bitsets may take


@pytest.mark.parametrize("op", [overlap, difference, overlap_count])
@pytest.mark.parametrize("name", CASES)
def test_lists_equal_the_reference(op, name):
    check_op(op, *CASES[name], kernels=cpu)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_the_sum_and_its_gradient_equal_the_reference(name, dtype):
    graph, pairs = CASES[name]
    check_op(overlap_sum, graph, pairs, vectors(graph.num_cols, dtype=dtype), kernels=cpu)


@settings(max_examples=60, deadline=None)
@given(case=link_cases())
def test_small_graphs_equal_the_reference(case):
    for op in (overlap, difference, overlap_count):
        check_op(op, *case, kernels=cpu)
    check_op(overlap_sum, *case, vectors(case[0].num_cols), kernels=cpu)


@pytest.mark.parametrize("budget", [PROBE, BITS])
@pytest.mark.parametrize("masked", [False, True])
def test_both_ways_of_counting_equal_the_reference(masked, budget, monkeypatch):
    torch.manual_seed(0)
    edges = torch.randint(150, (5000, 2)).tolist()
    graph, pairs = graph_case(edges, 150, torch.randint(150, (400, 2)).tolist())
    graph = graph.without(pairs) if masked else graph
    monkeypatch.setattr(kernels, "_BITSET_BYTES", budget)
    called = []
    monkeypatch.setattr(kernels, "_count_bits", spy(kernels._count_bits, called))
    check_op(overlap_count, graph, pairs, kernels=cpu)
    assert bool(called) == (budget == BITS)


def spy(function, calls):
    def wrapped(*args):
        calls.append(args)
        return function(*args)

    return wrapped


@pytest.mark.parametrize("op", [overlap, difference, overlap_count])
def test_any_number_of_threads_gives_the_same_bits(op, with_threads, monkeypatch):
    monkeypatch.setattr(kernels, "_BITSET_BYTES", PROBE)
    torch.manual_seed(0)
    graph, pairs = graph_case(
        torch.randint(60, (500, 2)).tolist(), 60, torch.randint(60, (90, 2)).tolist()
    )
    with_threads(2)
    check_op(op, graph, pairs, kernels=cpu)


def test_sums_and_gradients_have_the_same_bits_for_any_number_of_threads(with_threads):
    torch.manual_seed(0)
    graph, pairs = graph_case(
        torch.randint(60, (500, 2)).tolist(), 60, torch.randint(60, (90, 2)).tolist()
    )
    found = []
    for threads in (1, 2):
        with_threads(threads)
        x = vectors(60, 17)
        out = overlap_sum(graph, pairs, x)
        found.append((out, *torch.autograd.grad(out.square().sum(), x)))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

"""Common neighbours: the reference against Python sets, gradients, tracing, messages."""

from dataclasses import replace

import pytest
import torch
from checks import CASES, graph_case, link_cases, using, vectors
from hypothesis import given, settings

from graphlearn.ops import (
    contains,
    cpu,
    difference,
    overlap,
    overlap_count,
    overlap_sum,
)

OPS = torch.ops.graphlearn


def neighbours(graph):
    """The kept columns of each row, as sets."""
    kept = [True] * graph.num_entries if graph.keep is None else graph.keep.tolist()
    rows = [set() for _ in range(graph.num_rows)]
    for i, j, there in zip(graph.rows().tolist(), graph.col.tolist(), kept, strict=True):
        if there:
            rows[i].add(j)
    return rows


def lists(graph):
    return [part.tolist() for part in graph.col.split(graph.ptr.diff().tolist())]


@pytest.mark.parametrize("kernels", [None, cpu])
@settings(max_examples=60, deadline=None)
@given(case=link_cases())
def test_equals_python_sets(case, kernels):
    graph, pairs = case
    near = neighbours(graph)
    ends = [(near[i], near[j]) for i, j in pairs.t().tolist()]
    x = vectors(graph.num_cols, dtype=torch.float64)
    with using(kernels):
        assert lists(overlap(graph, pairs)) == [sorted(i & j) for i, j in ends]
        assert overlap_count(graph, pairs).tolist() == [len(i & j) for i, j in ends]
        first, second = difference(graph, pairs)
        assert lists(first) == [sorted(i - j) for i, j in ends]
        assert lists(second) == [sorted(j - i) for i, j in ends]
        sums = overlap_sum(graph, pairs, x)
    for out, (i, j) in zip(sums, ends, strict=True):
        torch.testing.assert_close(out, x[sorted(i & j)].sum(0))


@pytest.mark.parametrize("kernels", [None, cpu])
def test_nodes_whose_square_needs_more_than_32_bits(kernels):
    graph, pairs = CASES["far"]
    with using(kernels):
        assert overlap(graph, pairs).col.tolist() == 2 * [100_000 - k for k in (8, 7, 6, 5)]
        assert contains(graph, pairs).tolist() == [True, True, False]


def test_the_order_of_the_ends_does_not_matter():
    graph, pairs = CASES["hub"]
    x = vectors(graph.num_cols)
    for op in (overlap_count, lambda g, p: overlap(g, p).col, lambda g, p: overlap_sum(g, p, x)):
        assert torch.equal(op(graph, pairs), op(graph, pairs.flip(0)))


def test_a_removed_pair_of_a_triangle():
    graph, pairs = graph_case([(0, 1), (1, 2), (0, 2)], 3, [(0, 1)])
    thin = graph.without(torch.tensor([[0], [2]]))
    assert lists(overlap(graph, pairs)) == [[2]]
    assert lists(overlap(thin, pairs)) == [[]]
    assert [lists(side) for side in difference(thin, pairs)] == [[[1]], [[0, 2]]]


def test_ids_may_be_of_32_bits():
    graph, pairs = CASES["dense"]
    assert overlap_count(graph, pairs.int()).tolist() == overlap_count(graph, pairs).tolist()


def test_half_precision_is_summed_in_float32():
    graph, pairs = CASES["dense"]
    x = torch.randn(9, 2, dtype=torch.bfloat16)
    assert torch.equal(overlap_sum(graph, pairs, x), overlap_sum(graph, pairs, x.float()))


def test_x_must_have_a_row_for_each_node():
    graph, pairs = CASES["dense"]
    with pytest.raises(ValueError, match="x must have 9 rows, one per node, got 8"):
        overlap_sum(graph, pairs, torch.ones(8, 2))


@pytest.mark.parametrize("name", ["dense", "isolated", "no pairs", "empty"])
@pytest.mark.parametrize("kernels", [None, cpu])
def test_gradcheck(name, kernels):
    graph, pairs = CASES[name]
    x = vectors(graph.num_cols, 2, torch.float64)
    with using(kernels):
        assert torch.autograd.gradcheck(lambda x: overlap_sum(graph, pairs, x), x)
        assert torch.autograd.gradgradcheck(lambda x: overlap_sum(graph, pairs, x), x)


@pytest.mark.parametrize("masked", [False, True])
def test_opcheck(masked, unchecked):
    graph, pairs = CASES["dense"]
    graph = graph.without(pairs) if masked else graph
    rows = (graph.ptr, graph.col, graph.keep, *pairs.contiguous())
    x, grad = vectors(9), vectors(3)
    for op in (OPS.overlap, OPS.difference, OPS.overlap_count):
        torch.library.opcheck(op.default, (*rows, 9))
    torch.library.opcheck(OPS.overlap_sum.default, (*rows, x))
    torch.library.opcheck(OPS.overlap_spread.default, (*rows, grad, 9))


def test_traces_without_a_break(unchecked):
    graph, pairs = CASES["dense"]

    def step(graph, pairs, x):
        return overlap_sum(graph, pairs, x.relu()).sum() + overlap_count(graph, pairs).sum()

    traced = torch.compile(step, fullgraph=True, backend="aot_eager")
    found = []
    for run in (step, traced):
        x = vectors(9)
        out = run(graph, pairs, x)
        found.append((out, *torch.autograd.grad(out, x)))
    torch.testing.assert_close(*found)


def test_the_reference_is_used_where_asked(monkeypatch):
    graph, pairs = CASES["hub"]
    graph = replace(graph, keep=torch.arange(graph.num_entries) % 3 > 0, symmetric=False)
    fast = overlap(graph, pairs)
    monkeypatch.setattr("graphlearn.ops.cpu.overlap", None)  # would fail if it were called
    monkeypatch.setenv("GRAPHLEARN_OPS", "reference")
    slow = overlap(graph, pairs)
    assert torch.equal(fast.ptr, slow.ptr)
    assert torch.equal(fast.col, slow.col)

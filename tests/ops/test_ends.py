"""Values from the two ends of an entry: against dense indexing, gradients, messages."""

import pytest
import torch
from checks import CASES, link_cases, using, vectors
from hypothesis import given, settings

from graphlearn.ops import CSR, cpu
from graphlearn.ops.ends import end_sums, flipped, row_totals

OPS = torch.ops.graphlearn


def undirected(graph):
    """The same graph in both directions."""
    edges = torch.stack([graph.rows(), graph.col.long()])
    return CSR.from_edge_index(edges, graph.num_rows, undirected=True)


@pytest.mark.parametrize("kernels", [None, cpu])
@settings(max_examples=50, deadline=None)
@given(case=link_cases())
def test_equals_plain_indexing(case, kernels):
    graph = undirected(case[0])
    left, right = vectors(graph.num_rows), vectors(graph.num_rows) + 1
    row, col = graph.rows(), graph.col.long()
    value = torch.randn(graph.num_entries, 2)
    with using(kernels):
        torch.testing.assert_close(end_sums(graph, left, right), left[row] + right[col])
        total = torch.zeros(graph.num_rows, 2).index_add_(0, row, value)
        torch.testing.assert_close(row_totals(graph, value), total)
        other = flipped(graph, value)
    at = {pair: k for k, pair in enumerate(zip(row.tolist(), col.tolist(), strict=True))}
    for k, (i, j) in enumerate(zip(row.tolist(), col.tolist(), strict=True)):
        assert torch.equal(other[k], value[at[j, i]])


@pytest.mark.parametrize("name", ["dense", "isolated", "empty", "hub"])
@pytest.mark.parametrize("kernels", [None, cpu])
def test_gradcheck(name, kernels):
    graph = CASES[name][0]
    left, right = (vectors(graph.num_rows, 2, torch.float64) for _ in range(2))
    value = torch.randn(graph.num_entries, 2, dtype=torch.float64, requires_grad=True)
    with using(kernels):
        assert torch.autograd.gradcheck(lambda a, b: end_sums(graph, a, b), (left, right))
        assert torch.autograd.gradcheck(lambda v: row_totals(graph, v), value)
        assert torch.autograd.gradcheck(lambda v: flipped(graph, v), value)


def test_opcheck():
    graph = CASES["dense"][0]
    left = torch.randn(9, 2, requires_grad=True)
    value = torch.randn(graph.num_entries, 2, requires_grad=True)
    torch.library.opcheck(OPS.end_sums, (graph.ptr, graph.col, graph.reverse(), left, left))
    torch.library.opcheck(OPS.row_totals, (graph.ptr, value))
    torch.library.opcheck(OPS.column_totals, (graph.ptr, graph.reverse(), value.detach()))
    torch.library.opcheck(OPS.flipped, (value, graph.reverse()))


def test_a_directed_graph_is_refused():
    graph = CSR.from_edge_index(torch.tensor([[0], [1]]), 2)
    for call in (
        lambda: end_sums(graph, torch.zeros(2, 1), torch.zeros(2, 1)),
        lambda: flipped(graph, torch.zeros(1, 1)),
    ):
        with pytest.raises(ValueError, match="needs an undirected graph, each edge in both dir"):
            call()

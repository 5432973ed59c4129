"""The mean of propagations: against dense powers, gradients, messages."""

import pytest
import torch
from checks import CASES, link_cases, using, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.ops import CSR, cpu
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.means import mean_hops


def powers(graph, x, hops):
    matrix = torch.zeros(graph.num_rows, graph.num_rows, dtype=x.dtype)
    value = graph.values()
    ones = torch.ones(graph.num_entries)
    matrix[graph.rows(), graph.col.long()] = (ones if value is None else value).to(x.dtype)
    terms = [x]
    for _ in range(hops):
        terms.append(matrix @ terms[-1])
    return torch.stack(terms).mean(0)


@pytest.mark.parametrize("kernels", [None, cpu])
@settings(max_examples=40, deadline=None)
@given(
    case=link_cases(),
    hops=st.integers(0, 3),
    width=st.sampled_from([1, 4, 12]),
    normal=st.booleans(),
)
def test_equals_dense_powers(case, kernels, hops, width, normal):
    edges = torch.stack([case[0].rows(), case[0].col.long()])
    graph = CSR.from_edge_index(edges, case[0].num_rows, undirected=True)
    graph = gcn_norm(graph, loops=0.0) if normal else graph.without(edges[:, :1])
    x = vectors(graph.num_rows, width, torch.float64)
    with using(kernels):
        out = mean_hops(graph, x, hops)
        expected = powers(graph, x, hops)
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
        cotangent = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
        (found,) = torch.autograd.grad((out * cotangent).sum(), x)
        (wanted,) = torch.autograd.grad((expected * cotangent).sum(), x)
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


def test_second_derivatives_and_opcheck():
    graph = CASES["dense"][0]
    x = vectors(9, 4, torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: mean_hops(graph, x.square(), 2), x)
    arguments = (graph.ptr, graph.col, None, x, 2)
    torch.library.opcheck(torch.ops.graphlearn.mean_hops, arguments)


def test_half_precision_is_summed_in_float32():
    graph = CASES["dense"][0]
    assert mean_hops(graph, torch.ones(9, 4, dtype=torch.bfloat16), 1).dtype == torch.float32


@pytest.mark.parametrize("hops", [-1, 1])
def test_messages(hops):
    graph = CSR.from_edge_index(torch.tensor([[0], [1]]), 2, undirected=hops < 0)
    with pytest.raises(ValueError, match="mean_hops needs a symmetric matrix, hops of at least 0"):
        mean_hops(graph, torch.zeros(2, 4), hops)

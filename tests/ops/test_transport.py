"""Message passing with a matrix on every edge: against dense matrices, gradients, messages."""

import pytest
import torch
from checks import CASES, link_cases, using
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.ops import CSR, cpu
from graphlearn.ops.transport import transport

OPS = torch.ops.graphlearn


def symmetric_blocks(graph, stalk, full, dtype=torch.float64):
    """Blocks of which that of a reversed entry is the transpose."""
    generator = torch.Generator().manual_seed(graph.num_entries)
    size = (graph.num_entries, stalk, stalk) if full else (graph.num_entries, stalk)
    block = torch.randn(size, generator=generator, dtype=dtype)
    other = block[graph.reverse()]
    return block + (other.mT if full else other)


def dense(graph, block, x):
    """The matrix on all stalks, and its product with x."""
    stalk = block.shape[1]
    cube = block if block.ndim == 3 else torch.diag_embed(block)
    out = cube.new_zeros(graph.num_rows, stalk, graph.num_cols, stalk)
    out[graph.rows(), :, graph.col.long(), :] = cube
    n = graph.num_rows * stalk
    return (out.view(n, n) @ x.view(n, -1)).view_as(x)


@pytest.mark.parametrize("kernels", [None, cpu])
@settings(max_examples=60, deadline=None)
@given(
    case=link_cases(),
    stalk=st.integers(1, 3),
    width=st.sampled_from([1, 3, 4, 40]),
    full=st.booleans(),
)
def test_equals_dense_algebra(case, kernels, stalk, width, full):
    edges = torch.stack([case[0].rows(), case[0].col.long()])
    graph = CSR.from_edge_index(edges, case[0].num_rows, undirected=True)
    block = symmetric_blocks(graph, stalk, full).requires_grad_()
    x = torch.randn(graph.num_rows, stalk * width, dtype=torch.float64, requires_grad=True)
    with using(kernels):
        out = transport(graph, block, x)
        expected = dense(graph, block, x)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(
            torch.autograd.grad(out.square().sum(), [block, x]),
            torch.autograd.grad(expected.square().sum(), [block, x]),
        )


@pytest.mark.parametrize("full", [False, True])
def test_single_precision_and_threads_give_the_same(full):
    graph = CASES["hub"][0]
    block = symmetric_blocks(graph, 2, full, torch.float32)
    x = torch.randn(graph.num_rows, 2048)  # enough work for a second thread
    threads = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(transport(graph, block, x))
    torch.set_num_threads(threads)
    assert torch.equal(*found)
    torch.testing.assert_close(found[0], dense(graph, block, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("full", [False, True])
def test_opcheck(full):
    graph = CASES["isolated"][0]
    block = symmetric_blocks(graph, 2, full, torch.float32).requires_grad_()
    x = torch.randn(6, 4, requires_grad=True)
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(OPS.transport, (graph.ptr, graph.col, block, x), test_utils=kinds)
    plain = (graph.ptr, graph.col, x.detach(), x.detach(), 2, full)
    torch.library.opcheck(OPS.transport_dot, plain)


def test_messages():
    graph = CASES["dense"][0]
    block, x = torch.zeros(graph.num_entries, 2), torch.zeros(9, 4)
    directed = CSR.from_edge_index(torch.tensor([[0], [1]]), 9)
    with pytest.raises(ValueError, match="transport needs an undirected graph"):
        transport(directed, block[:1], x)
    with pytest.raises(ValueError, match="needs 72 blocks and 9 vectors, got 71 and 9"):
        transport(graph, block[1:], x)
    with pytest.raises(ValueError, match="channels of x must be a multiple of 2, got 3"):
        transport(graph, block, x[:, :3])

"""CPU kernels of gated propagation equal the reference, and so do their gradients."""

from dataclasses import replace

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import CSR, cpu, gated_hops
from graphlearn.ops.adjacency import gcn_norm


def gate_of(chan, dtype):
    generator = torch.Generator().manual_seed(chan)
    score = torch.randn(chan, dtype=dtype, generator=generator) / 4
    return score.requires_grad_(), torch.tensor(0.2, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, dtype, symmetric, checkpoint):
    graph = replace(gcn_norm(CASES[name][0]), symmetric=symmetric)
    z, (score, bias) = vectors(graph.num_rows, 3, dtype), gate_of(3, dtype)
    if dtype == torch.float32 and name == "far":  # the reference adds so many numbers less exactly
        score, bias = score.detach(), bias.detach()
    options = {"hops": 4, "checkpoint": checkpoint, "kernels": cpu}
    check_op(gated_hops, graph, z, score, bias, **options)


@pytest.mark.parametrize("chan", [0, 1, 7, 8, 40, 75])
@pytest.mark.parametrize("hops", [0, 1, 10])
def test_any_number_of_channels(chan, hops):
    graph, _ = CASES["hub"]
    graph = replace(graph, weight=torch.full((graph.num_entries,), 0.05).double())
    z = vectors(graph.num_rows, chan, torch.float64)
    for checkpoint in (False, True):
        options = {"hops": hops, "checkpoint": checkpoint, "kernels": cpu}
        check_op(gated_hops, graph, z, *gate_of(chan, torch.float64), **options)


def test_entries_that_are_not_kept_and_directed_edges():
    edges = torch.tensor([[0, 2, 2, 1, 3], [1, 0, 1, 3, 2]])
    graph = CSR.from_edge_index(edges, 4, weight=torch.rand(5)).without(edges[:, :1])
    gate = gate_of(3, torch.float32)
    check_op(gated_hops, graph, vectors(4), *gate, hops=3, kernels=cpu)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_any_number_of_threads_gives_the_same_bits(symmetric, checkpoint, with_threads):
    torch.manual_seed(0)
    graph = CSR.from_edge_index(torch.randint(900, (2, 4000)), 900, undirected=True)
    graph = replace(gcn_norm(graph), symmetric=symmetric)
    weight = graph.weight.clone().requires_grad_()
    found = []
    for threads in (1, 2, 3, 4):
        with_threads(threads)
        z, (score, bias) = vectors(900, 17), gate_of(17, torch.float32)
        given = (replace(graph, weight=weight), z, score, bias, 5)
        out = gated_hops(*given, checkpoint=checkpoint)
        leaves = (z, score, bias, weight)
        found.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_gates_far_from_zero_are_shut_or_open():
    graph = gcn_norm(CASES["isolated"][0])
    z = torch.tensor([[-80.0], [80.0], [0.0], [-300.0], [300.0], [1.0]])
    out = gated_hops(graph, z, torch.ones(1), torch.tensor(0.0), 0)
    expected = torch.sigmoid(z) * z
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-4)

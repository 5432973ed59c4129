"""GPU kernels of gated propagation equal the reference, and so do their gradients."""

from dataclasses import replace

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import CSR, gated_hops
from graphlearn.ops.adjacency import gcn_norm


def gate_of(chan, dtype=torch.float32):
    generator = torch.Generator().manual_seed(chan)
    score = torch.randn(chan, dtype=dtype, generator=generator) / 4
    return score.requires_grad_(), torch.tensor(0.2, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", ["empty", "no nodes", "dense", "isolated"])
def test_equals_the_reference(name, symmetric, checkpoint, gpu, device):
    graph = replace(gcn_norm(CASES[name][0]), symmetric=symmetric)
    z = vectors(graph.num_rows)
    options = {"hops": 4, "checkpoint": checkpoint, "kernels": gpu, "device": device}
    check_op(gated_hops, graph, z, *gate_of(3), **options)


def test_rows_of_more_than_a_tile(gpu, device):
    graph = gcn_norm(CASES["hub"][0])
    options = {"hops": 1, "kernels": gpu, "device": device}
    check_op(gated_hops, graph, vectors(graph.num_rows), *gate_of(3), **options)


@pytest.mark.parametrize("chan", [0, 1, 7, 130])
def test_any_number_of_channels(chan, gpu, device):
    graph = CASES["isolated"][0]
    z = vectors(graph.num_rows, chan, torch.float64)
    options = {"hops": 2, "kernels": gpu, "device": device}
    check_op(gated_hops, graph, z, *gate_of(chan, torch.float64), **options)


def test_directed_edges(gpu, device):
    edges = torch.tensor([[0, 2, 2, 1, 3], [1, 0, 1, 3, 2]])
    graph = CSR.from_edge_index(edges, 4, weight=torch.rand(5)).without(edges[:, :1])
    options = {"hops": 3, "kernels": gpu, "device": device}
    check_op(gated_hops, graph, vectors(4), *gate_of(3), **options)


@pytest.mark.parametrize("symmetric", [False, True])
def test_weights_get_their_gradient(symmetric, gpu, device):
    graph = replace(gcn_norm(CASES["isolated"][0]), symmetric=symmetric)

    def op(weight, z, score, bias):
        # Moved with its weights, the graph stays a leaf of them.
        return gated_hops(replace(graph.to(weight.device), weight=weight), z, score, bias, 3)

    weight = graph.weight.clone().requires_grad_()
    check_op(op, weight, vectors(6), *gate_of(3), kernels=gpu, device=device)

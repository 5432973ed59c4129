"""GPU kernels of sparse times dense equal the reference, and so do their gradients."""

import pytest
import torch
from checks import CASES, check_op, link_cases, vectors, weights
from hypothesis import given, settings

from graphlearn.ops import CSR, propagate


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["empty", "no nodes", "dense", "hub", "isolated"])
def test_equals_the_reference(name, weighted, reduce, gpu, device):
    graph, _ = CASES[name]
    weight = weights(graph.num_entries) if weighted else None
    x = vectors(graph.num_cols)
    options = {"weight": weight, "reduce": reduce, "kernels": gpu, "device": device}
    check_op(propagate, graph, x, **options)


@settings(max_examples=8, deadline=None)
@given(case=link_cases(most_pairs=4))
def test_small_graphs_equal_the_reference(case, gpu, device):
    graph, _ = case
    for reduce in ("sum", "max"):
        x = vectors(graph.num_cols)
        check_op(propagate, graph, x, reduce=reduce, kernels=gpu, device=device)


@pytest.mark.parametrize("chan", [0, 1, 130])
def test_any_number_of_channels(chan, gpu, device):
    graph, _ = CASES["isolated"]
    x = vectors(graph.num_cols, chan, torch.float64)
    weight = weights(graph.num_entries, torch.float64)
    check_op(propagate, graph, x, weight=weight, kernels=gpu, device=device)


def test_rows_and_columns_may_differ_in_number(gpu, device):
    graph = CSR.from_edge_index(torch.tensor([[0, 2, 2], [4, 0, 1]]), 3, num_cols=5)
    check_op(propagate, graph, vectors(5), kernels=gpu, device=device)
    check_op(propagate, graph, vectors(5), reduce="max", kernels=gpu, device=device)

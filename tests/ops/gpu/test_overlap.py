"""GPU kernels of the common-neighbour ops equal the reference."""

import pytest
import torch
from checks import CASES, check_op, link_cases, vectors
from hypothesis import given, settings

from graphlearn.ops import difference, overlap, overlap_count, overlap_sum


@pytest.mark.parametrize("op", [overlap, difference, overlap_count])
@pytest.mark.parametrize("name", CASES)
def test_lists_equal_the_reference(op, name, gpu, device):
    check_op(op, *CASES[name], kernels=gpu, device=device)


@pytest.mark.parametrize("name", CASES)
def test_the_sum_and_its_gradient_equal_the_reference(name, gpu, device):
    graph, pairs = CASES[name]
    check_op(overlap_sum, graph, pairs, vectors(graph.num_cols), kernels=gpu, device=device)


@pytest.mark.parametrize("op", [overlap, difference, overlap_count])
def test_entries_that_are_not_kept_take_no_part(op, gpu, device):
    graph, pairs = CASES["hub"]
    graph = graph.without(torch.tensor([[0, 0, 40, 41], [9, 33, 1, 0]]))
    check_op(op, graph, pairs, kernels=gpu, device=device)
    check_op(overlap_sum, graph, pairs, vectors(graph.num_cols), kernels=gpu, device=device)


@settings(max_examples=8, deadline=None)
@given(case=link_cases(most_pairs=4))
def test_small_graphs_equal_the_reference(case, gpu, device):
    graph, pairs = case
    check_op(difference, graph, pairs, kernels=gpu, device=device)
    check_op(overlap_sum, graph, pairs, vectors(graph.num_cols), kernels=gpu, device=device)


@pytest.mark.parametrize("chan", [0, 1, 130])
def test_any_number_of_channels(chan, gpu, device):
    graph, pairs = CASES["dense"]
    x = vectors(graph.num_cols, chan, torch.float64)
    check_op(overlap_sum, graph, pairs, x, kernels=gpu, device=device)


def test_a_strided_list_of_pairs(gpu, device):
    graph, pairs = CASES["dense"]
    check_op(overlap, graph, pairs.t().contiguous().t(), kernels=gpu, device=device)

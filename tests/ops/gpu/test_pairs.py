"""GPU kernels of the products of pairs equal the reference, gradients included."""

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import pair_product


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, gpu, device):
    graph, pairs = CASES[name]
    x = vectors(graph.num_cols)
    check_op(pair_product, x, pairs, kernels=gpu, device=device)


@pytest.mark.parametrize("chan", [0, 1, 130])
def test_any_number_of_channels(chan, gpu, device):
    pairs = torch.tensor([[0, 1, 1, 3, 0], [1, 0, 1, 2, 1]])
    x = vectors(4, chan, torch.float64)
    check_op(pair_product, x, pairs, kernels=gpu, device=device)

"""The CPU kernel of means equals the reference, gradients included."""

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import cpu
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.means import mean_hops


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [3, 4, 40])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, width, dtype):
    if name == "far" and width > 3:
        return
    graph = gcn_norm(CASES[name][0], loops=0.0)
    x = vectors(graph.num_rows, width, dtype)
    for hops in (0, 1, 3):
        check_op(mean_hops, graph, x, hops, kernels=cpu)


def test_any_number_of_threads_gives_the_same_bits(with_threads):
    graph, found = gcn_norm(CASES["hub"][0], loops=0.0), []
    for threads in (1, 2):
        with_threads(threads)
        x = vectors(graph.num_rows, 400)
        out = mean_hops(graph, x, 3)
        found.append((out, *torch.autograd.grad(out.square().sum(), x)))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

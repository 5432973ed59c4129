"""CPU kernels of transport equal the reference for every width, gradients included."""

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import cpu
from graphlearn.ops.transport import transport


def blocks(graph, stalk, full, dtype):
    generator = torch.Generator().manual_seed(7)
    size = (graph.num_entries, stalk, stalk) if full else (graph.num_entries, stalk)
    block = torch.randn(size, generator=generator, dtype=dtype)
    other = block[graph.reverse()]
    return (block + (other.mT if full else other)).requires_grad_()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("stalk", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 4, 5, 44])
@pytest.mark.parametrize("name", ["dense", "isolated", "empty", "no nodes"])
def test_equals_the_reference(name, width, stalk, full):
    graph = CASES[name][0]
    block = blocks(graph, stalk, full, torch.float64)
    x = vectors(graph.num_rows, stalk * width, torch.float64)
    check_op(transport, graph, block, x, kernels=cpu)


@pytest.mark.parametrize("full", [False, True])
def test_any_number_of_threads_gives_the_same_bits(full, with_threads):
    graph, found = CASES["hub"][0], []
    for threads in (1, 2):
        with_threads(threads)
        block, x = blocks(graph, 2, full, torch.float32), vectors(graph.num_rows, 400)
        out = transport(graph, block, x)
        found.append((out, *torch.autograd.grad(out.square().sum(), [block, x])))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

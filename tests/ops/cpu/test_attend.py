"""CPU kernels of attention equal the reference, gradients included, with any number of threads."""

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import cpu
from graphlearn.ops.attend import attend, attention


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("name", ["dense", "isolated", "empty", "no nodes", "hub"])
def test_attention_equals_the_reference(name, heads):
    graph = CASES[name][0]
    left, right = (vectors(graph.num_rows, heads, torch.float64) for _ in range(2))
    knobs = {"scale": torch.tensor(1.4).double(), "slope": torch.tensor(0.3).double()}
    check_op(lambda *ends: attention(graph, *ends, **knobs), left, right, kernels=cpu)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("width", [1, 4, 5, 44, 64])
@pytest.mark.parametrize("name", ["dense", "isolated", "empty", "no nodes", "hub"])
def test_attend_equals_the_reference(name, width, heads):
    graph = CASES[name][0]
    alpha = vectors(graph.num_entries, heads, torch.float64)
    value = vectors(graph.num_cols, heads * width, torch.float64)
    check_op(attend, graph, alpha, value, kernels=cpu)


def test_any_number_of_threads_gives_the_same_bits(with_threads):
    graph, found = CASES["hub"][0], []
    for threads in (1, 2):
        with_threads(threads)
        left, right = vectors(graph.num_rows, 2), vectors(graph.num_rows, 2)
        value = vectors(graph.num_rows, 400)
        inputs = [one.requires_grad_() for one in (left, right, value)]
        out = attend(graph, attention(graph, left, right), value)
        found.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

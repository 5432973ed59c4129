"""CPU kernels of values from two ends equal the reference, gradients included."""

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import cpu
from graphlearn.ops.ends import end_sums, flipped, row_totals


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, dtype):
    graph = CASES[name][0]
    left, right = (vectors(graph.num_rows, dtype=dtype) for _ in range(2))
    value = vectors(graph.num_entries, dtype=dtype)
    check_op(end_sums, graph, left, right, kernels=cpu)
    check_op(row_totals, graph, value, kernels=cpu)
    check_op(flipped, graph, value, kernels=cpu)


def test_any_number_of_threads_gives_the_same_bits(with_threads):
    graph, found = CASES["hub"][0], []
    for threads in (1, 2):
        with_threads(threads)
        left, right = (vectors(graph.num_rows, 500) for _ in range(2))
        out = row_totals(graph, end_sums(graph, left, right).square())
        found.append((out, *torch.autograd.grad(out.sum(), [left, right])))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

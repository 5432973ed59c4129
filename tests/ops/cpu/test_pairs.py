"""CPU kernels of the products of pairs equal the reference, gradients included."""

import pytest
import torch
from checks import CASES, check_op, vectors

from graphlearn.ops import cpu, pair_product


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, dtype):
    graph, pairs = CASES[name]
    check_op(pair_product, vectors(graph.num_cols, dtype=dtype), pairs, kernels=cpu)


def test_any_number_of_threads_gives_the_same_bits(with_threads):
    torch.manual_seed(0)
    pairs, found = torch.randint(30, (2, 200)), []
    for threads in (1, 2):
        with_threads(threads)
        x = vectors(30, 17)
        out = pair_product(x, pairs)
        found.append((out, *torch.autograd.grad(out.square().sum(), x)))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

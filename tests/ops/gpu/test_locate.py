"""The GPU look-up equals the reference."""

import pytest
import torch
from checks import check_op

from graphlearn.ops import CSR
from graphlearn.ops.locate import locate

FAR = 2**31 - 1


@pytest.mark.parametrize("size", [0, 1, 300])
def test_equals_the_reference(size, gpu, device):
    torch.manual_seed(size)
    graph = CSR.from_edge_index(torch.randint(20, (2, 90)), 20)
    row, target = torch.randint(20, (size,)), torch.randint(-1, 25, (size,))
    check_op(locate, graph.ptr, graph.col, row, target, kernels=gpu, device=device)


def test_nothing_is_found_among_no_entries(gpu, device):
    graph = CSR.from_edge_index(torch.empty(2, 0, dtype=torch.int64), 3)
    row = torch.tensor([0, 1, 2])
    check_op(locate, graph.ptr, graph.col, row, row, kernels=gpu, device=device)


def test_columns_close_to_the_largest(gpu, device):
    edges = torch.tensor([[0, 3, 3, 4], [FAR - 1, 7, FAR - 2, FAR - 1]])
    graph = CSR.from_edge_index(edges, 5, num_cols=FAR)
    row = torch.tensor([0, 3, 3, 3, 4, 1])
    target = torch.tensor([FAR - 1, FAR - 2, FAR - 1, 7, FAR - 1, FAR - 1])
    check_op(locate, graph.ptr, graph.col, row, target, kernels=gpu, device=device)

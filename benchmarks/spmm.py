"""Sums over neighbours, forward and backward, against message passing and torch's sparse product.

PyG's message passing gathers one vector per edge and adds them up again. It is given the edge list
as PyG's own data sets give it: sorted by source.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.nn import SimpleConv

from graphlearn.bench import Case
from graphlearn.cli import main
from graphlearn.ops import CSR, propagate

__all__ = ["cases"]


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case]:
    """Symmetric graphs of 10^5 stored edges: uniform, and with hubs.

    Args:
        smoke: A thousand edges.
        data: Not used; the graphs are drawn.
    """
    nodes, edges, channels = (100, 500, 8) if smoke else (10_000, 50_000, 64)
    for name, power in (("uniform", 1), ("power law", 2)):
        pairs = _edges(nodes, edges, power)
        x = torch.randn(nodes, channels, generator=torch.Generator().manual_seed(0))
        yield Case(
            "propagate, forward and backward",
            f"{name}, {2 * edges:,} edges, {channels} channels",
            _ways(pairs, nodes, x),
            targets={"PyG message passing": 10.0},
            rounds=15,
        )


def _edges(nodes: int, edges: int, power: int) -> Tensor:
    """So many distinct undirected edges."""
    draw = np.random.default_rng(0)
    ends = (nodes * draw.random((2, 4 * edges)) ** power).astype(np.int64)
    low, high = ends.min(0), ends.max(0)
    keys = draw.permutation(np.unique((low * nodes + high)[low < high]))[:edges]
    assert keys.size == edges
    return torch.from_numpy(np.stack([keys // nodes, keys % nodes]))


def _ways(pairs: Tensor, nodes: int, x: Tensor) -> dict[str, Callable[[], Any]]:
    graph = CSR.from_edge_index(pairs, nodes, undirected=True)
    # The graph is symmetric, so that flow and rows mean the same.
    edge_index = torch.stack([graph.rows(), graph.col.long()])
    conv = SimpleConv(aggr="sum")
    leaf = x.clone().requires_grad_()
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this layout a beta
        ones = torch.ones(graph.num_entries)
        matrix = torch.sparse_csr_tensor(graph.ptr, graph.col.long(), ones, (nodes, nodes))

    def both(out: Tensor) -> tuple[Tensor, Tensor]:
        return out.detach(), torch.autograd.grad(out, leaf, grad)[0]

    return {
        "graphlearn": lambda: both(propagate(graph, leaf)),
        "PyG message passing": lambda: both(conv(leaf, edge_index)),
        "torch sparse CSR": lambda: both(matrix @ leaf),
    }


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

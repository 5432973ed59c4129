"""One tiny data set of each kind."""

import torch
from torch_geometric.data import Data

from graphlearn.data.dataset import Dataset, LinkSplit

__all__ = ["link_dataset", "ring_of_cliques"]


def ring_of_cliques(cliques: int = 8, size: int = 6) -> torch.Tensor:
    """Undirected edges (2, E), i < j, of cliques joined in a ring: links are easy to tell."""
    edges = []
    for c in range(cliques):
        first = c * size
        edges += [(first + i, first + j) for i in range(size) for j in range(i + 1, size)]
        edges.append(tuple(sorted((first, ((c + 1) % cliques) * size + 1))))
    return torch.tensor(sorted(edges)).t()


def link_dataset(
    name: str = "toy", num_nodes: int = 48, features: bool = True, seed: int = 0
) -> Dataset:
    """A ring of cliques with a tenth of its edges for validation and as many for test."""
    generator = torch.Generator().manual_seed(seed)
    edges = ring_of_cliques(max(num_nodes // 6, 3))
    nodes = int(edges.max()) + 1
    order = torch.randperm(edges.shape[1], generator=generator)
    held = max(edges.shape[1] // 10, 2)
    valid, test = edges[:, order[:held]], edges[:, order[held : 2 * held]]
    train = edges[:, order[2 * held :]]
    known = set(map(tuple, edges.t().tolist()))
    free = [(i, j) for i in range(nodes) for j in range(i + 1, nodes) if (i, j) not in known]
    free = torch.tensor(free).t()
    pool = free[:, torch.randperm(free.shape[1], generator=generator)[: 4 * held]]
    x = torch.randn(nodes, 12, generator=generator) if features else None
    return Dataset(
        name=name,
        kind="link",
        metric="hits@10",
        data=Data(x=x, edge_index=torch.cat([train, train.flip(0)], 1), num_nodes=nodes),
        splits={
            "train": LinkSplit(train),
            "valid": LinkSplit(valid, pool[:, : 2 * held]),
            "test": LinkSplit(test, pool[:, 2 * held :]),
        },
        facts={
            "num_nodes": nodes,
            "in_channels": 12 if features else 0,
            "num_ids": 0 if features else nodes,
        },
        names=[f"node{i}" for i in range(nodes)],
    )

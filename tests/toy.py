"""One tiny data set of each kind."""

import warnings

import torch
from torch_geometric.data import Data, TemporalData

from graphlearn.data.dataset import Dataset, EventSplit, LinkSplit
from graphlearn.data.interactions import interaction_dataset as _interactions

__all__ = [
    "event_dataset",
    "interaction_dataset",
    "link_dataset",
    "node_dataset",
    "ring_of_cliques",
]


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


def event_dataset(
    name: str = "toy-events",
    num_events: int = 300,
    num_nodes: int = 30,
    edge_dim: int = 0,
    node_dim: int = 0,
    seed: int = 0,
) -> Dataset:
    """A stream of nodes that mostly meet one of two partners, split by time at 70 and 85 percent.

    The last three nodes are absent from training. Some events fall on the same time, some are of
    a node with itself.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high: torch.randint(high, (num_events,), generator=generator)  # noqa: E731
    row = torch.arange(num_events)
    known = torch.where(row < 0.7 * num_events, num_nodes - 3, num_nodes)
    src = draw(10_000) % known
    dst = (src + torch.where(draw(2) == 0, 1, 5)) % known
    dst = torch.where(draw(10) == 0, draw(10_000) % known, dst)
    t = draw(7).cumsum(0) + 1_000_000_000
    cuts = t.double().quantile(torch.tensor([0.7, 0.85], dtype=torch.double))
    train, valid, test = row[t <= cuts[0]], row[(t > cuts[0]) & (t <= cuts[1])], row[t > cuts[1]]
    old = torch.zeros(num_nodes, dtype=torch.bool)
    old[torch.cat([src[train], dst[train]])] = True
    data = TemporalData(src=src, dst=dst, t=t)
    if edge_dim:
        data.msg = torch.randn(num_events, edge_dim, generator=generator)
    if node_dim:
        data.x = torch.randn(num_nodes, node_dim, generator=generator)
    span = float(t[train[-1]] - t[0])

    def split(events: torch.Tensor) -> EventSplit:
        new = ~(old[src[events]] & old[dst[events]])
        return EventSplit(row[: int(events[0])], events, groups={"new": new})

    return Dataset(
        name=name,
        kind="events",
        metric="ap",
        data=data,
        splits={"train": EventSplit(row[:0], train), "valid": split(valid), "test": split(test)},
        facts={
            "num_nodes": num_nodes,
            "num_events": num_events,
            "edge_dim": edge_dim,
            "node_dim": node_dim,
            "time_gap": span / len(train),
            "time_span": span,
        },
        names=[f"node{i}" for i in range(num_nodes)],
    )


def node_dataset(
    name: str = "toy",
    num_nodes: int = 60,
    num_classes: int = 3,
    in_channels: int = 12,
    features: str = "dense",
    unlabelled: int = 0,
    seed: int = 0,
) -> Dataset:
    """Planted communities: node `i` is of class `i % num_classes`, and so are 5 of its 6 edges.

    Half of the words of a node are those of its class. Per class, a fifth of the nodes are for
    training, a fifth for validation and the others for the test; nobody is isolated.

    Args:
        name: Name of the data set.
        num_nodes: Number of nodes, a multiple of the number of classes.
        num_classes: Number of classes.
        in_channels: Number of words, a multiple of the number of classes.
        features: `dense` for 0/1 words (N, F), `sparse` for the same as a CSR tensor, `ids` for
            the number of each node.
        unlabelled: How many of the test nodes have no label (-1) and are in no split.
        seed: Seed of edges, words and splits.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high, *shape: torch.randint(high, shape, generator=generator)  # noqa: E731
    node = torch.arange(num_nodes)
    y = node % num_classes
    # A ring within each class keeps everybody connected; the other edges are drawn.
    ends = [torch.stack([node, (node + num_classes) % num_nodes])]
    near = (node + num_classes * (1 + draw(num_nodes // num_classes - 1, num_nodes))) % num_nodes
    ends.append(torch.stack([node, near]))
    strays = node[torch.rand(num_nodes, generator=generator) < 0.4]
    ends.append(torch.stack([strays, draw(num_nodes, len(strays))]))
    pairs = torch.cat(ends, 1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    edge_index = torch.cat([pairs, pairs.flip(0)], 1).unique(dim=1)

    words = (torch.rand(num_nodes, in_channels, generator=generator) < 0.15).float()
    own = torch.arange(in_channels) % num_classes == y[:, None]
    words[own & (torch.rand(num_nodes, in_channels, generator=generator) < 0.5)] = 1.0
    words[node, y] = 1.0
    layouts = {"dense": lambda: words, "sparse": words.to_sparse_csr, "ids": node.clone}

    order = node[torch.randperm(num_nodes, generator=generator)]
    order = order[torch.argsort(y[order], stable=True)].reshape(num_classes, -1)
    fifth = max(order.shape[1] // 5, 1)
    parts = [order[:, :fifth], order[:, fifth : 2 * fifth], order[:, 2 * fifth :]]
    train, valid, test = (part.reshape(-1).sort().values for part in parts)
    if unlabelled:
        y[test[:unlabelled]], test = -1, test[unlabelled:]
    splits = {"train": train, "valid": valid, "test": test}
    with warnings.catch_warnings():  # torch says once in a process that the layout is in beta
        warnings.simplefilter("ignore")
        x = layouts[features]()
    data = Data(x=x, edge_index=edge_index, y=y, num_nodes=num_nodes)
    for key, part in zip(("train_mask", "val_mask", "test_mask"), splits.values(), strict=True):
        data[key] = torch.zeros(num_nodes, dtype=torch.bool)
        data[key][part] = True
    return Dataset(
        name=name,
        kind="node",
        metric="accuracy",
        data=data,
        splits=splits,
        facts={
            "num_nodes": num_nodes,
            "in_channels": num_nodes if features == "ids" else in_channels,
            "out_channels": num_classes,
        },
        names=[f"node{i}" for i in range(num_nodes)],
        classes=[f"class{c}" for c in range(num_classes)],
    )


def interaction_dataset(name: str = "toy-interactions", seed: int = 0) -> Dataset:
    """Forty users in two groups, each with a taste for one half of thirty items."""
    generator = torch.Generator().manual_seed(seed)
    liked = (torch.arange(40).unsqueeze(1) % 2) == (torch.arange(30) % 2)
    chance = torch.where(liked, 0.65, 0.08)
    pairs = (torch.rand(40, 30, generator=generator) < chance).nonzero()
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    part = torch.arange(len(pairs)) % 10
    splits = {"train": part < 7, "valid": part == 7, "test": part > 7}
    return _interactions(
        name,
        {split: pairs[mask].T.contiguous() for split, mask in splits.items()},
        40,
        30,
        names=[*(f"u{k}" for k in range(40)), *(f"i{k}" for k in range(30))],
        titles=[f"film {k}" for k in range(30)],
        metric="ndcg@5",
    )

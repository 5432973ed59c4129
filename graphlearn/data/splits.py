"""Splitting the edges of a graph into training, validation and test, and proof that none leaks.

All draws come from one seeded generator, so a seed gives the same split on every machine.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.data.dataset import Dataset, LinkSplit
from graphlearn.data.pairs import both_directions, non_edges, pair_keys, sort_pairs
from graphlearn.train.task import Split

__all__ = [
    "check_no_leak",
    "hits_metric",
    "link_dataset",
    "planetoid_links",
    "random_links",
    "split_links",
]


def random_links(
    pairs: Int[Tensor, "2 pair"],
    num_nodes: int,
    *,
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.2,
) -> dict[Split, LinkSplit]:
    """A random split of the edges, with as many negatives as positives in validation and test.

    Args:
        pairs: Every undirected edge once.
        num_nodes: Number of nodes.
        seed: Seed of the draw.
        valid: Share of the edges that is held out for validation, rounded down.
        test: Share of the edges that is held out for the test, rounded down.

    Raises:
        ValueError: if a share is not in (0, 1), if nothing would be left for a part, or if the
            graph has too few non-edges.
    """
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise ValueError(
            f"valid and test must be positive and add up to less than 1, got {valid} and {test}"
        )
    count = pairs.shape[1]
    num_valid, num_test = int(valid * count + 1e-9), int(test * count + 1e-9)
    _check_size(count, num_valid, num_test)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator)
    pos = sort_pairs(pairs)[:, order]
    neg = non_edges(pairs, num_nodes, num_valid + num_test, generator=generator)
    return {
        "train": LinkSplit(sort_pairs(pos[:, num_valid + num_test :])),
        "valid": LinkSplit(sort_pairs(pos[:, :num_valid]), sort_pairs(neg[:, :num_valid])),
        "test": LinkSplit(
            sort_pairs(pos[:, num_valid : num_valid + num_test]), sort_pairs(neg[:, num_valid:])
        ),
    }


def planetoid_links(
    pairs: Int[Tensor, "2 pair"], num_nodes: int, *, seed: int = 0
) -> dict[Split, LinkSplit]:
    """The 70/10/20 split under which Planetoid link prediction is reported.

    A fifth of the edges is the test, another fifth a pool of which one half becomes validation
    and the other returns to training. Validation has as many negatives as the pool, hence twice as
    many as positives. On graphs of up to 8000 nodes or so the draws follow those of the published
    splitter (`torch.manual_seed(seed)`) exactly; larger graphs get a split of the same law.

    Reference: Wang, Yang, Zhang, "Neural Common Neighbor with Completion for Link Prediction",
    ICLR 2024.

    Args:
        pairs: Every undirected edge once.
        num_nodes: Number of nodes.
        seed: Seed of the draw.

    Raises:
        ValueError: if the graph has too few edges or non-edges.
    """
    count = pairs.shape[1]
    pool = int(0.2 * count)
    _check_size(count, pool // 2, pool)
    generator = torch.Generator().manual_seed(seed)
    # The published splitter starts from edges that are sorted by their larger end.
    edges = sort_pairs(pairs)
    edges = edges[:, torch.argsort(edges[1], stable=True)]
    edges = edges[:, torch.randperm(count, generator=generator)]
    neg = non_edges(pairs, num_nodes, 2 * pool, generator=generator)
    pooled = edges[:, :pool][:, torch.randperm(pool, generator=generator)]
    kept = pool - pool // 2
    return {
        "train": LinkSplit(sort_pairs(torch.cat([pooled[:, :kept], edges[:, 2 * pool :]], dim=1))),
        "valid": LinkSplit(sort_pairs(pooled[:, kept:]), sort_pairs(neg[:, :pool])),
        "test": LinkSplit(sort_pairs(edges[:, pool : 2 * pool]), sort_pairs(neg[:, pool:])),
    }


def split_links(
    pairs: Int[Tensor, "2 pair"],
    num_nodes: int,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.2,
) -> dict[Split, LinkSplit]:
    """The split that a protocol names, for a graph that comes without one.

    Args:
        pairs: Every undirected edge once.
        num_nodes: Number of nodes.
        protocol: `random` (also under `auto`, and below `heart`) or `planetoid`.
        seed: Seed of the draw.
        valid: Share for validation; not with `planetoid`.
        test: Share for the test; not with `planetoid`.

    Raises:
        ValueError: if the protocol does not fit, or the graph is too small.
    """
    if protocol == "planetoid":
        if (valid, test) != (0.1, 0.2):
            raise ValueError(
                f"protocol 'planetoid' always splits 70/10/20, got valid={valid} and test={test}; "
                "use protocol 'random' for other shares"
            )
        return planetoid_links(pairs, num_nodes, seed=seed)
    if protocol not in ("auto", "random", "heart"):
        raise ValueError(
            f"protocol must be auto, random, planetoid or heart for this source, got {protocol!r}"
        )
    return random_links(pairs, num_nodes, seed=seed, valid=valid, test=test)


def link_dataset(
    name: str,
    splits: dict[Split, LinkSplit],
    num_nodes: int,
    *,
    x: Tensor | None = None,
    y: Tensor | None = None,
    names: Sequence[str] | None = None,
    metric: str | None = None,
) -> Dataset:
    """A link-prediction data set whose graph holds the training edges only.

    Args:
        name: As it is written in run folders.
        splits: Positive and negative pairs of each split.
        num_nodes: Number of nodes.
        x: Node features (N, F) or ids (N,); nodes without features get their own number as id.
        y: Labels of the nodes, kept on `data` for whoever wants them.
        names: Name of each node.
        metric: Metric to report; by default what `hits_metric` finds for the negatives.
    """
    from torch_geometric.data import Data

    x = torch.arange(num_nodes) if x is None else x
    ids = x.dim() == 1
    facts: dict[str, Any] = {
        "num_nodes": num_nodes,
        "in_channels": 0 if ids else x.shape[1],
        "num_ids": int(x.max()) + 1 if ids else 0,
    }
    data = Data(x=x, edge_index=both_directions(splits["train"].pos), num_nodes=num_nodes)
    if y is not None:
        data.y = y
    return Dataset(name, "link", metric or hits_metric(splits), data, splits, facts, names)


def hits_metric(splits: dict[Split, LinkSplit]) -> str:
    """Hits@K with the largest K of 10, 20, 50 and 100 that is at most a tenth of the negatives.

    A K close to the number of negatives would say nothing, and a tiny one on a large pool is
    decided by a handful of pairs. The smaller of the two pools counts; K is never below 10.
    """
    pools = [splits[part].neg for part in ("valid", "test") if part in splits]
    smallest = min((pool.shape[1] for pool in pools if pool is not None), default=0)
    return f"hits@{max((k for k in (10, 20, 50, 100) if 10 * k <= smallest), default=10)}"


def check_no_leak(dataset: Dataset) -> None:
    """Prove that no validation or test edge is part of what a model is trained on.

    Both the training pairs and `data.edge_index` are searched, in either direction. A multigraph
    over time such as ogbl-collab fails by design: its pairs come back in later years.

    Args:
        dataset: A link-prediction data set.

    Raises:
        ValueError: if a pair leaks; names the split and the first pair.
    """
    num_nodes = int(dataset.facts["num_nodes"])
    known = {
        "the training pairs": dataset.splits["train"].pos,
        "edge_index": dataset.data.edge_index,
    }
    for where, seen in known.items():
        seen_keys = pair_keys(seen, num_nodes)
        for split in ("valid", "test"):
            pos = dataset.splits[split].pos
            leaks = torch.isin(pair_keys(pos, num_nodes), seen_keys).nonzero()
            if len(leaks):
                raise ValueError(
                    f"{dataset.name}: {len(leaks)} {split} pairs are among {where}, "
                    f"the first is {tuple(pos[:, int(leaks[0])].tolist())}"
                )


def _check_size(count: int, num_valid: int, num_test: int) -> None:
    num_train = count - num_valid - num_test
    if min(num_valid, num_test, num_train) < 1:
        raise ValueError(
            f"a graph of {count} edges is too small to split: it would give {num_train} training, "
            f"{num_valid} validation and {num_test} test edges, each must be at least 1"
        )

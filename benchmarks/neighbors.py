"""Sampling of neighbours, hop by hop, against the readable reference of this package.

The loaders of PyG sample only with pyg-lib or torch-sparse, neither of which is a requirement of
this package, so they are no alternative here. Both ways draw the same neighbours.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphlearn.bench import Case
from graphlearn.cli import main
from graphlearn.ops import CSR
from graphlearn.sampling.neighbors import NeighborSampler

__all__ = ["cases"]

SEEDS = 1_024
FANOUTS = ((10, 10), (15, 10, 5), (40, 40), (-1,))


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case]:
    """A batch of seeds with every list of fan-outs, on random graphs with hubs.

    Args:
        smoke: A tiny graph instead.
        data: Not used; the graphs are made here.
    """
    sizes = [(500, 3_000)] if smoke else [(10_000, 62_000), (100_000, 620_000)]
    for nodes, edges in sizes:
        graph = _graph(nodes, edges)
        made = torch.Generator().manual_seed(1)
        seeds = torch.randint(nodes, (16 if smoke else SEEDS,), generator=made)
        for fanouts in FANOUTS:
            sampler = NeighborSampler(graph, fanouts)
            name = ", ".join("all" if fanout < 0 else str(fanout) for fanout in fanouts)
            yield Case(
                f"fan-outs {name}",
                f"{nodes:,} nodes, {graph.num_entries:,} entries, {len(seeds):,} seeds",
                {
                    "graphlearn": lambda sampler=sampler, seeds=seeds: _sample(sampler, seeds),
                    "reference": lambda sampler=sampler, seeds=seeds: _reference(sampler, seeds),
                },
                targets={"reference": 0.0 if smoke else 20.0},
                seconds=3.0,
            )


def _graph(nodes: int, edges: int) -> CSR:
    ends = nodes * torch.rand((2, edges), generator=torch.Generator().manual_seed(0)) ** 2
    return CSR.from_edge_index(ends.long(), nodes, undirected=True)


def _sample(sampler: NeighborSampler, seeds: Tensor) -> list[Tensor]:
    found = sampler.sample(seeds, seed=3)
    return [found.nodes, found.graph.ptr, found.graph.col, found.edge]


def _reference(sampler: NeighborSampler, seeds: Tensor) -> Any:  # noqa: ANN401
    before = os.environ.get("GRAPHLEARN_OPS")
    os.environ["GRAPHLEARN_OPS"] = "reference"
    try:
        return _sample(sampler, seeds)
    finally:
        if before is None:
            del os.environ["GRAPHLEARN_OPS"]
        else:
            os.environ["GRAPHLEARN_OPS"] = before


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

"""Joins of LATTE: entries of meta relations from those that are one step shorter."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.compose import compose
from graphlearn.ops.csr import CSR
from graphlearn.ops.paths import Path
from graphlearn.ops.thin import strong, thinned

__all__ = ["dynamic_joins", "static_join"]


def static_join(path: Path, known: dict[Path, CSR], *, most: int) -> CSR:
    """A join and, before it, those it is made from, by structure alone.

    Args:
        path: The meta relation.
        known: What is there already, all edge types to begin with; the join is added.
        most: Entries that a row keeps; 0 is all.
    """
    if path not in known:
        first = static_join(path[2:], known, most=most)
        known[path] = compose(first, known[path[:3]], most=most)
    return known[path]


def dynamic_joins(
    paths: Sequence[Path],
    edges: Mapping[Path, CSR],
    graph: Mapping[Path, CSR],
    alpha: Mapping[Path, Float[Tensor, "_ head"]],
    *,
    most: int,
    threshold: float,
    sample: bool,
    training: bool,
) -> dict[Path, CSR]:
    """Joins of what a layer attended to with the edges, without a gradient; no empty ones.

    Args:
        paths: Meta relations of the next layer.
        edges: Entries of all edge types.
        graph: Entries that the layer attended to.
        alpha: Their weight for each head, of which the largest counts.
        most: Entries that a row keeps; 0 is all.
        threshold: Attention below which an entry is left out; the strongest one stays.
        sample: Draw as many entries as the smaller part has.
        training: Draw anew in each call, by torch's generator, instead of the same ones.
    """
    found = {}
    for number, path in enumerate(path for path in paths if path[2:] in graph):
        attended = alpha[path[2:]].detach().max(1).values
        first, second = strong(graph[path[2:]], attended, threshold), edges[path[:3]]
        joined = compose(first, second, most=most)
        if sample:
            draw = int(torch.randint(2**31, ())) if training else number
            joined = thinned(joined, min(first.num_entries, second.num_entries), seed=draw)
        if joined.num_entries:
            found[path] = joined
    return found

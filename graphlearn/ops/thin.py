"""Fewer entries of a weighted relation: the strong ones, or a sample that favours them."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphlearn.ops.csr import CSR

__all__ = ["strong", "thinned"]


def strong(graph: CSR, weight: Float[Tensor, " edge"], threshold: float) -> CSR:
    """Entries of at least a weight, or where there are none the single strongest.

    Args:
        graph: Matrix; its own weights are not looked at.
        weight: Weight of each entry, which the result has.
        threshold: Smallest weight that stays.

    Example:
        >>> graph = CSR.from_edge_index(torch.tensor([[0, 0, 1], [0, 1, 1]]), 2)
        >>> strong(graph, torch.tensor([0.3, 0.7, 1.0]), 0.5).col
        tensor([1, 1], dtype=torch.int32)
    """
    kept = weight >= threshold
    if graph.num_entries and not kept.any():
        kept[weight.argmax()] = True
    return _only(replace(graph, weight=weight), kept)


def thinned(graph: CSR, count: int, *, seed: int) -> CSR:
    r"""A sample of entries without replacement, each draw as likely as the weight says.

    The entries with the largest :math:`w_e^{-1} \log u_e`, with :math:`u` uniform, are such a
    sample.

    Reference: Pavlos Efraimidis, Paul Spirakis, "Weighted random sampling with a reservoir",
    Information Processing Letters, 2006.

    Args:
        graph: Matrix with positive weights.
        count: How many entries stay; all if there are not more.
        seed: Decides the sample, alone.
    """
    if graph.num_entries <= count:
        return graph
    assert graph.weight is not None
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(graph.num_entries, generator=generator, dtype=torch.float64)
    key = chance.clamp(min=1e-300).log().to(graph.col.device) / graph.weight.double()
    kept = torch.zeros_like(graph.col, dtype=torch.bool)
    kept[key.topk(count).indices] = True
    return _only(graph, kept)


def _only(graph: CSR, kept: Tensor) -> CSR:
    """The matrix without the other entries."""
    before = F.pad(kept.cumsum(0), (1, 0))
    weight = None if graph.weight is None else graph.weight[kept]
    return CSR(before[graph.ptr], graph.col[kept], graph.num_cols, weight=weight)

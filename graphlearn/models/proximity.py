"""The proximity loss of LATTE: scores of attention that tell linked pairs from others."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphlearn.ops.best import best_sum
from graphlearn.ops.csr import CSR
from graphlearn.ops.paths import Path
from graphlearn.ops.total import total
from graphlearn.sampling.batches import fold
from graphlearn.sampling.negatives import absent

__all__ = ["proximity_loss"]


def proximity_loss(
    graph: Mapping[Path, CSR],
    ends: Mapping[Path, tuple[Tensor, Tensor]],
    logits: Callable[[Path, Tensor], Tensor],
    *,
    weights: Mapping[Path, Tensor] | None = None,
    negatives: float = 2.0,
    seed: int,
) -> Float[Tensor, ""]:
    r"""Half the mean over the meta relations of a layer of

    .. math:: L_m = - \mathrm{mean}_{(i, j) \in E_m} w_{ij} \log \sigma(g_{ij})
              - \mathrm{mean}_{(i, j) \notin E_m} \log \sigma(-g_{ij}).

    The weight :math:`w` is 1 for edges, and for joins their weight over the mean of the row, so
    that each row counts by its entries.

    Args:
        graph: Entries of each meta relation.
        ends: What rows and columns bring to the score of an entry, for each head.
        logits: From a meta relation and the largest score of each pair to :math:`g`.
        weights: Attention of each entry and head, whose largest is to be :math:`w`; a gradient
            passes through it.
        negatives: Pairs without an entry for each entry.
        seed: Decides the pairs, alone.
    """  # noqa: D415 (the sentence ends with the equation)
    losses = []
    for number, (path, (left, right)) in enumerate(ends.items()):
        part = graph[path]
        if not part.num_entries:
            continue
        weight = _weights(part) if weights is None else weights[path].max(1).values
        linked = logits(path, best_sum(left, right, part.rows(), part.col))
        loss = _mean(F.softplus(-linked) if weight is None else F.softplus(-linked) * weight)
        row, col = absent(part, int(negatives * part.num_entries), seed=fold(seed, number))
        if len(row):
            loss = loss + _mean(F.softplus(logits(path, best_sum(left, right, row, col))))
        losses.append(loss)
    if not losses:
        return torch.zeros(())
    return torch.stack(losses).sum() / (2 * len(losses))


def _weights(graph: CSR) -> Tensor | None:
    """Weight of each entry over the mean of its row; None where all are one."""
    if graph.weight is None:
        return None
    row, count = graph.rows(), graph.ptr.diff()
    sums = torch.zeros(graph.num_rows, device=graph.col.device).index_add_(0, row, graph.weight)
    return graph.weight * (count / sums.clamp(min=torch.finfo(sums.dtype).tiny))[row]


def _mean(values: Tensor) -> Tensor:
    return total(values) / len(values)

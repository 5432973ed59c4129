"""The proximity loss of LATTE: scores of attention that tell linked pairs from others."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphlearn.models.latte_conv import LATTEConv, Trace
from graphlearn.ops.csr import CSR
from graphlearn.ops.total import total
from graphlearn.sampling.batches import fold
from graphlearn.sampling.negatives import absent

__all__ = ["proximity_loss"]


def proximity_loss(
    conv: LATTEConv, trace: Trace, *, negatives: float, trained_weights: bool, seed: int
) -> Float[Tensor, ""]:
    r"""Half the mean over the meta relations of a layer of

    .. math:: L_m = - \mathrm{mean}_{(i, j) \in E_m} w_{ij} \log \sigma(g_{ij})
              - \mathrm{mean}_{(i, j) \notin E_m} \log \sigma(-g_{ij}).

    The weight :math:`w` is 1 for edges, and for joins their weight over the mean of the row, so
    that each row counts by its entries.

    Args:
        conv: The layer.
        trace: What it attended to.
        negatives: Pairs without an entry for each entry, drawn anew in each call.
        trained_weights: Take the attention itself as weight, the largest of its heads, and let the
            gradient pass through it.
        seed: Decides the pairs, alone.
    """  # noqa: D415 (the sentence ends with the equation)
    losses = []
    for number, (path, (left, right)) in enumerate(trace.ends.items()):
        graph = trace.graph[path]
        if not graph.num_entries:
            continue
        if trained_weights:
            weight: Tensor | None = trace.alpha[path].max(1).values
        else:
            weight = _weights(graph)
        linked = conv.logits(path, left[graph.rows()] + right[graph.col.long()])
        loss = _mean(F.softplus(-linked) if weight is None else F.softplus(-linked) * weight)
        count = int(negatives * graph.num_entries)
        row, col = absent(graph, count, seed=fold(seed, number))
        if len(row):
            loss = loss + _mean(F.softplus(conv.logits(path, left[row] + right[col])))
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

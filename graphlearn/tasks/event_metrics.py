"""What the scores of a stream are worth: in training, over all events, by batches and groups."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

from graphlearn.metrics import metric

__all__ = ["ap_auc", "event_metrics", "logistic_loss"]

_BLOCK = 1 << 14  # values added at once


def event_metrics(rows: Mapping[str, Tensor]) -> dict[str, float]:
    """Metrics of a pass over a stream, higher is better.

    With `rank` (the rank of each event among its candidates) they are `mrr` and `hits@10`, else
    `ap` and `auc` of all pairs together, and `ap@batch` and `auc@batch`, their means over batches.
    Groups without an event are left out.

    Args:
        rows: For each event `rank`, or `pos` with one `neg` and any `neg_KIND`; `batch`, the
            number of its batch, ascending; any `group/NAME`, whether it belongs to a group.
    """
    groups = {name: mask.bool() for name, mask in rows.items() if name.startswith("group/")}
    groups = {name.partition("/")[2]: mask for name, mask in groups.items() if mask.any()}
    if "rank" in rows:
        found = _ranked(rows["rank"])
        for name, mask in groups.items():
            found |= _named(_ranked(rows["rank"][mask]), name)
        return found
    pos, neg = rows["pos"], rows["neg"]
    found = _pooled(pos, neg)
    sizes = [size for size in torch.bincount(rows["batch"].cpu()).tolist() if size]
    parts = zip(torch.split(pos, sizes), torch.split(neg, sizes), strict=True)
    means = torch.stack([ap_auc(*part) for part in parts]).mean(0).tolist()
    found |= dict(zip(("ap@batch", "auc@batch"), means, strict=True))
    for name, false in rows.items():
        if name.startswith("neg_"):
            found |= _named(_pooled(pos, false), name.partition("_")[2])
    for name, mask in groups.items():
        found |= _named(_pooled(pos[mask], neg[mask]), name)
    return found


def ap_auc(pos: Float[Tensor, " pair"], neg: Float[Tensor, " hit"]) -> Float64[Tensor, "2"]:
    """Average precision and area under the ROC curve, without leaving the device.

    Ties count as in scikit-learn, so that the values are those of `graphlearn.metrics`.

    Args:
        pos: Scores of the true pairs.
        neg: Scores of the false pairs.

    Example:
        >>> ap_auc(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
        tensor([0.7500, 0.6250], dtype=torch.float64)
    """
    pos, true, false = pos.contiguous(), pos.sort().values, neg.sort().values
    above = len(pos) - torch.searchsorted(true, pos)  # true pairs that score as much or more
    below = torch.searchsorted(false, pos)
    level = torch.searchsorted(false, pos, right=True)
    ap = (above / (above + len(neg) - below).double()).mean()
    return torch.stack([ap, (below + level).double().mean() / (2 * len(neg))])


def logistic_loss(z: Float[Tensor, " pair"], true: int) -> Float[Tensor, ""]:
    """Mean logistic loss of the true pairs, plus that of the false ones.

    Args:
        z: Logits, those of the true pairs first.
        true: How many pairs are true.
    """
    target, weight = _targets(true, len(z), z.device)
    # One operator instead of a dozen, because batches are small; blocks, because torch splits a
    # long sum by the number of threads.
    parts = zip(*(torch.split(x, _BLOCK) for x in (z, target, weight)), strict=True)
    losses = [
        F.binary_cross_entropy_with_logits(one, goal, share, reduction="sum")
        for one, goal, share in parts
    ]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


@lru_cache(maxsize=8)
def _targets(true: int, pairs: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which of the pairs are true, and weights that average both kinds."""
    row = torch.arange(pairs, device=device) < true
    weight = torch.where(row, 1 / max(true, 1), 1 / max(pairs - true, 1))
    return row.float(), weight


def _pooled(pos: Tensor, neg: Tensor) -> dict[str, float]:
    return {name: metric(name)(pos, neg) for name in ("ap", "auc")}


def _ranked(rank: Tensor) -> dict[str, float]:
    return {"mrr": float(rank.reciprocal().mean()), "hits@10": float((rank <= 10).double().mean())}


def _named(found: dict[str, float], name: str) -> dict[str, float]:
    return {f"{key}/{name}": value for key, value in found.items()}

r"""What ranked lists of items are worth.

A list has hits :math:`h_1, h_2, \ldots` (is the item at that rank one of the user's held-out items)
and the user has :math:`|T|` held-out items. Values per user are float64, in [0, 1], higher is
better; ranks beyond the end of a list are misses.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

__all__ = [
    "average_precision",
    "coverage",
    "evaluate_lists",
    "f1",
    "gini",
    "hit_rate",
    "ndcg",
    "popularity",
    "precision",
    "recall",
    "reciprocal_rank",
    "released_reciprocal_rank",
]

Hits = Bool[Tensor, "user rank"]
Relevant = Int[Tensor, " user"]
PerUser = Float64[Tensor, " user"]


def precision(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    r"""Share of the list that hits, :math:`\frac{1}{k} \sum_{r \le k} h_r`.

    Args:
        hits: Hits of each list.
        relevant: Not used.
        k: Length of the list.

    Raises:
        ValueError: if `k` is below 1 or shapes do not fit.
    """
    return _first(hits, relevant, k).sum(1) / k


def recall(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    r"""Share of the held-out items that the list has, :math:`\frac{1}{|T|} \sum_{r \le k} h_r`.

    Args:
        hits: Hits of each list.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    return _first(hits, relevant, k).sum(1) / relevant


def hit_rate(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    """Whether the list has any hit.

    Args:
        hits: Hits of each list.
        relevant: Not used.
        k: Length of the list.

    Raises:
        ValueError: if `k` is below 1 or shapes do not fit.
    """
    return _first(hits, relevant, k).amax(1)


def f1(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    """Harmonic mean of a user's precision and recall, 0 if both are.

    Args:
        hits: Hits of each list.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    return 2 * _first(hits, relevant, k).sum(1) / (k + relevant)


def ndcg(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    r"""Normalised discounted cumulative gain.

    .. math:: \sum_{r \le k} \frac{h_r}{\log_2 (r + 1)} \Big/
              \sum_{r=1}^{\min(k, |T|)} \frac{1}{\log_2 (r + 1)}

    Args:
        hits: Hits of each list.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    found = _first(hits, relevant, k)
    gain = 1 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64, device=hits.device))
    ideal = gain.cumsum(0)[relevant.clamp(max=k) - 1]
    return (found * gain[: found.shape[1]]).sum(1) / ideal


def reciprocal_rank(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    """One over the rank of the first hit, 0 if there is none.

    Args:
        hits: Hits of each list.
        relevant: Not used.
        k: Length of the list.

    Raises:
        ValueError: if `k` is below 1 or shapes do not fit.
    """
    found = _first(hits, relevant, k)
    return (found / _ranks(found)).amax(1)


def released_reciprocal_rank(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    r"""What the released Sheaf4Rec code calls MRR: :math:`\sum_r h_r / r` over `min(k, |T|)`.

    Args:
        hits: Hits of each list.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    found = _first(hits, relevant, k)
    return (found / _ranks(found)).sum(1) / relevant.clamp(max=k)


def average_precision(hits: Hits, relevant: Relevant, k: int) -> PerUser:
    r"""Mean over the hits of the precision up to them.

    .. math:: \frac{1}{\min(k, |T|)} \sum_{r \le k} h_r \cdot \frac{1}{r} \sum_{s \le r} h_s

    Args:
        hits: Hits of each list.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    found = _first(hits, relevant, k)
    return (found * found.cumsum(1) / _ranks(found)).sum(1) / relevant.clamp(max=k)


METRICS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "precision": precision,
    "recall": recall,
    "hr": hit_rate,
    "f1-macro": f1,
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
    "map": average_precision,
}


def evaluate_lists(
    hits: Hits,
    relevant: Relevant,
    ks: Sequence[int],
    *,
    protocol: Literal["full", "sheaf4rec"] = "full",
) -> dict[str, float]:
    """Means over users of all metrics for several lengths: `ndcg@10`, ...

    `f1` is the harmonic mean of mean precision and mean recall, as papers report it, `f1-macro` the
    mean of the users' own.

    Args:
        hits: Hits of each list, at least as long as the longest length where there are so many
            items.
        relevant: Number of held-out items of each user.
        ks: Lengths of the lists.
        protocol: `sheaf4rec` takes `released_reciprocal_rank` for `mrr`.

    Raises:
        ValueError: if a length or a number of held-out items is below 1, or there are no users.
    """
    if not len(hits):
        raise ValueError("there is no user with held-out items to evaluate")
    found = {}
    for k in ks:
        for name, metric in METRICS.items():
            released = name == "mrr" and protocol == "sheaf4rec"
            function = released_reciprocal_rank if released else metric
            found[f"{name}@{k}"] = float(function(hits, relevant, k).mean())
        p, r = found[f"precision@{k}"], found[f"recall@{k}"]
        found[f"f1@{k}"] = 2 * p * r / (p + r) if p + r else 0.0
    return found


def coverage(items: Int[Tensor, "user rank"], num_items: int) -> float:
    """Share of the items that occur in any list.

    Args:
        items: Recommended items; -1 where a list is shorter.
        num_items: Number of items.
    """
    return int((_counts(items, num_items) > 0).sum()) / num_items


def gini(items: Int[Tensor, "user rank"], num_items: int) -> float:
    r"""How unevenly items are recommended: 0 if all equally often, towards 1 if always the same.

    With counts :math:`c_1 \le c_2 \le \ldots` of n items, :math:`\sum_i (2 i - n - 1) c_i / (n
    \sum_i c_i)`.

    Args:
        items: Recommended items; -1 where a list is shorter.
        num_items: Number of items.
    """
    count = _counts(items, num_items).sort().values.double()
    weight = 2 * torch.arange(1, num_items + 1, dtype=torch.float64, device=count.device)
    return float(((weight - num_items - 1) * count).sum() / (num_items * count.sum().clamp(min=1)))


def popularity(items: Int[Tensor, "user rank"], degree: Int[Tensor, " item"], users: int) -> float:
    """Mean share of the users of training who have a recommended item.

    Args:
        items: Recommended items; -1 where a list is shorter.
        degree: Number of training users of each item.
        users: Number of users.
    """
    count = _counts(items, len(degree)).double()
    return float((count * degree.to(count.device)).sum() / (count.sum().clamp(min=1) * users))


def _first(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """The first k hits as numbers, after a check of the input."""
    if k < 1:
        raise ValueError(f"the length of a list must be at least 1, got {k}")
    if hits.ndim != 2 or relevant.shape != hits.shape[:1]:
        raise ValueError(
            f"hits must be (user, rank) and relevant (user,), got shapes {tuple(hits.shape)} and "
            f"{tuple(relevant.shape)}"
        )
    if relevant.numel() and int(relevant.min()) < 1:
        raise ValueError("every user needs at least one held-out item; leave the others out")
    return hits[:, :k].double()


def _ranks(found: Tensor) -> Tensor:
    return torch.arange(1, found.shape[1] + 1, device=found.device)


def _counts(items: Tensor, num_items: int) -> Tensor:
    return torch.bincount(items[items >= 0].flatten(), minlength=num_items)

r"""What ranked lists of items are worth.

A list has hits :math:`h_1, h_2, \ldots` (is the item at that rank one of the user's held-out
items), and the user has :math:`|T| \ge 1` held-out items. Values of users are float64 in [0, 1],
higher is better. Ranks beyond the end of a list are misses: a catalogue may be shorter than `k`.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from graphlearn.ops.total import total

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


def precision(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    r"""Share of the list that hits, :math:`\frac{1}{k} \sum_{r \le k} h_r`.

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user; it is checked and does not matter here.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.

    Example:
        >>> precision(torch.tensor([[True, False, True]]), torch.tensor([4]), 2)
        tensor([0.5000], dtype=torch.float64)
    """
    return _first(hits, relevant, k).sum(1) / k


def recall(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    r"""Share of the held-out items that the list has, :math:`\frac{1}{|T|} \sum_{r \le k} h_r`.

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    return _first(hits, relevant, k).sum(1) / relevant


def hit_rate(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    """Whether the list has any hit.

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user; it is checked and does not matter here.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    return _first(hits, relevant, k).any(1).double()


def f1(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    r"""Harmonic mean of a user's precision and recall, 0 if both are.

    .. math:: \frac{2 P R}{P + R} = \frac{2}{k + |T|} \sum_{r \le k} h_r

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    return 2 * _first(hits, relevant, k).sum(1) / (k + relevant)


def ndcg(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    r"""Normalised discounted cumulative gain.

    .. math:: \sum_{r \le k} \frac{h_r}{\log_2 (r + 1)} \Big/
              \sum_{r=1}^{\min(k, |T|)} \frac{1}{\log_2 (r + 1)}

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    found, best = _first(hits, relevant, k), relevant.clamp(max=k)
    # The best list that a user could get may be longer than the lists that there are.
    length = max(found.shape[1], int(best.max()) if len(best) else 0)
    gain = 1 / torch.log2(1 + _ranks(length, hits.device))
    return (found * gain[: found.shape[1]]).sum(1) / gain.cumsum(0)[best.long() - 1]


def reciprocal_rank(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    """One over the rank of the first hit, 0 if there is none.

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user; it is checked and does not matter here.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.

    Example:
        >>> reciprocal_rank(torch.tensor([[False, True, True]]), torch.tensor([4]), 3)
        tensor([0.5000], dtype=torch.float64)
    """
    found = _first(hits, relevant, k)
    first = found * (found.cumsum(1) == 1)
    return (first / _ranks(found.shape[1], hits.device)).sum(1)


def released_reciprocal_rank(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    r"""What the released code of Sheaf4Rec calls MRR.

    .. math:: \frac{1}{\min(k, |T|)} \sum_{r \le k} \frac{h_r}{r}

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    found = _first(hits, relevant, k)
    return (found / _ranks(found.shape[1], hits.device)).sum(1) / relevant.clamp(max=k)


def average_precision(
    hits: Bool[Tensor, "user rank"], relevant: Int[Tensor, " user"], k: int
) -> Float64[Tensor, " user"]:
    r"""Precision up to each hit, over the hits that were possible.

    .. math:: \frac{1}{\min(k, |T|)} \sum_{r \le k} \frac{h_r}{r} \sum_{s \le r} h_s

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user.
        k: Length of the list.

    Raises:
        ValueError: if `k` or a number of held-out items is below 1, or shapes do not fit.
    """
    found = _first(hits, relevant, k)
    up_to = found.cumsum(1) / _ranks(found.shape[1], hits.device)
    return (found * up_to).sum(1) / relevant.clamp(max=k)


def evaluate_lists(
    hits: Bool[Tensor, "user rank"],
    relevant: Int[Tensor, " user"],
    ks: Sequence[int],
    *,
    protocol: Literal["full", "sheaf4rec"] = "full",
) -> dict[str, float]:
    """Means over users for every length of list.

    Names are `precision@K`, `recall@K`, `hr@K`, `f1@K` (harmonic mean of the mean precision and
    the mean recall, as papers report it), `f1-macro@K` (mean of the users' own), `ndcg@K`, `mrr@K`
    and `map@K`.

    Args:
        hits: Hits of each list, best rank first.
        relevant: Number of held-out items of each user.
        ks: Lengths of the lists.
        protocol: `sheaf4rec` puts `released_reciprocal_rank` in the place of `mrr`.

    Raises:
        ValueError: if a length or a number of held-out items is below 1, shapes do not fit, there
            are no users, or the protocol is unknown.
    """
    if protocol not in ("full", "sheaf4rec"):
        raise ValueError(f"protocol must be 'full' or 'sheaf4rec', got {protocol!r}")
    if not len(hits):
        raise ValueError("lists of at least one user with held-out items are needed, got none")
    metrics = {
        "precision": precision,
        "recall": recall,
        "hr": hit_rate,
        "f1-macro": f1,
        "ndcg": ndcg,
        "mrr": reciprocal_rank if protocol == "full" else released_reciprocal_rank,
        "map": average_precision,
    }
    found = {}
    for k in ks:
        for name, metric in metrics.items():
            found[f"{name}@{k}"] = float(total(metric(hits, relevant, k))) / len(hits)
        p, r = found[f"precision@{k}"], found[f"recall@{k}"]
        found[f"f1@{k}"] = 2 * p * r / (p + r) if p + r else 0.0
    return found


def coverage(items: Int[Tensor, "user rank"], num_items: int) -> float:
    """Share of the items that occur in any list.

    Args:
        items: Recommended items; -1 where a list is shorter.
        num_items: Number of items.

    Raises:
        ValueError: if there are no items, or an id lies outside [-1, num_items).

    Example:
        >>> coverage(torch.tensor([[0, 2], [2, -1]]), 4)
        0.5
    """
    return int((_counts(items, num_items) > 0).sum()) / num_items


def gini(items: Int[Tensor, "user rank"], num_items: int) -> float:
    r"""How unevenly items are recommended: 0 if equally often, near 1 if always the same.

    With counts :math:`c_1 \le \dots \le c_n` of all n items, those that never occur included,

    .. math:: G = \sum_i (2 i - n - 1) \, c_i \Big/ n \sum_i c_i

    and 0 if all lists are empty.

    Args:
        items: Recommended items; -1 where a list is shorter.
        num_items: Number of items.

    Raises:
        ValueError: if there are no items, or an id lies outside [-1, num_items).
    """
    count = _counts(items, num_items).sort().values  # integers: the sums below are exact
    weight = 2 * torch.arange(1, num_items + 1, device=count.device) - num_items - 1
    return int((weight * count).sum()) / (num_items * max(int(count.sum()), 1))


def popularity(
    items: Int[Tensor, "user rank"], degree: Int[Tensor, " item"], num_users: int
) -> float:
    """Share of the training users that have an item, mean over all recommended items.

    It is 0 if all lists are empty.

    Args:
        items: Recommended items; -1 where a list is shorter.
        degree: Number of training users that have each item.
        num_users: Number of training users.

    Raises:
        ValueError: if there are no users or items, or an id lies outside [-1, number of items).
    """
    if num_users < 1:
        raise ValueError(f"the number of users must be at least 1, got {num_users}")
    count = _counts(items, len(degree))
    had = int((count * degree.to(count.device)).sum())
    return had / (num_users * max(int(count.sum()), 1))


def _first(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """The first k hits as numbers, after a check of the input."""
    if k < 1:
        raise ValueError(f"k, the length of the list, must be at least 1, got {k}")
    if hits.ndim != 2 or relevant.shape != hits.shape[:1]:
        raise ValueError(
            "hits must be (user, rank) and relevant (user,), "
            f"got shapes {tuple(hits.shape)} and {tuple(relevant.shape)}"
        )
    if len(relevant) and int(relevant.min()) < 1:
        raise ValueError(
            "every user needs at least one held-out item, "
            f"got {int(relevant.min())}; leave out users who have none"
        )
    return hits[:, :k].double()


def _ranks(length: int, device: torch.device) -> Tensor:
    return torch.arange(1, length + 1, dtype=torch.float64, device=device)


def _counts(items: Tensor, num_items: int) -> Tensor:
    """How often each item is recommended."""
    if num_items < 1:
        raise ValueError(f"the number of items must be at least 1, got {num_items}")
    if items.numel() and not -1 <= int(items.min()) <= int(items.max()) < num_items:
        raise ValueError(
            f"items must lie in [0, {num_items}), or be -1 where a list is shorter, "
            f"got {int(items.min())} to {int(items.max())}"
        )
    return torch.bincount(items[items >= 0].long(), minlength=num_items)

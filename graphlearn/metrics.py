r"""What a ranking of true and false pairs is worth, with the exact rules of OGB.

All functions take scores where higher means more likely; logits, not probabilities, because a
float32 sigmoid saturates and makes ties that these metrics punish. NumPy arrays and tensors are
both welcome and give the same values. A NaN never helps: a true pair that scores NaN ranks last,
and a false pair that scores NaN ranks above every true one.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, Int, Num
from torch import Tensor

from graphlearn.extras import nearest

__all__ = [
    "Metric",
    "Scores",
    "TopK",
    "auc",
    "average_precision",
    "hits_at",
    "macro_f1",
    "metric",
    "mrr",
    "mrr_global",
    "ranks",
    "tied_at",
]

Scores: TypeAlias = Num[Tensor, "..."] | Num[np.ndarray, "..."]
Metric: TypeAlias = Callable[[Scores, Scores], float]


def hits_at(k: int) -> Metric:
    """Fraction of the true pairs that rank among the first `k`, as a function of `(pos, neg)`.

    With one pool of false pairs (M,), a true pair is a hit if it scores strictly above the k-th
    largest of the pool; a tie is a miss, and fewer than `k` false pairs make everything a hit.
    With candidates for each true pair (P, K), it is a hit if its rank is at most `k`, where a
    tied candidate counts half. Both are the rules of `ogb.linkproppred.Evaluator`.

    Args:
        k: Length of the list, at least 1.

    Raises:
        ValueError: if `k` is below 1; from the function, if shapes do not fit.

    Example:
        >>> hits_at(2)(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.7, 0.5, 0.3]))
        0.3333333333333333
    """
    _check_length(k)

    def hits(pos: Scores, neg: Scores) -> float:
        if neg.ndim == 2:
            return _fraction(ranks(pos, neg) <= k)
        return TopK(k).update(neg).value(pos)

    return hits


def tied_at(k: int) -> Metric:
    """Fraction of the true pairs that tie with the k-th largest false pair.

    Hits@k counts such ties as misses, so a value well above zero says that the scores are too
    coarse (saturated, rounded to half precision, or counts).

    Args:
        k: Length of the list, at least 1.

    Raises:
        ValueError: if `k` is below 1; from the function, if shapes do not fit.
    """
    _check_length(k)

    def tied(pos: Scores, neg: Scores) -> float:
        if neg.ndim != 2:
            return TopK(k).update(neg).tied(pos)
        own, others = _candidates(pos, neg)
        if others.shape[1] < k:
            return 0.0
        return _fraction(own == others.topk(k, dim=1).values[:, -1])

    return tied


class TopK:
    """The `k` largest false pairs of a stream, which is all that Hits@k needs to know.

    The value equals `hits_at(k)` of everything that was given to `update`, in any order and any
    chunks, while only `k` scores are kept.

    Args:
        k: Length of the list, at least 1.

    Raises:
        ValueError: if `k` is below 1.

    Example:
        >>> top = TopK(2).update(torch.tensor([0.3, 0.7])).update(torch.tensor([0.5]))
        >>> top.value(torch.tensor([0.9, 0.5, 0.1]))
        0.3333333333333333
    """

    def __init__(self, k: int) -> None:
        _check_length(k)
        self.k = k
        self._top: Tensor | None = None

    def update(self, neg: Scores) -> "TopK":
        """Take in more false pairs (M,)."""
        scores = _flat(neg, "neg")
        if self._top is not None:
            scores = torch.cat([self._top, scores.to(self._top.device)])
        self._top = scores.topk(min(self.k, len(scores))).values
        return self

    def value(self, pos: Scores) -> float:
        """Hits@k of the true pairs (P,) against all false pairs so far."""
        own = _flat(pos, "pos")
        threshold = self._threshold()
        if threshold is None:
            return _fraction(torch.ones_like(own, dtype=torch.bool))
        return _fraction(own.to(threshold.device) > threshold)

    def tied(self, pos: Scores) -> float:
        """Fraction of the true pairs (P,) that tie with the k-th largest false pair."""
        own = _flat(pos, "pos")
        threshold = self._threshold()
        if threshold is None:
            return 0.0
        return _fraction(own.to(threshold.device) == threshold)

    def _threshold(self) -> Tensor | None:
        full = self._top is not None and len(self._top) == self.k
        return self._top[-1] if full and self._top is not None else None


def ranks(pos: Scores, neg: Scores) -> Float64[Tensor, " pair"]:
    r"""Rank of every true pair among its own candidates, 1 is best.

    :math:`1 + \tfrac12 (\#\{n > p\} + \#\{n \ge p\})`: the mean of the best and the worst rank
    that the ties allow. `(ranks(pos, neg) <= 10)` are the rank-based hits of OGB.

    Args:
        pos: Scores of the true pairs (P,).
        neg: Scores of their candidates (P, K).

    Raises:
        ValueError: if shapes do not fit.

    Example:
        >>> ranks(torch.tensor([0.5]), torch.tensor([[0.5, 0.1, 0.7]]))
        tensor([2.5000], dtype=torch.float64)
    """
    own, others = _candidates(pos, neg)
    # Written with negated comparisons, so that a NaN on either side counts against the true pair.
    above = (~(others <= own[:, None])).sum(1)
    level = (~(others < own[:, None])).sum(1)
    return 1 + (above + level).double() / 2


def mrr(pos: Scores, neg: Scores) -> Float64[Tensor, " pair"]:
    """Reciprocal rank of every true pair among its own candidates; the mean is the MRR.

    Args:
        pos: Scores of the true pairs (P,).
        neg: Scores of their candidates (P, K).

    Raises:
        ValueError: if shapes do not fit.
    """
    return 1 / ranks(pos, neg)


def mrr_global(pos: Scores, neg: Scores) -> Float64[Tensor, " pair"]:
    """Reciprocal rank of every true pair against the whole pool of false pairs.

    The tie rule is that of `ranks`. Costs O((P + M) log M) and no (P, M) matrix.

    Args:
        pos: Scores of the true pairs (P,).
        neg: Scores of the false pairs (M,).

    Raises:
        ValueError: if shapes do not fit.
    """
    own, pool = _flat(pos, "pos"), _flat(neg, "neg")
    kind = torch.promote_types(own.dtype, pool.dtype)
    own, unknown = own.to(pool.device, kind).contiguous(), pool.isnan()
    known = pool[~unknown].to(kind).sort().values
    below = torch.searchsorted(known, own) + torch.searchsorted(known, own, right=True)
    twice = 2 * len(pool) - below.masked_fill(own.isnan(), 0)
    return 1 / (1 + twice.double() / 2)


def auc(pos: Scores, neg: Scores) -> float:
    """Area under the ROC curve: chance that a true pair scores above a false one.

    Args:
        pos: Scores of the true pairs (P,).
        neg: Scores of the false pairs (M,).

    Raises:
        ValueError: if an input is not 1-d, is empty, or holds scores that are not finite.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_labelled(pos, neg)))


def average_precision(pos: Scores, neg: Scores) -> float:
    """Average precision of the true pairs in the ranking of all pairs.

    Args:
        pos: Scores of the true pairs (P,).
        neg: Scores of the false pairs (M,).

    Raises:
        ValueError: if an input is not 1-d, is empty, or holds scores that are not finite.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_labelled(pos, neg)))


def macro_f1(label: Int[Tensor, " node"], guess: Int[Tensor, " node"], classes: int) -> float:
    r"""F1 of each class that occurs among labels or guesses, averaged with equal weights.

    .. math:: F_c = 2 \, TP_c / (2 \, TP_c + FP_c + FN_c)

    Args:
        label: True class of each node.
        guess: Predicted class of each node.
        classes: Number of classes.

    Example:
        >>> macro_f1(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2)
        0.6666666666666666
    """
    truth, said = torch.bincount(label, minlength=classes), torch.bincount(guess, minlength=classes)
    right = torch.bincount(label[label == guess], minlength=classes)
    occurs = truth + said > 0
    return float((2 * right[occurs] / (truth + said)[occurs].double()).mean())


def metric(name: str) -> Metric:
    """The function `(pos, neg) -> float` that a metric's name stands for; higher is better.

    `hits@K`, `mrr` (against each true pair's own candidates (P, K), or against the whole pool
    where `neg` is (M,)), `auc` or `rocauc`, `ap`.

    Args:
        name: As recipes and data sets write it; capitals do not matter.

    Raises:
        ValueError: if the name stands for nothing.

    Example:
        >>> metric("mrr")(torch.tensor([0.5]), torch.tensor([0.5, 0.1, 0.7]))
        0.4
    """
    plain: dict[str, Metric] = {
        "ap": average_precision,
        "auc": auc,
        "mrr": _mean_reciprocal_rank,
        "rocauc": auc,
    }
    stem, at, length = name.lower().partition("@")
    if stem == "hits" and at and length.isdecimal():
        return hits_at(int(length))
    if not at and stem in plain:
        return plain[stem]
    shown = f"hits@{length if length.isdecimal() else 50}"
    hint = nearest(name.lower(), [shown, *plain])
    raise ValueError(f"no metric {name!r}; expected hits@K, mrr, auc, rocauc or ap{hint}")


def _mean_reciprocal_rank(pos: Scores, neg: Scores) -> float:
    return float((mrr if neg.ndim == 2 else mrr_global)(pos, neg).mean())


def _check_length(k: int) -> None:
    if k < 1:
        raise ValueError(f"k of hits@k must be at least 1, got {k}")


def _tensor(scores: Scores) -> Tensor:
    # A copy, because an array may be read-only or run backwards, which tensors cannot.
    return torch.from_numpy(np.array(scores)) if isinstance(scores, np.ndarray) else scores.detach()


def _flat(scores: Scores, side: str) -> Tensor:
    values = _tensor(scores)
    if values.ndim != 1:
        raise ValueError(
            f"{side} must be 1-d, one score for each pair, got shape {tuple(values.shape)}"
        )
    if side == "pos" and not len(values):
        raise ValueError("pos must hold at least one score, got none")
    return values


def _candidates(pos: Scores, neg: Scores) -> tuple[Tensor, Tensor]:
    own, others = _flat(pos, "pos"), _tensor(neg)
    if others.ndim != 2 or len(others) != len(own):
        raise ValueError(
            f"neg must be ({len(own)}, K), one row of candidates for each true pair, "
            f"got shape {tuple(others.shape)}"
        )
    return own.to(others.device), others


def _labelled(pos: Scores, neg: Scores) -> tuple[np.ndarray, np.ndarray]:
    own, pool = _flat(pos, "pos"), _flat(neg, "neg")
    if not len(pool):
        raise ValueError("neg must hold at least one score, got none")
    scores = torch.cat([own.to(pool.device), pool]).double().cpu()
    if not scores.isfinite().all():
        raise ValueError("AUC and AP need finite scores, got NaN or infinity")
    return np.repeat([1, 0], [len(own), len(pool)]), scores.numpy()


def _fraction(hit: Tensor) -> float:
    return int(hit.sum()) / hit.numel()

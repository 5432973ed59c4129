"""Losses that put items a user has above items that the user has not."""

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Loss", "bce", "bpr", "contrast", "rank_loss", "softmax"]

Loss = Literal["bpr", "softmax", "bce", "contrast"]
Pos: TypeAlias = Float[Tensor, " pair"]
Neg: TypeAlias = Float[Tensor, "pair draw"]


def bpr(pos: Pos, neg: Neg) -> Pos:
    r"""Bayesian personalised ranking, :math:`\mathrm{mean}_j \log(1 + e^{s_j - s_i})`.

    Reference: Steffen Rendle, Christoph Freudenthaler, Zeno Gantner, Lars Schmidt-Thieme, "BPR:
    Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.

    Args:
        pos: Score of each item that was chosen.
        neg: Scores of its false items.
    """
    return F.softplus(neg - pos.unsqueeze(1)).mean(1)


def softmax(pos: Pos, neg: Neg, temperature: float = 1.0) -> Pos:
    r"""Sampled softmax, :math:`-\log e^{s_i / \tau} / (e^{s_i / \tau} + \sum_j e^{s_j / \tau})`.

    A false item of score :math:`-\infty` does not count.

    Reference: Jiancan Wu, Xiang Wang, Xingyu Gao, Jiawei Chen, Hongcheng Fu, Tianyu Qiu, Xiangnan
    He, "On the Effectiveness of Sampled Softmax Loss for Item Recommendation", TOIS 2024.

    Args:
        pos: Score of each item that was chosen.
        neg: Scores of its false items.
        temperature: :math:`\tau`.
    """
    scores = torch.cat([pos.unsqueeze(1), neg], dim=1) / temperature
    return scores.logsumexp(1) - scores[:, 0]


def bce(pos: Pos, neg: Neg) -> Pos:
    r"""Logistic loss, :math:`-\log \sigma(s_i) - \mathrm{mean}_j \log \sigma(-s_j)`.

    Args:
        pos: Score of each item that was chosen.
        neg: Scores of its false items.
    """
    return F.softplus(-pos) + F.softplus(neg).mean(1)


def contrast(pos: Pos, neg: Neg, margin: float = 0.4, weight: float = 1.0) -> Pos:
    r"""Cosine contrastive loss, :math:`1 - s_i + w \, \mathrm{mean}_j \max(0, s_j - m)`.

    Meant for models whose scores are cosines.

    Reference: Kelong Mao, Jieming Zhu, Jinpeng Wang, Quanyu Dai, Zhenhua Dong, Xi Xiao, Xiuqiang
    He, "SimpleX: A Simple and Strong Baseline for Collaborative Filtering", CIKM 2021.

    Args:
        pos: Score of each item that was chosen.
        neg: Scores of its false items.
        margin: :math:`m`.
        weight: :math:`w`.
    """
    return 1 - pos + weight * F.relu(neg - margin).mean(1)


def rank_loss(
    kind: Loss, *, temperature: float, margin: float, weight: float
) -> Callable[[Pos, Neg], Pos]:
    """The loss of a name, as a function of true and false scores.

    Args:
        kind: Which loss.
        temperature: Of `softmax`.
        margin: Of `contrast`.
        weight: Of the false items in `contrast`.

    Raises:
        ValueError: if there is no such loss, or a number does not fit.
    """
    if kind not in get_args(Loss):
        raise ValueError(f"loss must be one of {', '.join(get_args(Loss))}, got {kind!r}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if weight < 0:
        raise ValueError(f"negative_weight must be at least 0, got {weight}")
    if kind == "softmax":
        return lambda pos, neg: softmax(pos, neg, temperature)
    if kind == "contrast":
        return lambda pos, neg: contrast(pos, neg, margin, weight)
    return bpr if kind == "bpr" else bce

r"""Logits of pairs from what their nodes bring and from the histogram of their joint neighbourhood.

.. math::
    z_p &= \mathrm{drop}([R_u + R_v ;\ g(h_p)^\top P]), \qquad q_p = \bar W z_p + b, \\
    y_p &= w_2^\top \mathrm{ReLU}(W_q q_p + W_u s_u + W_v s_v + W_r r_p + b_1) + b_2,

with the mean :math:`\bar W` of the heads, :math:`g(n) = n` or :math:`\log(1 + n)`, and the recency
:math:`r_p = \exp(-\rho (t_p - t^{met}_p))`, zero where the two never met. q enters linearly: its
map is multiplied with the first layer before pairs come in, and the terms of nodes are computed
once per node. The work per pair is a few sums of the width of the hidden layer.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int, Int32
from torch import Tensor

from graphlearn.ops.backend import Context, kernels
from graphlearn.ops.dropout import dropout

__all__ = ["Scorer", "pair_scores", "pair_scores_reference", "recency"]


class Scorer(NamedTuple):
    """Parameters: P (64, C); heads (H, Q, S + C) and b; W_1 = [W_q W_u W_v W_r], b_1; w_2, b_2."""

    code: Tensor
    head: Tensor
    head_bias: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor


def pair_scores(
    at: Int[Tensor, "2 pair"],
    counts: Int32[Tensor, "pair 64"],
    since: Float64[Tensor, " pair"],
    rates: Float64[Tensor, " decay"],
    sums: Float[Tensor, "row sum"],
    own: Float[Tensor, "row chan"],
    scorer: Scorer,
    *,
    log: bool,
    p: float = 0.0,
) -> Float[Tensor, " pair"]:
    """Logits of pairs of rows.

    Args:
        at: Row of the source and of the destination of each pair.
        counts: Histogram of presence codes.
        since: Time since the two met; negative where they never did.
        rates: Rates of decay of the recency; none leaves it out.
        sums: What each node adds to the pooled vector.
        own: Representation of each node.
        scorer: Parameters.
        log: Take logarithms of the counts.
        p: Probability of dropping an element of the pooled vector.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_()) if p else 0
    given = (at, counts, since, rates, sums, own, *scorer, log, p, seed)
    if kernels(at.device) is None or at.device.type != "cpu":
        return pair_scores_reference(*given)
    out: Tensor = _PairScores.apply(*given)  # type: ignore[no-untyped-call]
    return out


def pair_scores_reference(
    at: Tensor, counts: Tensor, since: Tensor, rates: Tensor, sums: Tensor, own: Tensor,
    code: Tensor, head: Tensor, head_bias: Tensor, hidden: Tensor, hidden_bias: Tensor,
    out: Tensor, out_bias: Tensor, log: bool, p: float, seed: int,
) -> Tensor:  # fmt: skip
    """The specification, in torch; differentiable."""
    amount = counts.float()
    pooled = torch.cat([sums[at[0]] + sums[at[1]], (amount.log1p() if log else amount) @ code], 1)
    pooled = dropout(pooled, p, seed=seed) if p else pooled
    q = pooled @ head.mean(0).T + head_bias
    x = torch.cat([q, own[at[0]], own[at[1]], recency(since, rates)], 1)
    return F.linear(F.relu(F.linear(x, hidden, hidden_bias)), out, out_bias).squeeze(1)


def recency(since: Tensor, rates: Tensor) -> Tensor:
    """Decays of the time since the two met, (P, r); zero where they never did.

    Args:
        since: Times (P,), negative for never.
        rates: Rates (r,).
    """
    decay = torch.exp(-since.clamp(min=0)[:, None] * rates).float()
    return torch.where(since[:, None] >= 0, decay, 0.0)


class _PairScores(torch.autograd.Function):
    """The CPU kernels, which keep what their gradients need."""

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Tensor:  # noqa: ANN401
        from graphlearn.ops import cpu

        *tensors, log, p, seed = args
        kernel: Any = cpu.pair_scores
        logits: Tensor
        logits, kept = kernel(*tensors, log, p, seed)
        ctx.save_for_backward(*kept, tensors[0], tensors[1], *tensors[4:])
        ctx.settings = (log, p, seed)
        return logits

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        from graphlearn.ops.cpu import pair_scores_grad

        found = pair_scores_grad(grad.contiguous(), *ctx.saved_tensors, *ctx.settings)
        return (*[None] * 4, *found, *[None] * 3)

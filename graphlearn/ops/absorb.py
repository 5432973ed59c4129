r"""Node representations with the last event absorbed: a GRU that is run when a node is read.

.. math:: s_v = \mathrm{GRU}(W [S_{opp(v)} ; x_{e(v)} ; \cos(\omega \tau + \phi)], S_v)

for the last event e(v) of v, with partner opp(v), at time t: :math:`\tau = T - t`, or
:math:`\tau = t` in absolute time. A node without an event has zeros for partner and features; its
time is 0 in absolute time, and is left out otherwise. Gradients go to the weights alone.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.ops.backend import Context, check_ids, kernels
from graphlearn.ops.commit import Tables
from graphlearn.ops.refresh import Weights, phases

__all__ = ["absorb", "absorb_reference"]


def absorb(
    nodes: Int[Tensor, " row"],
    now: Tensor,
    tables: Tables,
    edge: Float[Tensor, "event width"],
    weights: Weights,
    *,
    absolute: bool = False,
) -> Float[Tensor, "row chan"]:
    """Representations of some nodes.

    Args:
        nodes: Which.
        now: When they are read, ().
        tables: The cache.
        edge: Features of all events.
        weights: Parameters, of the width of the representation.
        absolute: Encode the time of the event instead of the time since then.
    """
    check_ids(tables.key.shape[0], nodes)
    state = (nodes, now.double(), tables.eid, tables.ts, tables.opp, tables.wide, edge)
    # On a GPU a handful of matrix products and gates needs no kernel of ours.
    if kernels(nodes.device) is None or nodes.device.type != "cpu":
        return absorb_reference(*state, *weights, absolute)
    out: Tensor = _Absorb.apply(*state, *weights, absolute)  # type: ignore[no-untyped-call]
    return out


def absorb_reference(
    nodes: Tensor, now: Tensor, eid: Tensor, ts: Tensor, opp: Tensor, wide: Tensor, edge: Tensor,
    inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor, b_hid: Tensor, omega: Tensor,
    phi: Tensor, absolute: bool,
) -> Tensor:  # fmt: skip
    """The specification, in torch; differentiable."""
    event, when = eid[nodes, 0].long(), ts[nodes, 0]
    known = (event >= 0)[:, None]
    parts = [torch.where(known, wide[opp[nodes].long()], 0.0)]
    if edge.shape[1]:
        parts.append(torch.where(known, edge[event], 0.0))
    wave = phases(when if absolute else now - when, omega, phi)
    parts.append(wave if absolute else torch.where(known, wave, 0.0))
    return torch.gru_cell(torch.cat(parts, 1) @ inner.T, wide[nodes], w_in, w_hid, b_in, b_hid)


class _Absorb(torch.autograd.Function):
    """The CPU kernels, which keep what their gradients need."""

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Tensor:  # noqa: ANN401
        from graphlearn.ops import cpu

        *tensors, absolute = args
        kernel: Any = cpu.absorb
        out: Tensor
        out, kept = kernel(*tensors, absolute, ctx.needs_input_grad[12])
        ctx.save_for_backward(*kept, *tensors[7:])
        return out

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        from graphlearn.ops.cpu import absorb_grad

        return (*[None] * 7, *absorb_grad(grad, *ctx.saved_tensors), None)

r"""Refreshing the slots of an N-cache: what happened since a key was written, by a small GRU.

For the slot of key w with last event (e, t) and stored representation z, read at time T,

.. math:: \hat z = \mathrm{GRU}(W [S_w ; x_e ; \cos(\omega \tau + \phi)], z),

with :math:`\tau = T - t`, or :math:`\tau = t` in absolute time. Empty slots give zero. Nothing
flows back into the state (S, z): gradients go to the weights alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.ops.backend import Context, check_ids, kernels
from graphlearn.ops.commit import Tables

__all__ = ["Weights", "phases", "refresh", "refresh_reference", "refreshed_sums"]


class Weights(NamedTuple):
    """Parameters of the refresh; gates in the order reset, update, new, as in torch's GRUCell.

    Shapes: `inner` (F, D + E + T) for wide representation, event features and time; `w_in` and
    `w_hid` (3F, F); `b_in` and `b_hid` (3F,); `omega` and `phi` (T,).
    """

    inner: Tensor
    w_in: Tensor
    w_hid: Tensor
    b_in: Tensor
    b_hid: Tensor
    omega: Tensor
    phi: Tensor


def refresh(
    nodes: Int[Tensor, " row"],
    now: Tensor,
    tables: Tables,
    edge: Float[Tensor, "event width"],
    weights: Weights,
    *,
    absolute: bool = False,
) -> Float[Tensor, "row slot chan"]:
    """Refreshed representations of all slots of some nodes, hop 0 first; zero where empty.

    Args:
        nodes: Whose slots.
        now: When they are read, ().
        tables: The cache.
        edge: Features of all events.
        weights: Parameters.
        absolute: Encode the time of the event instead of the time since then.
    """
    check_ids(tables.key.shape[0], nodes)
    given = (
        nodes, now.double(), tables.key, tables.eid, tables.ts, tables.rep, tables.wide, edge,
        *weights, absolute,
    )  # fmt: skip
    # What the dispatcher asks for an operator with so many tensors is as much as the kernel needs
    # for a batch; it is there for graphs that are traced.
    out: Tensor = _refresh(*given) if torch.compiler.is_compiling() else _apply(given)[0]
    return out


def refreshed_sums(
    nodes: Int[Tensor, " row"],
    now: Tensor,
    tables: Tables,
    edge: Float[Tensor, "event width"],
    weights: Weights,
    *,
    absolute: bool = False,
) -> tuple[Float[Tensor, "row slot chan"], Float[Tensor, "row chan"]]:
    """What `refresh` returns, and its sums over the slots of each node.

    Args:
        nodes: Whose slots.
        now: When they are read, ().
        tables: The cache.
        edge: Features of all events.
        weights: Parameters.
        absolute: Encode the time of the event instead of the time since then.
    """
    if torch.compiler.is_compiling():
        fresh = refresh(nodes, now, tables, edge, weights, absolute=absolute)
        return fresh, fresh.sum(1)
    check_ids(tables.key.shape[0], nodes)
    return _apply((
        nodes, now.double(), tables.key, tables.eid, tables.ts, tables.rep, tables.wide, edge,
        *weights, absolute,
    ))  # fmt: skip


def _apply(given: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled():
        run: Any = _Refresh.apply
        fresh, sums = run(*given)
        return fresh, sums
    fresh = _run(*given)
    return fresh, fresh.sum(1)


def phases(tau: Tensor, omega: Tensor, phi: Tensor) -> Tensor:
    """The time encoding, whose argument needs 64 bits: seconds may count in billions.

    Args:
        tau: Times (...), float64.
        omega: Frequencies (T,), per unit of time.
        phi: Phases (T,).
    """
    return torch.cos(tau[..., None] * omega.double() + phi.double()).float()


def refresh_reference(
    nodes: Tensor, now: Tensor, key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, wide: Tensor,
    edge: Tensor, inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor, b_hid: Tensor,
    omega: Tensor, phi: Tensor, absolute: bool,
) -> Tensor:  # fmt: skip
    """The specification, in torch; differentiable."""
    keys = torch.cat([nodes[:, None], key[nodes].long()], 1)
    numbers, when = eid[nodes].long(), ts[nodes]
    held = torch.cat([numbers[:, :1] >= 0, key[nodes] >= 0], 1)
    parts = [wide[keys.clamp(min=0)]]
    if edge.shape[1]:
        parts.append(edge[numbers.clamp(min=0)])
    parts.append(phases(when if absolute else now - when, omega, phi))
    p = torch.cat(parts, -1) @ inner.T
    z = rep[nodes].float()
    reset_in, update_in, new_in = (p @ w_in.T + b_in).chunk(3, -1)
    reset_hid, update_hid, new_hid = (z @ w_hid.T + b_hid).chunk(3, -1)
    reset = torch.sigmoid(reset_in + reset_hid)
    update = torch.sigmoid(update_in + update_hid)
    new = torch.tanh(new_in + reset * new_hid)
    return torch.where(held[..., None], new + update * (z - new), 0.0)


@torch.library.custom_op("graphlearn::refresh", mutates_args=())
def _refresh(
    nodes: Tensor, now: Tensor, key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, wide: Tensor,
    edge: Tensor, inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor, b_hid: Tensor,
    omega: Tensor, phi: Tensor, absolute: bool,
) -> Tensor:  # fmt: skip
    return _run(
        nodes, now, key, eid, ts, rep, wide, edge, inner, w_in, w_hid, b_in, b_hid, omega, phi,
        absolute,
    )  # fmt: skip


def _run(nodes: Tensor, *rest: Any) -> Tensor:  # noqa: ANN401
    fast = kernels(nodes.device)
    return (fast.refresh if fast else refresh_reference)(nodes, *rest)


def _fast(nodes: Tensor) -> bool:
    """Whether the CPU kernels serve, which can keep what they computed for the way back."""
    return hasattr(kernels(nodes.device), "refresh_kept")


@_refresh.register_fake
def _(
    nodes: Tensor, now: Tensor, key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, *rest: object
) -> Tensor:
    return _empty_like(rep, nodes)


def _empty_like(rep: Tensor, nodes: Tensor) -> Tensor:
    """An empty result."""
    return rep.new_empty(len(nodes), *rep.shape[1:], dtype=torch.float32)


@torch.library.custom_op("graphlearn::refresh_grad", mutates_args=())
def _gradients(
    grad: Tensor, nodes: Tensor, now: Tensor, key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor,
    wide: Tensor, edge: Tensor, inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor,
    b_hid: Tensor, omega: Tensor, phi: Tensor, absolute: bool,
) -> Tensor:  # fmt: skip
    """Gradients of all weights, one after the other: outputs of an op must not share memory."""
    found = _run_back(
        grad, nodes, now, key, eid, ts, rep, wide, edge, inner, w_in, w_hid, b_in, b_hid, omega,
        phi, absolute, True,
    )  # fmt: skip
    return torch.cat([part.reshape(-1) for part in found if part is not None])


def _run_back(grad: Tensor, *rest: Any, **kept: Any) -> Sequence[Tensor | None]:  # noqa: ANN401
    """Gradients of the weights; None for frequencies and phases that are not `timed`."""
    *tensors, absolute, timed = rest
    fast = kernels(grad.device)
    if not (kept and fast):
        grad = grad.contiguous()
    if fast is not None:
        found: Sequence[Tensor] = fast.refresh_grad(grad, *rest, **kept)
    else:
        with torch.enable_grad():
            leaves = [w.detach().requires_grad_() for w in tensors[8:]]
            out = refresh_reference(*[*tensors[:8], *leaves, absolute])
            found = torch.autograd.grad(out, leaves, grad)
    return found if timed else [*found[:5], None, None]


@_gradients.register_fake
def _(grad: Tensor, *rest: Tensor) -> Tensor:
    return grad.new_empty(sum(weight.numel() for weight in rest[8:15]))


def _save(ctx: Context, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    *tensors, ctx.absolute = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    flat = _gradients(grad.contiguous(), *saved, ctx.absolute)
    parts = flat.split([weight.numel() for weight in saved[8:]])
    shaped = [part.view_as(weight) for part, weight in zip(parts, saved[8:], strict=True)]
    return (*[None] * 8, *shaped, None)


_refresh.register_autograd(_backward, setup_context=_save)


class _Refresh(torch.autograd.Function):
    """The same without an operator in between."""

    @staticmethod
    def forward(ctx: Context, *args: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        *tensors, ctx.absolute = args
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.kept, ctx.timed = {}, any(ctx.needs_input_grad[13:15])
        if any(ctx.needs_input_grad) and _fast(tensors[0]):
            from graphlearn.ops import cpu

            fresh, sums, ctx.kept["kept"] = cpu.refresh_kept(*args, timed=ctx.timed)
            return fresh, sums
        fresh = _run(*args)
        return fresh, fresh.sum(1)

    @staticmethod
    def backward(ctx: Context, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        kept, ctx.kept = ctx.kept, {}  # a second time it is computed again
        slots = ctx.saved_tensors[2].shape[1] + 1
        each, total = grads
        if total is not None:
            spread = total[:, None].expand(-1, slots, -1)
            each = spread if each is None else each + spread
        if each is None:
            return (None,) * 16
        saved = (*ctx.saved_tensors, ctx.absolute, ctx.timed)
        return (*[None] * 8, *_run_back(each, *saved, **kept), None)

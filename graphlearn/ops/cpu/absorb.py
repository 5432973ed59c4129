"""CPU kernels of node representations: what stands between the matrix products."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, exact, jit, share
from graphlearn.ops.cpu.refresh import tanh_of, waves

__all__ = ["absorb", "absorb_grad"]


@jit
def _gather(
    first: int, last: int, nodes: Array, now: float, eid: Array, ts: Array, opp: Array,
    wide: Array, edge: Array, omega: Array, phi: Array, absolute: bool, x: Array, h: Array,
    tau: Array, slope: Array,
) -> None:  # fmt: skip
    own, more, times = wide.shape[1], edge.shape[1], omega.size
    wave, lean = np.empty((times, 1), np.float32), np.empty((slope.shape[1], 1), np.float32)
    for i in range(first, last):
        node = nodes[i]
        event = eid[node, 0]
        h[i] = wide[node]
        tau[i] = ts[node, 0] if absolute else now - ts[node, 0]
        if event < 0:
            x[i] = np.float32(0)
            slope[i] = np.float32(0)
            if not absolute:
                continue
        else:
            x[i, :own] = wide[opp[node]]
            if more:
                x[i, own : own + more] = edge[event]
        waves(1, tau[i : i + 1], omega, phi, wave, lean)
        for j in range(times):
            x[i, own + more + j] = wave[j, 0]
        for j in range(slope.shape[1]):
            slope[i, j] = lean[j, 0]


@partial(jit, fast=True)
def _gates(first: int, last: int, gi: Array, gh: Array, h: Array, out: Array) -> None:
    """Turn arguments into gates in place: reset, update and new in `gi`, hidden part in `gh`."""
    width = h.shape[1]
    for i in range(first, last):
        a, b = gi[i], gh[i]
        for c in range(2 * width):
            a[c] += b[c]
        tanh_of(2 * width, a, True)
        reset, update, new, hidden = a[:width], a[width : 2 * width], a[2 * width :], b[2 * width :]
        for c in range(width):
            new[c] += reset[c] * hidden[c]
        tanh_of(width, new, False)
        before, after = h[i], out[i]
        for c in range(width):
            after[c] = new[c] + update[c] * (before[c] - new[c])


@partial(jit, fast=True)
def _gates_grad(
    first: int, last: int, grad: Array, gi: Array, gh: Array, h: Array, di: Array, dh: Array
) -> None:
    width = h.shape[1]
    for i in range(first, last):
        a, b, g, before, left, right = gi[i], gh[i], grad[i], h[i], di[i], dh[i]
        reset, update, new, hidden = a[:width], a[width : 2 * width], a[2 * width :], b[2 * width :]
        left0, left1, left2 = left[:width], left[width : 2 * width], left[2 * width :]
        right2 = right[2 * width :]
        for c in range(width):
            r, u, n = reset[c], update[c], new[c]
            dn = g[c] * (1 - u) * (1 - n * n)
            left0[c] = dn * hidden[c] * r * (1 - r)
            left1[c] = g[c] * (before[c] - n) * u * (1 - u)
            left2[c] = dn
            right2[c] = dn * r
        for c in range(2 * width):
            right[c] = left[c]


def absorb(
    nodes: Tensor, now: Tensor, eid: Tensor, ts: Tensor, opp: Tensor, wide: Tensor, edge: Tensor,
    inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor, b_hid: Tensor, omega: Tensor,
    phi: Tensor, absolute: bool, timed: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """See `graphlearn.ops.absorb`; also returns what the gradients need."""
    count, width = len(nodes), wide.shape[1]
    x, h = torch.empty(count, inner.shape[1]), torch.empty(count, width)
    tau = torch.empty(count, dtype=torch.float64)
    slope = torch.empty(count, len(omega) if timed else 0)
    state = [part.detach().numpy() for part in (eid, ts, opp, wide, edge, omega, phi)]
    made = [part.numpy() for part in (x, h, tau, slope)]
    share(_gather, count, x.numel(), nodes.numpy(), float(now), *state, absolute, *made)
    with exact():
        a = torch.mm(x, inner.t())
        gi, gh = torch.addmm(b_in, a, w_in.t()), torch.addmm(b_hid, h, w_hid.t())
    out = torch.empty(count, width)
    share(_gates, count, 4 * out.numel(), gi.numpy(), gh.numpy(), made[1], out.numpy())
    return out, (x, a, h, gi, gh, tau, slope)


def absorb_grad(
    grad: Tensor, x: Tensor, a: Tensor, h: Tensor, gi: Tensor, gh: Tensor, tau: Tensor,
    slope: Tensor, inner: Tensor, w_in: Tensor, w_hid: Tensor, b_in: Tensor, b_hid: Tensor,
    omega: Tensor, phi: Tensor,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of the weights, and of frequencies and phases where they are learned."""
    di, dh = torch.empty_like(gi), torch.empty_like(gh)
    arrays = [part.numpy() for part in (grad.contiguous(), gi, gh, h, di, dh)]
    share(_gates_grad, len(h), 4 * h.numel(), *arrays)
    with exact():
        da = torch.mm(di, w_in)
        omegas, phis = None, None
        if slope.shape[1]:
            steep = torch.mm(da, inner[:, -len(omega) :]).mul_(slope).neg_()
            omegas, phis = torch.mv(steep.t().double(), tau).float(), steep.sum(0)
        return (
            torch.mm(da.t(), x), torch.mm(di.t(), a), torch.mm(dh.t(), h), di.sum(0), dh.sum(0),
            omegas, phis,
        )  # fmt: skip

"""CPU kernels that refresh the slots of an N-cache, forward and backward.

Occupied slots of a few nodes at a time are gathered into lanes, so that the gates, the cosines and
their polynomials run over contiguous arrays, which the compiler turns into vector instructions.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import numba as nb
import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["Kept", "refresh", "refresh_grad", "refresh_kept", "tanh_of", "waves"]

Kept: TypeAlias = tuple[Array, Array, Array, Array]  # lanes of each group: number, ids, times, rest

_NODES = 8  # whose slots make up the lanes; gradients are summed within, then over the groups
_TURN = 1 / (2 * np.pi)

# Best rational fit of tanh(x) / x in x^2 up to x = 9, and interpolations of cos(2 pi y) and
# sin(2 pi y) / y in y^2 up to y = 1/2; all within 4e-7 in 32 bits.
_P = (0.99999998, 0.13381025, 0.0034955896, 2.0609161e-05, 1.3354875e-08)
_Q = (1.0, 0.46714341, 0.025876983, 0.00032856394, 7.7766237e-07)
_COS = (1.0, -19.739204, 64.939116, -85.450113, 60.16743, -25.966885, 6.527706)
_SIN = (6.2831853, -41.3417, 81.60513, -76.703006, 42.025851, -14.899578, 3.2377801)


@jit
def _gather(
    first: int, last: int, nodes: Array, now: float, key: Array, eid: Array, ts: Array, rep: Array,
    absolute: bool, row: Array, column: Array, keys: Array, events: Array, tau: Array, z: Array,
) -> int:  # fmt: skip
    """Collect the occupied slots; returns how many there are."""
    m, slots, width = 0, key.shape[1], rep.shape[2]
    for i in range(first, last):
        node = nodes[i]
        for s in range(slots + 1):
            if (eid[node, 0] if s == 0 else key[node, s - 1]) < 0:
                continue
            row[m], column[m] = i, s
            keys[m] = node if s == 0 else key[node, s - 1]
            events[m] = eid[node, s]
            tau[m] = ts[node, s] if absolute else now - ts[node, s]
            for f in range(width):
                z[f, m] = rep[node, s, f]
            m += 1
    return m


@partial(jit, fast=True)
def waves(m: int, tau: Array, omega: Array, phi: Array, wave: Array, slope: Array) -> None:
    """Cosines, and sines where they are asked for."""
    for j in range(omega.size):
        frequency, shift = np.float64(omega[j]) * _TURN, np.float64(phi[j]) * _TURN
        for i in range(m):
            turns = tau[i] * frequency + shift
            y = np.float32(turns - np.floor(turns + 0.5))
            q = y * y
            value = np.float32(_COS[6])
            for k in nb.literal_unroll((5, 4, 3, 2, 1, 0)):
                value = value * q + np.float32(_COS[k])
            wave[j, i] = value
        if slope.shape[0] == 0:
            continue
        for i in range(m):
            turns = tau[i] * frequency + shift
            y = np.float32(turns - np.floor(turns + 0.5))
            q = y * y
            value = np.float32(_SIN[6])
            for k in nb.literal_unroll((5, 4, 3, 2, 1, 0)):
                value = value * q + np.float32(_SIN[k])
            slope[j, i] = value * y


@partial(jit, fast=True)
def _dots(
    m: int, lines: Array, table: Array, inner: Array, first: int, p: Array, fresh: bool
) -> None:
    """Products of table lines with four rows of weights at a time; rows come in fours."""
    size = table.shape[1]
    for f in range(0, p.shape[0], 4):
        # Slices, since an index that might be negative keeps the sum from being vectorised.
        w0, w1 = inner[f, first : first + size], inner[f + 1, first : first + size]
        w2, w3 = inner[f + 2, first : first + size], inner[f + 3, first : first + size]
        for i in range(m):
            line = table[lines[i]]
            s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for c in range(size):
                s0 += w0[c] * line[c]
                s1 += w1[c] * line[c]
                s2 += w2[c] * line[c]
                s3 += w3[c] * line[c]
            if fresh:
                p[f, i], p[f + 1, i], p[f + 2, i], p[f + 3, i] = s0, s1, s2, s3
            else:
                p[f, i] += s0
                p[f + 1, i] += s1
                p[f + 2, i] += s2
                p[f + 3, i] += s3


@partial(jit, fast=True)
def _outer(
    m: int, lines: Array, table: Array, dp: Array, first: int, columns: int, sums: Array
) -> None:
    """Add what four rows of weights receive from table lines, at a time."""
    size = table.shape[1]
    for f in range(0, dp.shape[0], 4):
        t0, t1, t2, t3 = (
            sums[f * columns + first : f * columns + first + size],
            sums[(f + 1) * columns + first : (f + 1) * columns + first + size],
            sums[(f + 2) * columns + first : (f + 2) * columns + first + size],
            sums[(f + 3) * columns + first : (f + 3) * columns + first + size],
        )
        for i in range(m):
            line = table[lines[i]]
            g0, g1, g2, g3 = dp[f, i], dp[f + 1, i], dp[f + 2, i], dp[f + 3, i]
            for c in range(size):
                value = line[c]
                t0[c] += g0 * value
                t1[c] += g1 * value
                t2[c] += g2 * value
                t3[c] += g3 * value


@partial(jit, fast=True)
def _project(
    m: int, keys: Array, events: Array, wide: Array, edge: Array, wave: Array, inner: Array,
    p: Array,
) -> None:  # fmt: skip
    own, more = wide.shape[1], edge.shape[1]
    _dots(m, keys, wide, inner, 0, p, True)
    if more:
        _dots(m, events, edge, inner, own, p, False)
    for f in range(p.shape[0]):
        for j in range(wave.shape[0]):
            weight = inner[f, own + more + j]
            for i in range(m):
                p[f, i] += weight * wave[j, i]


@partial(jit, fast=True)
def tanh_of(m: int, x: Array, half: bool) -> None:
    """Hyperbolic tangent in place, or the logistic function, which is one of half the argument."""
    scale = np.float32(0.5 if half else 1.0)
    for i in range(m):
        y = min(max(x[i] * scale, np.float32(-9)), np.float32(9))
        q = y * y
        top, bottom = np.float32(_P[4]), np.float32(_Q[4])
        for k in nb.literal_unroll((3, 2, 1, 0)):
            top = top * q + np.float32(_P[k])
            bottom = bottom * q + np.float32(_Q[k])
        value = y * top / bottom
        x[i] = np.float32(0.5) + np.float32(0.5) * value if half else value


@partial(jit, fast=True)
def _gates(
    m: int, p: Array, z: Array, w_in: Array, w_hid: Array, b_in: Array, b_hid: Array, gate: Array
) -> None:
    """Reset, update, new and the hidden part of new, F lanes each."""
    width = z.shape[0]
    for g in range(3 * width):
        own = g >= 2 * width
        bias = b_in[g] if own else b_in[g] + b_hid[g]
        for i in range(m):
            gate[g, i] = bias
        for f in range(width):
            left, right = w_in[g, f], np.float32(0) if own else w_hid[g, f]
            for i in range(m):
                gate[g, i] += left * p[f, i] + right * z[f, i]
        if own:
            for i in range(m):
                gate[g + width, i] = b_hid[g]
            for f in range(width):
                right = w_hid[g, f]
                for i in range(m):
                    gate[g + width, i] += right * z[f, i]
    for g in range(2 * width):
        tanh_of(m, gate[g], True)
    for f in range(width):
        new, hidden, reset = gate[2 * width + f], gate[3 * width + f], gate[f]
        for i in range(m):
            new[i] += reset[i] * hidden[i]
        tanh_of(m, new, False)


@jit
def _forward(
    first: int, last: int, nodes: Array, now: float, key: Array, eid: Array, ts: Array, rep: Array,
    wide: Array, edge: Array, inner: Array, w_in: Array, w_hid: Array, b_in: Array, b_hid: Array,
    omega: Array, phi: Array, absolute: bool, timed: bool, counts: Array, ids: Array, taus: Array,
    lanes: Array, out: Array, sums: Array,
) -> None:  # fmt: skip
    """Refresh groups of nodes; what gradients need stays where there is a row for each group."""
    keep, width, more, times = counts.size > 0, rep.shape[2], inner.shape[0], omega.size
    if not keep:
        ids = np.empty((1, 4, ids.shape[2]), np.int64)
        taus = np.empty((1, taus.shape[1]), np.float64)
        lanes = np.empty((1, lanes.shape[1], lanes.shape[2]), np.float32)
    for group in range(first, last):
        at = group if keep else 0
        row, column, keys, events, tau = ids[at, 0], ids[at, 1], ids[at, 2], ids[at, 3], taus[at]
        z, rest = lanes[at, :width], lanes[at, width:]
        p, gate, wave = rest[:more], rest[more : more + 4 * width], rest[more + 4 * width :]
        low, high = group * _NODES, min((group + 1) * _NODES, nodes.size)
        m = _gather(
            low, high, nodes, now, key, eid, ts, rep, absolute, row, column, keys, events, tau, z
        )
        waves(m, tau, omega, phi, wave, wave[times:])
        _project(m, keys, events, wide, edge, wave[:times], inner, p)
        _gates(m, p, z, w_in, w_hid, b_in, b_hid, gate)
        if keep:
            counts[group] = m
        for f in range(width):
            for i in range(m):
                new = gate[2 * width + f, i]
                value = new + gate[width + f, i] * (z[f, i] - new)
                out[row[i], column[i], f] = value
                sums[row[i], f] += value


@partial(jit, fast=True)
def _through(
    m: int, row: Array, column: Array, grad: Array, z: Array, gate: Array, w_in: Array, dp: Array
) -> None:
    """Turn gates into gradients of their arguments in place, and those into that of `dp`."""
    width = z.shape[0]
    for f in range(width):
        reset, update = gate[f], gate[width + f]
        new, hidden = gate[2 * width + f], gate[3 * width + f]
        for i in range(m):
            g = grad[row[i], column[i], f]
            r, u, n, h = reset[i], update[i], new[i], hidden[i]
            dn = g * (1 - u) * (1 - n * n)
            reset[i] = dn * h * r * (1 - r)
            update[i] = g * (z[f, i] - n) * u * (1 - u)
            new[i] = dn
            hidden[i] = dn * r
    for f in range(width):
        for i in range(m):
            dp[f, i] = 0
        for g in range(3 * width):
            weight = w_in[g, f]
            for i in range(m):
                dp[f, i] += weight * gate[g, i]


@partial(jit, fast=True)
def _add(
    m: int, keys: Array, events: Array, tau: Array, wide: Array, edge: Array, inner: Array,
    wave: Array, slope: Array, p: Array, z: Array, gate: Array, dp: Array, sums: Array,
) -> None:  # fmt: skip
    """Add the gradients of all weights, one after the other, to `sums`."""
    width, own, more, times = z.shape[0], wide.shape[1], edge.shape[1], wave.shape[0]
    columns = own + more + times
    _outer(m, keys, wide, dp, 0, columns, sums)
    if more:
        _outer(m, events, edge, dp, own, columns, sums)
    for f in range(width):
        for j in range(times):
            total = np.float32(0)
            for i in range(m):
                total += dp[f, i] * wave[j, i]
            sums[f * columns + own + more + j] += total
    at = dp.shape[0] * columns
    for source, hid in ((p, 0), (z, 1)):
        for g in range(3 * width):
            lane = gate[g + width if hid and g >= 2 * width else g]
            for f in range(width):
                total = np.float32(0)
                for i in range(m):
                    total += lane[i] * source[f, i]
                sums[at + g * width + f] += total
        at += 3 * width * width
    for hid in range(2):
        for g in range(3 * width):
            lane = gate[g + width if hid and g >= 2 * width else g]
            total = np.float32(0)
            for i in range(m):
                total += lane[i]
            sums[at + g] += total
        at += 3 * width
    for j in range(slope.shape[0]):
        line, steep, flat = wave[j], 0.0, np.float32(0)  # its cosines are no longer needed
        line[:m] = np.float32(0)
        for f in range(width):
            weight = inner[f, own + more + j]
            for i in range(m):
                line[i] += weight * dp[f, i]
        for i in range(m):
            line[i] *= slope[j, i]
            flat -= line[i]
            steep -= np.float64(line[i]) * tau[i]
        sums[at + j] += np.float32(steep)
        sums[at + times + j] += flat


@jit
def _backward(
    first: int, last: int, grad: Array, counts: Array, ids: Array, taus: Array, lanes: Array,
    wide: Array, edge: Array, inner: Array, w_in: Array, times: int, sums: Array,
) -> None:  # fmt: skip
    """Add up gradients, group by group; gates and waves are used up."""
    width, more = w_in.shape[1], inner.shape[0]
    dp = np.zeros((more, lanes.shape[2]), np.float32)
    for group in range(first, last):
        m, keys, events = counts[group], ids[group, 2], ids[group, 3]
        z, rest = lanes[group, :width], lanes[group, width:]
        p, gate, wave = rest[:more], rest[more : more + 4 * width], rest[more + 4 * width :]
        _through(m, ids[group, 0], ids[group, 1], grad, z, gate, w_in, dp)
        _add(
            m, keys, events, taus[group], wide, edge, inner, wave[:times], wave[times:], p, z,
            gate, dp, sums[group],
        )  # fmt: skip


def refresh(*args: Any) -> Tensor:  # noqa: ANN401
    """See `graphlearn.ops.refresh`."""
    return _run(args, keep=False, timed=False)[0]


def refresh_kept(*args: Any, timed: bool) -> tuple[Tensor, Tensor, Kept]:  # noqa: ANN401
    """The same, its sums, and what gradients need: all that was computed on the way."""
    return _run(args, keep=True, timed=timed)


def _run(args: Sequence[Any], *, keep: bool, timed: bool) -> tuple[Tensor, Tensor, Kept]:
    nodes, now, key, eid, ts, rep, wide, edge, inner, w_in, w_hid, b_in, b_hid, omega, phi = args[
        :15
    ]
    width, fours = rep.shape[2], _in_fours(inner)
    given = (key, eid, ts, rep, wide, edge, fours, w_in, w_hid, b_in, b_hid, omega, phi)
    out = torch.zeros(len(nodes), *rep.shape[1:])
    groups, size = -(-len(nodes) // _NODES), _NODES * rep.shape[1]
    rows = 5 * width + len(fours) + len(omega) * (2 if timed else 1)
    held = groups if keep else 0
    kept = (
        np.empty(held, np.int64), np.empty((held, 4, size), np.int64),
        np.empty((held, size), np.float64), np.empty((held, rows, size), np.float32),
    )  # fmt: skip
    arrays = [tensor.detach().numpy() for tensor in given]
    sums = np.zeros((len(nodes), width), np.float32)
    settings = (args[15], timed, *kept, out.numpy(), sums)
    work = out.numel() * inner.shape[1]
    share(_forward, groups, work, nodes.numpy(), float(now), *arrays, *settings)
    return out, torch.from_numpy(sums), kept


def refresh_grad(
    grad: Tensor,
    *args: Any,  # noqa: ANN401
    kept: Kept | None = None,
) -> tuple[Tensor, ...]:
    """Gradients of the weights, summed over fixed groups of nodes; zeros where not `timed`.

    Args:
        grad: Gradient of the result.
        args: Arguments of `refresh`, and whether frequencies and phases are learned.
        kept: What `refresh_kept` returned; it is used up.
    """
    *given, timed = args
    if kept is None:
        kept = refresh_kept(*given, timed=timed)[2]
    weights, wide, edge = given[8:15], given[6], given[7]
    fours = _in_fours(weights[0])
    sizes = [w.numel() for w in (fours, *weights[1:])]
    sums = np.zeros((len(kept[0]), sum(sizes)), np.float32)
    arrays = [tensor.detach().numpy() for tensor in (wide, edge, fours, weights[1])]
    work = grad.numel() * fours.shape[1] * 3
    share(_backward, len(sums), work, grad.numpy(), *kept, *arrays, len(weights[5]), sums)
    parts = torch.split(torch.from_numpy(sums.sum(0)), sizes)
    shapes = [fours.shape, *(w.shape for w in weights[1:])]
    found = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    return found[0][: len(weights[0])].clone(), *found[1:]


def _in_fours(inner: Tensor) -> Tensor:
    """Rows of weights, with rows of zeros up to a multiple of four."""
    more = -len(inner) % 4
    return torch.nn.functional.pad(inner, (0, 0, 0, more)) if more else inner.contiguous()

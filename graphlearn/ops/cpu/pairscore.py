"""CPU kernels that score pairs: what stands between the matrix products."""

from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.dropout import dropout
from graphlearn.ops.cpu.jit import Array, exact, jit, share

__all__ = ["pair_scores", "pair_scores_grad"]


@jit
def _features(
    first: int, last: int, at: Array, counts: Array, since: Array, rates: Array, sums: Array,
    code: Array, logs: Array, pooled: Array, recency: Array,
) -> None:  # fmt: skip
    """Pooled vector and recency of each pair."""
    width, size, chan = sums.shape[1], code.shape[0], code.shape[1]
    for p in range(first, last):
        u, v = at[0, p], at[1, p]
        for s in range(width):
            pooled[p, s] = sums[u, s] + sums[v, s]
        for c in range(chan):
            pooled[p, width + c] = 0
        for k in range(size):
            n = counts[p, k]
            if n > 0:
                amount = logs[n] if n < logs.size else np.float32(n)
                for c in range(chan):
                    pooled[p, width + c] += amount * code[k, c]
        for r in range(rates.size):
            recency[p, r] = np.exp(-since[p] * rates[r]) if since[p] >= 0 else 0.0


@partial(jit, fast=True)
def _logits(
    first: int, last: int, at: Array, source: Array, target: Array, bias: Array, weight: Array,
    shift: float, pre: Array, out: Array,
) -> None:  # fmt: skip
    """Add the terms of the nodes, rectify in place, and take the product with the last layer."""
    width = bias.size
    for p in range(first, last):
        row, left, right = pre[p], source[at[0, p]], target[at[1, p]]
        total = np.float32(0)
        for c in range(width):
            value = row[c] + left[c] + right[c] + bias[c]
            value = max(value, np.float32(0))
            row[c] = value
            total += value * weight[c]
        out[p] = total + shift


@partial(jit, fast=True)
def _logits_grad(
    first: int, last: int, at: Array, grad: Array, weight: Array, pre: Array, source: Array,
    target: Array, bias: Array, last_weight: Array,
) -> None:  # fmt: skip
    """For columns first to last: turn activations into gradients in place, and add them up."""
    w, db, dw = weight[first:last], bias[first:last], last_weight[first:last]
    for p in range(at.shape[1]):
        row = pre[p, first:last]
        left, right = source[at[0, p], first:last], target[at[1, p], first:last]
        g = grad[p]
        for c in range(row.size):
            dw[c] += g * row[c]
            row[c] = g * w[c] if row[c] > 0 else np.float32(0)
        for c in range(row.size):
            left[c] += row[c]
        for c in range(row.size):
            right[c] += row[c]
            db[c] += row[c]


@jit
def _features_grad(
    at: Array, counts: Array, grad: Array, logs: Array, sums: Array, code: Array
) -> None:
    width, size, chan = sums.shape[1], code.shape[0], code.shape[1]
    for p in range(at.shape[1]):
        u, v = at[0, p], at[1, p]
        for s in range(width):
            sums[u, s] += grad[p, s]
            sums[v, s] += grad[p, s]
        for k in range(size):
            n = counts[p, k]
            if n > 0:
                amount = logs[n] if n < logs.size else np.float32(n)
                for c in range(chan):
                    code[k, c] += amount * grad[p, width + c]


def _split(hidden: Tensor, head: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    first, wide = head.shape[0], own.shape[1]
    return (
        hidden[:, :first], hidden[:, first : first + wide],
        hidden[:, first + wide : first + 2 * wide], hidden[:, first + 2 * wide :],
    )  # fmt: skip


def _arrays(*tensors: Tensor) -> list[Array]:
    return [tensor.detach().numpy() for tensor in tensors]


@cache
def _logs(log: bool) -> Tensor:
    """Logarithms of all counts that rows of 4096 slots allow; none where counts stay."""
    return torch.arange(4 * 4097 if log else 0).float().log1p()


@jit
def _first_seen(at: Array, place: Array, rows: Array, local: Array) -> int:
    """The distinct rows in the order in which they come, and where each one is among them."""
    count = 0
    for p in range(at.size):
        row = at[p]
        if place[row] < 0:
            place[row] = count
            rows[count] = row
            count += 1
        local[p] = place[row]
    return count


def _ends(at: Tensor, own: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Distinct rows of both ends, their representations, and the pairs among them."""
    local = torch.empty_like(at)
    rows = []
    for end, target in zip(at, local, strict=True):
        place, found = torch.full((len(own),), -1), torch.empty_like(end)
        rows.append(found[: _first_seen(*_arrays(end, place, found, target))])
    return rows, [own[part] for part in rows], local


def pair_scores(
    at: Tensor, counts: Tensor, since: Tensor, rates: Tensor, sums: Tensor, own: Tensor,
    code: Tensor, head: Tensor, head_bias: Tensor, hidden: Tensor, hidden_bias: Tensor,
    out: Tensor, out_bias: Tensor, log: bool, p: float, seed: int,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """See `graphlearn.ops.pairscore`; also returns what the gradients need."""
    pairs, width, at = at.shape[1], len(hidden), at.contiguous()
    pooled, recency = torch.empty(pairs, head.shape[2]), torch.empty(pairs, len(rates))
    logs = _logs(log)
    given = (at, counts, since, rates, sums, code, logs, pooled, recency)
    share(_features, pairs, 500 * pairs, *_arrays(*given))
    pooled = dropout(pooled, p, seed, False) if p else pooled
    rows, ends, local = _ends(at, own)
    with exact():
        mean = head.mean(0)
        on_q, on_source, on_target, on_recency = _split(hidden, mean, own)
        joint = torch.mm(on_q, mean)
        pre = torch.mm(pooled, joint.t())
        if len(rates):
            pre.addmm_(recency, on_recency.t())
        bias = torch.addmv(hidden_bias, on_q, head_bias)
        source, target = torch.mm(ends[0], on_source.t()), torch.mm(ends[1], on_target.t())
    logits = torch.empty(pairs)
    shift = np.float32(out_bias.item())
    arrays = _arrays(local, source, target, bias, out[0])
    share(_logits, pairs, pairs * width, *arrays, shift, pre.numpy(), logits.numpy())
    return logits, (pooled, recency, pre, logs, joint, mean, local, *rows, *ends)


def pair_scores_grad(
    grad: Tensor, pooled: Tensor, recency: Tensor, pre: Tensor, logs: Tensor, joint: Tensor,
    mean: Tensor, local: Tensor, sources: Tensor, targets: Tensor, left: Tensor, right: Tensor,
    at: Tensor, counts: Tensor, sums: Tensor, own: Tensor, code: Tensor, head: Tensor,
    head_bias: Tensor, hidden: Tensor, hidden_bias: Tensor, out: Tensor, out_bias: Tensor,
    log: bool, p: float, seed: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of sums, node representations and parameters."""
    at, width = at.contiguous(), len(hidden)
    pre, source, target = pre.clone(), torch.zeros(len(left), width), torch.zeros(len(right), width)
    bias, last = torch.zeros(width), torch.zeros(width)
    given = (local, grad, out[0], pre, source, target, bias, last)
    share(_logits_grad, width, 4 * pre.numel(), *_arrays(*given))
    with exact():
        on_q, on_source, on_target, _ = _split(hidden, mean, own)
        folded = torch.mm(pre.t(), pooled)  # gradient of the product of first layer and head
        d_hidden = torch.cat([
            torch.addr(torch.mm(folded, mean.t()), bias, head_bias), torch.mm(source.t(), left),
            torch.mm(target.t(), right), torch.mm(pre.t(), recency),
        ], 1)  # fmt: skip
        d_own = torch.zeros_like(own)
        d_own[sources] = torch.mm(source, on_source)
        d_own.index_add_(
            0, targets, torch.mm(target, on_target)
        )  # each row once: no sum has an order
        d_pooled = torch.mm(pre, joint)
        d_pooled = dropout(d_pooled, p, seed, False) if p else d_pooled
        d_sums, d_code = torch.zeros_like(sums), torch.zeros_like(code)
        _features_grad(*_arrays(at, counts, d_pooled, logs, d_sums, d_code))
        d_head = torch.mm(on_q.t(), folded).div_(len(head)).expand_as(head)
        return (
            d_sums, d_own, d_code, d_head, torch.mv(on_q.t(), bias), d_hidden, bias, last[None],
            grad.sum()[None],
        )  # fmt: skip

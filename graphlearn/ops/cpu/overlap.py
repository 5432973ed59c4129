"""CPU kernels of the common-neighbour ops.

Common neighbours are found by mark and probe: pairs are grouped by their end of higher degree, the
row of that end is marked once in an array over the nodes, and the shorter rows are looked up in it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba as nb
import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, bytes_of, jit, share, threads_for
from graphlearn.ops.cpu.spmm import propagate_spread

__all__ = [
    "difference",
    "overlap",
    "overlap_count",
    "overlap_spread",
    "overlap_sum",
]

# Nanoseconds of one step of each way, measured on ogbl-ddi; only their ratios matter.
_PROBE, _WORD, _SET = 2.1, 0.85, 2.0
_BITSET_BYTES = 512 << 20


class _Graph(NamedTuple):
    """Neighbour lists; `keep` is empty where all entries take part."""

    ptr: Array
    col: Array
    keep: Array
    num_nodes: int


@jit
def _plan(
    ptr: Array, src: Array, dst: Array, num_nodes: int, parts: int
) -> tuple[Array, Array, Array, Array, int]:
    """Pairs in the order of their end of higher degree, cut into parts of equal work."""
    hub, low = np.empty_like(src), np.empty_like(src)
    start = np.zeros(num_nodes + 1, np.int64)
    for k in range(src.size):
        i, j = src[k], dst[k]
        if ptr[i + 1] - ptr[i] < ptr[j + 1] - ptr[j]:
            i, j = j, i
        hub[k], low[k] = i, j
        start[i + 1] += 1
    for i in range(num_nodes):
        start[i + 1] += start[i]
    order = np.empty(src.size, np.int64)
    for k in range(src.size):
        order[start[hub[k]]] = k
        start[hub[k]] += 1
    work = np.empty(src.size + 1, np.int64)
    work[0] = 0
    last = -1
    for n in range(src.size):
        k = order[n]
        i, j = hub[k], low[k]
        cost = ptr[j + 1] - ptr[j] + 4
        if i != last:
            cost += 2 * (ptr[i + 1] - ptr[i])
            last = i
        work[n + 1] = work[n] + cost
    bounds = np.empty(parts + 1, np.int64)
    for p in range(parts + 1):
        bounds[p] = np.searchsorted(work, work[src.size] * p // parts)
    bounds[0], bounds[parts] = 0, src.size
    return hub, low, order, bounds, work[src.size]


# Kernels take every array by itself and keep their loops whole: with tuples of arrays, or a helper
# that is called for each pair, numba takes much longer on short rows (benchmarks/overlap.py, Cora).


@jit
def _set_marks(ptr: Array, col: Array, keep: Array, i: int, mark: Array, value: int) -> None:
    if keep.size:
        for e in range(ptr[i], ptr[i + 1]):
            mark[col[e]] = value & keep[e]
    else:
        for e in range(ptr[i], ptr[i + 1]):
            mark[col[e]] = value


@jit
def _probe(ptr: Array, col: Array, keep: Array, j: int, mark: Array, found: Array) -> int:
    """Write the marked neighbours of `j` to `found`, and return how many there are."""
    at = 0
    if keep.size:
        for e in range(ptr[j], ptr[j + 1]):
            found[at] = col[e]
            at += nb.int64(mark[col[e]] & keep[e])
    else:
        for e in range(ptr[j], ptr[j + 1]):
            found[at] = col[e]
            at += nb.int64(mark[col[e]])
    return at


@jit
def _room(ptr: Array, low: Array, order: Array, first: int, last: int) -> int:
    """As many places as any of some pairs can fill."""
    longest = 0
    for n in range(first, last):
        j = low[order[n]]
        longest = max(longest, ptr[j + 1] - ptr[j])
    return longest + 1


@jit
def _count_probe(
    first: int,
    final: int,
    ptr: Array,
    col: Array,
    keep: Array,
    num_nodes: int,
    hub: Array,
    low: Array,
    order: Array,
    bounds: Array,
    out: Array,
) -> None:
    for p in range(first, final):
        mark, last = np.zeros(num_nodes, np.uint8), -1
        for n in range(bounds[p], bounds[p + 1]):
            k = order[n]
            if hub[k] != last:
                if last >= 0:
                    _set_marks(ptr, col, keep, last, mark, 0)
                last = hub[k]
                _set_marks(ptr, col, keep, last, mark, 1)
            j, total = low[k], 0
            if keep.size:
                for e in range(ptr[j], ptr[j + 1]):
                    total += nb.int64(mark[col[e]] & keep[e])
            else:
                for e in range(ptr[j], ptr[j + 1]):
                    total += nb.int64(mark[col[e]])
            out[k] = total


@jit
def _fill_overlap(
    first: int,
    final: int,
    ptr: Array,
    col: Array,
    keep: Array,
    num_nodes: int,
    hub: Array,
    low: Array,
    order: Array,
    bounds: Array,
    start: Array,
    out: Array,
) -> None:
    for p in range(first, final):
        mark, last = np.zeros(num_nodes, np.uint8), -1
        found = np.empty(_room(ptr, low, order, bounds[p], bounds[p + 1]), np.int32)
        for n in range(bounds[p], bounds[p + 1]):
            k = order[n]
            if start[k + 1] == start[k]:
                continue
            if hub[k] != last:
                if last >= 0:
                    _set_marks(ptr, col, keep, last, mark, 0)
                last = hub[k]
                _set_marks(ptr, col, keep, last, mark, 1)
            _probe(ptr, col, keep, low[k], mark, found)
            for t in range(start[k + 1] - start[k]):
                out[start[k] + t] = found[t]


@jit
def _fill_difference(
    first: int,
    final: int,
    ptr: Array,
    col: Array,
    keep: Array,
    num_nodes: int,
    hub: Array,
    low: Array,
    order: Array,
    bounds: Array,
    src: Array,
    start_i: Array,
    out_i: Array,
    start_j: Array,
    out_j: Array,
) -> None:
    for p in range(first, final):
        mark, last = np.zeros(num_nodes, np.uint8), -1
        for n in range(bounds[p], bounds[p + 1]):
            k = order[n]
            if hub[k] != last:
                if last >= 0:
                    _set_marks(ptr, col, keep, last, mark, 0)
                last = hub[k]
                _set_marks(ptr, col, keep, last, mark, 1)
            j = low[k]
            if src[k] == last:
                at_hub, at_low, to_hub, to_low = start_i[k], start_j[k], out_i, out_j
            else:
                at_hub, at_low, to_hub, to_low = start_j[k], start_i[k], out_j, out_i
            for e in range(ptr[j], ptr[j + 1]):
                if keep.size == 0 or keep[e]:
                    if mark[col[e]] == 0:
                        to_low[at_low] = col[e]
                        at_low += 1
                    else:
                        mark[col[e]] = 2
            for e in range(ptr[last], ptr[last + 1]):
                c = col[e]
                if mark[c] == 1:
                    to_hub[at_hub] = c
                    at_hub += 1
                elif mark[c] == 2:
                    mark[c] = 1


@jit
def _pack(first: int, final: int, ptr: Array, col: Array, keep: Array, out: Array) -> None:
    for i in range(first, final):
        out[i] = 0
        for e in range(ptr[i], ptr[i + 1]):
            bit = np.uint64(1) if keep.size == 0 else np.uint64(keep[e])
            out[i, col[e] >> 6] |= bit << np.uint64(col[e] & 63)


@nb.extending.intrinsic
def _popcount(typingctx: object, word: object) -> tuple[object, Callable[..., object]]:
    """Number of set bits, one instruction."""

    def generate(context: object, builder: Any, signature: object, args: Sequence[Any]) -> object:  # noqa: ANN401
        return builder.ctpop(args[0])

    return nb.types.uint64(nb.types.uint64), generate


@jit
def _count_bits(first: int, final: int, bits: Array, src: Array, dst: Array, out: Array) -> None:
    for k in range(first, final):
        i, j = src[k], dst[k]
        total = np.uint64(0)
        for w in range(bits.shape[1]):
            total += _popcount(bits[i, w] & bits[j, w])
        out[k] = total


@jit
def _sum_probe(
    first: int,
    final: int,
    ptr: Array,
    col: Array,
    keep: Array,
    num_nodes: int,
    hub: Array,
    low: Array,
    order: Array,
    bounds: Array,
    x: Array,
    out: Array,
) -> None:
    for p in range(first, final):
        mark, last = np.zeros(num_nodes, np.uint8), -1
        found = np.empty(_room(ptr, low, order, bounds[p], bounds[p + 1]), np.int32)
        for n in range(bounds[p], bounds[p + 1]):
            k = order[n]
            if hub[k] != last:
                if last >= 0:
                    _set_marks(ptr, col, keep, last, mark, 0)
                last = hub[k]
                _set_marks(ptr, col, keep, last, mark, 1)
            count = _probe(ptr, col, keep, low[k], mark, found)
            _add_rows(x, found, count, out, k)


@jit
def _add_rows(x: Array, index: Array, count: int, out: Array, k: int) -> None:
    """Set `out[k]` to the sum of `x[index[:count]]`, four rows at a time to save stores."""
    row = out[k]
    row[:] = 0
    t = 0
    while t + 4 <= count:
        a, b, c, d = x[index[t]], x[index[t + 1]], x[index[t + 2]], x[index[t + 3]]
        for f in range(row.size):
            row[f] += (a[f] + b[f]) + (c[f] + d[f])
        t += 4
    while t < count:
        a = x[index[t]]
        for f in range(row.size):
            row[f] += a[f]
        t += 1


class _Plan:
    """The grouping of a batch of pairs and the arrays that every kernel reads."""

    def __init__(
        self, ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, nodes: int
    ) -> None:
        self.graph = _Graph(ptr.numpy(), col.numpy(), bytes_of(keep), nodes)
        self.src, self.dst = src.contiguous().numpy(), dst.contiguous().numpy()
        self.parts = threads_for(64 * self.src.size)
        rows = ptr.numel() - 1
        *self.groups, work = _plan(self.graph.ptr, self.src, self.dst, rows, self.parts)
        self.work = int(work)

    def run(self, kernel: Callable[..., Any], *args: Array) -> None:
        """Call a kernel on every part."""
        work = self.work if self.parts == 1 else 1 << 62
        share(kernel, self.parts, work, *self.graph, *self.groups, *args)

    def count(self) -> Tensor:
        """Number of common neighbours of each pair."""
        out = torch.empty(self.src.size, dtype=torch.int64)
        rows, words = self.graph.ptr.size - 1, (self.graph.num_nodes + 63) // 64
        packing = rows * words * 0.5 + self.graph.col.size * _SET
        fits = rows * words * 8 <= _BITSET_BYTES
        if fits and packing + self.src.size * words * _WORD < self.work * _PROBE:
            bits = np.empty((rows, words), np.uint64)
            share(_pack, rows, self.graph.col.size, *self.graph[:3], bits)
            work = self.src.size * words
            share(_count_bits, self.src.size, work, bits, self.src, self.dst, out.numpy())
        else:
            self.run(_count_probe, out.numpy())
        return out


def _pointers(count: Tensor) -> Tensor:
    ptr = torch.zeros(count.numel() + 1, dtype=torch.int64)
    torch.cumsum(count, 0, out=ptr[1:])
    return ptr


def overlap_count(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> Tensor:
    """See `graphlearn.ops.overlap_count`."""
    return _Plan(ptr, col, keep, src, dst, num_cols).count()


def overlap(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor]:
    """See `graphlearn.ops.overlap`."""
    plan = _Plan(ptr, col, keep, src, dst, num_cols)
    start = _pointers(plan.count())
    out = torch.empty(int(start[-1]), dtype=torch.int32)
    plan.run(_fill_overlap, start.numpy(), out.numpy())
    return start, out


def difference(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `graphlearn.ops.difference`."""
    plan = _Plan(ptr, col, keep, src, dst, num_cols)
    shared = plan.count()
    degree = _degree(ptr, keep)
    start_i, start_j = _pointers(degree[src] - shared), _pointers(degree[dst] - shared)
    out_i = torch.empty(int(start_i[-1]), dtype=torch.int32)
    out_j = torch.empty(int(start_j[-1]), dtype=torch.int32)
    lists = (tensor.numpy() for tensor in (start_i, out_i, start_j, out_j))
    plan.run(_fill_difference, plan.src, *lists)
    return start_i, out_i, start_j, out_j


def _degree(ptr: Tensor, keep: Tensor | None) -> Tensor:
    """Number of kept entries of each row."""
    return ptr.diff() if keep is None else _pointers(keep)[ptr].diff()


def overlap_sum(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, x: Tensor
) -> Tensor:
    """See `graphlearn.ops.overlap_sum`."""
    plan = _Plan(ptr, col, keep, src, dst, x.shape[0])
    x = x.detach().contiguous()
    out = torch.empty(src.numel(), x.shape[1], dtype=x.dtype)
    plan.run(_sum_probe, x.numpy(), out.numpy())
    return out


def overlap_spread(
    ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, grad: Tensor,
    num_nodes: int,
) -> Tensor:  # fmt: skip
    """The transpose of `overlap_sum`."""
    start, node = overlap(ptr, col, keep, src, dst, num_nodes)
    return propagate_spread(start, node, None, grad, num_nodes)

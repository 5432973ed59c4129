"""CPU kernels of paths, see `graphlearn.ops.compose`."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.jit import Array, jit, share
from graphlearn.ops.hashing import lowbias32

__all__ = ["compose"]

_DENSE = 16  # a row with more than one of so many columns is put in order by looking at all


@jit
def _word(x: np.uint32) -> np.uint32:
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@jit
def _weaker(weight: float, tie: np.uint32, other: float, others: np.uint32) -> bool:
    return bool(weight < other or (weight == other and tie > others))


@jit
def _sink(weight: Array, tie: Array, column: Array, place: int, size: int) -> None:
    """Restore the heap, whose top is the weakest, below a place."""
    while True:
        child = 2 * place + 1
        if child >= size:
            return
        if child + 1 < size and _weaker(
            weight[child + 1], tie[child + 1], weight[child], tie[child]
        ):
            child += 1
        if not _weaker(weight[child], tie[child], weight[place], tie[place]):
            return
        weight[child], weight[place] = weight[place], weight[child]
        tie[child], tie[place] = tie[place], tie[child]
        column[child], column[place] = column[place], column[child]
        place = child


@jit
def _reach(
    row: int, ptr: Array, col: Array, second: Array, target: Array, seen: Array, found: Array
) -> int:
    """Distinct columns that a row reaches, in the order in which they are met."""
    count = 0
    for e in range(ptr[row], ptr[row + 1]):
        for f in range(second[col[e]], second[col[e] + 1]):
            j = target[f]
            if seen[j] != row:
                seen[j] = row
                found[count] = j
                count += 1
    return count


@jit
def _count(
    first: int, last: int, ptr: Array, col: Array, second: Array, target: Array, num_cols: int,
    most: int, size: Array,
) -> None:  # fmt: skip
    seen, found = np.full(num_cols, -1, np.int64), np.empty(num_cols, np.int32)
    for r in range(first, last):
        bound = 0
        for e in range(ptr[r], ptr[r + 1]):
            bound += second[col[e] + 1] - second[col[e]]
        single = ptr[r + 1] - ptr[r] <= 1
        count = bound if single else _reach(r, ptr, col, second, target, seen, found)
        size[r] = min(count, most) if most else count


@jit
def _strongest(
    row: int, found: Array, count: int, total: Array, seed: np.uint32, weight: Array, tie: Array,
    column: Array,
) -> None:  # fmt: skip
    """The best of `found` into a heap that is as large as `column`."""
    size, own = column.size, _word(np.uint32(row) ^ seed)
    for k in range(count):
        j = found[k]
        w, t = np.float32(total[j]), _word(own ^ np.uint32(j))
        if k < size:
            weight[k], tie[k], column[k] = w, t, j
            if k == size - 1:
                for place in range(size // 2 - 1, -1, -1):
                    _sink(weight, tie, column, place, size)
        elif _weaker(weight[0], tie[0], w, t):
            weight[0], tie[0], column[0] = w, t, j
            _sink(weight, tie, column, 0, size)


@jit
def _fill(
    first: int, last: int, ptr: Array, col: Array, weight: Array, second: Array, target: Array,
    factor: Array, middle: Array, num_cols: int, most: int, seed: np.uint32, start: Array,
    out: Array, value: Array,
) -> None:  # fmt: skip
    seen, found = np.full(num_cols, -1, np.int64), np.empty(num_cols, np.int32)
    total = np.zeros(num_cols, np.float64)
    heap, tie = np.empty(max(most, 1), np.float32), np.empty(max(most, 1), np.uint32)
    for r in range(first, last):
        count = _reach(r, ptr, col, second, target, seen, found)
        for e in range(ptr[r], ptr[r + 1]):
            k = col[e]
            w = middle[k] * weight[e] if weight.size else middle[k]
            for f in range(second[k], second[k + 1]):
                total[target[f]] += w * factor[f] if factor.size else w
        columns = out[start[r] : start[r + 1]]
        if columns.size < count:
            _strongest(r, found, count, total, seed, heap, tie, columns)
            columns.sort()
        elif count * _DENSE > num_cols:
            at = 0
            for j in range(num_cols):
                if seen[j] == r:
                    columns[at] = j
                    at += 1
        else:
            columns[:] = found[:count]
            columns.sort()
        for k in range(columns.size):
            value[start[r] + k] = total[columns[k]]
        for k in range(count):
            total[found[k]] = 0


def compose(
    ptr: Tensor, col: Tensor, weight: Tensor | None, second: Tensor, target: Tensor,
    factor: Tensor | None, middle: Tensor, num_cols: int, most: int, seed: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """See `graphlearn.ops.compose.compose_reference`."""
    rows = ptr.numel() - 1
    paths = int(second.diff()[col.long()].sum())
    first = (ptr.numpy(), col.numpy())
    other = (second.numpy(), target.numpy())
    size = np.empty(rows, np.int64)
    share(_count, rows, 2 * paths, *first, *other, num_cols, most, size)
    start = np.zeros(rows + 1, np.int64)
    np.cumsum(size, out=start[1:])
    out, value = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)
    key = np.uint32(lowbias32(seed))
    share(
        _fill, rows, 8 * paths, *first, _doubles(weight), *other, _doubles(factor), middle.numpy(),
        num_cols, most, key, start, out, value,
    )  # fmt: skip
    return torch.from_numpy(start), torch.from_numpy(out), torch.from_numpy(value)


def _doubles(weight: Tensor | None) -> Array:
    return np.empty(0) if weight is None else weight.detach().double().numpy()

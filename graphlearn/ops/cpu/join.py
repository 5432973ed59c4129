"""CPU kernels that join the caches of two nodes."""

import numpy as np
import torch
from torch import Tensor

from graphlearn.ops.cpu.commit import slot
from graphlearn.ops.cpu.jit import Array, jit, share
from graphlearn.ops.hashing import key_of

__all__ = ["join", "listing"]


@jit
def _join(
    first: int, last: int, key: Array, ts: Array, pairs: Array, near: int, far: int,
    salt1: np.uint32, salt2: np.uint32, quadratic: int, counts: Array, met: Array,
) -> None:  # fmt: skip
    for p in range(first, last):
        u, v = np.int64(pairs[0, p]), np.int64(pairs[1, p])
        for code in range(64):
            counts[p, code] = 0
        latest = -1.0
        for side in range(2):
            here = u if side == 0 else v
            for column in range(-1, near + far):
                w = here if column < 0 else np.int64(key[here, column])
                if w < 0:
                    continue
                code = (1 if w == u else 0) | (8 if w == v else 0)
                if near:
                    place = slot(w, near, salt1, quadratic)
                    if key[u, place] == w:
                        code |= 2
                        if column < 0 and side == 1:
                            latest = max(latest, ts[u, 1 + place])
                    if key[v, place] == w:
                        code |= 16
                        if column < 0 and side == 0:
                            latest = max(latest, ts[v, 1 + place])
                if far:
                    place = near + slot(w, far, salt2, quadratic)
                    if key[u, place] == w:
                        code |= 4
                    if key[v, place] == w:
                        code |= 32
                hop = 0 if column < 0 else (1 if column < near else 2)
                if code & -code == 1 << (hop + 3 * side):
                    counts[p, code] += 1
        met[p] = latest


def join(
    key: Tensor, ts: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor]:
    """See `graphlearn.ops.join`."""
    count = pairs.shape[1]
    counts = torch.empty(count, 64, dtype=torch.int32)
    met = torch.empty(count, dtype=torch.float64)
    shared = (*_hops(slots, quadratic, seed), counts.numpy(), met.numpy())
    work = count * (1 + sum(slots)) * 20
    share(_join, count, work, key.numpy(), ts.numpy(), pairs.contiguous().numpy(), *shared)
    return counts, met


@jit
def _list(
    first: int, last: int, key: Array, pairs: Array, near: int, far: int, salt1: np.uint32,
    salt2: np.uint32, quadratic: int, ptr: Array, node: Array, codes: Array, where: Array,
) -> None:  # fmt: skip
    """Count the keys of each pair into `ptr`, or fill the lists where there are any."""
    filling = where.shape[0] > 0
    for p in range(first, last):
        u, v = np.int64(pairs[0, p]), np.int64(pairs[1, p])
        row = ptr[p] if filling else 0
        for side in range(2):
            here = u if side == 0 else v
            for column in range(-1, near + far):
                w = here if column < 0 else np.int64(key[here, column])
                if w < 0:
                    continue
                one = slot(w, near, salt1, quadratic) if near else 0
                two = near + slot(w, far, salt2, quadratic) if far else 0
                code = (1 if w == u else 0) | (8 if w == v else 0)
                if near:
                    code |= (2 if key[u, one] == w else 0) | (16 if key[v, one] == w else 0)
                if far:
                    code |= (4 if key[u, two] == w else 0) | (32 if key[v, two] == w else 0)
                hop = 0 if column < 0 else (1 if column < near else 2)
                if code & -code != 1 << (hop + 3 * side):
                    continue
                if filling:
                    node[row], codes[row] = w, code
                    for bit in range(6):
                        at = 0 if bit % 3 == 0 else (1 + one if bit % 3 == 1 else 1 + two)
                        where[row, bit] = at if code >> bit & 1 else -1
                row += 1
        if not filling:
            ptr[p + 1] = row


def listing(
    key: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `graphlearn.ops.join`."""
    count = pairs.shape[1]
    ptr = torch.zeros(count + 1, dtype=torch.long)
    ends, hops = pairs.contiguous().numpy(), _hops(slots, quadratic, seed)
    work = count * (1 + sum(slots)) * 20
    none = torch.empty(0, 6, dtype=torch.long)

    def fill(node: Tensor, code: Tensor, where: Tensor) -> None:
        lists = (part.numpy() for part in (node, code, where))
        share(_list, count, work, key.numpy(), ends, *hops, ptr.numpy(), *lists)

    fill(none[:, 0], none[:, 0], none)
    ptr.cumsum_(0)
    rows = int(ptr[-1])
    node, code = (torch.empty(rows, dtype=torch.long) for _ in range(2))
    where = torch.empty(rows, 6, dtype=torch.long)
    if rows:
        fill(node, code, where)
    return ptr, node, code, where


def _hops(slots: list[int], quadratic: bool, seed: int) -> tuple[object, ...]:
    near, far = [*slots, 0, 0][:2]
    salts = [np.uint32(key_of(seed, hop)) for hop in (1, 2)]
    return near, far, *salts, seed % 100 if quadratic else -1

"""GPU kernels that join the caches of two nodes: one program a pair, a warp of keys at a time."""

from functools import partial

import torch
import triton.language as tl
from torch import Tensor

from graphlearn.ops.gpu.commit import salt_of, slot
from graphlearn.ops.gpu.jit import jit, launch

__all__ = ["join", "listing"]

_KEYS = 32  # that a program looks up at a time


@jit
def _coded(
    key: tl.tensor,
    u: tl.tensor,
    v: tl.tensor,
    at: tl.tensor,
    salt1: tl.tensor,
    salt2: tl.tensor,
    SIDE: tl.constexpr,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    QUADRATIC: tl.constexpr,
    BLOCK: tl.constexpr,
) -> tl.tensor:
    """Keys of one end from column `at` on, codes, which count, and columns in hops 1 and 2."""
    row: tl.constexpr = NEAR + FAR
    here = v if SIDE else u
    column = at + tl.arange(0, BLOCK)
    held = tl.load(key + here * row + column - 1, (column > 0) & (column <= row), -1)
    w = tl.where(column == 0, here, held.to(tl.int64))
    kept = w >= 0
    one, two = w * 0, w * 0
    code = (w == u).to(tl.int32) + 8 * (w == v).to(tl.int32)
    if NEAR > 0:
        one = 1 + slot(w, salt1, NEAR, QUADRATIC)
        first = tl.load(key + u * row + one - 1, mask=kept, other=-1)
        second = tl.load(key + v * row + one - 1, mask=kept, other=-1)
        code += 2 * (first == w).to(tl.int32) + 16 * (second == w).to(tl.int32)
    if FAR > 0:
        two = 1 + NEAR + slot(w, salt2, FAR, QUADRATIC)
        first = tl.load(key + u * row + two - 1, mask=kept, other=-1)
        second = tl.load(key + v * row + two - 1, mask=kept, other=-1)
        code += 4 * (first == w).to(tl.int32) + 32 * (second == w).to(tl.int32)
    own = tl.where(column == 0, 1, tl.where(column <= NEAR, 2, 4)) * (8 if SIDE else 1)
    return w, code, kept & ((code & -code) == own), one, two


@partial(jit, do_not_specialize=["salt1", "salt2"])
def _join(
    key: tl.tensor,
    ts: tl.tensor,
    one: tl.tensor,
    other: tl.tensor,
    counts: tl.tensor,
    met: tl.tensor,
    salt1: tl.tensor,
    salt2: tl.tensor,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    QUADRATIC: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    row: tl.constexpr = NEAR + FAR
    k = tl.program_id(0).to(tl.int64)
    u, v = tl.load(one + k), tl.load(other + k)
    codes = tl.arange(0, 64)
    total = tl.zeros([64], tl.int32)
    for at in range(0, 1 + row, BLOCK):
        for side in tl.static_range(2):
            _, code, counted, _, _ = _coded(
                key, u, v, at, salt1, salt2, side, NEAR, FAR, QUADRATIC, BLOCK
            )  # fmt: skip
            same = counted[:, None] & (code[:, None] == codes[None, :])
            total += tl.sum(same.to(tl.int32), axis=0)
    tl.store(counts + k * 64 + codes, total)
    # Two lanes: u in the row of v, and v in the row of u.
    second = tl.arange(0, 2) == 1
    here, there = tl.where(second, u, v), tl.where(second, v, u)
    time = tl.full([2], -1.0, tl.float64)
    if NEAR > 0:
        place = slot(there, salt1, NEAR, QUADRATIC)
        hit = tl.load(key + here * row + place) == there
        time = tl.load(ts + here * (1 + row) + 1 + place, mask=hit, other=-1.0)
    tl.store(met + k, tl.maximum(tl.max(time, axis=0), -1.0))


@partial(jit, do_not_specialize=["salt1", "salt2"])
def _list(
    key: tl.tensor,
    one: tl.tensor,
    other: tl.tensor,
    ptr: tl.tensor,
    node: tl.tensor,
    codes: tl.tensor,
    where: tl.tensor,
    salt1: tl.tensor,
    salt2: tl.tensor,
    FILL: tl.constexpr,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    QUADRATIC: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Count the keys of each pair into `ptr`, behind its place, or fill the lists."""
    k = tl.program_id(0).to(tl.int64)
    u, v = tl.load(one + k), tl.load(other + k)
    to = k * 0
    if FILL:
        to = tl.load(ptr + k)
    for side in tl.static_range(2):
        for at in range(0, 1 + NEAR + FAR, BLOCK):
            w, code, counted, near, far = _coded(
                key, u, v, at, salt1, salt2, side, NEAR, FAR, QUADRATIC, BLOCK
            )  # fmt: skip
            rows = counted.to(tl.int64)
            if FILL:
                row = to + tl.cumsum(rows, axis=0) - 1
                tl.store(node + row, w, mask=counted)
                tl.store(codes + row, code, mask=counted)
                for bit in tl.static_range(6):
                    column = w * 0
                    if bit % 3 == 1:
                        column = near
                    if bit % 3 == 2:
                        column = far
                    column = tl.where((code >> bit) & 1 == 1, column, -1)
                    tl.store(where + row * 6 + bit, column, mask=counted)
            to += tl.sum(rows, axis=0)
    if not FILL:
        tl.store(ptr + k + 1, to)


def join(
    key: Tensor, ts: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor]:
    """See `graphlearn.ops.join`."""
    count = pairs.shape[1]
    counts = torch.empty(count, 64, dtype=torch.int32, device=key.device)
    met = torch.empty(count, dtype=torch.float64, device=key.device)
    salts, constants = _hops(slots, quadratic, seed)
    launch(_join, (count,), key, ts, *pairs.contiguous(), counts, met, *salts, **constants)
    return counts, met


def listing(
    key: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `graphlearn.ops.join`; the number of rows has to be known on the host."""
    count = pairs.shape[1]
    ptr = key.new_zeros(count + 1, dtype=torch.int64)
    salts, constants = _hops(slots, quadratic, seed)
    ends = (key, *pairs.contiguous())
    launch(_list, (count,), *ends, ptr, ptr, ptr, ptr, *salts, FILL=False, **constants)
    ptr = ptr.cumsum(0)
    rows = int(ptr[-1])
    node, code = (key.new_empty(rows, dtype=torch.int64) for _ in range(2))
    where = key.new_empty(rows, 6, dtype=torch.int64)
    launch(_list, (count,), *ends, ptr, node, code, where, *salts, FILL=True, **constants)
    return ptr, node, code, where


def _hops(
    slots: list[int], quadratic: bool, seed: int
) -> tuple[tuple[int, int], dict[str, int | bool]]:
    near, far = [*slots, 0, 0][:2]
    salts = (salt_of(seed, 1, quadratic), salt_of(seed, 2, quadratic))
    return salts, {"NEAR": near, "FAR": far, "QUADRATIC": quadratic, "BLOCK": _KEYS}

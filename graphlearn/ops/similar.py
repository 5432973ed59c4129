"""Similarity of rows: of given pairs, and the nearest ones of each row."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphlearn.ops.backend import check_range
from graphlearn.ops.csr import CSR
from graphlearn.ops.locate import expand_rows

__all__ = ["cosine", "jaccard", "nearest_rows"]

_PAIRS = 1 << 16  # pairs whose rows may lie in memory at once
_SCORES = 1 << 25  # scores of a block of rows against all candidates, 128 MiB


def jaccard(x: CSR, pairs: Int[Tensor, "2 pair"]) -> Float[Tensor, " pair"]:
    r"""Shared columns of two rows as a part of all their columns.

    .. math:: J_{ij} = |x_i \wedge x_j| \, / \, |x_i \vee x_j|

    over positions that are not zero; two empty rows give 0. In 64 bits, so that equal fractions
    are equal.

    Args:
        x: Sparse rows; of its values only the zeros matter.
        pairs: Rows to compare.

    Raises:
        ValueError: if a pair names a row that is not there.

    Example:
        >>> x = CSR.from_edge_index(torch.tensor([[0, 0, 1], [0, 1, 1]]), 3, num_cols=2)
        >>> jaccard(x, torch.tensor([[0, 2], [1, 2]]))
        tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    check_range(x.num_rows, pairs)
    x = _support(x)
    size = x.degree()
    src, dst = pairs.long()
    common = torch.ops.graphlearn.overlap_count(x.ptr, x.col, x.keep, src, dst, x.num_cols)
    union = size[src] + size[dst] - common
    out: Tensor = common.double() / union.clamp(min=1)
    return out


@torch.no_grad()
def cosine(x: Float[Tensor, "row chan"] | CSR, pairs: Int[Tensor, "2 pair"]) -> Tensor:
    r"""Cosine of two rows.

    .. math:: c_{ij} = x_i^\top x_j \, / \, (\|x_i\| \, \|x_j\|)

    A row of zeros gives 0. Vectors are never copied to the pairs: memory is that of the scores.
    Carries no gradient.

    Args:
        x: Dense or sparse rows.
        pairs: Rows to compare; the order of the two ends does not matter.

    Raises:
        ValueError: if a pair names a row that is not there.
    """
    check_range(x.num_rows if isinstance(x, CSR) else len(x), pairs)
    x = x.float() if isinstance(x, Tensor) and x.dtype in (torch.bfloat16, torch.float16) else x
    scale = _inverse_norm(x)
    dot = _sparse_dot(x, pairs) if isinstance(x, CSR) else _dense_dot(x, pairs)
    return dot * scale[pairs[0]] * scale[pairs[1]]


@torch.no_grad()
def nearest_rows(
    x: Float[Tensor, "row chan"],
    k: int,
    *,
    candidates: Bool[Tensor, " row"] | None = None,
    exclude_self: bool = True,
    without: CSR | None = None,
    block: int = 0,
) -> tuple[Int[Tensor, "row near"], Float[Tensor, "row near"]]:
    r"""The `k` rows of the largest cosine for each row, exactly, and their cosines.

    Rows are compared in blocks, so that memory is that of one block of scores. Which of several
    equal scores is taken is not fixed. A row with fewer than `k` candidates gets -1 and minus
    infinity in the places left over. Carries no gradient.

    Args:
        x: Vectors.
        k: How many.
        candidates: Rows that may be found; None is all.
        exclude_self: A row does not find itself.
        without: Entries (row, found) that are left out; its values do not matter.
        block: Rows compared at once; 0 chooses by the memory that their scores take.

    Raises:
        ValueError: if `k` is below 1, or `block` below 0.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if block < 0:
        raise ValueError(f"block must be at least 0, got {block}")
    rows = x.shape[0]
    unit = x * _inverse_norm(x).unsqueeze(1)
    ids = torch.arange(rows, device=x.device)
    found = ids if candidates is None else ids[candidates]
    others = unit if candidates is None else unit[found]
    place = torch.full_like(ids, -1)  # of each row among the candidates
    place[found] = torch.arange(len(found), device=x.device)
    index = torch.full((rows, k), -1, device=x.device)
    score = x.new_full((rows, k), -torch.inf)
    wide = min(k, len(found))
    size = block or max(1, min(8192, _SCORES // max(len(found), 1)))
    for part in torch.split(ids, size):
        if not wide:
            break
        scores = _products(unit[part], others)
        if exclude_self:
            own = place[part]
            scores[(own >= 0).nonzero().squeeze(1), own[own >= 0]] = -torch.inf
        if without is not None:
            _forbid(scores, without, part, place)
        best, at = scores.topk(wide, dim=1)
        index[part, :wide] = torch.where(best > -torch.inf, found[at], -1)
        score[part, :wide] = best
    return index, score


def _support(x: CSR) -> CSR:
    """The positions that are not zero."""
    if x.weight is None:
        return x
    stored = x.weight != 0
    return replace(x, weight=None, keep=stored if x.keep is None else x.keep & stored)


def _inverse_norm(x: Tensor | CSR) -> Tensor:
    if isinstance(x, CSR):
        value = _value(x)
        square = value.new_zeros(x.num_rows).index_add_(0, x.rows(), value * value)
    else:
        square = torch.linalg.vector_norm(x, dim=1).square()
    return torch.where(square > 0, square.clamp(min=1e-30).rsqrt(), 0.0)


def _value(x: CSR) -> Tensor:
    value = x.values()
    return torch.ones(x.num_entries, device=x.col.device) if value is None else value


def _dense_dot(x: Tensor, pairs: Tensor) -> Tensor:
    """Inner products by the kernel that takes pairs as the entries of a matrix."""
    order = pairs[0].argsort()
    row, col = pairs[0][order], pairs[1][order].int()
    ptr = F.pad(torch.bincount(row, minlength=x.shape[0]).cumsum(0), (1, 0))
    x = x.contiguous()
    out = x.new_empty(len(row))
    for first in range(0, len(row), _PAIRS):  # the reference copies vectors to the pairs
        some = col[first : first + _PAIRS]
        own = (ptr - first).clamp(0, len(some))
        out[first : first + _PAIRS] = torch.ops.graphlearn.propagate_dot(own, some, x, x)
    return torch.empty_like(out).index_copy_(0, order, out)


def _sparse_dot(x: CSR, pairs: Tensor) -> Tensor:
    """Look the columns of one row up in the other."""
    value, parts = _value(x), []
    for src, dst in _blocks(x, pairs):
        entry, pair = expand_rows(x.ptr, src)
        other = x.locate(torch.stack([dst[pair], x.col[entry].long()]))
        term = torch.where(other >= 0, value[entry] * value[other.clamp(min=0)], 0.0)
        parts.append(value.new_zeros(len(src)).index_add_(0, pair, term))
    return torch.cat(parts) if parts else value.new_zeros(0)


def _blocks(x: CSR, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs in blocks, so many that rows of a mean length fit."""
    mean = x.num_entries // max(x.num_rows, 1) + 1
    for part in torch.split(pairs, max(1, 64 * _PAIRS // mean), dim=1):
        yield part[0], part[1]


def _products(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of all rows, the same for any number of threads."""
    if left.device.type != "cpu":
        return left @ right.T
    from graphlearn.ops.cpu.jit import exact

    with exact():
        return left @ right.T


def _forbid(scores: Tensor, without: CSR, rows: Tensor, place: Tensor) -> None:
    """Entries of these rows score minus infinity."""
    entry, row = expand_rows(without.ptr, rows)
    if without.keep is not None:
        entry, row = entry[without.keep[entry]], row[without.keep[entry]]
    col = place[without.col[entry].long()]
    scores[row[col >= 0], col[col >= 0]] = -torch.inf

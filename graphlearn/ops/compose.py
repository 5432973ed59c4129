"""Paths of two steps: the product of two relations, weighted through the node in the middle."""

import torch
from torch import Tensor

from graphlearn.ops.backend import kernels
from graphlearn.ops.csr import CSR
from graphlearn.ops.hashing import lowbias32, words

__all__ = ["compose", "compose_reference"]

_WORD = 0xFFFFFFFF


def compose(left: CSR, right: CSR, *, most: int = 0, seed: int = 0) -> CSR:
    r"""Which columns of the second relation each row of the first reaches, and how strongly.

    .. math:: C_{ij} = \sum_k A_{ik} \Big( \sum_{i'} A_{i'k} + \sum_{j'} B_{kj'} \Big)^{-1} B_{kj}

    A node :math:`k` in the middle that few paths lead through counts for more. The dense product is
    never held: rows are made one by one, and with `most` only the strongest entries of each are
    kept. Among equals it is chance that decides, by a hash of seed, row and column, so that a row
    with many equal entries keeps a uniform sample of them.

    Args:
        left: :math:`A`; without weights its entries are one.
        right: :math:`B`, with as many rows as `left` has columns.
        most: Largest number of entries of a row; 0 keeps all.
        seed: Decides among equals, alone.

    Returns:
        Rows of `left` by columns of `right`, with weights. Not differentiable.

    Raises:
        ValueError: if the relations do not meet, have entries switched off, or `most` is negative.

    Example:
        >>> by = CSR.from_edge_index(torch.tensor([[0, 1, 1], [0, 0, 1]]), 2)
        >>> found = compose(by, by.transpose())
        >>> found.rows(), found.col, found.weight
        (tensor([0, 0, 1, 1]), tensor([0, 1, 0, 1], dtype=torch.int32), tensor([0.2500, 0.2500, 0.2500, 0.7500]))
    """  # noqa: E501 (a doctest has no other way)
    if left.num_cols != right.num_rows:
        raise ValueError(
            f"the first relation has {left.num_cols} columns, the second {right.num_rows} rows; "
            "a path needs as many"
        )
    if left.keep is not None or right.keep is not None:
        raise ValueError("paths need relations without entries that are switched off")
    if most < 0:
        raise ValueError(f"most must be at least 0, got {most}")
    middle = _strengths(left, right)
    found = getattr(kernels(left.col.device), "compose", None) or compose_reference
    ptr, col, weight = found(
        left.ptr, left.col, left.weight, right.ptr, right.col, right.weight, middle,
        right.num_cols, most, seed & _WORD,
    )  # fmt: skip
    return CSR(ptr, col, right.num_cols, weight=weight)


def _strengths(left: CSR, right: CSR) -> Tensor:
    """One over the weight of all entries that lead to and from each node in the middle."""
    ones = torch.ones(left.num_entries, dtype=torch.float64, device=left.col.device)
    value = ones if left.weight is None else left.weight.double()
    into = torch.bincount(left.col, weights=value, minlength=left.num_cols)
    if right.weight is None:
        out = right.degree().double()
    else:
        out = torch.zeros_like(into).index_add_(0, right.rows(), right.weight.double())
    total = into + out
    return torch.where(total > 0, 1 / total.clamp(min=1e-300), 0.0)


def compose_reference(
    ptr: Tensor, col: Tensor, weight: Tensor | None, second: Tensor, target: Tensor,
    factor: Tensor | None, middle: Tensor, num_cols: int, most: int, seed: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """List every path, add up those with the same ends, then sort each row by strength."""
    count = second.diff()[col.long()]
    path = torch.repeat_interleave(torch.arange(col.numel(), device=col.device), count)
    offset = torch.repeat_interleave(second[:-1][col.long()] - (count.cumsum(0) - count), count)
    entry = torch.arange(path.numel(), device=col.device) + offset
    row = torch.repeat_interleave(torch.arange(ptr.numel() - 1, device=ptr.device), ptr.diff())
    value = middle[col.long()][path]
    value = value if weight is None else value * weight.double()[path]
    value = value if factor is None else value * factor.double()[entry]
    keys, place = torch.unique(
        row[path] * max(num_cols, 1) + target[entry].long(), return_inverse=True
    )
    total = torch.zeros(keys.numel(), dtype=torch.float64, device=col.device)
    total = total.index_add_(0, place, value).float()
    row, column = keys // max(num_cols, 1), keys % max(num_cols, 1)
    if most:
        tie = words(words((row & _WORD) ^ lowbias32(seed)) ^ column)
        order = torch.argsort(tie, stable=True)
        order = order[torch.argsort(total[order], descending=True, stable=True)]
        order = order[torch.argsort(row[order], stable=True)]
        start = torch.searchsorted(row, torch.arange(ptr.numel() - 1, device=ptr.device))
        rank = torch.arange(keys.numel(), device=col.device) - start[row[order]]
        kept = order[rank < most].sort().values
        row, column, total = row[kept], column[kept], total[kept]
    bounds = torch.arange(ptr.numel(), device=ptr.device)
    return torch.searchsorted(row, bounds), column.int(), total

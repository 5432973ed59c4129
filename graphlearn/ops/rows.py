"""Features of nodes as sparse rows."""

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from graphlearn.ops.csr import CSR

__all__ = ["feature_rows", "one_hot"]


def feature_rows(x: Tensor | CSR) -> CSR:
    """Features in any form as sparse rows without zeros.

    Args:
        x: Numbers (N, F), dense or as a sparse tensor; ids (N,) or (N, 1), which stand for one-hot
            rows; or rows, which are returned as they are.

    Raises:
        ValueError: if whole numbers have more than one column.
    """
    if isinstance(x, CSR):
        return x
    if not x.is_floating_point():
        if x.dim() == 2 and x.shape[1] != 1:
            raise ValueError(
                f"whole numbers as features are ids of shape (N,), got {tuple(x.shape)}; convert "
                "them with x.float() if they are values"
            )
        return one_hot(x.reshape(-1))
    if x.layout == torch.sparse_csr:
        count, col, value = x.crow_indices().diff(), x.col_indices(), x.values()
        row = torch.repeat_interleave(torch.arange(x.shape[0], device=x.device), count)
        stored = value != 0
        row, col, value = row[stored], col[stored], value[stored]
        order = (row * x.shape[1] + col).argsort()  # columns of such a tensor need not ascend
        row, col, value = row[order], col[order], value[order]
    elif x.layout == torch.sparse_coo:
        x = x.coalesce()
        stored, value = x.values() != 0, x.values()
        row, col, value = *x.indices()[:, stored], value[stored]
    else:
        row, col = x.nonzero().T
        value = x[row, col]
    ptr = F.pad(torch.bincount(row, minlength=x.shape[0]).cumsum(0), (1, 0))
    return CSR(ptr, col.int(), x.shape[1], weight=value.float())


def one_hot(ids: Int[Tensor, " node"]) -> CSR:
    """Ids as rows with a single one: what nodes without features are known by.

    Args:
        ids: Numbers from 0.
    """
    ptr = torch.arange(len(ids) + 1, device=ids.device)
    width = int(ids.max()) + 1 if len(ids) else 0
    return CSR(ptr, ids.int(), width, weight=torch.ones(len(ids), device=ids.device))

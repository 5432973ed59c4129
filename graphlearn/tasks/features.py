"""Features of a data set as models take them: dense, sparse rows, or ids."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from graphlearn.data.dataset import Dataset
from graphlearn.ops.adjacency import row_sums
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows

__all__ = ["features", "formed", "row_normalized", "taken"]


def features(
    dataset: Dataset,
    device: torch.device,
    *,
    sparse: float = 0.2,
    ids: Literal["keep", "rows"] = "keep",
) -> Tensor | CSR:
    """Node features, dense or as sparse rows, whichever is faster.

    Args:
        dataset: Its `data.x` is float (N, F), the same as a sparse CSR tensor, ids (N,) or absent.
        device: Where they are needed.
        sparse: Share of values other than zero below which sparse rows are faster.
        ids: Leave ids as they are, or turn them into rows with a single one.
    """
    x = dataset.data.x
    if x is None:
        x = torch.arange(int(dataset.facts["num_nodes"]))
    return formed(x, device, sparse=sparse, ids=ids)


def formed(
    x: Tensor | CSR,
    device: torch.device,
    *,
    sparse: float = 0.2,
    ids: Literal["keep", "rows"] = "keep",
) -> Tensor | CSR:
    """The same of features that are at hand.

    Args:
        x: Float (N, F), the same as a sparse CSR tensor, ids (N,), or sparse rows.
        device: Where they are needed.
        sparse: Share of values other than zero below which sparse rows are faster.
        ids: Leave ids as they are, or turn them into rows with a single one.
    """
    if isinstance(x, CSR):
        return x.to(device)
    if x.layout == torch.sparse_csr:
        return feature_rows(x).to(device)
    if not x.is_floating_point():
        return feature_rows(x).to(device) if ids == "rows" else x.long().view(-1).to(device)
    x = x.float()
    if int(x.count_nonzero()) >= sparse * x.numel():
        dense: Tensor = x.to(device)
        return dense
    return feature_rows(x).to(device)


def row_normalized(x: Tensor | CSR) -> Tensor | CSR:
    """Each row divided by its sum; a sum that is not positive leaves the row as it is.

    Args:
        x: Dense or sparse rows.
    """
    if isinstance(x, CSR):
        total = row_sums(x)
        value = torch.ones(x.num_entries, device=x.col.device) if x.weight is None else x.weight
        return replace(x, weight=value / torch.where(total > 0, total, 1.0)[x.rows()])
    total = x.sum(1, keepdim=True)
    return x / torch.where(total > 0, total, 1.0)


def taken(x: Tensor | CSR, nodes: Tensor) -> Tensor | CSR:
    """Some rows of dense or sparse features.

    Args:
        x: Features of all nodes.
        nodes: Which rows.
    """
    if not isinstance(x, CSR):
        return x[nodes]
    count = x.ptr.diff()[nodes]
    ptr = F.pad(count.cumsum(0), (1, 0))
    shift = torch.repeat_interleave(x.ptr[nodes] - ptr[:-1], count)
    entry = torch.arange(len(shift), device=shift.device) + shift
    weight = None if x.weight is None else x.weight[entry]
    return CSR(ptr, x.col[entry], x.num_cols, weight=weight)

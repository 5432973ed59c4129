"""CSR, the one graph type inside the package: sorted neighbour lists."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graphlearn.ops.backend import check_range
from graphlearn.ops.locate import locate

__all__ = ["CSR"]

_MOST = 2**31 - 1  # columns are stored in 32 bits


@dataclass(frozen=True, eq=False)
class CSR:
    r"""Neighbour lists: row :math:`i` holds the ascending ids `col[ptr[i]:ptr[i + 1]]`.

    Rows and columns may differ in number: features of nodes, common neighbours of pairs.

    Args:
        ptr: First entry of each row, and the number of entries (rows + 1).
        col: Column of each entry (int32), ascending and distinct within a row.
        num_cols: Number of columns.
        keep: Which entries take part; None means all. Ops skip the others.
        weight: Value of each entry; None means one.
        symmetric: Whether the matrix, `keep` and `weight` included, equals its transpose.
    """

    ptr: Int[Tensor, " _"]
    col: Int[Tensor, " edge"]
    num_cols: int
    keep: Bool[Tensor, " edge"] | None = None
    weight: Float[Tensor, " edge"] | None = None
    symmetric: bool = False
    _kept: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """What was computed from `ptr` and `col`; matrices that differ in values alone share it."""

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Int[Tensor, "2 edge"],
        num_nodes: int,
        *,
        num_cols: int | None = None,
        weight: Float[Tensor, " edge"] | None = None,
        undirected: bool = False,
    ) -> "CSR":
        """Sort, merge and store a list of edges.

        Repeated edges are merged and their weights added.

        Args:
            edge_index: Row and column of each edge.
            num_nodes: Number of rows.
            num_cols: Number of columns, if not the number of rows.
            weight: Value of each edge.
            undirected: Store both directions of every edge and drop self loops.

        Raises:
            ValueError: if an id is negative or too large, or columns do not fit in 32 bits.

        Example:
            >>> g = CSR.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, undirected=True)
            >>> g.ptr, g.col
            (tensor([0, 1, 3, 4]), tensor([1, 0, 2, 1], dtype=torch.int32))
        """
        width = num_nodes if num_cols is None else num_cols
        if width > _MOST:
            raise ValueError(f"a matrix has at most {_MOST} columns, got {width}")
        row, col = edge_index.long()
        check_range(num_nodes, row)
        check_range(width, col)
        if undirected:
            return cls._undirected(row, col, num_nodes, weight)
        keys, inverse = torch.unique(row * max(width, 1) + col, return_inverse=True)
        value = _merge(weight, inverse, keys.numel())
        ptr = _pointers(keys // max(width, 1), num_nodes)
        return cls(ptr, _columns(keys, width), width, weight=value)

    @classmethod
    def _undirected(cls, row: Tensor, col: Tensor, num_nodes: int, weight: Tensor | None) -> "CSR":
        real = row != col
        low, high = torch.minimum(row, col)[real], torch.maximum(row, col)[real]
        weight = None if weight is None else weight[real]
        keys, inverse = torch.unique(low * max(num_nodes, 1) + high, return_inverse=True)
        value = _merge(weight, inverse, keys.numel())
        low, high = keys // max(num_nodes, 1), keys % max(num_nodes, 1)
        both = torch.cat([low * num_nodes + high, high * num_nodes + low])
        both, order = both.sort()
        if value is not None:
            value = torch.cat([value, value])[order]
        ptr = _pointers(both // max(num_nodes, 1), num_nodes)
        return cls(ptr, _columns(both, num_nodes), num_nodes, weight=value, symmetric=True)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.ptr.numel() - 1

    @property
    def num_entries(self) -> int:
        """Number of stored entries, those not kept included."""
        return self.col.numel()

    def rows(self) -> Int[Tensor, " edge"]:
        """Row of each stored entry."""
        ids = torch.arange(self.num_rows, device=self.ptr.device)
        return torch.repeat_interleave(ids, self.ptr.diff(), output_size=self.num_entries)

    def degree(self) -> Int[Tensor, " node"]:
        """Number of kept entries of each row."""
        if self.keep is None:
            return self.ptr.diff()
        total = torch.zeros(self.num_entries + 1, dtype=torch.int64, device=self.ptr.device)
        torch.cumsum(self.keep, 0, out=total[1:])
        return total[self.ptr].diff()

    def values(self) -> Float[Tensor, " edge"] | None:
        """Weight of each entry with zeros where it is not kept; None means all ones."""
        if self.keep is None:
            return self.weight
        return self.keep.float() if self.weight is None else self.weight * self.keep

    def locate(self, pairs: Int[Tensor, "2 pair"]) -> Int[Tensor, " pair"]:
        """Position of each entry `(row, column)` in `col`, or -1."""
        return locate(self.ptr, self.col, pairs[0], pairs[1])

    def reverse(self) -> Int[Tensor, " edge"]:
        """Position of the entry `(j, i)` for each entry `(i, j)`; computed once.

        Raises:
            ValueError: if the matrix is not symmetric.

        Example:
            >>> path = CSR.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, undirected=True)
            >>> path.reverse()
            tensor([1, 0, 3, 2])
        """
        if not self.symmetric:
            raise ValueError(
                "this needs an undirected graph, each edge in both directions; "
                "make it with CSR.from_edge_index(..., undirected=True)"
            )
        if "reverse" not in self._kept:
            # The transpose, sorted by row, is the matrix itself: its entries come in this order.
            self._kept["reverse"] = torch.argsort(self.col, stable=True)
        return self._kept["reverse"]

    def without(self, pairs: Int[Tensor, "2 pair"], *, records: bool = False) -> "CSR":
        """The same matrix with some entries switched off, in O(pairs log degree).

        A symmetric matrix loses both directions and stays symmetric.

        Args:
            pairs: Entries to remove; those that are not stored are ignored.
            records: The weight of an entry counts its records, and each pair given removes one:
                an edge recorded twice stays until both are removed.
        """
        if self.symmetric:
            pairs = torch.cat([pairs, pairs.flip(0)], dim=1)
        entry = self.locate(pairs)
        entry = entry[entry >= 0]
        if records and self.weight is not None:
            removed = torch.bincount(entry, minlength=self.num_entries)
            gone = (removed > 0) & (removed >= self.weight)
            return replace(self, keep=~gone if self.keep is None else self.keep & ~gone)
        keep = (
            torch.ones_like(self.col, dtype=torch.bool) if self.keep is None else self.keep.clone()
        )
        keep[entry] = False
        return replace(self, keep=keep)

    def transpose(self) -> "CSR":
        """The transposed matrix."""
        if self.symmetric:
            return self
        order = torch.argsort(self.col, stable=True)
        return CSR(
            _pointers(self.col[order].long(), self.num_cols),
            self.rows()[order].int(),
            self.num_rows,
            keep=None if self.keep is None else self.keep[order],
            weight=None if self.weight is None else self.weight[order],
        )

    def to(self, device: torch.device | str) -> "CSR":
        """The same matrix on another device."""
        return replace(
            self,
            ptr=self.ptr.to(device),
            col=self.col.to(device),
            keep=None if self.keep is None else self.keep.to(device),
            weight=None if self.weight is None else self.weight.to(device),
            _kept={name: value.to(device) for name, value in self._kept.items()},
        )


def _pointers(sorted_rows: Tensor, num_rows: int) -> Tensor:
    bounds = torch.arange(num_rows + 1, device=sorted_rows.device)
    return torch.searchsorted(sorted_rows.contiguous(), bounds)


def _columns(keys: Tensor, width: int) -> Tensor:
    return (keys % max(width, 1)).int()


def _merge(weight: Tensor | None, inverse: Tensor, size: int) -> Tensor | None:
    return None if weight is None else weight.new_zeros(size).index_add_(0, inverse, weight)

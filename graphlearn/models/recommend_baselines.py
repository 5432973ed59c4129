"""Recommenders without embeddings: popularity, neighbouring items, and a linear model of items."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor, nn

from graphlearn.ops.cpu.jit import exact
from graphlearn.ops.csr import CSR
from graphlearn.ops.locate import expand_rows
from graphlearn.ops.product import product

__all__ = ["EASE", "ItemKNN", "Popularity"]

_BLOCK = 256  # items whose similarities to all others are held at once


class Popularity(nn.Module):
    """The items that most users have, the same for everybody.

    Args:
        num_users: Not used.
        num_items: Number of items.
    """

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__()

    def prepare(self, graph: CSR) -> Tensor:
        """Number of users of each item.

        Args:
            graph: Training interactions, users by items.
        """
        return torch.bincount(graph.col.long(), minlength=graph.num_cols).float()

    def encode(self, graph: Tensor) -> tuple[Tensor, ...]:
        """The same.

        Args:
            graph: What `prepare` returned.
        """
        return (graph,)

    def score(
        self, nodes: tuple[Tensor, ...], users: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch item"]:
        """Number of users of every item.

        Args:
            nodes: What `encode` returned.
            users: Users.
        """
        return nodes[0].expand(len(users), -1)


class ItemKNN(nn.Module):
    r"""What is similar to the items that the user has.

    .. math:: \hat y_{ui} = \sum_{j \in I_u, \, i \in N_k(j)} s_{ij}, \qquad
              s_{ij} = \frac{|U_i \cap U_j|}{\sqrt{|U_i| \, |U_j|} + c}

    with the items :math:`I_u` of a user, the users :math:`U_i` of an item, and the k items
    :math:`N_k(j)` that are most similar to j, which is all that is kept.

    Reference: Mukund Deshpande, George Karypis, "Item-Based Top-N Recommendation Algorithms", ACM
    Transactions on Information Systems, 2004. Differs from it: rows are not normalised, and
    similarities shrink instead.

    Args:
        num_users: Not used.
        num_items: Number of items.
        k: Similar items that are kept of each item.
        shrink: c, which trusts items of few users less.

    Raises:
        ValueError: if `k` is below 1 or `shrink` below 0.
    """

    def __init__(
        self, num_users: int, num_items: int, *, k: int = 100, shrink: float = 10.0
    ) -> None:
        super().__init__()
        if k < 1 or shrink < 0:
            raise ValueError(f"k must be at least 1 and shrink at least 0, got {k} and {shrink}")
        self.k, self.shrink, self.num_items = min(k, num_items), shrink, num_items

    def prepare(self, graph: CSR) -> tuple[Tensor, ...]:
        """The items of each user, and the most similar items of each, found in blocks of items.

        Args:
            graph: Training interactions, users by items.
        """
        ones = np.ones(graph.num_entries, dtype=np.float32)
        arrays = (ones, graph.col.cpu().numpy(), graph.ptr.cpu().numpy())
        users = csr_array(arrays, shape=(graph.num_rows, graph.num_cols))
        items = users.T.tocsr()
        root = torch.bincount(graph.col.cpu().long(), minlength=graph.num_cols).float().sqrt()
        near, value = [], []
        for first in range(0, graph.num_cols, _BLOCK):
            last = min(first + _BLOCK, graph.num_cols)
            common = torch.from_numpy((items[first:last] @ users).toarray())
            both = common / (root[first:last, None] * root + self.shrink).clamp(min=1e-9)
            both[torch.arange(last - first), torch.arange(first, last)] = 0
            top = both.topk(self.k, dim=1)
            near.append(top.indices)
            value.append(top.values)
        found = (graph.ptr, graph.col, torch.cat(near), torch.cat(value))
        return tuple(tensor.to(graph.ptr.device) for tensor in found)

    def encode(self, graph: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The same.

        Args:
            graph: What `prepare` returned.
        """
        return graph

    def score(
        self, nodes: tuple[Tensor, ...], users: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch item"]:
        """Sum of similarities to the items of a user.

        Args:
            nodes: What `encode` returned.
            users: Users.
        """
        ptr, col, near, value = nodes
        entry, owner = expand_rows(ptr, users)
        have = col[entry].long()
        out = value.new_zeros(len(users) * self.num_items)
        place = owner.unsqueeze(1) * self.num_items + near[have]
        out.index_add_(0, place.flatten(), value[have].flatten())
        return out.view(len(users), self.num_items)


class EASE(nn.Module):
    r"""A linear model from items to items that may not use the item itself, in closed form.

    .. math:: \hat Y = X B, \qquad B_{ij} = - P_{ij} / P_{jj} \; (i \ne j), \quad B_{ii} = 0, \qquad
              P = (X^\top X + \lambda I)^{-1}

    with the matrix X of users by items. B has a number for each pair of items, which is what the
    method is; for catalogues where that is too much, `ItemKNN` keeps a few of each.

    Reference: Harald Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.

    Args:
        num_users: Not used.
        num_items: Number of items.
        ridge: Weight :math:`\lambda` of the squares of B.
        most_items: Catalogue above which to refuse.

    Raises:
        ValueError: if `ridge` is not positive, or there are more items than `most_items`.
    """

    def __init__(
        self, num_users: int, num_items: int, *, ridge: float = 200.0, most_items: int = 20000
    ) -> None:
        super().__init__()
        if ridge <= 0:
            raise ValueError(f"ridge must be positive, got {ridge}")
        if num_items > most_items:
            raise ValueError(
                f"EASE inverts a matrix of {num_items} by {num_items} items "
                f"({8e-9 * num_items**2:.0f} GB); use ItemKNN, or raise most_items"
            )
        self.ridge = ridge

    def prepare(self, graph: CSR) -> tuple[Tensor, ...]:
        """The items of each user, and B.

        Args:
            graph: Training interactions, users by items.
        """
        ones = np.ones(graph.num_entries)
        arrays = (ones, graph.col.cpu().numpy(), graph.ptr.cpu().numpy())
        users = csr_array(arrays, shape=(graph.num_rows, graph.num_cols))
        gram = torch.from_numpy((users.T @ users).toarray())
        gram.diagonal().add_(self.ridge)
        with exact():
            inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        weight = -inverse / inverse.diagonal()
        weight.fill_diagonal_(0)
        return graph.ptr, graph.col, weight.float().to(graph.ptr.device)

    def encode(self, graph: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The same.

        Args:
            graph: What `prepare` returned.
        """
        return graph

    def score(
        self, nodes: tuple[Tensor, ...], users: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch item"]:
        """What the items of a user say about all.

        Args:
            nodes: What `encode` returned.
            users: Users.
        """
        ptr, col, weight = nodes
        entry, owner = expand_rows(ptr, users)
        have = weight.new_zeros(len(users), len(weight))
        have[owner, col[entry].long()] = 1
        return product(have, weight)

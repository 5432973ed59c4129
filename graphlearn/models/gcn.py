"""Graph convolutions as baselines of robustness: plain, on similar ends, on a low rank."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from graphlearn.models.refine import prune_edges
from graphlearn.nn import Linear
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.product import product
from graphlearn.ops.rows import feature_rows
from graphlearn.ops.spmm import propagate

__all__ = ["GCN", "GCNSVD", "GCNJaccard", "LowRank"]


class LowRank(NamedTuple):
    r"""A normalised adjacency :math:`S (U C V^\top + I) S` of low rank.

    Args:
        left: :math:`U`.
        core: :math:`C`.
        right: :math:`V`.
        scale: The diagonal of :math:`S`.
    """

    left: Tensor
    core: Tensor
    right: Tensor
    scale: Tensor


class GCN(nn.Module):
    r"""Two graph convolutions.

    .. math:: Z = \hat A \, \mathrm{drop}(\sigma(\hat A X W_1 + b_1)) W_2 + b_2, \qquad
              \hat A = D^{-1/2} (A + I) D^{-1/2}

    Weights start as Glorot and Bengio have it, biases at zero.

    Reference: Thomas Kipf, Max Welling, "Semi-Supervised Classification with Graph Convolutional
    Networks", ICLR 2017. Differs from it: features are neither normalised nor dropped.

    Args:
        in_channels: Features of a node.
        out_channels: Classes.
        hidden: Width between the layers.
        dropout: Dropout between the layers.

    Raises:
        ValueError: if `hidden` is below 1, or `dropout` outside [0, 1).
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, hidden: int = 16, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        self.first = _Convolution(in_channels, hidden)
        self.second = _Convolution(hidden, out_channels)
        self.dropout = Dropout(dropout, relu=True)

    def prepare(self, x: Tensor | CSR, graph: CSR) -> CSR | LowRank:
        r"""The matrix :math:`\hat A`, differentiable in the weights of the graph.

        Args:
            x: Features.
            graph: Neighbour lists.
        """
        return gcn_norm(graph)

    def forward(self, x: Tensor | CSR, graph: CSR | LowRank) -> Float[Tensor, "node class"]:
        """Logits of each class for each node.

        Args:
            x: Features, dense or sparse rows.
            graph: What `prepare` returned.
        """
        h = self.dropout(self.first(x, graph))
        out: Tensor = self.second(h, graph)
        return out


class GCNJaccard(GCN):
    r"""A graph convolution that does not see edges between nodes of unlike features.

    Edges with :math:`J(x_i, x_j) < t` are dropped. Features of which no two nodes share any, such
    as one-hot rows, say nothing about edges: then none is dropped.

    Reference: Huijun Wu et al., "Adversarial Examples for Graph Data: Deep Insights into Attack
    and Defense", IJCAI 2019. Differs from it: `cosine` for features that are not binary.

    Args:
        in_channels: Features of a node.
        out_channels: Classes.
        threshold: Similarity :math:`t` below which an edge is dropped.
        similarity: `jaccard` of the positions that are not zero, or `cosine`.
        hidden: Width between the layers.
        dropout: Dropout between the layers.

    Raises:
        ValueError: if a setting lies outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        threshold: float = 0.01,
        similarity: Literal["jaccard", "cosine"] = "jaccard",
        hidden: int = 16,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(in_channels, out_channels, hidden=hidden, dropout=dropout)
        if similarity not in ("jaccard", "cosine"):
            raise ValueError(f"similarity must be jaccard or cosine, got {similarity!r}")
        if not -1 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [-1, 1], got {threshold}")
        self.threshold, self.similarity = threshold, similarity

    def prepare(self, x: Tensor | CSR, graph: CSR) -> CSR:
        r"""The matrix :math:`\hat A` of the edges that stay.

        Which ones stay is a constant; it is differentiable in their weights.

        Args:
            x: Features.
            graph: Neighbour lists.
        """
        if not _nothing_shared(x):
            graph, _ = prune_edges(
                graph, x, self.threshold, similarity=self.similarity, strict=True
            )
        return gcn_norm(graph)


class GCNSVD(GCN):
    r"""A graph convolution on the best approximation of the adjacency by a low rank.

    .. math:: A_r = U_r \Sigma_r V_r^\top, \qquad \hat A = S (A_r + I) S, \qquad
              S_{ii} = \max(0, \textstyle\sum_j (A_r + I)_{ij})^{-1/2}

    Attacks change the singular values beyond the first ones most. The product with a matrix is
    computed factor by factor, so that memory is that of `rank` vectors; a row whose sum is not
    positive sends and receives nothing. Singular vectors are constants: with weights that require
    a gradient, :math:`\Sigma_r` is :math:`U_r^\top A V_r`, so that an attack on this model sees the
    projection of an edge on the vectors, and not how it turns them. An adaptive attack on it is
    thus weaker than one on the other models.

    Reference: Negin Entezari et al., "All You Need Is Low (Rank): Defending Against Adversarial
    Attacks on Graphs", WSDM 2020.

    Args:
        in_channels: Features of a node.
        out_channels: Classes.
        rank: Singular values that are kept; all of them where the graph has no more nodes.
        hidden: Width between the layers.
        dropout: Dropout between the layers.

    Raises:
        ValueError: if a setting lies outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        rank: int = 15,
        hidden: int = 16,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(in_channels, out_channels, hidden=hidden, dropout=dropout)
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        self.rank = rank

    def prepare(self, x: Tensor | CSR, graph: CSR) -> LowRank:
        r"""The factors of :math:`\hat A`.

        Args:
            x: Features.
            graph: Neighbour lists.
        """
        left, right = (part.to(graph.col.device) for part in _singular_vectors(graph, self.rank))
        core = product(left.t(), propagate(graph, right))
        total = product(left, product(core, right.sum(0).unsqueeze(1))).squeeze(1) + 1
        scale = torch.where(total > 0, total.clamp(min=1e-30).rsqrt(), 0.0)
        return LowRank(left, core, right, scale)


class _Convolution(nn.Module):
    """A linear map, propagation, a bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin = Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.lin.weight)

    def forward(self, x: Tensor | CSR, graph: CSR | LowRank) -> Tensor:
        h: Tensor = self.lin(x)
        if isinstance(graph, CSR):
            return propagate(graph, h) + self.bias
        h = graph.scale.unsqueeze(1) * h
        h = product(graph.left, product(graph.core, product(graph.right.t(), h))) + h
        return graph.scale.unsqueeze(1) * h + self.bias


def _nothing_shared(x: Tensor | CSR) -> bool:
    """Whether no two rows share a column."""
    rows = feature_rows(x)
    return not rows.num_entries or int(torch.bincount(rows.col.long()).max()) <= 1


@torch.no_grad()
def _singular_vectors(graph: CSR, rank: int) -> tuple[Tensor, Tensor]:
    """Left and right singular vectors of the largest values, from a start that never changes."""
    value = graph.values()
    value = torch.ones(graph.num_entries) if value is None else value.detach().cpu()
    shape = (graph.num_rows, graph.num_cols)
    entries = (value.double().numpy(), graph.col.cpu().numpy(), graph.ptr.cpu().numpy())
    matrix = csr_matrix(entries, shape=shape)
    if min(shape) <= 3 * rank:  # so few nodes that the table is no larger than the vectors
        u, _, v = np.linalg.svd(matrix.toarray(), full_matrices=False)
        u, v = u[:, :rank], v[:rank]
    else:
        start = np.random.default_rng(0).standard_normal(min(shape))
        u, _, v = svds(matrix, k=rank, v0=start)
    left, right = np.ascontiguousarray(u), np.ascontiguousarray(v.T)
    return torch.from_numpy(left).float(), torch.from_numpy(right).float()

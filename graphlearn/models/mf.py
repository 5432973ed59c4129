"""Matrix factorisation, and what every recommender with embeddings has in common with it."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from graphlearn.ops.csr import CSR
from graphlearn.ops.product import product

__all__ = ["MF", "Readout", "both_ways", "readout"]

Readout = Literal["mean", "sum", "last", "concat"]


class MF(nn.Module):
    r"""A vector for each user and each item, scored by inner products.

    .. math:: \hat y_{ui} = \langle h_u, h_i \rangle, \qquad h = E \in \mathbb{R}^{(U + I) \times F}

    Recommenders that propagate over the graph of interactions inherit the table :math:`E` and the
    score, and compute :math:`h` from :math:`E` in `encode`. Users come first, then items.

    Reference: Steffen Rendle, Christoph Freudenthaler, Zeno Gantner, Lars Schmidt-Thieme, "BPR:
    Bayesian Personalized Ranking from Implicit Feedback", UAI 2009 (with the loss of the task).

    Args:
        num_users: Number of users.
        num_items: Number of items.
        channels: Width F of a vector.
        std: Standard deviation of the normal distribution that :math:`E` is drawn from.
        cosine: Scale every :math:`h` to unit length, so that scores are cosines.

    Raises:
        ValueError: if `channels` or `std` is not positive.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        channels: int = 64,
        std: float = 0.1,
        cosine: bool = False,
    ) -> None:
        super().__init__()
        if channels < 1 or std <= 0:
            raise ValueError(f"channels and std must be positive, got {channels} and {std}")
        self.num_users, self.num_items, self.cosine = num_users, num_items, cosine
        self.embedding = nn.Parameter(torch.randn(num_users + num_items, channels) * std)

    def prepare(self, graph: CSR) -> Any:  # noqa: ANN401
        """What `encode` needs of the graph; the same in every step.

        Args:
            graph: Training interactions, users by items.
        """
        return graph

    def encode(self, graph: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        """The vector of every user, then of every item.

        Args:
            graph: What `prepare` returned.
        """
        h = self.vectors(graph)
        return (F.normalize(h) if self.cosine else h,)

    def vectors(self, graph: Any) -> Float[Tensor, "node chan"]:  # noqa: ANN401
        """The same before it is scaled; what models with a graph replace.

        Args:
            graph: What `prepare` returned.
        """
        return self.embedding

    def score(
        self, nodes: tuple[Tensor, ...], users: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch item"]:
        """Score of every item for some users, higher is better.

        Args:
            nodes: What `encode` returned.
            users: Users.
        """
        (h,) = nodes
        return product(h[users], h[self.num_users :].t())


def both_ways(graph: CSR) -> CSR:
    """The graph on users and items together: each interaction as an edge in both directions.

    Args:
        graph: Interactions, users by items.
    """
    users, items = graph.num_rows, graph.num_cols
    edges = torch.stack([graph.rows(), graph.col.long() + users])
    return CSR.from_edge_index(edges, users + items, undirected=True)


def readout(layers: list[Tensor], kind: Readout) -> Float[Tensor, "node chan"]:
    """One vector of each node from those of all layers.

    Args:
        layers: Output of each layer, the input first.
        kind: Their mean, their sum, the last one, or all side by side.
    """
    if kind == "concat":
        return torch.cat(layers, dim=1)
    if kind == "last":
        return layers[-1]
    total = layers[0]
    for layer in layers[1:]:
        total = total + layer
    return total / len(layers) if kind == "mean" else total

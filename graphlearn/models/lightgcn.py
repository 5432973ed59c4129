"""LightGCN: propagation without weights over the graph of interactions."""

from jaxtyping import Float
from torch import Tensor

from graphlearn.models.mf import MF, Readout, both_ways, readout
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.csr import CSR
from graphlearn.ops.means import mean_hops
from graphlearn.ops.spmm import propagate

__all__ = ["LightGCN"]


class LightGCN(MF):
    r"""Embeddings averaged over neighbourhoods of growing size.

    .. math:: E^{(l+1)} = D^{-1/2} A D^{-1/2} E^{(l)}, \qquad
              h = \frac{1}{L + 1} \sum_{l=0}^{L} E^{(l)}, \qquad
              \hat y_{ui} = \langle h_u, h_i \rangle

    The matrix is symmetric, so that the backward pass is the same map once more.

    Reference: Xiangnan He, Kuan Deng, Xiang Wang, Yan Li, Yongdong Zhang, Meng Wang, "LightGCN:
    Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        channels: Width of a vector.
        layers: Number L of propagations.
        readout: How layers become one vector; the paper's is their mean.
        std: Standard deviation of the normal distribution that embeddings are drawn from.
        cosine: Scale vectors to unit length, so that scores are cosines.

    Raises:
        ValueError: if a size or `std` is not positive.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        channels: int = 64,
        layers: int = 3,
        readout: Readout = "mean",
        std: float = 0.1,
        cosine: bool = False,
    ) -> None:
        super().__init__(num_users, num_items, channels=channels, std=std, cosine=cosine)
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        self.layers, self.readout = layers, readout

    def prepare(self, graph: CSR) -> CSR:
        """The normalised adjacency of users and items.

        Args:
            graph: Training interactions, users by items.
        """
        return gcn_norm(both_ways(graph), loops=0.0)

    def vectors(self, graph: CSR) -> Float[Tensor, "node chan"]:
        """Mean of all propagations of the embeddings.

        Args:
            graph: What `prepare` returned.
        """
        if self.readout == "mean":
            return mean_hops(graph, self.embedding, self.layers)
        outputs: list[Tensor] = [self.embedding]
        for _ in range(self.layers):
            outputs.append(propagate(graph, outputs[-1]))
        return readout(outputs, self.readout)

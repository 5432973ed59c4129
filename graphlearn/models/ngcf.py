"""NGCF: propagation with weights and with products of the two ends."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphlearn.models.lightgcn import LightGCN
from graphlearn.models.mf import Readout, readout
from graphlearn.nn import Linear
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.spmm import propagate

__all__ = ["NGCF"]


class NGCF(LightGCN):
    r"""Neural graph collaborative filtering.

    .. math:: X' = \mathrm{LeakyReLU}_{0.2}\big( (\hat A X + X) W_1^\top + b_1
              + (\hat A X \odot X) W_2^\top + b_2 \big), \qquad \hat A = D^{-1/2} A D^{-1/2}

    Each layer's output is dropped out, handed on, and read out with unit length, as in the
    published code.

    Reference: Xiang Wang, Xiangnan He, Meng Wang, Fuli Feng, Tat-Seng Chua, "Neural Graph
    Collaborative Filtering", SIGIR 2019.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        channels: Width of a vector, in all layers.
        layers: Number of propagations.
        readout: How layers become one vector; the paper's is `concat`.
        dropout: Dropout of the output of a layer.
        std: Standard deviation of the normal distribution that embeddings are drawn from.
        cosine: Scale vectors to unit length, so that scores are cosines.

    Raises:
        ValueError: if a size or `std` is not positive, or `dropout` is not in [0, 1).
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        channels: int = 64,
        layers: int = 3,
        readout: Readout = "concat",
        dropout: float = 0.1,
        std: float = 0.1,
        cosine: bool = False,
    ) -> None:
        super().__init__(
            num_users, num_items, channels=channels, layers=layers, readout=readout, std=std,
            cosine=cosine,
        )  # fmt: skip
        self.own = nn.ModuleList(Linear(channels, channels) for _ in range(layers))
        self.both = nn.ModuleList(Linear(channels, channels) for _ in range(layers))
        for layer in (*self.own, *self.both):
            assert isinstance(layer, Linear)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.dropout = Dropout(dropout)

    def vectors(self, graph: CSR) -> Float[Tensor, "node chan"]:
        """All layers, read out.

        Args:
            graph: What `prepare` returned.
        """
        x: Tensor = self.embedding
        outputs = [x]
        for own, both in zip(self.own, self.both, strict=True):
            around = propagate(graph, x)
            x = F.leaky_relu(own(around + x) + both(around * x), 0.2)
            x = self.dropout(x)
            outputs.append(F.normalize(x))
        return readout(outputs, self.readout)

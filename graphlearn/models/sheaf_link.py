"""Sheaf diffusion as the encoder of a link predictor."""

from typing import Literal

from torch import Tensor

from graphlearn.models.baselines import GAE
from graphlearn.models.mf import Readout, readout
from graphlearn.models.restriction import Maps, Orthogonal
from graphlearn.models.sheaf import Normalization, diffused, sheaf_layers
from graphlearn.ops.csr import CSR

__all__ = ["SheafLink"]


class SheafLink(GAE):
    r"""Embeddings or features that diffuse on a learned sheaf, and an MLP on products of two ends.

    .. math:: X^{(l+1)} = \mathrm{SheafConv}_l(X^{(l)}), \qquad
              H = \mathrm{readout}(X^{(0)}, \ldots, X^{(L)}), \qquad z_{ij} = f(H_i \odot H_j)

    Links that are switched off in the graph, as those of the current batch are, take no part in
    the sheaf: neither in what is sent nor in the normalisation.

    Reference: Antonio Purificato, Giulia Cassarà, Federico Siciliano, Pietro Liò, Fabrizio
    Silvestri, "Sheaf4Rec: Sheaf Neural Networks for Graph-based Recommender Systems", whose first
    version (arXiv 2304.09097v1, 2023) has a link prediction on ogbl-ddi; no code of it was
    released, so that encoder and decoder follow `GAE` and `SheafRecommender`.

    Args:
        in_channels: Features of a node; 0 where nodes carry ids.
        num_ids: Number of ids; 0 where nodes carry features.
        hidden: Width of every layer, of all rows of a stalk together.
        layers: Steps of diffusion.
        stalk_dim: Rows of a stalk.
        maps: Form of the restriction maps.
        normalization: Form of S, see `SheafConv`.
        readout: How layers become one vector; `concat` would change the width of the decoder.
        per_layer: Each layer learns its own maps from its own input.
        right: Learn a matrix in each layer.
        damping: Learn how much each row of a stalk keeps.
        nonlinearity: Applied to each step.
        init: Whether maps start as the identity.
        orth: How rotations are made.
        input_dropout: Dropout of the features.
        dropout: Dropout of the input block.
        predictor_dropout: Dropout in the decoder.
        predictor_norm: LayerNorm in the decoder.
        predictor_layers: Linear maps of the decoder.

    Raises:
        ValueError: if options do not fit each other.
    """

    def __init__(
        self,
        in_channels: int,
        num_ids: int = 0,
        *,
        hidden: int = 256,
        layers: int = 2,
        stalk_dim: int = 1,
        maps: Maps = "scalar",
        normalization: Normalization = "augmented",
        readout: Literal["mean", "sum", "last"] = "mean",
        per_layer: bool = False,
        right: Literal["none", "orthogonal", "linear"] = "none",
        damping: bool = False,
        nonlinearity: Literal["id", "tanh", "elu"] = "id",
        init: Literal["identity", "linear"] = "identity",
        orth: Orthogonal = "cayley",
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        predictor_dropout: float = 0.1,
        predictor_norm: bool = True,
        predictor_layers: int = 2,
    ) -> None:
        super().__init__(
            in_channels, num_ids, hidden=hidden, layers=0, encoder="puregcn",
            input_dropout=input_dropout, dropout=dropout, predictor_dropout=predictor_dropout,
            predictor_norm=predictor_norm, predictor_layers=predictor_layers,
        )  # fmt: skip
        self.readout: Readout = readout
        self.convs = sheaf_layers(
            layers, hidden, per_layer=per_layer, stalk_dim=stalk_dim, maps=maps,
            normalization=normalization, right=right, damping=damping, nonlinearity=nonlinearity,
            init=init, orth=orth,
        )  # fmt: skip

    def encode(self, x: Tensor | CSR, graph: CSR) -> tuple[Tensor, ...]:
        """Representation of each node.

        Args:
            x: Features (node, chan), the same as sparse rows, or ids (node).
            graph: Symmetric neighbour lists.
        """
        return (readout(diffused(self.convs, self.encoder(x, graph), graph), self.readout),)

"""Baselines of link prediction: counts over common neighbours, and graph auto-encoders."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphlearn.nn import Conv, Encoder, LayerNorm, mlp
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.overlap import overlap_count, overlap_sum
from graphlearn.ops.pairs import pair_product

__all__ = ["GAE", "Heuristic"]


class Heuristic(nn.Module):
    r"""A score without parameters, from the neighbourhoods of the two ends.

    With :math:`C = N(i) \cap N(j)` and degrees :math:`d`: `cn` is :math:`|C|`, `aa` is
    :math:`\sum_{u \in C} 1 / \log d_u` (:math:`d_u = 1` counts zero), `ra` is
    :math:`\sum_{u \in C} 1 / d_u`, `jaccard` is :math:`|C| / |N(i) \cup N(j)|` and `degree` is
    :math:`d_i d_j`. Sums are float64, so that equal neighbourhoods tie exactly.

    References: Lada Adamic, Eytan Adar, "Friends and neighbors on the Web", Social Networks, 2003
    (`aa`); Tao Zhou, Linyuan Lü, Yi-Cheng Zhang, "Predicting missing links via local information",
    European Physical Journal B, 2009 (`ra`); David Liben-Nowell, Jon Kleinberg, "The link
    prediction problem for social networks", CIKM 2003 (the others).

    Args:
        num_nodes: Nodes of the graph.
        kind: Which score.
    """

    def __init__(
        self,
        num_nodes: int,
        *,
        kind: Literal["cn", "aa", "ra", "jaccard", "degree"] = "cn",
    ) -> None:
        super().__init__()
        self.num_nodes, self.kind = num_nodes, kind

    def encode(self, x: Tensor | CSR, graph: CSR) -> tuple[Tensor, ...]:
        """The weight of each node as a common neighbour, or its degree.

        Args:
            x: Not used.
            graph: Symmetric neighbour lists.
        """
        degree = graph.degree().double()
        if self.kind == "aa":
            return (torch.where(degree > 1, 1 / degree.clamp(min=2).log(), 0.0),)
        if self.kind == "ra":
            return (torch.where(degree > 0, 1 / degree.clamp(min=1), 0.0),)
        return (degree,)

    def score(
        self, nodes: tuple[Tensor, ...], graph: CSR, pairs: Int[Tensor, "2 pair"]
    ) -> Float[Tensor, " pair"]:
        """Score of each pair, higher is likelier.

        Args:
            nodes: What `encode` returned.
            graph: The graph that was encoded.
            pairs: Node pairs to score.
        """
        (value,) = nodes
        if self.kind in ("aa", "ra"):
            return overlap_sum(graph, pairs, value.unsqueeze(1)).squeeze(1)
        if self.kind == "degree":
            return value[pairs[0]] * value[pairs[1]]
        common = overlap_count(graph, pairs).double()
        if self.kind == "cn":
            return common
        union = value[pairs[0]] + value[pairs[1]] - common
        return torch.where(union > 0, common / union.clamp(min=1), 0.0)


class GAE(nn.Module):
    r"""Graph auto-encoder with a learned Hadamard decoder, :math:`z_{ij} = f(H_i \odot H_j)`.

    The encoder `none` makes it a plain MLP on node features.

    Reference: Thomas Kipf, Max Welling, "Variational Graph Auto-Encoders", NIPS workshop 2016.
    Differs from it: the decoder is an MLP on the product instead of its sum, as in the OGB
    baselines (Weihua Hu et al., "Open Graph Benchmark", NeurIPS 2020).

    Args:
        in_channels: Features of a node; 0 where nodes carry ids.
        num_ids: Number of ids; 0 where nodes carry features.
        hidden: Width of every layer.
        layers: Number of graph convolutions.
        encoder: Kind of convolution, see `graphlearn.nn.Encoder`.
        residual: Add the input of a layer to its output where widths agree.
        norm: LayerNorm in the encoder.
        input_dropout: Dropout of the features.
        dropout: Dropout between layers of the encoder.
        edge_dropout: Probability of dropping an entry of the graph, per layer.
        predictor_dropout: Dropout in the decoder.
        predictor_norm: LayerNorm in the decoder.
        predictor_layers: Linear maps of the decoder.
    """

    def __init__(
        self,
        in_channels: int,
        num_ids: int = 0,
        *,
        hidden: int = 256,
        layers: int = 2,
        encoder: Conv = "gcn",
        residual: bool = False,
        norm: bool = True,
        input_dropout: float = 0.0,
        dropout: float = 0.1,
        edge_dropout: float = 0.0,
        predictor_dropout: float = 0.1,
        predictor_norm: bool = True,
        predictor_layers: int = 2,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            in_channels,
            num_ids,
            hidden=hidden,
            layers=layers,
            conv=encoder,
            residual=residual,
            norm=norm,
            input_dropout=input_dropout,
            dropout=dropout,
            edge_dropout=edge_dropout,
        )
        blocks: list[nn.Module | None] = []
        if encoder == "none":
            blocks += [nn.ReLU(), nn.Linear(hidden, hidden)]
        self.node = mlp(*blocks)
        blocks = []
        for _ in range(predictor_layers - 1):
            blocks += [
                nn.Linear(hidden, hidden),
                LayerNorm(hidden) if predictor_norm else None,
                Dropout(predictor_dropout, relu=True),
            ]
        self.decoder = mlp(*blocks, nn.Linear(hidden, 1))

    def encode(self, x: Tensor | CSR, graph: CSR) -> tuple[Tensor, ...]:
        """Representation of each node.

        Args:
            x: Features (node, chan), the same as sparse rows, or ids (node).
            graph: Symmetric neighbour lists.
        """
        return (self.node(self.encoder(x, graph)),)

    def score(
        self, nodes: tuple[Tensor, ...], graph: CSR, pairs: Int[Tensor, "2 pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of each pair, higher is likelier.

        Args:
            nodes: What `encode` returned.
            graph: Not used.
            pairs: Node pairs to score.
        """
        (h,) = nodes
        z: Tensor = self.decoder(pair_product(h, pairs))
        return z.squeeze(1).float()

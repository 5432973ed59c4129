"""Baselines of node classification, from the layers of PyG."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import APPNP, GATConv, GCNConv, SGConv

from graphlearn.nn import Linear, drop_features
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.csr import CSR

__all__ = ["Edges", "NodeBaseline"]


class Edges(NamedTuple):
    """A graph as PyG's layers take it: from source to target, with normalised weights."""

    edge_index: Tensor
    weight: Tensor | None


class NodeBaseline(nn.Module):
    r"""MLP, GCN, GAT, SGC or APPNP with the layers of PyG.

    With :math:`\hat A` the normalisation of `graphlearn.ops.adjacency.gcn_norm`: `mlp` is
    :math:`W_2 \sigma(W_1 x)`; `gcn` is :math:`\hat A \sigma(\hat A X W_1) W_2`; `gat` weighs
    neighbours by attention instead; `sgc` is :math:`\hat A^K X W`; `appnp` propagates the output
    of the MLP by :math:`H_k = (1 - a) \hat A H_{k-1} + a H_0`.

    References: Thomas Kipf, Max Welling, "Semi-Supervised Classification with Graph Convolutional
    Networks", ICLR 2017; Petar Veličković et al., "Graph Attention Networks", ICLR 2018; Felix Wu
    et al., "Simplifying Graph Convolutional Networks", ICML 2019; Johannes Klicpera, Aleksandar
    Bojchevski, Stephan Günnemann, "Predict then Propagate", ICLR 2019.

    Args:
        in_channels: Features of a node.
        out_channels: Classes.
        kind: Which model.
        hidden: Width between the two layers, in all heads together.
        heads: Attention heads of the first layer (`gat`).
        hops: Propagations :math:`K` (`sgc`, `appnp`).
        teleport: :math:`a` of `appnp`.
        dropout: Dropout of the features and between layers; in `gat` of the attention too.

    Raises:
        ValueError: if `hidden` is not a multiple of `heads` (`gat`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kind: Literal["mlp", "gcn", "gat", "sgc", "appnp"] = "gcn",
        hidden: int = 64,
        heads: int = 8,
        hops: int = 10,
        teleport: float = 0.1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if kind == "gat" and hidden % heads:
            raise ValueError(f"hidden must be a multiple of heads, got {hidden} and {heads}")
        self.kind, self.hops, self.dropout = kind, hops, dropout
        widths = (in_channels, hidden, out_channels)
        if kind == "gat":
            part = hidden // heads
            self.layers = nn.ModuleList(
                [
                    _Attention(in_channels, part, heads, dropout),
                    _Attention(hidden, out_channels, 1, dropout),
                ]
            )
        elif kind == "gcn":
            self.layers = nn.ModuleList([_conv(*widths[:2]), _conv(*widths[1:])])
        elif kind == "sgc":
            self.layers = nn.ModuleList()
        else:
            self.layers = nn.ModuleList([Linear(*widths[:2]), Linear(*widths[1:])])
        self.sgc = _Simple(in_channels, out_channels, hops) if kind == "sgc" else None
        self.appnp = APPNP(hops, teleport, normalize=False) if kind == "appnp" else None

    def prepare(self, x: Tensor | CSR, graph: CSR) -> Edges:
        """Edges with normalised weights.

        Args:
            x: Features.
            graph: Neighbour lists.
        """
        if self.kind == "gat":
            return Edges(_index(graph), None)
        graph = gcn_norm(graph)
        return Edges(_index(graph), graph.weight)

    def forward(self, x: Tensor | CSR, graph: Edges) -> Float[Tensor, "node class"]:
        """Logits of each class for each node.

        Args:
            x: Features.
            graph: What `prepare` returned.
        """
        p = self.dropout if self.training else 0.0
        if self.sgc is not None:
            simple: Tensor = self.sgc(drop_features(x, p), graph)
            return simple
        first, second = self.layers
        edges = graph[:2] if self.kind == "gcn" else graph[:1] if self.kind == "gat" else ()
        h = first(drop_features(x, p), *edges)
        h = torch.nn.functional.elu(h) if self.kind == "gat" else h.relu()
        out: Tensor = second(drop_features(h, p), *edges)
        if self.appnp is not None:
            out = self.appnp(out, *graph[:2])
        return out


def _conv(in_channels: int, out_channels: int) -> GCNConv:
    """A convolution on weights that are normalised, whose map takes sparse rows as well."""
    conv = GCNConv(in_channels, out_channels, normalize=False)
    weight = conv.lin.weight
    conv.lin = Linear(in_channels, out_channels, bias=False)
    conv.lin.weight = weight
    return conv


class _Simple(nn.Module):
    """A map, then hops on as many channels as there are classes: the same product, sooner done."""

    def __init__(self, in_channels: int, out_channels: int, hops: int) -> None:
        super().__init__()
        self.conv = SGConv(in_channels, out_channels, K=hops)
        self.lin = Linear(in_channels, out_channels, bias=False)
        self.lin.weight, self.bias = self.conv.lin.weight, self.conv.lin.bias
        self.conv.lin = nn.Identity()

    def forward(self, x: Tensor | CSR, graph: Edges) -> Tensor:
        h = self.lin(x)
        for _ in range(self.conv.K):
            h = self.conv.propagate(graph.edge_index, x=h, edge_weight=graph.weight)
        out: Tensor = h + self.bias
        return out


class _Attention(nn.Module):
    """A layer of attention on features that were mapped before, so that they may be sparse."""

    def __init__(self, in_channels: int, out_channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.conv = GATConv(in_channels, out_channels, heads=heads, dropout=dropout)
        self.lin = Linear(in_channels, heads * out_channels, bias=False)
        self.lin.weight = self.conv.lin.weight
        self.conv.lin = nn.Identity()

    def forward(self, x: Tensor | CSR, edge_index: Tensor) -> Tensor:
        out: Tensor = self.conv(self.lin(x), edge_index)
        return out


def _index(graph: CSR) -> Tensor:
    """Messages go from the column to the row."""
    entry = slice(None) if graph.keep is None else graph.keep
    return torch.stack([graph.col.long(), graph.rows()])[:, entry]

"""NCN: link prediction by learned sums over common neighbours."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphlearn.nn import Conv, Encoder, LayerNorm, drop_edge, mlp
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.overlap import overlap, overlap_sum
from graphlearn.ops.pairs import pair_product
from graphlearn.ops.spmm import propagate

__all__ = ["NCN", "Terms"]


class NCN(nn.Module):
    r"""Neural common neighbour.

    With :math:`H` the node encoder's output and :math:`v_u = H_u + f_x(H_u)`,

    .. math:: z_{ij} = f_{out}\Bigl(\beta\, f_{cn}\bigl(\textstyle\sum_{u \in N(i) \cap N(j)}
              v_u\bigr) + f_{ij}(H_i \odot H_j)\Bigr)

    Reference: Xiyuan Wang, Haotong Yang, Muhan Zhang, "Neural Common Neighbor with Completion for
    Link Prediction", ICLR 2024. Differs from the published code: :math:`f_x` is evaluated once per
    encoder pass, in training only where it is needed, and never once per block of pairs.

    Args:
        in_channels: Features of a node; 0 where nodes carry ids.
        num_ids: Number of ids; 0 where nodes carry features.
        hidden: Width of every layer.
        layers: Number of graph convolutions.
        encoder: Kind of convolution, see `graphlearn.nn.Encoder`.
        jk: Add all layers with learnable weights instead of taking the last.
        jk_init: Start of these weights.
        residual: Add the input of a layer to its output where widths agree.
        norm: LayerNorm in the encoder (convolutions with weights only).
        input_dropout: Dropout of the features.
        output_dropout: Dropout after the last pure convolution.
        dropout: Dropout between layers of the encoder.
        edge_dropout: Probability of dropping an entry of the graph, per layer of the encoder.
        predictor_dropout: Dropout in the predictor.
        predictor_edge_dropout: Probability of dropping an entry before neighbours are intersected.
        predictor_norm: LayerNorm in the predictor.
        node_mlp: Use :math:`f_x`; without it :math:`v_u = H_u`.
        tail_activation: End :math:`f_{cn}` and :math:`f_{ij}` with their activation instead of
            another linear layer.
        two_layer: One more hidden layer in :math:`f_{out}`.
        beta: Start of the learnable weight of the common neighbours.
        symmetric_dropout: Drop both directions of an edge together.
        extra_row: One unused row in the table of ids, as in the published ogbl-ddi model.
    """

    def __init__(
        self,
        in_channels: int,
        num_ids: int = 0,
        *,
        hidden: int = 256,
        layers: int = 1,
        encoder: Conv = "puregcn",
        jk: bool = False,
        jk_init: Literal["normal", "ones"] = "normal",
        residual: bool = False,
        norm: bool = True,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        dropout: float = 0.0,
        edge_dropout: float = 0.0,
        predictor_dropout: float = 0.0,
        predictor_edge_dropout: float = 0.0,
        predictor_norm: bool = True,
        node_mlp: bool = True,
        tail_activation: bool = True,
        two_layer: bool = False,
        beta: float = 1.0,
        symmetric_dropout: bool = False,
        extra_row: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            in_channels,
            num_ids,
            hidden=hidden,
            layers=layers,
            conv=encoder,
            jk=jk,
            jk_init=jk_init,
            residual=residual,
            norm=norm,
            input_dropout=input_dropout,
            output_dropout=output_dropout,
            dropout=dropout,
            edge_dropout=edge_dropout,
            symmetric_dropout=symmetric_dropout,
            extra_row=extra_row,
        )
        self.edge_dropout, self.symmetric = predictor_edge_dropout, symmetric_dropout
        self._build_predictor(
            hidden, predictor_dropout, predictor_norm, node_mlp, tail_activation, two_layer
        )
        self.beta = nn.Parameter(torch.tensor([float(beta)]))

    def _build_predictor(
        self, h: int, dropout: float, norm: bool, node_mlp: bool, tail_activation: bool, two: bool
    ) -> None:
        activate = Dropout(dropout, relu=True)

        def block() -> list[nn.Module | None]:
            return [nn.Linear(h, h), LayerNorm(h) if norm else None, activate]

        def tail() -> nn.Module | None:
            return None if tail_activation else nn.Linear(h, h)

        self.f_x = mlp(nn.Linear(h, h), activate, *block()) if node_mlp else None
        self.f_cn = mlp(nn.Linear(h, h), activate, *block(), tail())
        self.f_ij = mlp(*block(), tail())
        self.f_out = mlp(*block(), *(block() if two else []), nn.Linear(h, 1))

    def encode(self, x: Tensor | CSR, graph: CSR) -> tuple[Tensor, ...]:
        """What `score` needs of every node: `H`, and outside training :math:`v` as well.

        Args:
            x: Features (node, chan), the same as sparse rows, or ids (node).
            graph: Symmetric neighbour lists.
        """
        h = self.encoder(x, graph)
        return (h,) if self.training else self._terms(h)

    def score(
        self, nodes: tuple[Tensor, ...], graph: CSR, pairs: Int[Tensor, "2 pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of each pair, higher is likelier.

        Args:
            nodes: What `encode` returned.
            graph: The graph that was encoded.
            pairs: Node pairs to score.
        """
        if not self.training:
            return self._head(overlap_sum(graph, pairs, nodes[-1]), pair_product(nodes[0], pairs))
        graph = drop_edge(graph, self.edge_dropout, symmetric=self.symmetric)
        common = overlap(graph, pairs)
        terms = Terms(nodes, self.f_x, used=[common.col])
        total = propagate(terms.local(common), terms.at(1))
        return self._head(total, pair_product(nodes[0], pairs))

    def _terms(self, h: Tensor) -> tuple[Tensor, ...]:
        return (h,) if self.f_x is None else (h, h + self.f_x(h))

    def _head(self, total: Tensor, product: Tensor) -> Tensor:
        return self._logit(self.f_cn(total), product)

    def _logit(self, common: Tensor, product: Tensor) -> Tensor:
        z: Tensor = self.f_out(self.beta * common + self.f_ij(product))
        return z.squeeze(1).float()


class Terms:
    """The matrices H, H + f_x(H), ... each made at its first use, on all nodes or those in use."""

    def __init__(
        self, nodes: tuple[Tensor, ...], f_x: nn.Module | None, used: list[Tensor] | None = None
    ) -> None:
        self.matrices, self.f_x = list(nodes), f_x
        self.index: Tensor | None = None
        if used is None or f_x is None:
            return
        size = nodes[0].shape[0]
        if sum(part.numel() for part in used) >= 64 * size:
            return  # nearly all nodes will be in use, and looking would cost more than it saves
        mark = torch.zeros(size, dtype=torch.bool, device=nodes[0].device)
        for part in used:
            mark[part.long()] = True
        if int(mark.sum()) >= 0.9 * size:
            return
        self.index = mark.cumsum(0, dtype=torch.int32) - 1
        self.matrices = [nodes[0][mark.nonzero().squeeze(1)]]

    def at(self, level: int) -> Tensor:
        """The matrix after `level` applications of f_x."""
        if self.f_x is None:
            return self.matrices[0]
        while len(self.matrices) <= level:
            last = self.matrices[-1]
            self.matrices.append(last + self.f_x(last))
        return self.matrices[level]

    def product(self, level: int, pairs: Tensor) -> Tensor:
        """Elementwise product of the two ends of each pair."""
        return pair_product(self.at(level), pairs if self.index is None else self.index[pairs])

    def local(self, lists: CSR) -> CSR:
        """The lists in the numbering of the matrices."""
        if self.index is None:
            return lists
        size = self.matrices[0].shape[0]
        return replace(lists, col=self.index[lists.col], num_cols=size)

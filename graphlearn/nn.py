"""What several models share: input features, graph convolutions, the node encoder, edge dropout."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout, dropout
from graphlearn.ops.norm import batch_norm, layer_norm
from graphlearn.ops.product import product
from graphlearn.ops.spmm import propagate

__all__ = [
    "BatchNorm",
    "Conv",
    "Encoder",
    "LayerNorm",
    "Linear",
    "drop_edge",
    "drop_features",
    "mlp",
]

Conv = Literal[
    "puregcn", "puresum", "puremean", "puremax", "gcn", "sage", "gin", "max", "graphsage", "none"
]


def drop_edge(graph: CSR, p: float, *, symmetric: bool = False) -> CSR:
    """Switch off each stored entry with probability `p`.

    The two directions of an edge are separate entries, so the result is not symmetric unless it
    is asked for. Survivors are not rescaled; whoever sums them multiplies by `1 / (1 - p)`.

    Args:
        graph: Matrix to thin out.
        p: Probability of dropping; 0 returns the graph itself.
        symmetric: Draw once for both directions.
    """
    if p <= 0:
        return graph
    draw = torch.rand(graph.num_entries, device=graph.col.device)
    if symmetric:
        row, col = graph.rows(), graph.col.long()
        draw = draw[graph.locate(torch.stack([torch.minimum(row, col), torch.maximum(row, col)]))]
    keep = draw >= p
    keep = keep if graph.keep is None else keep & graph.keep
    return replace(graph, keep=keep, symmetric=symmetric and graph.symmetric)


def drop_features(x: Tensor | CSR, p: float) -> Tensor | CSR:
    """Dropout of features; of sparse ones only the stored values can change.

    That is the same law as dropout of the dense matrix, whose zeros stay what they are.

    Args:
        x: Dense or sparse rows.
        p: Probability of dropping; 0 returns the features themselves.
    """
    if p <= 0:
        return x
    if not isinstance(x, CSR):
        return dropout(x, p)
    value = torch.ones(x.num_entries, device=x.col.device) if x.weight is None else x.weight
    return replace(x, weight=dropout(value, p))


class Linear(nn.Linear):
    r"""Affine layer that takes sparse rows as well: :math:`Y = X W^\top + b`.

    On the CPU its bits do not depend on the number of threads.
    """

    def forward(self, input: Tensor | CSR) -> Tensor:
        """Transform each row.

        Args:
            input: Dense features (row, chan), or the same as weighted neighbour lists.
        """
        if isinstance(input, CSR):
            out = propagate(replace(input, weight=None), self.weight.t(), weight=input.weight)
            return out if self.bias is None else out + self.bias
        if input.dim() != 2:
            return super().forward(input)
        out = product(input, self.weight.t())
        return out if self.bias is None else out + self.bias


class LayerNorm(nn.LayerNorm):
    """Layer normalisation by `graphlearn.ops.norm.layer_norm`."""

    def forward(self, input: Float[Tensor, "row chan"]) -> Float[Tensor, "row chan"]:
        """Standardise each row.

        Args:
            input: Rows to normalise.
        """
        return layer_norm(input, self.weight, self.bias, self.eps)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation by `graphlearn.ops.norm.batch_norm`."""

    def forward(self, input: Float[Tensor, "row chan"]) -> Float[Tensor, "row chan"]:
        """Standardise each channel.

        Args:
            input: Rows to normalise.
        """
        assert self.running_mean is not None and self.running_var is not None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=0.1 if self.momentum is None else self.momentum,
            eps=self.eps,
        )


def mlp(*layers: nn.Module | None) -> nn.Sequential:
    """A sequence without those that are None."""
    return nn.Sequential(*[layer for layer in layers if layer is not None])


def _degree_scale(graph: CSR, scale: float) -> Tensor:
    return (1 + scale * graph.degree().float()).rsqrt().unsqueeze(1)


def _puregcn(graph: CSR, x: Tensor, scale: float) -> Tensor:
    s = _degree_scale(graph, scale).to(x.dtype)
    y = s * x
    return s * (scale * propagate(graph, y) + y)


def _puresum(graph: CSR, x: Tensor, scale: float) -> Tensor:
    return scale * propagate(graph, x)


def _puremean(graph: CSR, x: Tensor, scale: float) -> Tensor:
    return scale * propagate(graph, x, reduce="mean")


def _puremax(graph: CSR, x: Tensor, scale: float) -> Tensor:
    return scale * propagate(graph, x, reduce="max")


_PROPAGATE: dict[str, Callable[[CSR, Tensor, float], Tensor]] = {
    "puregcn": _puregcn,
    "puresum": _puresum,
    "puremean": _puremean,
    "puremax": _puremax,
    "gcn": _puregcn,
    "sage": _puremean,
    "gin": _puresum,
    "max": _puremax,
    "graphsage": _puremean,
}


class _GraphConv(nn.Module):
    """Linear map, propagation, bias; `graphsage` adds a second map of the node itself."""

    def __init__(self, in_channels: int, out_channels: int, kind: str) -> None:
        super().__init__()
        self.lin = Linear(in_channels, out_channels, bias=False)
        self.root = Linear(in_channels, out_channels, bias=False) if kind == "graphsage" else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.propagate = _PROPAGATE[kind]
        nn.init.xavier_uniform_(self.lin.weight)

    def forward(self, graph: CSR, x: Tensor | CSR, scale: float) -> Tensor:
        out = self.propagate(graph, self.lin(x), scale) + self.bias
        return out if self.root is None else out + self.root(x)


class Encoder(nn.Module):
    r"""Node encoder: input block, graph convolutions, optional residual and jumping knowledge.

    With :math:`X^{(0)}` the input block's output,

    .. math:: X^{(l)} = \mathrm{post}_l(\mathrm{conv}_l(X^{(l-1)}, \mathrm{DropEdge}(A)))
              \; [+ X^{(l-1)}], \qquad H = X^{(L)} \text{ or } \textstyle\sum_l w_l X^{(l)}

    Pure convolutions have no weights: `puregcn` is
    :math:`D^{-1/2} (A + I) D^{-1/2} X` with :math:`D = \mathrm{diag}(1 + \sum_j A_{ij})`,
    `puresum`, `puremean` and `puremax` reduce over neighbours. `gcn`, `sage`, `gin` and `max` are
    a linear map followed by the same; `graphsage` adds a map of the node itself.

    Reference: Xiyuan Wang, Haotong Yang, Muhan Zhang, "Neural Common Neighbor with Completion for
    Link Prediction", ICLR 2024. Differs from the published code: zero layers work, and edge
    dropout copies values instead of changing them in place.

    Args:
        in_channels: Features of a node; 0 where nodes carry ids.
        num_ids: Number of ids; 0 where nodes carry features.
        hidden: Width of every layer.
        layers: Number of convolutions.
        conv: Kind of convolution; `none` keeps the input block alone.
        jk: Add all layers with learnable weights instead of taking the last.
        jk_init: Start of these weights; the published code draws them from N(0, 1).
        residual: Add the input of a layer to its output where widths agree.
        norm: LayerNorm after a convolution with weights.
        input_dropout: Dropout of the features.
        output_dropout: Dropout after the last pure convolution.
        dropout: Dropout of the input block and between layers.
        edge_dropout: Probability of dropping an entry of the graph, anew in each layer.
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
        conv: Conv = "puregcn",
        jk: bool = False,
        jk_init: Literal["normal", "ones"] = "normal",
        residual: bool = False,
        norm: bool = True,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        dropout: float = 0.0,
        edge_dropout: float = 0.0,
        symmetric_dropout: bool = False,
        extra_row: bool = False,
    ) -> None:
        super().__init__()
        layers = 0 if conv == "none" else layers
        pure = layers == 0 or conv.startswith("pure")
        self.residual, self.edge_dropout, self.symmetric = residual, edge_dropout, symmetric_dropout
        self.input_dropout, self.dropout = input_dropout, dropout
        self.embedding = self.input = None
        width = in_channels
        if in_channels == 0:
            self.embedding = nn.Embedding(num_ids + extra_row, hidden)
            nn.init.orthogonal_(self.embedding.weight)
            width = hidden
        elif pure:
            self.input = Linear(in_channels, hidden)
            width = hidden
        widths = [width] + [hidden] * layers
        self.convs = nn.ModuleList(
            [] if pure else [_GraphConv(widths[i], hidden, conv) for i in range(layers)]
        )
        self.propagate = _PROPAGATE.get(conv)
        self.post = nn.ModuleList(
            self._post(i, layers, pure, hidden, norm, output_dropout) for i in range(layers)
        )
        start = torch.randn(layers) if jk_init == "normal" else torch.ones(layers)
        self.jk = nn.Parameter(start) if jk and layers else None

    def _post(
        self, index: int, layers: int, pure: bool, hidden: int, norm: bool, output_dropout: float
    ) -> nn.Module:
        last = index == layers - 1
        if pure:
            return Dropout(output_dropout) if last else nn.Identity()
        if last and layers > 1:
            return nn.Identity()
        return mlp(LayerNorm(hidden) if norm else None, Dropout(self.dropout, relu=True))

    def forward(self, x: Tensor | CSR, graph: CSR) -> Float[Tensor, "node chan"]:
        """Representation of each node.

        Args:
            x: Features (node, chan), the same as sparse rows, or ids (node).
            graph: Symmetric neighbour lists.
        """
        state = self._input(x)
        outputs = []
        scale = 1 / (1 - self.edge_dropout) if self.training else 1.0
        for index, post in enumerate(self.post):
            p = self.edge_dropout if self.training else 0.0
            thinned = drop_edge(graph, p, symmetric=self.symmetric)
            if self.convs:
                out = self.convs[index](thinned, state, scale)
            else:
                assert self.propagate is not None and isinstance(state, Tensor)
                out = self.propagate(thinned, state, scale)
            out = post(out)
            if self.residual and isinstance(state, Tensor) and state.shape == out.shape:
                out = state + out
            state = out
            outputs.append(out)
        if self.jk is not None:
            state = sum(w * out for w, out in zip(self.jk, outputs, strict=True))
        assert isinstance(state, Tensor)
        return state

    def _input(self, x: Tensor | CSR) -> Tensor | CSR:
        if self.embedding is not None:
            if isinstance(x, CSR):
                raise TypeError("this encoder embeds node ids (num_ids), got sparse features")
            return self._drop(self.embedding(x), self.dropout)
        x = drop_features(x, self.input_dropout) if self.training else x
        if self.input is None:
            return x
        return self._drop(self.input(x), self.dropout)

    def _drop(self, x: Tensor, p: float) -> Tensor:
        return dropout(x, p) if self.training and p > 0 else x

"""LATTE: layers of attention over meta relations of growing order."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.module_dict import ModuleDict

from graphlearn.extras import nearest
from graphlearn.models.latte_conv import (
    Activation,
    Attention,
    Choice,
    Graphs,
    LATTEConv,
    Norm,
    Trace,
    mapped,
)
from graphlearn.models.latte_joins import dynamic_joins, static_join
from graphlearn.models.proximity import proximity_loss
from graphlearn.nn import BatchNorm, Linear
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.paths import EdgeType, Path, RelationWeight, chain, layers
from graphlearn.sampling.batches import fold

__all__ = ["LATTE", "Prepared"]

Features = Mapping[str, Tensor | CSR]


class Prepared(NamedTuple):
    """A graph as LATTE takes it.

    Args:
        edges: Entries of every edge type.
        layers: Entries of the meta relations of each layer, so far as attention has no say.
    """

    edges: Graphs
    layers: Sequence[Graphs]


class LATTE(nn.Module):
    r"""LATTE, layer-stacked attention for heterogeneous networks.

    Layer t attends over the meta relations of order t, chains of t edge types, which are
    enumerated, not given by hand. Their entries are joins of adjacencies, weighted through the
    nodes in the middle (see `graphlearn.ops.compose`). The class of a target node is read from what
    all layers say of it,

    .. math:: y_v = W \, [h^1_v \| \dots \| h^T_v] + b.

    With `proximity` the scores of attention predict links as well: for each layer and meta relation
    m with logits :math:`g_{ij} = \kappa_m \, \mathrm{LeakyReLU} (\max_{heads} e_{ij})`

    .. math:: L_m = - \mathrm{mean}_{(i, j) \in E_m} w_{ij} \log \sigma(g_{ij})
              - \mathrm{mean}_{(i, j) \notin E_m} \log \sigma(-g_{ij}),

    of which half the mean over the meta relations of a layer is added to the loss.

    Reference: Nhat Tran, Jean Gao, "Layer-stacked Attention for Heterogeneous Network Embedding",
    arXiv 2009.08072, 2020. Differs from the published code: joins are made once, with the strongest
    `neighbors` entries of each row, instead of in each step from a random sample of what is
    above a threshold (`join="dynamic"` is theirs); meta relations are keyed by all types and edge
    types of the chain, not by letters; what the target's outputs do not depend on is not
    computed; empty meta relations get no weight (`mask_empty`); weights of positive pairs in the
    proximity loss are 1, for joins those of the join, and do not pass a gradient.

    Args:
        metadata: Node types and edge types.
        target: Type whose nodes are classified.
        in_channels: Features of a node of each type; 0 has a learnt vector for each node.
        num_nodes_dict: Nodes of each type.
        out_channels: Classes.
        hidden: Width of every layer.
        orders: Number of layers.
        heads: Attention heads.
        readout: How the layers are read: side by side, the last, their mean or maximum.
        dropout: Dropout of inputs and of each layer.
        attn_dropout: Dropout of the attention within a meta relation.
        out_dropout: Dropout before the classifier.
        activation: See `LATTEConv`.
        choice: See `LATTEConv`.
        norm: Normalisation of each layer.
        input_norm: Normalise mapped features over the batch.
        mask_empty: See `LATTEConv`.
        even_start: See `LATTEConv`.
        join: Make joins once (`static`), in every step from the attention of the layer before
            (`dynamic`), or not: every layer has the relations of order one (`off`).
        neighbors: Entries that a row of a join keeps at most; 0 is all.
        threshold: Attention below which an entry is left out of a dynamic join; the strongest one
            stays.
        sample: Draw as many entries of a dynamic join as its parts have.
        only: Patterns of the meta relations of order two and more to use, `paper-*-paper`.
        without: Patterns of meta relations to leave out.
        max_relations: Largest number of meta relations of a layer.
        prune: Leave out what the target's outputs do not depend on.
        proximity: Weight of the proximity loss.
        negatives: Pairs without a link for each one with, in the proximity loss.
        trained_weights: Weigh positive pairs by the attention itself, as in the published code:
            the loss can then be lowered by looking away.

    Raises:
        ValueError: if a setting lies outside its range, or the target is no type.
    """

    def __init__(
        self,
        metadata: tuple[Sequence[str], Sequence[EdgeType]],
        target: str,
        in_channels: Mapping[str, int],
        num_nodes_dict: Mapping[str, int],
        out_channels: int,
        *,
        hidden: int = 128,
        orders: int = 2,
        heads: int = 2,
        readout: Literal["concat", "last", "mean", "max"] = "concat",
        dropout: float = 0.2,
        attn_dropout: float = 0.2,
        out_dropout: float = 0.4,
        activation: Activation = "sharpening",
        choice: Choice = "input",
        norm: Norm = "none",
        input_norm: bool = False,
        mask_empty: bool = True,
        even_start: bool = True,
        join: Literal["static", "dynamic", "off"] = "static",
        neighbors: int = 32,
        threshold: float = 0.5,
        sample: bool = False,
        only: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
        max_relations: int = 100,
        prune: bool = True,
        proximity: float = 0.0,
        negatives: float = 2.0,
        trained_weights: bool = False,
    ) -> None:
        super().__init__()
        numbers = {"neighbors": neighbors, "threshold": threshold, "max_relations": max_relations}
        numbers |= {"orders": orders, "proximity": proximity, "negatives": negatives}
        _check(target, metadata[0], numbers)
        self.target, self.num_nodes_dict, self.readout = target, dict(num_nodes_dict), readout
        self.join, self.neighbors, self.threshold, self.sample = join, neighbors, threshold, sample
        self.proximity, self.negatives, self.trained_weights = proximity, negatives, trained_weights
        self.paths = layers(
            [(source, name, end) for source, name, end in metadata[1]], orders,
            target=target if prune else None, join=join != "off", only=only, without=without,
            most=max_relations,
        )  # fmt: skip
        layer = partial(
            LATTEConv, hidden, heads=heads, activation=activation, choice=choice, dropout=dropout,
            attn_dropout=attn_dropout, norm=norm, mask_empty=mask_empty, even_start=even_start,
        )  # fmt: skip
        convs, wanted = _stack(layer, self.paths, [target] if prune else list(metadata[0]))
        self.convs: Sequence[LATTEConv] = convs  # type: ignore[assignment]
        tables = {kind: num_nodes_dict[kind] for kind in wanted if not in_channels[kind]}
        maps = {kind: in_channels[kind] for kind in wanted if in_channels[kind]}
        self.embedding = ModuleDict({kind: nn.Embedding(n, hidden) for kind, n in tables.items()})
        self.input = ModuleDict(
            {kind: _Features(f, hidden, dropout, input_norm) for kind, f in maps.items()}
        )
        width = hidden * orders if readout == "concat" else hidden
        self.drop, self.out = Dropout(out_dropout), Linear(width, out_channels)
        nn.init.xavier_uniform_(self.out.weight)

    @classmethod
    def from_hetero_data(
        cls,
        data: HeteroData,
        target: str,
        out_channels: int,
        **settings: Any,  # noqa: ANN401
    ) -> "LATTE":
        """A model for a graph of PyG.

        Args:
            data: Its `x` says how many features a type has; one without gets learnt vectors.
            target: Type whose nodes are classified.
            out_channels: Classes.
            **settings: See `LATTE`.

        Raises:
            ValueError: if a setting lies outside its range, or the target is no type.
        """
        width = {
            kind: data[kind].x.shape[1] if "x" in data[kind] else 0 for kind in data.node_types
        }
        sizes = {kind: int(data[kind].num_nodes) for kind in data.node_types}
        return cls(data.metadata(), target, width, sizes, out_channels, **settings)

    def prepare(self, x: Features, graph: Mapping[EdgeType, CSR | Tensor]) -> Prepared:
        """Entries of the meta relations of each layer; of dynamic joins only those of order one.

        Args:
            x: Features of each type.
            graph: For each edge type the sources and receivers of its edges (2, edge), as PyG has
                them, or a matrix whose rows receive from its columns.

        Raises:
            ValueError: if an edge type that the model reads is missing.
        """
        size = self.num_nodes_dict | {kind: _rows(one) for kind, one in x.items()}
        edges: dict[Path, CSR] = {
            kind: part
            if isinstance(part, CSR)
            else CSR.from_edge_index(part.flip(0), size[kind[2]], num_cols=size[kind[0]])
            for kind, part in graph.items()
        }
        missing = next((one for found in self.paths for one in found if one[:3] not in edges), None)
        if missing is not None:
            raise ValueError(f"the graph has no edges {chain(missing[:3])}, not even an empty list")
        known = dict(edges)
        static = self.join == "static"
        found = [
            {
                path: static_join(path, known, most=self.neighbors)
                for path in paths
                if static or len(path) == 3
            }
            for paths in self.paths
        ]
        return Prepared(edges, found)

    @overload
    def forward(self, x: Features, graph: Prepared) -> Float[Tensor, "node class"]: ...

    @overload
    def forward(
        self,
        x: Features,
        graph: Prepared,
        return_attention: Literal[True],
    ) -> tuple[Float[Tensor, "node class"], list[Attention]]: ...

    def forward(
        self, x: Features, graph: Prepared, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, list[Attention]]:
        """Logit of each class for each node of the target type.

        Args:
            x: Features of each type, or ids of nodes where it has none.
            graph: What `prepare` returned.
            return_attention: Return what each layer attended to as well.
        """
        outputs, traces = self.traced(x, graph)
        logits = self._classes(self._read(outputs))
        if not return_attention:
            return logits
        return logits, [self._attention(*pair) for pair in zip(self.convs, traces, strict=True)]

    def learn(
        self, x: Features, graph: Prepared, *, seed: int
    ) -> tuple[Float[Tensor, "node class"], Float[Tensor, ""]]:
        """Logits, and the proximity loss of all layers times its weight.

        Args:
            x: Features of each type, or ids of nodes where it has none.
            graph: What `prepare` returned.
            seed: Decides the pairs without a link.
        """
        outputs, traces = self.traced(x, graph)
        losses = [
            proximity_loss(
                trace.graph, trace.ends, conv.logits,
                weights=trace.alpha if self.trained_weights else None,
                negatives=self.negatives, seed=fold(seed, number),
            )
            for number, (conv, trace) in enumerate(zip(self.convs, traces, strict=True))
        ]  # fmt: skip
        logits = self._classes(self._read(outputs))
        return logits, self.proximity * torch.stack(losses).sum()

    @torch.no_grad()
    def relation_weights(self, x: Features, graph: Prepared) -> list[RelationWeight]:
        """How much each type listens to each meta relation in each layer.

        Args:
            x: Features of each type, or ids of nodes where it has none.
            graph: What `prepare` returned.
        """
        _, found = self.forward(x, graph, return_attention=True)
        return [
            RelationWeight(order, path, float(weight.mean()), float(weight.std(correction=0)))
            for order, layer in enumerate(found, start=1)
            for kind, beta in layer.beta.items()
            for path, weight in zip(layer.relations[kind], beta.double().T, strict=True)
        ]

    def _attention(self, conv: LATTEConv, trace: Trace) -> Attention:
        entries = {
            path: (torch.stack([trace.graph[path].col.long(), trace.graph[path].rows()]), alpha)
            for path, alpha in trace.alpha.items()
        }
        named = {kind: [*paths, (kind,)] for kind, paths in conv.relations.items()}
        return Attention(entries, named, trace.beta)

    def traced(self, x: Features, graph: Prepared) -> tuple[list[dict[str, Tensor]], list[Trace]]:
        """Outputs of each layer by type, and what it attended to.

        Args:
            x: Features of each type, or ids of nodes where it has none.
            graph: What `prepare` returned.
        """
        h = {
            kind: table(x[kind]) if kind in x else table.weight
            for kind, table in self.embedding.items()
        }
        h |= {kind: layer(x[kind]) for kind, layer in self.input.items()}
        outputs: list[dict[str, Tensor]] = []
        traces: list[Trace] = []
        for number, conv in enumerate(self.convs):
            parts = graph.layers[number]
            if self.join == "dynamic" and number:
                parts = dynamic_joins(
                    self.paths[number], graph.edges, traces[-1].graph, traces[-1].alpha,
                    most=self.neighbors, threshold=self.threshold, sample=self.sample,
                    training=self.training,
                )  # fmt: skip
            h, trace = conv(h, parts)
            outputs.append(h)
            traces.append(trace)
        return outputs, traces

    def embed(self, x: Features, graph: Prepared) -> Float[Tensor, "node chan"]:
        """What all layers say of each node of the target type, before the classifier.

        Args:
            x: Features of each type, or ids of nodes where it has none.
            graph: What `prepare` returned.
        """
        return self._read(self.traced(x, graph)[0])

    def _read(self, outputs: Sequence[Mapping[str, Tensor]]) -> Tensor:
        said = [h[self.target] for h in outputs]
        if self.readout == "concat":
            return torch.cat(said, 1)
        if self.readout == "last":
            return said[-1]
        stacked = torch.stack(said)
        return stacked.mean(0) if self.readout == "mean" else stacked.max(0).values

    def _classes(self, read: Tensor) -> Tensor:
        logits: Tensor = self.out(self.drop(read))
        return logits


def _stack(
    layer: Callable[[Sequence[Path], Sequence[str]], LATTEConv],
    paths: Sequence[Sequence[Path]],
    wanted: list[str],
) -> tuple[nn.ModuleList, list[str]]:
    """Layers, each giving what the next one reads, and the types that the first one reads."""
    convs = []
    for found in reversed(paths):
        convs.append(layer(found, wanted))
        wanted = list(dict.fromkeys([*wanted, *(path[0] for path in found)]))
    return nn.ModuleList(convs[::-1]), wanted


def _check(target: str, types: Sequence[str], numbers: Mapping[str, float | int]) -> None:
    """The target is a type, and every number is in its range."""
    if target not in types:
        raise ValueError(f"there is no node type {target!r}{nearest(target, types)}")
    for name, value in numbers.items():
        least = 1 if name == "orders" else 0
        if not least <= value < float("inf"):
            raise ValueError(f"{name} must be at least {least} and finite, got {value}")


def _rows(x: Tensor | CSR) -> int:
    return x.num_rows if isinstance(x, CSR) else len(x)


class _Features(nn.Module):
    """Mapped features, rectified."""

    def __init__(self, in_channels: int, hidden: int, dropout: float, norm: bool) -> None:
        super().__init__()
        self.lin = mapped(in_channels, hidden)
        self.norm = BatchNorm(hidden) if norm else nn.Identity()
        self.drop = Dropout(dropout, relu=True)

    def forward(self, x: Tensor | CSR) -> Tensor:
        out: Tensor = self.drop(self.norm(self.lin(x)))
        return out

"""Baselines of heterogeneous node classification, from the layers of PyG."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from scipy.sparse import csr_array, eye_array
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GATConv, HANConv, HGTConv, SAGEConv
from torch_geometric.nn.module_dict import ModuleDict

from graphlearn.nn import Linear, drop_features
from graphlearn.ops.attend import attend, attention
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import dropout
from graphlearn.ops.paths import EdgeType

__all__ = ["HeteroBaseline"]

Graph = Mapping[EdgeType, CSR]
Edges = Mapping[EdgeType, Tensor]
Stage = tuple[list[EdgeType], list[str]]
"""Edge types that a layer reads, and node types that it computes."""


class HeteroBaseline(nn.Module):
    r"""R-GCN, HAN, HGT or a GAT like Simple-HGN with the layers of PyG.

    Each type has an own input map to `hidden`, or a table of embeddings where nodes carry no
    features. With :math:`N_r(i)` the neighbours of a node by edge type :math:`r`: `rgcn` is
    :math:`W_0 h_i + \sum_r W_r \, \mathrm{mean}_{j \in N_r(i)} h_j`; `han` has one attention over
    the neighbours by each meta-path and a second one over meta-paths; `hgt` is a transformer over
    all neighbours, with own maps of each type and edge type; `gat` an attention over all
    neighbours that knows the edge type, with residuals, and logits of length one. What does not
    reach the target within the layers is left out.

    References: Michael Schlichtkrull et al., "Modeling Relational Data with Graph Convolutional
    Networks", ESWC 2018; Xiao Wang et al., "Heterogeneous Graph Attention Network", WWW 2019;
    Ziniu Hu et al., "Heterogeneous Graph Transformer", WWW 2020; Qingsong Lv et al., "Are we
    really making much progress?", KDD 2021. Differs from the published code: the input map is
    followed by a rectifier in all of them; W_0 is one of each type; `hgt` has no relative time;
    `gat` adds no attention of the layer before, and has a map in each residual.

    Args:
        metadata: Node types and edge types.
        target: Type that is classified.
        in_channels: Features of each type; 0 where nodes carry ids.
        num_nodes_dict: Nodes of each type.
        out_channels: Classes.
        kind: Which model.
        hidden: Width of every layer, in all heads together.
        layers: Number of layers; `han` has one.
        heads: Attention heads; the last layer of `gat` has one.
        dropout: Dropout after the input and each layer; in `han` and `gat` of the attention too.
        input_dropout: Dropout of the features.
        length: Longest meta-path in steps (`han`).
        metapaths: Which meta-paths, as the types in turn (`author-paper-author`), or patterns of
            them; empty is all that do not come by the target on the way (`han`).

    Raises:
        ValueError: if `hidden` is not a multiple of `heads`, there is no layer, no edge type leads
            to the target, or there is no such meta-path.
    """

    def __init__(
        self,
        metadata: tuple[tuple[str, ...], tuple[EdgeType, ...]],
        target: str,
        in_channels: Mapping[str, int],
        num_nodes_dict: Mapping[str, int],
        out_channels: int,
        *,
        kind: Literal["rgcn", "han", "hgt", "gat"] = "rgcn",
        hidden: int = 64,
        layers: int = 2,
        heads: int = 8,
        dropout: float = 0.5,
        input_dropout: float = 0.0,
        length: int = 2,
        metapaths: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        if kind != "rgcn" and hidden % heads:
            raise ValueError(f"hidden must be a multiple of heads, got {hidden} and {heads}")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        stages, types = _stages(metadata, target, layers)
        if not stages[-1][0]:
            raise ValueError(
                f"no edge type leads to {target!r}, so that it receives nothing; "
                "add the reverse of those that start there"
            )
        core: _RGCN | _HAN | _HGT | _GAT
        if kind == "rgcn":
            core = _RGCN(stages, hidden, out_channels, dropout)
        elif kind == "hgt":
            core = _HGT(stages, hidden, out_channels, heads, dropout)
        elif kind == "gat":
            core = _GAT(stages, hidden, out_channels, heads, dropout)
        else:
            paths, types = _metapaths(metadata[1], target, length, metapaths), [target]
            core = _HAN(metadata[1], paths, hidden, out_channels, heads, dropout)
        self.core, self.target = core, target
        self.dropout, self.input_dropout = dropout, input_dropout
        self.input = ModuleDict(
            {
                name: Linear(in_channels[name], hidden)
                if in_channels[name]
                else nn.Embedding(num_nodes_dict[name], hidden)
                for name in types
            }
        )

    def prepare(self, x: Mapping[str, Tensor | CSR], graph: Graph) -> Any:  # noqa: ANN401
        """Edges as the layers take them.

        Args:
            x: Features or ids of each type.
            graph: Neighbour lists of each edge type.
        """
        sizes = {
            name: rows.num_rows if isinstance(rows, CSR) else len(rows) for name, rows in x.items()
        }
        return self.core.prepare(graph, sizes)

    def forward(
        self,
        x: Mapping[str, Tensor | CSR],
        graph: Any,  # noqa: ANN401
    ) -> Float[Tensor, "node class"]:
        """Logits of each class for each node of the target type.

        Args:
            x: Features (node, chan), dense or as sparse rows, or ids (node), of each type.
            graph: What `prepare` returned.
        """
        h = {}
        for name, layer in self.input.items():
            rows = x[name]
            if self.training and isinstance(layer, Linear):
                rows = drop_features(rows, self.input_dropout)
            h[name] = _drop(self, layer(rows).relu())
        out: Tensor = self.core(h, graph)[self.target]
        return out


class _RGCN(nn.Module):
    """A mean over the neighbours of each edge type, with own weights, and the node itself."""

    def __init__(self, stages: list[Stage], hidden: int, out: int, dropout: float) -> None:
        super().__init__()
        self.stages, self.dropout = stages, dropout
        self.own, self.convs = ModuleDict(), ModuleDict()
        for i, (edges, types) in enumerate(stages):
            width = out if i == len(stages) - 1 else hidden
            for name in types:
                self.own[str(i), name] = Linear(hidden, width)
            for key in edges:
                conv = SAGEConv(hidden, width, root_weight=False, bias=False)
                self.convs[(str(i), *key)] = conv

    def prepare(self, graph: Graph, sizes: Mapping[str, int]) -> Edges:
        return {key: _index(graph[key]) for key in self.stages[0][0]}

    def forward(self, h: dict[str, Tensor], graph: Edges) -> dict[str, Tensor]:
        for i, (edges, types) in enumerate(self.stages):
            h = h if i == 0 else {name: _drop(self, one.relu()) for name, one in h.items()}
            new = {name: self.own[str(i), name](h[name]) for name in types}
            for key in edges:
                conv = self.convs[(str(i), *key)]
                new[key[2]] = new[key[2]] + conv((h[key[0]], h[key[2]]), graph[key])
            h = new
        return h


class _HGT(nn.Module):
    """Layers whose parameters are those on which the target depends; names are numbered.

    PyG makes keys of names, and so does not take each name.
    """

    def __init__(
        self, stages: list[Stage], hidden: int, out: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.stages, self.dropout = stages, dropout
        names = sorted({name for edges, types in stages for name in _touched(edges, types)})
        self.alias = {name: f"n{i}" for i, name in enumerate(names)}
        self.renamed = {key: self._rename(key, i) for i, key in enumerate(stages[0][0])}
        self.convs = nn.ModuleList()
        for edges, types in stages:
            here = [self.alias[name] for name in _touched(edges, types)]
            conv = HGTConv(hidden, hidden, (here, [self.renamed[key] for key in edges]), heads)
            for name in set(here) - conv.dst_node_types:
                del conv.out_lin.lins[name], conv.skip[name]
            for name in set(here) - {self.renamed[key][0] for key in edges} - conv.dst_node_types:
                del conv.kqv_lin.lins[name]
            self.convs.append(conv)
        self.output = Linear(hidden, out)
        self.target = stages[-1][1][0]

    def _rename(self, key: EdgeType, number: int) -> EdgeType:
        return self.alias[key[0]], f"e{number}", self.alias[key[2]]

    def prepare(self, graph: Graph, sizes: Mapping[str, int]) -> Edges:
        return {key: _index(graph[key]) for key in self.renamed}

    def forward(self, h: dict[str, Tensor], graph: Edges) -> dict[str, Tensor]:
        for i, ((edges, types), conv) in enumerate(zip(self.stages, self.convs, strict=True)):
            h = h if i == 0 else {name: _drop(self, one) for name, one in h.items()}
            ends = {name for key in edges for name in (key[0], key[2])}
            given = {self.alias[name]: one for name, one in h.items() if name in ends}
            new = conv(given, {self.renamed[key]: graph[key] for key in edges})
            h = {name: new.get(self.alias[name], h[name]) for name in types}
        return {self.target: self.output(_drop(self, h[self.target]))}


class _GAT(nn.Module):
    """One attention over the neighbours of all types, which are numbered one after the other."""

    def __init__(
        self, stages: list[Stage], hidden: int, out: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.stages, self.dropout = stages, dropout
        self.types = _touched(*stages[0])
        self.target = stages[-1][1][0]
        self.kinds, self.convs = nn.ModuleList(), nn.ModuleList()
        for i, (edges, _) in enumerate(stages):
            last = i == len(stages) - 1
            self.kinds.append(nn.Embedding(len(edges) + 1, hidden))
            self.convs.append(
                GATConv(
                    hidden,
                    out if last else hidden // heads,
                    1 if last else heads,
                    dropout=dropout,
                    add_self_loops=False,
                    edge_dim=hidden,
                    residual=True,
                )
            )

    def prepare(self, graph: Graph, sizes: Mapping[str, int]) -> list[tuple[Tensor, Tensor]]:
        start, total = {}, 0
        for name in self.types:
            start[name], total = total, total + sizes[name]
        made = []
        for edges, types in self.stages:
            found = []
            for key in edges:
                source, end = _index(graph[key])
                found.append(torch.stack([source + start[key[0]], end + start[key[2]]]))
            own = [torch.arange(start[name], start[name] + sizes[name]) for name in types]
            found.append(torch.cat(own).expand(2, -1).to(found[0].device))
            kind = [torch.full_like(one[0], i) for i, one in enumerate(found)]
            made.append((torch.cat(found, dim=1), torch.cat(kind)))
        return made

    def forward(
        self, h: dict[str, Tensor], graph: list[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        z = torch.cat([h[name] for name in self.types])
        for i, (conv, kinds) in enumerate(zip(self.convs, self.kinds, strict=True)):
            z = z if i == 0 else _drop(self, F.elu(z))
            z = conv(z, graph[i][0], kinds(graph[i][1]))
        # The target is the first of the types.
        return {self.target: F.normalize(z[: len(h[self.target])], dim=1)}


class _Attention(HANConv):  # type: ignore[misc]
    """The layer of PyG, without storing a vector of each edge: meta-paths make many."""

    def propagate(
        self, graph: CSR, x: tuple[Tensor, Tensor], alpha: tuple[Tensor, Tensor]
    ) -> Tensor:
        weight = attention(graph, alpha[1], alpha[0], slope=self.negative_slope)
        return attend(graph, _drop(self, weight), x[0].flatten(1))


class _HAN(nn.Module):
    """Attention over the neighbours by each meta-path, then over meta-paths."""

    def __init__(
        self,
        edge_types: Sequence[EdgeType],
        paths: list[tuple[str, ...]],
        hidden: int,
        out: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.edge_types, self.paths, self.dropout = list(edge_types), paths, dropout
        self.keys = [("node", str(i), "node") for i in range(len(paths))]
        self.conv = _Attention(hidden, hidden, (["node"], self.keys), heads, dropout=dropout)
        self.output = Linear(hidden, out)

    def prepare(self, graph: Graph, sizes: Mapping[str, int]) -> Graph:
        made = {}
        for key, path in zip(self.keys, self.paths, strict=True):
            total = _product([self._step(graph, *two) for two in pairwise(path)])
            # A node listens to itself also where the meta-path does not return to it.
            total = csr_array(total + eye_array(total.shape[0], format="csr", dtype="float32"))
            total.sort_indices()
            col = torch.as_tensor(total.indices).int()
            made[key] = CSR(torch.as_tensor(total.indptr).long(), col, total.shape[1])
        device = graph[self.edge_types[0]].col.device
        return {key: one.to(device) for key, one in made.items()}

    def _step(self, graph: Graph, source: str, end: str) -> csr_array:
        """Rows listen to columns by any edge type between the two types."""
        found = [_scipy(graph[key]) for key in self.edge_types if key[::2] == (source, end)]
        total = found[0]
        for other in found[1:]:
            total = csr_array(total + other)
        return total

    def forward(self, h: dict[str, Tensor], graph: Graph) -> dict[str, Tensor]:
        ((target, z),) = h.items()
        z = self.conv({"node": z}, graph)["node"]
        return {target: self.output(_drop(self, z))}


def _metapaths(
    edge_types: Sequence[EdgeType], target: str, length: int, patterns: Sequence[str]
) -> list[tuple[str, ...]]:
    """Chains of types from the target to the target: those asked for, or all direct ones."""
    steps = list(dict.fromkeys(key[::2] for key in edge_types))
    every: list[tuple[str, ...]] = []
    walks: list[tuple[str, ...]] = [(target,)]
    for _ in range(length):
        walks = [(*walk, end) for walk in walks for start, end in steps if start == walk[-1]]
        every += [walk for walk in walks if walk[-1] == target]
    names = ["-".join(path) for path in every]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"no meta-path of up to length={length} steps matches {pattern!r}; "
                f"there are {', '.join(names) or 'none'}"
            )
    if patterns:
        pairs = zip(every, names, strict=True)
        return [path for path, name in pairs if any(fnmatchcase(name, p) for p in patterns)]
    direct = [path for path in every if target not in path[1:-1]]
    if not direct:
        raise ValueError(
            f"no meta-path of up to length={length} steps leads from {target!r} back to it; "
            "raise length, or add the reverse of edge types"
        )
    return direct


def _stages(
    metadata: tuple[tuple[str, ...], tuple[EdgeType, ...]], target: str, layers: int
) -> tuple[list[Stage], list[str]]:
    """What each layer must compute for the target, and the types that the first one reads."""
    types, stages = [target], []
    for _ in range(layers):
        edges = [key for key in metadata[1] if key[2] in types]
        stages.append((edges, types))
        types = _touched(edges, types)
    return stages[::-1], types


def _touched(edges: Sequence[EdgeType], types: Sequence[str]) -> list[str]:
    """Types that a layer reads: those it computes, and their neighbours."""
    return list(dict.fromkeys([*types, *(key[0] for key in edges)]))


def _drop(module: nn.Module, h: Tensor) -> Tensor:
    p = module.dropout
    return dropout(h, p) if module.training and isinstance(p, float) and p > 0 else h


def _index(graph: CSR) -> Tensor:
    """Messages go from the column to the row."""
    entry = slice(None) if graph.keep is None else graph.keep
    return torch.stack([graph.col.long(), graph.rows()])[:, entry]


def _scipy(graph: CSR) -> csr_array:
    """The pattern of the kept entries."""
    col, row = _index(graph).cpu().numpy()
    shape = (graph.num_rows, graph.num_cols)
    return csr_array((torch.ones(len(row)).numpy(), (row, col)), shape=shape)


def _product(steps: Sequence[csr_array]) -> csr_array:
    """The later steps times the earlier ones; halves first, which stay sparse the longest."""
    if len(steps) == 1:
        return steps[0]
    middle = len(steps) // 2
    return csr_array(_product(steps[middle:]) @ _product(steps[:middle]))

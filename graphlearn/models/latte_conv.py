"""One layer of LATTE: attention within each meta relation, then between them."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.module_dict import ModuleDict

from graphlearn.nn import BatchNorm, LayerNorm, Linear
from graphlearn.ops.attend import attend, attention
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.paths import Path
from graphlearn.ops.product import product

__all__ = ["Activation", "Attention", "Choice", "Graphs", "LATTEConv", "Norm", "Trace", "mapped"]

Activation = Literal["sharpening", "prelu", "leaky_relu", "identity"]
Choice = Literal["input", "aggregated"]
Norm = Literal["none", "layer", "batch"]
Graphs = Mapping[Path, CSR]


class Trace(NamedTuple):
    """What a layer attended to.

    Args:
        graph: Entries of each meta relation, rows receive from columns.
        alpha: Weight of each entry and head; over each row they add up to one.
        beta: Weight of each meta relation that a type receives, its own term last, for each node;
            they add up to one.
        ends: What rows and columns bring to the score of an entry, by meta relation.
    """

    graph: Graphs
    alpha: Mapping[Path, Tensor]
    beta: Mapping[str, Tensor]
    ends: Mapping[Path, tuple[Tensor, Tensor]]


class Attention(NamedTuple):
    """What one layer attended to.

    Args:
        entries: For each meta relation its entries, from source to receiver, and their weight for
            each head, which adds up to one over the entries of a receiver.
        relations: For each receiving type its meta relations, and last the type alone: the node's
            own term.
        beta: For each receiving type the weight of these for each node; they add up to one.
    """

    entries: Mapping[Path, tuple[Int[Tensor, "2 edge"], Float[Tensor, "edge head"]]]
    relations: Mapping[str, Sequence[Path]]
    beta: Mapping[str, Float[Tensor, "node rel"]]


class LATTEConv(nn.Module):
    r"""One layer of LATTE: attention within each meta relation, then between them.

    With :math:`l = W^l_\tau h` and :math:`r = W^r_\tau h` for nodes of type :math:`\tau`, and for
    each head

    .. math:: \alpha^m_{ij} = \mathrm{softmax}_{j \in N_m(i)} \left( \kappa_m \,
              \mathrm{LeakyReLU}_{0.2} (a^l_m \cdot l_i + a^r_m \cdot r_j) \right), \qquad
              z_{i, m} = \sum_j \alpha^m_{ij} r_j,

    .. math:: h'_i = \mathrm{ReLU} \Big( \sum_m \beta_{i, m} z_{i, m} + \beta_{i, self} l_i \Big).

    The weights of the meta relations, :math:`\beta_i`, are a softmax of :math:`B_\tau h_i + c_\tau`
    ("input"), or for each head of :math:`\mathrm{LeakyReLU}(q_m \cdot l_i + k_m \cdot z_{i, m}) +
    c_m` ("aggregated").

    Reference: see `LATTE`.

    Args:
        channels: Width of inputs and outputs.
        relations: Meta relations of this layer.
        receivers: Types that need an output.
        heads: Attention heads; they share the channels.
        activation: `sharpening` has a learnt :math:`\kappa` for each meta relation; `prelu` one
            learnt slope; `leaky_relu` the slope 0.2; `identity` none.
        choice: What the weights between meta relations depend on.
        dropout: Dropout of the outputs.
        attn_dropout: Dropout of :math:`\alpha`.
        norm: Normalisation before the rectifier.
        mask_empty: Give no weight to meta relations in which a node has no neighbours.
        even_start: Start from equal weights of all meta relations. Random ones are close to 0 or 1
            for types whose inputs are large, and the softmax then hardly learns.

    Raises:
        ValueError: if `channels` is not a multiple of `heads`.
    """

    def __init__(
        self,
        channels: int,
        relations: Sequence[Path],
        receivers: Sequence[str],
        *,
        heads: int = 2,
        activation: Activation = "sharpening",
        choice: Choice = "input",
        dropout: float = 0.2,
        attn_dropout: float = 0.2,
        norm: Norm = "none",
        mask_empty: bool = True,
        even_start: bool = True,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must be a multiple of heads, got {channels} and {heads}")
        self.heads, self.choice, self.mask_empty = heads, choice, mask_empty
        self.activation = activation
        self.relations = {
            kind: [path for path in relations if path[-1] == kind] for kind in receivers
        }
        sources = dict.fromkeys(path[0] for path in relations)
        self.left = ModuleDict({kind: mapped(channels, channels) for kind in receivers})
        self.right = ModuleDict({kind: mapped(channels, channels) for kind in sources})
        self.place = {path: number for number, path in enumerate(relations)}
        size = (len(relations), heads, channels // heads)
        self.attn_left, self.attn_right = _vectors(*size), _vectors(*size)
        if activation == "sharpening":
            self.scale = nn.Parameter(torch.ones(len(relations)))
        elif activation == "prelu":
            self.slope = nn.Parameter(torch.tensor(0.2))
        chooser = _Input if choice == "input" else _Aggregated
        self.choose = ModuleDict(
            {
                kind: chooser(channels, len(found) + 1, heads, even_start)
                for kind, found in self.relations.items()
                if found
            }
        )
        norms = {"none": nn.Identity, "layer": LayerNorm, "batch": BatchNorm}
        sized = () if norm == "none" else (channels,)
        self.norm = ModuleDict({kind: norms[norm](*sized) for kind in receivers})
        self.drop, self.attn_drop = Dropout(dropout, relu=True), Dropout(attn_dropout)

    def forward(self, h: Mapping[str, Tensor], graph: Graphs) -> tuple[dict[str, Tensor], Trace]:
        """Outputs of the receiving types, and what led to them.

        Args:
            h: Inputs of each type (node, chan).
            graph: Entries of each meta relation; one that is missing brings nothing.
        """
        left = {kind: layer(h[kind]) for kind, layer in self.left.items()}
        right = {kind: layer(h[kind]) for kind, layer in self.right.items()}
        alpha: dict[Path, Tensor] = {}
        beta: dict[str, Tensor] = {}
        ends: dict[Path, tuple[Tensor, Tensor]] = {}
        out: dict[str, Tensor] = {}
        own_ends = self._ends(left, self.attn_left, -1)
        other_ends = self._ends(right, self.attn_right, 0)
        for kind, own in left.items():
            paths = [path for path in self.relations[kind] if path in graph]
            for path in paths:
                ends[path] = own_ends[path], other_ends[path]
                scale, slope = self.knobs(self.place[path])
                alpha[path] = attention(graph[path], *ends[path], scale=scale, slope=slope)
            mixed = own
            if self.relations[kind]:
                parts = [
                    _Part(graph[path], self.attn_drop(alpha[path]), right[path[0]])
                    if path in graph
                    else None
                    for path in self.relations[kind]
                ]
                mixed, beta[kind] = self.choose[kind](h[kind], own, parts, self._mask(parts, own))
            out[kind] = self.drop(self.norm[kind](mixed))
        return out, Trace(graph, alpha, beta, ends)

    def _mask(self, parts: Sequence["_Part | None"], own: Tensor) -> Tensor | None:
        """Which meta relations may have a weight for which node; None is all."""
        if not self.mask_empty:
            return None
        none = torch.zeros(len(own), dtype=torch.bool, device=own.device)
        filled = [none if part is None else part.graph.ptr.diff() > 0 for part in parts]
        return torch.stack([*filled, ~none], 1)

    def _ends(
        self, rows: Mapping[str, Tensor], vector: Tensor, end: int
    ) -> dict[Path, Float[Tensor, "node head"]]:
        """What the nodes at an end of each meta relation bring: one product for each type."""
        found: dict[Path, Tensor] = {}
        for kind, value in rows.items():
            paths = [path for path in self.place if path[end] == kind]
            if paths:
                own = vector[[self.place[path] for path in paths]]
                parts = product(value, _blocks(own)).view(len(value), len(paths), -1).unbind(1)
                found |= dict(zip(paths, parts, strict=True))
        return found

    def knobs(self, number: int) -> tuple[Tensor | float, Tensor | float]:
        """Sharpness and slope of a meta relation.

        Args:
            number: Its place among those of the layer.
        """
        if self.activation == "sharpening":
            return self.scale[number], 0.2
        if self.activation == "prelu":
            return 1.0, self.slope
        return 1.0, 0.2 if self.activation == "leaky_relu" else 1.0

    def logits(self, path: Path, best: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        """How likely pairs are linked by a meta relation, from the scores of attention.

        Args:
            path: The meta relation.
            best: What both ends bring, added up, of the head where that is most.
        """
        scale, slope = self.knobs(self.place[path])
        logit: Tensor = scale * torch.where(best > 0, best, slope * best)
        return logit


class _Part(NamedTuple):
    """What a meta relation brings: weights of its entries, and the vectors that they weigh."""

    graph: CSR
    alpha: Tensor
    value: Tensor


class _Input(nn.Module):
    """Weights of meta relations from what a node was before."""

    def __init__(self, channels: int, count: int, heads: int, even: bool) -> None:
        super().__init__()
        self.lin = mapped(channels, count, 1.0)
        if even:
            nn.init.zeros_(self.lin.weight)
            nn.init.zeros_(self.lin.bias)

    def forward(
        self, h: Tensor, own: Tensor, parts: Sequence[_Part | None], mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        beta: Tensor = _masked(self.lin(h), mask).softmax(1)
        mixed = beta[:, -1:] * own
        for part, weight in zip(parts, beta.t()[:-1], strict=True):
            if part is not None:  # what a relation brings is weighed entry by entry
                spread = torch.repeat_interleave(weight, part.graph.ptr.diff())
                mixed = mixed + attend(part.graph, part.alpha * spread[:, None], part.value)
        return mixed, beta


class _Aggregated(nn.Module):
    """Weights of meta relations, one for each head, from what they brought."""

    def __init__(self, channels: int, count: int, heads: int, even: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query = _vectors(count, heads, channels // heads)
        self.key = _vectors(count, heads, channels // heads)
        if even:
            nn.init.zeros_(self.query)
            nn.init.zeros_(self.key)
        self.bias = nn.Parameter(torch.zeros(count))

    def forward(
        self, h: Tensor, own: Tensor, parts: Sequence[_Part | None], mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        brought = [torch.zeros_like(own) if part is None else attend(*part) for part in parts]
        brought.append(own)
        score = torch.stack(
            [product(z, _blocks(key[None])) for key, z in zip(self.key, brought, strict=True)],
            1,
        )
        score = score + product(own, _blocks(self.query)).view_as(score)
        score = F.leaky_relu(score, 0.2) + self.bias[:, None]
        beta = _masked(score, None if mask is None else mask.unsqueeze(2)).softmax(1)
        split = torch.stack(brought, 1).view(len(own), len(brought), self.heads, -1)
        return (beta.unsqueeze(3) * split).sum(1).flatten(1), beta.mean(2)


def _masked(score: Tensor, mask: Tensor | None) -> Tensor:
    """Scores with those of empty meta relations at minus infinity."""
    return score if mask is None else score.masked_fill(~mask, -torch.inf)


def mapped(channels: int, out: int, gain: float = 2**0.5) -> Linear:
    """An affine layer whose weights start from a normal law of Xavier's spread.

    Args:
        channels: Width of the input.
        out: Width of the output.
        gain: Factor of the spread.
    """
    layer = Linear(channels, out)
    nn.init.xavier_normal_(layer.weight, gain)
    return layer


def _vectors(count: int, heads: int, channels: int) -> nn.Parameter:
    """A vector for each head, with the spread of a matrix of heads by channels."""
    gain = nn.init.calculate_gain("leaky_relu", 0.2)
    value = torch.empty(count, heads, channels)
    for one in value:
        nn.init.xavier_normal_(one, gain)
    return nn.Parameter(value)


def _blocks(vector: Float[Tensor, "rel head chan"]) -> Tensor:
    """The matrix that multiplies the channels of a head by its vectors, relation by relation."""
    cube = torch.diag_embed(vector.permute(2, 0, 1))  # chan, rel, head, head
    return cube.permute(2, 0, 1, 3).flatten(2).flatten(0, 1)

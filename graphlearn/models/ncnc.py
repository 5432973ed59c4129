"""NCNC: neural common neighbours where missing edges count with their probability."""

from inspect import signature
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphlearn.models.ncn import NCN, Terms
from graphlearn.nn import Conv, drop_edge
from graphlearn.ops.csr import CSR
from graphlearn.ops.overlap import difference, overlap
from graphlearn.ops.spmm import propagate

__all__ = ["NCNC"]

_EMPTY_DRAWS = 256  # dropout draws that nested pairs without common neighbours share
_NESTED_BYTES = 1 << 28  # memory of one activation of a block of nested pairs


class NCNC(NCN):
    r"""Neural common neighbour with completion.

    A neighbour of one end only counts with the probability that its missing edge exists,

    .. math:: z^{(D)}_{ij} = f\Bigl(\sum_{u \in N(i) \cap N(j)} v_u
              + \sum_{u \in N(i) \setminus N(j)} p_{ju} v_u
              + \sum_{u \in N(j) \setminus N(i)} p_{iu} v_u\Bigr), \qquad
              p_{au} = \alpha \frac{o\, q}{o\, q + 1 - q}, \quad
              q = \sigma(s (z^{(D-1)}_{au} - t))

    where :math:`z^{(0)}` is NCN with the same parameters, :math:`o, s, t` are `odds`, `scale` and
    `offset`, and no gradient flows through :math:`p`.

    Reference: Xiyuan Wang, Haotong Yang, Muhan Zhang, "Neural Common Neighbor with Completion for
    Link Prediction", ICLR 2024. Differs from the published code: nested pairs are scored once
    whatever their order; in training, nested pairs without common neighbours share 256 dropout
    draws; `learn_odds` works; sampling of residual neighbours uses integers. With
    `parity="reference"` nested calls apply :math:`f_x` and the edge dropout a second time, as the
    published code does; `"clean"` does what the equation says.

    Args:
        in_channels: Features of a node; 0 where nodes carry ids.
        num_ids: Number of ids; 0 where nodes carry features.
        depth: How often completion is nested; 0 is NCN.
        parity: Whether nested calls repeat the published code's double transformation.
        alpha: Factor of the completion probability; may exceed 1.
        odds: Factor of the odds.
        scale: Slope of the logistic function.
        offset: Logit at which the probability is one half.
        train_degree: Residual neighbours of a pair and side that are sampled in training; 0: all.
        eval_degree: The same in evaluation.
        learn_odds: Compute the odds of each pair by a small network.
        ramp_alpha: Multiply alpha by the published ramp over epochs, 0 until 5 and 1 from 15.
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
        tail_activation: End the inner networks with their activation instead of a linear layer.
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
        depth: int = 1,
        parity: Literal["clean", "reference"] = "clean",
        alpha: float = 1.0,
        odds: float = 0.5,
        scale: float = 5.0,
        offset: float = 3.0,
        train_degree: int = 0,
        eval_degree: int = 0,
        learn_odds: bool = False,
        ramp_alpha: bool = False,
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
        # NCN takes the same settings by the same names; writing all twenty twice invites slips.
        given = locals()
        super().__init__(**{name: given[name] for name in signature(NCN).parameters})
        self.depth, self.repeat = depth, parity == "reference"
        self.alpha, self.odds, self.scale, self.offset = alpha, odds, scale, offset
        self.train_degree, self.eval_degree = train_degree, eval_degree
        self.block = max(1024, _NESTED_BYTES // (4 * hidden))
        self.ramp = 0.0 if ramp_alpha else None
        self.odds_of = None
        if learn_odds:
            self.odds_of = nn.Sequential(
                nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()
            )

    def start_epoch(self, epoch: int) -> None:
        """Follow the ramp of alpha.

        Args:
            epoch: Number of the epoch that begins, from 1.
        """
        if self.ramp is not None:
            self.ramp = min(max(0.1 * (epoch - 5), 0.0), 1.0)

    def score(
        self, nodes: tuple[Tensor, ...], graph: CSR, pairs: Int[Tensor, "2 pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of each pair, higher is likelier.

        Args:
            nodes: What `encode` returned.
            graph: The graph that was encoded.
            pairs: Node pairs to score.
        """
        return self._level(nodes, graph, pairs, 0, None)

    def _terms(self, h: Tensor) -> tuple[Tensor, ...]:
        terms = Terms((h,), self.f_x)
        terms.at(self.depth + 1 if self.repeat else 1)
        return tuple(terms.matrices)

    def _level(
        self,
        nodes: tuple[Tensor, ...],
        graph: CSR,
        pairs: Tensor,
        level: int,
        terms: Terms | None,
    ) -> Tensor:
        """The logit at nesting `level`; `level == depth` is plain NCN."""
        if self.training and (level == 0 or self.repeat):
            graph = drop_edge(graph, self.edge_dropout, symmetric=self.symmetric)
        common = overlap(graph, pairs)
        sides = difference(graph, pairs) if level < self.depth else ()
        sampled = [self._sample(side) for side in sides]
        lists = [common, *(side for side, _ in sampled)]
        if terms is None:
            # Common neighbours of nested pairs are neighbours of an end, so for one nesting the
            # lists and the ends are all the nodes that can matter.
            closed = self.training and self.depth <= 1
            used = [pairs.flatten(), *(part.col for part in lists)] if closed else None
            terms = Terms(nodes, self.f_x, used=used)
        base = level if self.repeat else 0
        value, product = terms.at(base + 1), terms.product(base, pairs)
        total = propagate(terms.local(common), value)
        filled = common.ptr.diff() > 0
        if sides:
            chance = self._chances(nodes, graph, pairs, level, terms, lists[1:], product)
            for (side, count), p in zip(sampled, chance, strict=True):
                weight = p if count is None else p * count
                total = total + propagate(terms.local(side), value, weight=weight)
                filled = filled | (side.ptr.diff() > 0)
        return self._logit(self._common(total, filled), product)

    def _chances(
        self,
        nodes: tuple[Tensor, ...],
        graph: CSR,
        pairs: Tensor,
        level: int,
        terms: Terms,
        sides: list[CSR],
        product: Tensor,
    ) -> list[Tensor]:
        """Probability of the missing edge of each residual neighbour, both sides."""
        owners = [side.rows() for side in sides]
        far = torch.cat([pairs[1][owners[0]], pairs[0][owners[1]]])
        near = torch.cat([side.col for side in sides]).long()
        z = self._nested(nodes, graph, torch.stack([far, near]), level + 1, terms)
        q = torch.sigmoid(self.scale * (z - self.offset))
        if self.odds_of is None:
            odds: Tensor | float = self.odds
        else:
            odds = self.odds_of(product).squeeze(1).float()[torch.cat(owners)]
        alpha = self.alpha if self.ramp is None else self.alpha * self.ramp
        p = alpha * odds * q / (odds * q + 1 - q)
        return list(torch.split(p, [side.num_entries for side in sides]))

    @torch.no_grad()
    def _nested(
        self, nodes: tuple[Tensor, ...], graph: CSR, pairs: Tensor, level: int, terms: Terms
    ) -> Tensor:
        """Logits of nested pairs; the score is symmetric, so each unordered pair is scored once."""
        low, high = torch.minimum(pairs[0], pairs[1]), torch.maximum(pairs[0], pairs[1])
        keys, inverse = torch.unique(low * graph.num_rows + high, return_inverse=True)
        unique = torch.stack([keys // graph.num_rows, keys % graph.num_rows])
        blocks = [
            self._level(nodes, graph, block, level, terms)
            for block in torch.split(unique, self.block, dim=1)
        ]
        return torch.cat(blocks)[inverse] if blocks else pairs.new_zeros(0, dtype=torch.float32)

    def _common(self, total: Tensor, filled: Tensor) -> Tensor:
        """f_cn, evaluated once for all empty neighbourhoods where no gradient is needed."""
        if torch.is_grad_enabled():
            full: Tensor = self.f_cn(total)
            return full
        draws = min(_EMPTY_DRAWS, len(total)) if self.training else 1
        empty: Tensor = self.f_cn(total.new_zeros(draws, total.shape[1]))
        out = empty[torch.arange(len(total), device=total.device) % max(draws, 1)]
        rows = filled.nonzero().squeeze(1)
        return out.index_copy_(0, rows, self.f_cn(total[rows]))

    def _sample(self, side: CSR) -> tuple[CSR, Tensor | None]:
        """At most `degree` residual neighbours of a row, weighted to keep the sum unbiased."""
        limit = self.train_degree if self.training else self.eval_degree
        size = side.ptr.diff()
        if limit <= 0 or not bool((size > limit).any()):
            return side, None
        row, large = side.rows(), size > limit
        weight = (~large)[row].float()
        many = large.nonzero().squeeze(1)
        draw = (torch.rand(many.numel(), limit, device=size.device) * size[many, None]).long()
        entry = (side.ptr[many, None] + draw.clamp_(max=size[many, None] - 1)).flatten()
        share = (size[many] / limit).repeat_interleave(limit)
        weight = weight.index_add(0, entry, share)
        chosen = weight > 0
        ptr = torch.zeros_like(side.ptr)
        torch.cumsum(torch.bincount(row[chosen], minlength=size.numel()), 0, out=ptr[1:])
        return CSR(ptr, side.col[chosen], side.num_cols), weight[chosen]

"""NAT: temporal links from the joint neighbourhood of two nodes, held in N-caches."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from graphlearn.ops.absorb import absorb
from graphlearn.ops.backend import check_range
from graphlearn.ops.cache import NCache
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.hashing import Hash
from graphlearn.ops.pairscore import Scorer, pair_scores, recency
from graphlearn.ops.refresh import Weights, refreshed_sums
from graphlearn.sampling.stream import Events, Features

__all__ = ["NAT"]

View = tuple[Tensor, ...]
_CODES = 64
_BLOCK = 1 << 14  # pairs scored at once without gradients


class NAT(nn.Module):
    r"""Neighbourhood-aware temporal network.

    With N-caches :math:`C_k(u)` of refreshed representations :math:`\hat z`, the joint
    neighbourhood of u and v is pooled over its keys w with presence codes c(w),

    .. math::
        f(w) &= [m(w) x_w ;\ \textstyle\sum \hat z ;\ P_{c(w)}], \\
        q(u, v) &= \tfrac1H \textstyle\sum_h \sum_w \alpha_h(w) W_h f(w) + b, \\
        \mathrm{logit} &= w_2^\top \mathrm{ReLU}(W_1 [q ; s_u ; s_v ; r] + b_1) + b_2,

    where :math:`\alpha = 1` (`sum`, what all published numbers were made with) or a softmax over
    the keys (`attn`, what the paper describes), s is the recurrent representation of a node, and r
    the recency of the pair. With `sum` and without dropout of single keys, q depends on a pair only
    through the histogram of codes: what the two nodes contribute is summed once per node, and the
    first layer of the scorer splits into a part per node and a part per histogram.

    Reference: Yuhong Luo, Pan Li, "Neighborhood-aware Scalable Temporal Network Representation
    Learning", LoG 2022. Differs from the published code: time since an event instead of absolute
    time, logarithms of the counts, recency, dropout of the pooled vector instead of single keys
    (`path="keys"` for the latter), and what `NCache` says. The recipe `nat-reference` has their
    settings.

    Args:
        num_nodes: Number of nodes.
        edge_dim: Features of an event.
        node_dim: Features of a node.
        time_gap: Mean time between training events: the shortest time that matters.
        time_span: Time from the first to the last training event: the longest one.
        slots: Slots of hop 1 and of hop 2; fewer entries for fewer hops.
        dim: Width F of the representation of a slot.
        self_dim: Width of the representation of a node.
        time_dim: Number of frequencies.
        code_dim: Width of the embedding of a presence code; 0 drops the codes.
        pair_dim: Width of q.
        heads: Number H of heads.
        pool: How keys are pooled.
        path: Pool a histogram per pair, or key by key.
        counts: Take the counts of the histogram as they are, or their logarithm log(1 + n).
        time: Encode the time since an event, or the absolute time of the event.
        clock: Measure time in events of the stream, which keeps its meaning when activity rises or
            falls, or in the units of the data.
        scale: Frequencies from 1 / gap to 1 / span, or the published ones from 1 to 1e-9.
        train_time: Learn the frequencies.
        recency_dim: Width of the recency of the pair: how long ago they met last; 0 drops it.
        dropout: Dropout of what is pooled.
        alpha: Probability that a new key replaces another one in its slot.
        hash: Function that places keys; `quadratic` is the published one.
        cache_seed: Seed of the hash and of the replacements.
        blocks: Rank the sources of a batch before its destinations, as the published code does.

    Raises:
        ValueError: if a size, `alpha` or `dropout` lies outside its range, or options contradict
            each other.
    """

    seen: Tensor
    omega: Tensor
    phi: Tensor
    rates: Tensor

    def __init__(
        self,
        num_nodes: int,
        edge_dim: int = 0,
        node_dim: int = 0,
        time_gap: float = 1.0,
        time_span: float = 1e9,
        *,
        slots: tuple[int, ...] = (32, 16),
        dim: int = 4,
        self_dim: int = 72,
        time_dim: int = 16,
        code_dim: int = 16,
        pair_dim: int = 32,
        heads: int = 2,
        pool: Literal["sum", "attn"] = "sum",
        path: Literal["histogram", "keys"] = "histogram",
        counts: Literal["log", "plain"] = "log",
        time: Literal["delta", "absolute"] = "delta",
        clock: Literal["events", "time"] = "events",
        scale: Literal["span", "decades"] = "span",
        train_time: bool = False,
        recency_dim: int = 8,
        dropout: float = 0.1,
        alpha: float = 0.9,
        hash: Hash = "mix",
        cache_seed: int = 0,
        blocks: bool = False,
    ) -> None:
        super().__init__()
        self._check(path, pool, counts, 1, time_dim=time_dim, pair_dim=pair_dim, heads=heads)
        self._check(path, pool, counts, 0, code_dim=code_dim, recency_dim=recency_dim)
        self.edge_dim, self.node_dim = edge_dim, node_dim
        self.pool, self.path, self.counts = pool, path, counts
        self.absolute, self.by_events = time == "absolute", clock == "events"
        if self.by_events:
            time_gap, time_span = 1.0, time_span / max(time_gap, 1e-300)
        self.cache = NCache(
            num_nodes, slots=slots, dim=dim, wide_dim=self_dim, alpha=alpha, hash=hash,
            seed=cache_seed, blocks=blocks,
        )  # fmt: skip
        self.register_buffer("seen", torch.zeros(2, dtype=torch.int64))
        self._time(time_gap, time_span, time_dim, scale == "decades", train_time, recency_dim)
        inner = self_dim + edge_dim + time_dim
        self.self_in = nn.Linear(inner, self_dim, bias=False)
        self.self_gru = nn.GRUCell(self_dim, self_dim)
        self.slot_in = nn.Linear(inner, dim, bias=False)
        self.slot_gru = nn.GRUCell(dim, dim)
        self.code = nn.Parameter(torch.randn(_CODES, code_dim))
        self.head = nn.Parameter(torch.empty(heads, pair_dim, node_dim + dim + code_dim))
        self.head_bias = nn.Parameter(torch.zeros(pair_dim))
        self.attend = nn.Parameter(torch.empty(heads, pair_dim)) if pool == "attn" else None
        width = pair_dim + 2 * self_dim
        self.hidden = nn.Linear(width + recency_dim, width)
        self.out = nn.Linear(width, 1)
        for weight in (*self.head, *([] if self.attend is None else [self.attend])):
            nn.init.xavier_uniform_(weight)
        for layer in (self.hidden, self.out):
            nn.init.xavier_normal_(layer.weight)
        self.pooled_dropout, self.key_dropout = Dropout(dropout), Dropout(dropout)

    def _time(
        self, gap: float, span: float, dim: int, decades: bool, train: bool, recency_dim: int
    ) -> None:
        """Frequencies and phases of the time encoding, and the rates at which recency decays."""
        if not 0 < gap <= span:
            raise ValueError(f"time_gap must lie in (0, time_span], got {gap} and {span}")
        steps = torch.linspace(0, 1, dim, dtype=torch.float64)
        low, high = (1e-9, 1.0) if decades else (1 / span, 1 / gap)
        for name, value in (("omega", high * (low / high) ** steps), ("phi", 0 * steps)):
            if train:
                self.register_parameter(name, nn.Parameter(value.float()))
            else:
                self.register_buffer(name, value.float())
        # The slowest rate, which comes first, tells pairs that ever met from those that never did.
        steps = torch.linspace(1, 0, max(recency_dim, 2), dtype=torch.float64)[:recency_dim]
        self.register_buffer("rates", 1 / (gap * (10 * span / gap) ** steps))

    @staticmethod
    def _check(path: str, pool: str, counts: str, least: int, **sizes: int) -> None:
        for name, value in sizes.items():
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if pool == "attn" and path == "histogram":
            raise ValueError("pool='attn' weighs keys: it needs path='keys' and counts='plain'")
        if path == "keys" and counts == "log":
            raise ValueError("path='keys' counts single keys: it needs counts='plain'")

    def reset(self) -> None:
        """Forget the stream."""
        self.cache.reset()
        self.seen.zero_()

    def read(self, nodes: Int[Tensor, " node"], now: Tensor, features: Features) -> View:
        """What scoring and updating need of some nodes; the state stays as it is.

        Args:
            nodes: Ids, in any order and repeated at will.
            now: The time, (); what is scored or written lies at it or later.
            features: Of the nodes and events.

        Raises:
            ValueError: if an id lies outside, or features are of another width.

        Returns:
            The ids in ascending order, refreshed slots (n, 1 + M, F) and their sums (n, F), node
            representations (n, D), and the node features.
        """
        if features.edge.shape[1] != self.edge_dim or features.node.shape[1] != self.node_dim:
            raise ValueError(
                f"expected {self.edge_dim} features of an event and {self.node_dim} of a node, "
                f"got {features.edge.shape[1]} and {features.node.shape[1]}"
            )
        if nodes.device.type == "cpu":
            distinct = torch.unique(nodes)
            self._check_known(distinct, features)
        else:  # repeats stay, since dropping them would need to know how many there are
            distinct = nodes.sort().values
        now = self._now(now)
        slots = self._weights(self.slot_in, self.slot_gru)
        wide = self._weights(self.self_in, self.self_gru)
        state = (distinct, now, self.cache.tables, features.edge)
        fresh, sums = refreshed_sums(*state, slots, absolute=self.absolute)
        own = absorb(*state, wide, absolute=self.absolute)
        return distinct, fresh, sums, own, features.node

    def _check_known(self, distinct: Tensor, features: Features) -> None:
        """Refuse what kernels would look up outside their tables; a GPU would have to wait."""
        if len(distinct):
            check_range(self.cache.num_nodes, distinct[[0, -1]])
        if self.edge_dim and len(distinct):
            last = int(self.cache.eid[distinct].max())
            if last >= len(features.edge):
                raise ValueError(
                    f"event {last} was taken in, but there are features of {len(features.edge)}"
                )

    @staticmethod
    def _rows(distinct: Tensor, ids: Tensor) -> Tensor:
        """Where ids are among those that were read."""
        at = torch.searchsorted(distinct, ids.contiguous())
        if at.device.type == "cpu" and at.numel():
            found = distinct[at.clamp(max=len(distinct) - 1)] if len(distinct) else ids - 1
            if not torch.equal(found, ids):
                missing = int(ids[found != ids][0])
                raise ValueError(f"node {missing} was not among the nodes that were read")
        return at

    def _now(self, now: Tensor) -> Tensor:
        return (self.seen[0] if self.by_events else now).double()

    def _weights(self, inner: nn.Linear, gru: nn.GRUCell) -> Weights:
        return Weights(
            inner.weight, gru.weight_ih, gru.weight_hh, gru.bias_ih, gru.bias_hh,
            self.omega, self.phi,
        )  # fmt: skip

    def score(
        self, view: View, pairs: Int[Tensor, "2 pair"], t: Num[Tensor, " pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of each pair (source, destination), higher is likelier.

        Args:
            view: What `read` returned for nodes that include those of the pairs.
            pairs: Node ids.
            t: When each pair is asked for.
        """
        distinct, fresh, sums, own, features = view
        at = self._rows(distinct, pairs)
        if self.node_dim:
            sums = torch.cat([self._occurring(distinct, features), sums], 1)
        step = pairs.shape[1] if torch.is_grad_enabled() else _BLOCK
        found = []
        for first in range(0, pairs.shape[1], max(step, 1)):
            part = slice(first, first + step)
            counts, met = self.cache.join(pairs[:, part])
            asked = self.seen[0] if self.by_events else t[part]
            since = torch.where(met < 0, -1.0, asked - met)
            given = (at[:, part], since)
            if self.path == "histogram":
                found.append(self._by_histogram(counts, *given, sums, own))
            else:
                found.append(self._by_keys(pairs[:, part], *given, fresh, own, features))
        return torch.cat(found).float() if found else own.new_zeros(0)

    def _by_histogram(
        self, counts: Tensor, at: Tensor, since: Tensor, sums: Tensor, own: Tensor
    ) -> Tensor:
        scorer = Scorer(
            self.code, self.head, self.head_bias, self.hidden.weight, self.hidden.bias,
            self.out.weight, self.out.bias,
        )  # fmt: skip
        p = self.pooled_dropout.p if self.training else 0.0
        log = self.counts == "log"
        return pair_scores(at, counts, since, self.rates, sums, own, scorer, log=log, p=p)

    def _occurring(self, nodes: Tensor, features: Tensor) -> Tensor:
        """Features of the keys of each node, summed over its slots."""
        keys = torch.cat([nodes[:, None], self.cache.key[nodes].long()], 1)
        held = (keys >= 0).float()
        return F.embedding_bag(keys.clamp(min=0), features, mode="sum", per_sample_weights=held)

    def _by_keys(
        self, pairs: Tensor, at: Tensor, since: Tensor, fresh: Tensor, own: Tensor,
        features: Tensor,
    ) -> Tensor:  # fmt: skip
        """The same key by key: dropout, and weights, for each of them."""
        ptr, key, code, where = self.cache.listing(pairs)
        lengths = ptr.diff()
        pair = torch.arange(len(lengths), device=ptr.device).repeat_interleave(lengths)
        rows = torch.cat([at[0][pair, None].expand(-1, 3), at[1][pair, None].expand(-1, 3)], 1)
        held = where >= 0
        slots = fresh[rows, where.clamp(min=0)]
        parts = [torch.where(held[..., None], slots, 0.0).sum(1)]
        if self.node_dim:
            parts.insert(0, held.sum(1, keepdim=True) * features[key])
        parts.append(self.code[code])
        f = self.pooled_dropout(torch.cat(parts, 1))
        mapped = torch.einsum("wf,hqf->whq", f, self.head)
        if self.attend is not None:
            score = F.leaky_relu((mapped * self.attend).sum(2), 0.2)
            top = torch.segment_reduce(score, "max", lengths=lengths, axis=0)
            weight = torch.exp(score - top[pair])
            total = torch.segment_reduce(weight, "sum", lengths=lengths, axis=0)
            mapped = mapped * (weight / total[pair])[..., None]
        mapped = self.key_dropout(mapped).mean(1)
        q = torch.segment_reduce(mapped, "sum", lengths=lengths, axis=0) + self.head_bias
        x = torch.cat([q, own[at[0]], own[at[1]], recency(since, self.rates)], 1)
        logits: Tensor = self.out(F.relu(self.hidden(x))).squeeze(1)
        return logits

    @torch.no_grad()
    def update(self, view: View, events: Events) -> None:
        """Take in the events of a batch.

        Args:
            view: What `read` returned before, for nodes that include theirs.
            events: The events, in order of time.
        """
        distinct, fresh, _, own, _ = view
        src, dst, t, eid = events
        at = self._rows(distinct, torch.stack([src, dst])).unbind()
        if self.by_events:
            t = torch.arange(len(eid), device=eid.device) + self.seen[0]
        self.cache.commit((src, dst, t, eid), at, fresh, own)
        self.seen[0] += len(eid)
        self.seen[1] += eid.sum() + len(eid)

    def occupancy(self) -> list[float]:
        """Share of the slots of each hop from 1 on that hold a key."""
        return self.cache.occupancy()

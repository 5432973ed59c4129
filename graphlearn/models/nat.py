"""NAT: temporal links from the joint neighbourhood of two nodes, held in N-caches."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from graphlearn.ops.cache import NCache
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.hashing import Hash
from graphlearn.ops.refresh import Weights, phases, refresh
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
        scale: Frequencies from 1 / gap to 1 / span, or the published ones from 1 to 1e-9.
        train_time: Learn the frequencies.
        recency: Width of the recency of the pair: how long ago they met last; 0 drops it.
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
        scale: Literal["span", "decades"] = "span",
        train_time: bool = True,
        recency: int = 8,
        dropout: float = 0.1,
        alpha: float = 0.9,
        hash: Hash = "mix",
        cache_seed: int = 0,
        blocks: bool = False,
    ) -> None:
        super().__init__()
        self._check(path, pool, counts, {"time_dim": time_dim, "pair_dim": pair_dim, "heads": heads})
        self.node_dim, self.pool, self.path, self.counts = node_dim, pool, path, counts
        self.absolute = time == "absolute"
        self.cache = NCache(
            num_nodes, slots=slots, dim=dim, wide_dim=self_dim, alpha=alpha, hash=hash,
            seed=cache_seed, blocks=blocks,
        )  # fmt: skip
        self.register_buffer("seen", torch.zeros(2, dtype=torch.int64))
        steps = torch.linspace(0, 1, time_dim, dtype=torch.float64)
        low, high = (1e-9, 1.0) if scale == "decades" else (1 / time_span, 1 / time_gap)
        omega = (high * (low / high) ** steps).float()
        self.omega = nn.Parameter(omega, requires_grad=train_time)
        self.phi = nn.Parameter(torch.zeros(time_dim), requires_grad=train_time)
        self.self_in = nn.Linear(self_dim + edge_dim + time_dim, self_dim, bias=False)
        self.self_gru = nn.GRUCell(self_dim, self_dim)
        self.slot_in = nn.Linear(self_dim + edge_dim + time_dim, dim, bias=False)
        self.slot_gru = nn.GRUCell(dim, dim)
        self.code = nn.Parameter(torch.randn(_CODES, code_dim)) if code_dim else None
        self.head = nn.Parameter(torch.empty(heads, pair_dim, node_dim + dim + code_dim))
        self.head_bias = nn.Parameter(torch.zeros(pair_dim))
        self.attend = nn.Parameter(torch.empty(heads, pair_dim)) if pool == "attn" else None
        for weight in self.head:
            nn.init.xavier_uniform_(weight)
        if self.attend is not None:
            nn.init.xavier_uniform_(self.attend)
        width = pair_dim + 2 * self_dim
        self.hidden = nn.Linear(width + recency, width)
        self.out = nn.Linear(width, 1)
        for layer in (self.hidden, self.out):
            nn.init.xavier_normal_(layer.weight)
        self.pooled_dropout, self.key_dropout = Dropout(dropout), Dropout(dropout)
        last = torch.linspace(0, 1, max(recency, 2), dtype=torch.float64)[:recency]
        self.register_buffer(
            "rates", 1 / (time_gap * (10 * time_span / time_gap) ** last), persistent=False
        )

    @staticmethod
    def _check(path: str, pool: str, counts: str, sizes: dict[str, int]) -> None:
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if pool == "attn" and path == "histogram":
            raise ValueError("pool='attn' weighs single keys: it needs path='keys'")
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

        Returns:
            The ids in ascending order, refreshed slots (n, 1 + M, F), node representations (n, D),
            and the node features.
        """
        if nodes.device.type == "cpu":
            distinct = torch.unique(nodes)
        else:  # repeats stay, since dropping them would need to know how many there are
            distinct = nodes.sort().values
        now = now.double()
        gru = self.slot_gru
        weights = Weights(
            self.slot_in.weight, gru.weight_ih, gru.weight_hh, gru.bias_ih, gru.bias_hh,
            self.omega, self.phi,
        )  # fmt: skip
        fresh = refresh(
            distinct, now, self.cache.tables, features.edge, weights, absolute=self.absolute
        )
        return distinct, fresh, self._own(distinct, now, features.edge), features.node

    def _own(self, nodes: Tensor, now: Tensor, edge: Tensor) -> Tensor:
        """Representations of nodes, with their last event absorbed."""
        cache = self.cache
        partner, event, when = cache.opp[nodes].long(), cache.eid[nodes, 0], cache.ts[nodes, 0]
        known = (event >= 0)[:, None]
        parts = [torch.where(known, cache.wide[partner], 0.0)]
        if edge.shape[1]:
            parts.append(torch.where(known, edge[event.long()], 0.0))
        if self.absolute:
            parts.append(phases(when, self.omega, self.phi))
        else:
            parts.append(torch.where(known, phases(now - when, self.omega, self.phi), 0.0))
        own: Tensor = self.self_gru(self.self_in(torch.cat(parts, 1)), cache.wide[nodes])
        return own

    def score(
        self, view: View, pairs: Int[Tensor, "2 pair"], t: Num[Tensor, " pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of each pair (source, destination), higher is likelier.

        Args:
            view: What `read` returned for nodes that include those of the pairs.
            pairs: Node ids.
            t: When each pair is asked for.
        """
        distinct, fresh, own, features = view
        at = torch.searchsorted(distinct, pairs)
        split = self.hidden.weight.split(
            [self.head.shape[1], own.shape[1], own.shape[1], len(self.rates)], dim=1
        )
        ends = (own @ split[1].T, own @ split[2].T)
        sums = torch.cat([self._occurring(distinct, features), fresh.sum(1)], 1)
        step = pairs.shape[1] if torch.is_grad_enabled() else _BLOCK
        found = [
            self._block(pairs[:, first : first + step], at[:, first : first + step],
                        t[first : first + step], ends, sums, fresh, features, split)
            for first in range(0, pairs.shape[1], max(step, 1))
        ]  # fmt: skip
        return torch.cat(found) if found else own.new_zeros(0)

    def _block(
        self, pairs: Tensor, at: Tensor, t: Tensor, ends: tuple[Tensor, Tensor], sums: Tensor,
        fresh: Tensor, features: Tensor, split: tuple[Tensor, ...],
    ) -> Tensor:  # fmt: skip
        counts, met = self.cache.join(pairs)
        if self.path == "histogram":
            pooled = self._pooled(counts, at, sums)
            # q enters the scorer linearly: the two maps are multiplied before they meet the pairs.
            pre = pooled @ (split[0] @ self.head.mean(0)).T
        else:
            pre = self._by_keys(pairs, at, fresh, features) @ split[0].T
        pre = pre + (self.hidden.bias + split[0] @ self.head_bias)
        pre = pre + F.embedding(at[0], ends[0]) + F.embedding(at[1], ends[1])
        if len(self.rates):
            since = (t - met).double()[:, None]
            decay = torch.exp(-since * self.rates).float()
            pre = pre + torch.where(met[:, None] >= 0, decay, 0.0) @ split[3].T
        logit: Tensor = self.out(F.relu(pre)).squeeze(1)
        return logit.float()

    def _occurring(self, nodes: Tensor, features: Tensor) -> Tensor:
        """Features of the keys of each node, summed over its slots."""
        if not self.node_dim:
            return features.new_zeros(len(nodes), 0)
        keys = self.cache.key[nodes].long()
        near = torch.where((keys >= 0)[..., None], features[keys.clamp(min=0)], 0.0)
        return features[nodes] + near.sum(1)

    def _pooled(self, counts: Tensor, at: Tensor, sums: Tensor) -> Tensor:
        parts = [F.embedding(at[0], sums) + F.embedding(at[1], sums)]
        if self.code is not None:
            amount = counts.float()
            parts.append((amount.log1p() if self.counts == "log" else amount) @ self.code)
        pooled: Tensor = self.pooled_dropout(torch.cat(parts, 1))
        return pooled

    def _by_keys(self, pairs: Tensor, at: Tensor, fresh: Tensor, features: Tensor) -> Tensor:
        """The pooled vector without its bias, key by key."""
        ptr, key, code, where = self.cache.listing(pairs)
        lengths = ptr.diff()
        pair = torch.arange(len(lengths), device=ptr.device).repeat_interleave(lengths)
        rows = torch.cat([at[0][pair, None].expand(-1, 3), at[1][pair, None].expand(-1, 3)], 1)
        held = where >= 0
        slots = fresh[rows, where.clamp(min=0)]
        parts = [torch.where(held[..., None], slots, 0.0).sum(1)]
        if self.node_dim:
            parts.insert(0, held.sum(1, keepdim=True) * features[key])
        if self.code is not None:
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
        return torch.segment_reduce(mapped, "sum", lengths=lengths, axis=0)

    @torch.no_grad()
    def update(self, view: View, events: Events) -> None:
        """Take in the events of a batch.

        Args:
            view: What `read` returned before, for nodes that include theirs.
            events: The events, in order of time.
        """
        distinct, fresh, own, _ = view
        at = [torch.searchsorted(distinct, end) for end in (events.src, events.dst)]
        self.cache.commit(events, at, fresh, own)
        self.seen[0] += len(events.eid)
        self.seen[1] += (events.eid + 1).sum()

    def occupancy(self) -> list[float]:
        """Share of the slots of each hop from 1 on that hold a key."""
        return self.cache.occupancy()

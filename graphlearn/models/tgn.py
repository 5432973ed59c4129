"""TGN: a memory of every node, and attention over its latest neighbours."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch_geometric.nn import TransformerConv
from torch_geometric.nn.models.tgn import (
    IdentityMessage,
    LastAggregator,
    LastNeighborLoader,
    TGNMemory,
)

from graphlearn.sampling.stream import Events, Features

__all__ = ["TGN"]


class TGN(nn.Module):
    r"""Temporal graph network: every node has a memory that its events update.

    .. math::
        s_v &\leftarrow \mathrm{GRU}([s_v \Vert s_u \Vert x_{uv} \Vert \cos(\omega \Delta t + b)],
        s_v) \\
        h_v &= \mathrm{Attention}(s_v, \{(s_w, x_{vw}, \Delta t_{vw}) : w \in N(v)\}) \\
        z_{uv} &= f(W_1 h_u + W_2 h_v)

    The last event of a node waits until the node is read again, so that gradients reach the GRU;
    :math:`N(v)` are its latest neighbours. Memory, messages and neighbours are those of PyG.

    Reference: Emanuele Rossi, Ben Chamberlain, Fabrizio Frasca, Davide Eynard, Federico Monti,
    Michael Bronstein, "Temporal Graph Networks for Deep Learning on Dynamic Graphs", ICML workshop
    2020. Differs from PyG's example: waiting events are absorbed in evaluation as in training, the
    last event of a batch wins on every device, and time is counted from the first event and encoded
    as the authors do. What the memory holds is not part of `state_dict`: loading weights forgets
    the stream, and the task replays it.

    Args:
        num_nodes: Nodes of the stream.
        num_events: Events of the stream.
        edge_dim: Features of an event.
        node_dim: Features of a node.
        memory: Width of the memory.
        time: Width of the encoding of time.
        embedding: Width of the embedding; heads share it.
        neighbors: Latest neighbours that are attended to.
        heads: Heads of the attention.
        dropout: Dropout of the attention.

    Raises:
        ValueError: if heads do not divide the embedding, or there are fewer than two neighbours.
    """

    seen: Tensor
    eids: Tensor
    times: Tensor
    origin: Tensor

    def __init__(
        self,
        num_nodes: int,
        num_events: int,
        edge_dim: int = 0,
        node_dim: int = 0,
        *,
        memory: int = 100,
        time: int = 100,
        embedding: int = 100,
        neighbors: int = 10,
        heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if heads < 1 or embedding % heads:
            raise ValueError(f"heads must divide embedding={embedding}, got {heads}")
        if neighbors < 2:
            raise ValueError(f"neighbors must be at least 2, got {neighbors}")
        width = max(edge_dim, 1)  # PyG cannot send a message without features
        self.width = width
        self.memory = _Memory(num_nodes, width, memory, time)
        self.node = nn.Linear(node_dim, memory, bias=False) if node_dim else None
        self.attention = TransformerConv(
            memory, embedding // heads, heads=heads, dropout=dropout, edge_dim=time + width
        )
        self.source = nn.Linear(embedding, embedding)
        self.target = nn.Linear(embedding, embedding)
        self.last = nn.Linear(embedding, 1)
        # the loader numbers events as they come; these say which ones they are, and when
        self.register_buffer("eids", torch.zeros(num_events, dtype=torch.long), persistent=False)
        self.register_buffer("times", torch.zeros(num_events, dtype=torch.double), persistent=False)
        self.register_buffer("origin", torch.zeros((), dtype=torch.double), persistent=False)
        self.register_buffer("seen", torch.zeros(2, dtype=torch.long))
        self._loader = LastNeighborLoader(num_nodes, neighbors)
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TGN":
        """On another device the stream is forgotten, since PyG's lists do not move."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._loader.neighbors.device != self.seen.device:
            nodes, size = self._loader.neighbors.shape
            self._loader = LastNeighborLoader(nodes, size, device=self.seen.device)
            self.reset()
        return self

    def reset(self) -> None:
        """Forget the stream."""
        self.memory.reset_state()
        self._loader.reset_state()
        self.seen.zero_()

    def read(
        self, nodes: Int[Tensor, " node"], now: Num[Tensor, ""], features: Features
    ) -> tuple[Tensor, ...]:
        """Embeddings of the nodes, and the features of events for `update`.

        Args:
            nodes: Node ids.
            now: Not used: time is counted from the last event of a neighbour.
            features: Features of nodes and events.
        """
        ids, edges, order = self._loader(torch.unique(nodes))
        h, last_update = self.memory(ids)
        if self.node is not None:
            h = h + self.node(features.node[ids])
        since = last_update[edges[0]] - self.times[order]
        code = self.memory.time_enc(since.to(h.dtype))
        sent = self._messages(self.eids[order], features.edge)
        h = self.attention(h, edges, torch.cat([code, sent], dim=1))
        return ids, h, features.edge

    def score(
        self, view: tuple[Tensor, ...], pairs: Int[Tensor, "2 pair"], t: Num[Tensor, " pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of an event from the first to the second node of each pair.

        Args:
            view: What `read` returned.
            pairs: Sources and destinations, all of which were read.
            t: Not used.
        """
        ids, h, _ = view
        u, v = torch.searchsorted(ids, pairs.contiguous())
        z: Tensor = self.last((self.source(h)[u] + self.target(h)[v]).relu())
        return z.squeeze(1).float()

    @torch.no_grad()
    def update(self, view: tuple[Tensor, ...], events: Events) -> None:
        """Absorb what waits for the nodes of the events, which wait in turn.

        Args:
            view: What `read` returned for the nodes of the events.
            events: What has happened.
        """
        first, sent = self._loader.cur_e_id, self._messages(events.eid, view[2])
        if first == 0:
            self.origin.copy_(events.t[0])
        t = events.t.double() - self.origin
        self.memory.update_state(events.src, events.dst, t, sent)
        self.eids[first : first + len(t)] = events.eid
        self.times[first : first + len(t)] = t
        self._insert(events.src, events.dst)
        self.seen += torch.stack([self.seen.new_tensor(len(events.eid)), (events.eid + 1).sum()])

    def _insert(self, src: Tensor, dst: Tensor) -> None:
        """More events of a node than PyG keeps would be written to one place in any order."""
        most = int(torch.cat([src, dst]).bincount().max()) if len(src) else 0
        if most <= self._loader.size:
            self._loader.insert(src, dst)
            return
        half = len(src) // 2
        self._insert(src[:half], dst[:half])
        self._insert(src[half:], dst[half:])

    def _messages(self, eid: Tensor, edge: Tensor) -> Tensor:
        return edge[eid] if edge.shape[1] else edge.new_zeros(len(eid), self.width)


class _Memory(TGNMemory):  # type: ignore[misc]
    """PyG's memory with times in 64 bits, and the same rule in training and evaluation."""

    def __init__(self, nodes: int, width: int, memory: int, time: int) -> None:
        message = IdentityMessage(width, memory, time)
        super().__init__(nodes, width, memory, time, message, LastAggregator())
        for name, kind in (("memory", torch.float), ("last_update", torch.double)):
            shape = getattr(self, name).shape
            delattr(self, name)
            self.register_buffer(name, torch.zeros(shape, dtype=kind), persistent=False)
        del self._assoc
        self.register_buffer("_assoc", torch.zeros(nodes, dtype=torch.long), persistent=False)
        self.reset_state()
        with torch.no_grad():  # from one unit of time to a billion of them
            self.time_enc.lin.weight.copy_(10 ** -torch.linspace(0, 9, time)[:, None])
            self.time_enc.lin.bias.zero_()

    def train(self, mode: bool = True) -> "_Memory":
        """Unlike PyG, leave the memory as it is."""
        return nn.Module.train(self, mode)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Memory with what waits absorbed, and the time of the last event, of some nodes."""
        memory, last = self._get_updated_memory(ids)
        return memory, last

    def update_state(self, src: Tensor, dst: Tensor, t: Tensor, raw_msg: Tensor) -> None:
        """Absorb what waits for the nodes, then let the events wait."""
        self._update_memory(torch.unique(torch.cat([src, dst])))
        self._update_msg_store(src, dst, t, raw_msg, self.msg_s_store)
        self._update_msg_store(dst, src, t, raw_msg, self.msg_d_store)

    def _update_msg_store(
        self, src: Tensor, dst: Tensor, t: Tensor, raw_msg: Tensor, store: dict[int, Any]
    ) -> None:
        """Only the last event of a node counts: the aggregator would choose one of equal time."""
        ids, row = torch.unique(src, return_inverse=True)
        last = row.new_zeros(len(ids)).scatter_reduce(
            0, row, torch.arange(len(src), device=src.device), "amax"
        )
        for place, i in zip(last.tolist(), ids.tolist(), strict=True):
            at = slice(place, place + 1)
            store[i] = (src[at], dst[at], t[at], raw_msg[at])

    def _reset_message_store(self) -> None:
        """Empty lists whose times are in 64 bits too."""
        ids = self.memory.new_empty(0, dtype=torch.long)
        empty = (ids, ids, ids.double(), self.memory.new_empty(0, self.raw_msg_dim))
        self.msg_s_store = dict.fromkeys(range(self.num_nodes), empty)
        self.msg_d_store = dict.fromkeys(range(self.num_nodes), empty)


def _forget(model: nn.Module, keys: object) -> None:
    """The stream that belongs to loaded weights is not saved with them."""
    assert isinstance(model, TGN)
    model.reset()

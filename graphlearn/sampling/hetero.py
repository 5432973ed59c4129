"""Uniform sampling of the surroundings of nodes in a heterogeneous graph, relation by relation.

Random numbers are counted as in `graphlearn.sampling.neighbors`, with a key for each edge type that
is made from its names. So what is drawn for a node in a relation depends neither on the other seeds
of a batch nor on the other relations, nor on the number of threads.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from graphlearn.extras import nearest
from graphlearn.ops.backend import check_range
from graphlearn.ops.csr import CSR
from graphlearn.ops.paths import EdgeType, chain
from graphlearn.sampling.batches import fold
from graphlearn.sampling.neighbors import Array, mix, row_draws
from graphlearn.settings import reference_ops

__all__ = ["HeteroSampled", "HeteroSampler"]

Fanouts = Sequence[int] | Mapping[EdgeType, Sequence[int]]


class HeteroSampled(NamedTuple):
    """A part of a heterogeneous graph, with the nodes of each type numbered anew.

    Args:
        nodes: Ids of the nodes of each type; seeds come first, in their order, then each hop in the
            order in which its nodes were first seen.
        graph: For each edge type its rows and columns in the new numbers: the row of a node holds
            the neighbours that were drawn for it. Nodes of the last hop have empty rows.
        edge: Where each entry of these is stored in the whole graph.
        num_nodes: How many nodes of each type are new in each hop, the seeds being hop 0.
    """

    nodes: Mapping[str, Int[Tensor, " node"]]
    graph: Mapping[EdgeType, CSR]
    edge: Mapping[EdgeType, Int[Tensor, " edge"]]
    num_nodes: Sequence[Mapping[str, int]]


class HeteroSampler:
    """Draws neighbours of neighbours in each relation, without replacement, for a batch of nodes.

    One sampler serves one thread at a time: it numbers nodes in arrays of its own.

    A node with more neighbours by an edge type than its fan-out gets that many different ones, each
    set being as likely as any other; other nodes get all. A node is expanded in the hop after the
    one in which it was first seen, by all edge types that lead to it, and never again.

    Reference: as of `NeighborSampler`. Differs from the published sampling of LATTE: fan-outs are
    of each relation, not of all together, and a seed without any edge stays.

    Args:
        graph: For each edge type a matrix whose rows are the nodes that receive, whose columns
            those that send.
        fanouts: Neighbours of a node in each hop, for all edge types or for each; -1 is all.

    Raises:
        ValueError: if matrices do not fit together or have entries switched off, or a fan-out is
            not valid.
    """

    def __init__(self, graph: Mapping[EdgeType, CSR], fanouts: Fanouts) -> None:
        self.graph = {kind: graph[kind].to("cpu") for kind in sorted(graph)}
        self.sizes = _sizes(self.graph)
        self.fanouts = _fanouts(self.graph, fanouts)
        self.keys = {kind: _key(kind) for kind in self.graph}
        # For numbering anew: one entry for each node, restored after each call.
        self._place = {kind: np.full(size, -1, np.int32) for kind, size in self.sizes.items()}

    def sample(self, seeds: Int[Tensor, " batch"], target: str, *, seed: int) -> HeteroSampled:
        """The surroundings of some nodes of a type.

        Args:
            seeds: Node ids; those that come again are left out.
            target: Their type.
            seed: Decides what is drawn, alone.

        Raises:
            ValueError: if there is no such type, or an id lies outside it.
        """
        if target not in self.sizes:
            raise ValueError(f"no edge has the node type {target!r}{nearest(target, self.sizes)}")
        check_range(self.sizes[target], seeds)
        steps = _Steps() if reference_ops() else _Compiled(self._place)
        nodes = dict.fromkeys(self.sizes, np.empty(0, np.int64))
        rows: dict[EdgeType, list[_Row]] = {kind: [] for kind in self.graph}
        starts = [dict.fromkeys(self.sizes, 0)]
        key = mix(fold(seed))
        try:
            nodes[target], _ = steps.renumber(target, seeds.cpu().long().numpy(), nodes[target])
            for hop in range(max(len(own) for own in self.fanouts.values())):
                starts.append({kind: len(known) for kind, known in nodes.items()})
                for kind, part in self.graph.items():
                    source, _, end = kind
                    frontier = nodes[end][starts[hop][end] : starts[hop + 1][end]]
                    fanout = self.fanouts[kind][hop] if hop < len(self.fanouts[kind]) else 0
                    own = mix(mix(key ^ hop) ^ self.keys[kind])
                    entry, count = steps.expand(part.ptr.numpy(), frontier, fanout, own)
                    col = part.col.numpy()[entry]
                    nodes[source], local = steps.renumber(source, col, nodes[source])
                    rows[kind].append(_Row(entry, count, local))
        finally:
            steps.restore(nodes)
        starts.append({kind: len(known) for kind, known in nodes.items()})
        graph, edge = {}, {}
        for kind, part in self.graph.items():
            sides = len(nodes[kind[2]]), len(nodes[kind[0]])
            graph[kind], edge[kind] = _matrix(rows[kind], part, sides, steps)
        sizes = [
            {kind: after[kind] - before[kind] for kind in self.sizes}
            for before, after in itertools.pairwise(starts)
        ]
        known = {kind: torch.from_numpy(ids) for kind, ids in nodes.items()}
        return HeteroSampled(known, graph, edge, sizes)


class _Row(NamedTuple):
    """What was drawn in a hop for the nodes of its frontier: entries, how many, new columns."""

    entry: Array
    size: Array
    local: Array


class _Steps:
    """The steps of sampling, one node after the other in plain Python."""

    def renumber(self, kind: str, ids: Array, nodes: Array) -> tuple[Array, Array]:
        number = {int(node): place for place, node in enumerate(nodes)}
        for node in ids.tolist():
            number.setdefault(node, len(number))
        local = np.array([number[node] for node in ids.tolist()], np.int32)
        return np.array(list(number), np.int64), local

    def expand(self, ptr: Array, frontier: Array, fanout: int, key: int) -> tuple[Array, Array]:
        rows = [
            row_draws(int(ptr[node]), int(ptr[node + 1]), fanout, key, node)
            for node in frontier.tolist()
        ]
        entry = np.array([entry for row in rows for entry in row], np.int64)
        return entry, np.array([len(row) for row in rows], np.int64)

    def order_rows(self, ptr: Array, local: Array, entry: Array) -> None:
        for first, last in itertools.pairwise(ptr.tolist()):
            order = first + np.argsort(local[first:last], kind="stable")
            local[first:last], entry[first:last] = local[order], entry[order]

    def restore(self, nodes: Mapping[str, Array]) -> None:
        pass


class _Compiled(_Steps):
    """The same, compiled."""

    def __init__(self, place: Mapping[str, Array]) -> None:
        self.place = place

    def renumber(self, kind: str, ids: Array, nodes: Array) -> tuple[Array, Array]:
        from graphlearn.ops.cpu.neighbors import renumber

        return renumber(ids, nodes, self.place[kind])

    def expand(self, ptr: Array, frontier: Array, fanout: int, key: int) -> tuple[Array, Array]:
        from graphlearn.ops.cpu.neighbors import expand

        return expand(ptr, frontier, fanout, key)

    def order_rows(self, ptr: Array, local: Array, entry: Array) -> None:
        from graphlearn.ops.cpu.neighbors import order_rows

        order_rows(ptr, local, entry)

    def restore(self, nodes: Mapping[str, Array]) -> None:
        for kind, known in nodes.items():
            self.place[kind][known] = -1


def _matrix(
    rows: Sequence[_Row], whole: CSR, sides: tuple[int, int], steps: _Steps
) -> tuple[CSR, Tensor]:
    """The rows of all hops one below the other: nodes are numbered in that order."""
    count = np.concatenate([row.size for row in rows])
    ptr = np.zeros(sides[0] + 1, np.int64)
    np.cumsum(count, out=ptr[1 : len(count) + 1])
    ptr[len(count) + 1 :] = ptr[len(count)]
    local = np.concatenate([row.local for row in rows])
    entry = np.concatenate([row.entry for row in rows])
    steps.order_rows(ptr, local, entry)
    edge = torch.from_numpy(entry)
    weight = None if whole.weight is None else whole.weight[edge]
    return CSR(torch.from_numpy(ptr), torch.from_numpy(local), sides[1], weight=weight), edge


def _key(kind: EdgeType) -> int:
    """The same number for an edge type in every process, which Python's own hash is not."""
    digest = hashlib.blake2b("\0".join(kind).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _sizes(graph: Mapping[EdgeType, CSR]) -> dict[str, int]:
    """Number of nodes of each type, by all matrices alike."""
    sizes: dict[str, int] = {}
    for kind, part in graph.items():
        if part.keep is not None:
            raise ValueError(f"{chain(kind)} has entries that are switched off; sample without")
        for name, size in ((kind[2], part.num_rows), (kind[0], part.num_cols)):
            if sizes.setdefault(name, size) != size:
                raise ValueError(
                    f"{chain(kind)} has {size} nodes of type {name!r}, others have {sizes[name]}"
                )
    return dict(sorted(sizes.items()))


def _fanouts(graph: Mapping[EdgeType, CSR], fanouts: Fanouts) -> dict[EdgeType, tuple[int, ...]]:
    given: dict[EdgeType, Sequence[int]]
    if isinstance(fanouts, Mapping):
        unknown = next((kind for kind in fanouts if kind not in graph), None)
        if unknown is not None:
            hint = nearest(chain(unknown), map(chain, graph))
            raise ValueError(f"fan-outs name {chain(unknown)}, which is no edge type{hint}")
        given = {kind: fanouts.get(kind, ()) for kind in graph}
    else:
        given = dict.fromkeys(graph, fanouts)
    if not any(given.values()) or any(f < 1 and f != -1 for own in given.values() for f in own):
        raise ValueError(
            f"fan-outs must be positive, or -1 for all neighbours, got {fanouts}; there must be one"
        )
    return {kind: tuple(own) for kind, own in given.items()}

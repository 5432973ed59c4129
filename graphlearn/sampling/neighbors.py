r"""Uniform sampling of the surroundings of nodes, hop by hop.

Random numbers are counted, not generated. Draw :math:`j` of node :math:`v` in hop :math:`h` is

.. math:: r = m(m(m(m(seed) \oplus h) \oplus v) \oplus j),

with :math:`m` the finaliser of splitmix64, and :math:`\lfloor 2^{-32} \lfloor 2^{-32} r \rfloor n
\rfloor` is a number below :math:`n`. So what is drawn for a node depends neither on the other seeds
of a batch nor on the number of threads, nor on the machine that holds the node.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from graphlearn.ops.backend import check_range
from graphlearn.ops.csr import CSR
from graphlearn.sampling.batches import fold
from graphlearn.settings import reference_ops

__all__ = ["NeighborSampler", "Sampled", "mix", "row_draws"]

_MASK = (1 << 64) - 1
Array: TypeAlias = NDArray[Any]


class Sampled(NamedTuple):
    """A part of a graph, with nodes numbered anew.

    Args:
        nodes: Id of each node in the whole graph; the seeds come first, in their order, then each
            hop in the order in which its nodes were first seen.
        graph: Square, over the new numbers: the row of a node holds the neighbours that were drawn
            for it. Weights are those of the whole graph. Nodes of the last hop have empty rows.
        edge: Where each entry of `graph` is stored in the whole graph.
        num_nodes: How many nodes are new in each hop, the seeds being hop 0.
        num_edges: How many entries the rows of each hop have, from hop 1.
    """

    nodes: Int[Tensor, " node"]
    graph: CSR
    edge: Int[Tensor, " edge"]
    num_nodes: tuple[int, ...]
    num_edges: tuple[int, ...]


class NeighborSampler:
    """Draws neighbours of neighbours, without replacement, for a batch of nodes.

    One sampler serves one thread at a time: it numbers nodes in an array of its own.

    A node with more neighbours than the fan-out of a hop gets that many different ones, each set
    being as likely as any other (Floyd's algorithm); other nodes get all. A node is expanded in the
    hop after the one in which it was first seen, and never again.

    Reference: Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs",
    NeurIPS 2017; Bentley and Floyd, "A Sample of Brilliance", CACM 1987.

    Args:
        graph: Square; row i holds the nodes that i receives messages from. Entries that are
            switched off by `keep` are drawn like the others.
        fanouts: Neighbours of a node in each hop; -1 is all of them.

    Raises:
        ValueError: if the graph is not square or has entries switched off, or a fan-out is not
            valid.

    Example:
        >>> path = CSR.from_edge_index(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4, undirected=True)
        >>> found = NeighborSampler(path, (-1, -1)).sample(torch.tensor([3]), seed=0)
        >>> found.nodes, found.graph.rows(), found.graph.col
        (tensor([3, 2, 1]), tensor([0, 1, 1]), tensor([1, 0, 2], dtype=torch.int32))
    """

    def __init__(self, graph: CSR, fanouts: Sequence[int]) -> None:
        if graph.num_rows != graph.num_cols:
            raise ValueError(
                f"neighbours need a square graph, got {graph.num_rows} rows and {graph.num_cols} "
                "columns"
            )
        if graph.keep is not None:
            raise ValueError("neighbours need a graph without entries that are switched off")
        if not fanouts or any(fanout < 1 and fanout != -1 for fanout in fanouts):
            raise ValueError(
                f"fan-outs must be positive, or -1 for all neighbours, got {tuple(fanouts)}"
            )
        self.graph = graph.to("cpu")
        self.fanouts = tuple(fanouts)
        # For numbering anew: one entry for each node of the graph, restored after each call.
        self._place = np.full(graph.num_rows, -1, dtype=np.int32)

    def sample(self, seeds: Int[Tensor, " batch"], *, seed: int) -> Sampled:
        """The surroundings of some nodes.

        Args:
            seeds: Node ids; those that come again are left out.
            seed: Decides what is drawn, alone.

        Raises:
            ValueError: if an id lies outside the graph.
        """
        check_range(self.graph.num_rows, seeds)
        ptr, col = self.graph.ptr.numpy(), self.graph.col.numpy()
        start = seeds.cpu().long().numpy()
        key = mix(fold(seed))
        if reference_ops():
            found = _one_by_one(ptr, col, start, self.fanouts, key)
        else:
            found = _compiled(ptr, col, start, self.fanouts, key, self._place)
        edge, weight = torch.from_numpy(found.entry), self.graph.weight
        square = CSR(
            torch.from_numpy(found.ptr),
            torch.from_numpy(found.local),
            len(found.nodes),
            weight=None if weight is None else weight[edge],
        )
        sizes = tuple(len(found.nodes[a:b]) for a, b in itertools.pairwise(found.hops))
        ends = found.ptr[list(found.hops[:-1])].tolist()
        counts = tuple(b - a for a, b in itertools.pairwise(ends))
        return Sampled(torch.from_numpy(found.nodes), square, edge, sizes, counts)


class _Drawn(NamedTuple):
    """The sample as arrays: `hops` says where the nodes of each hop begin, and their number."""

    nodes: Array
    hops: tuple[int, ...]
    ptr: Array
    local: Array
    entry: Array


def _compiled(
    ptr: Array, col: Array, seeds: Array, fanouts: tuple[int, ...], key: int, place: Array
) -> _Drawn:
    from graphlearn.ops.cpu.neighbors import expand, order_rows, renumber

    nodes, hops = np.empty(0, dtype=np.int64), [0]
    counts, locals_, entries = [], [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    try:
        nodes, _ = renumber(seeds, nodes, place)
        for hop, fanout in enumerate(fanouts):
            entry, count = expand(ptr, nodes[hops[-1] :], fanout, mix(key ^ hop))
            hops.append(len(nodes))
            nodes, local = renumber(col[entry], nodes, place)
            counts.append(count)
            locals_.append(local)
            entries.append(entry)
    finally:
        place[nodes] = -1
    hops.append(len(nodes))
    start = np.zeros(len(nodes) + 1, dtype=np.int64)
    size = np.concatenate(counts)
    np.cumsum(size, out=start[1 : len(size) + 1])
    start[len(size) + 1 :] = start[len(size)]
    local, entry = np.concatenate(locals_), np.concatenate(entries)
    order_rows(start, local, entry)
    return _Drawn(nodes, tuple(hops), start, local, entry)


def _one_by_one(ptr: Array, col: Array, seeds: Array, fanouts: tuple[int, ...], key: int) -> _Drawn:
    """The same in plain Python, one node after the other."""
    nodes: list[int] = list(dict.fromkeys(seeds.tolist()))
    number = {node: k for k, node in enumerate(nodes)}
    hops, rows = [0], []
    for hop, fanout in enumerate(fanouts):
        frontier = nodes[hops[-1] :]
        hops.append(len(nodes))
        for node in frontier:
            row = row_draws(int(ptr[node]), int(ptr[node + 1]), fanout, mix(key ^ hop), node)
            targets = col[row].tolist()
            for target in targets:
                if target not in number:
                    number[target] = len(nodes)
                    nodes.append(target)
            rows.append(sorted(zip((number[target] for target in targets), row, strict=True)))
    hops.append(len(nodes))
    rows += [[]] * (len(nodes) - len(rows))
    entries = [pair for row in rows for pair in row]
    return _Drawn(
        np.array(nodes, dtype=np.int64),
        tuple(hops),
        np.cumsum([0, *map(len, rows)]),
        np.array([local for local, _ in entries], dtype=np.int32),
        np.array([at for _, at in entries], dtype=np.int64),
    )


def row_draws(first: int, last: int, fanout: int, key: int, node: int) -> list[int]:
    """Entries of a row, by Floyd's algorithm where there are more than wanted.

    Args:
        first: Where the row begins.
        last: Where it ends.
        fanout: Most entries; -1 is all.
        key: Random key of the hop.
        node: Whose row it is.
    """
    degree = last - first
    if fanout < 0 or degree <= fanout:
        return list(range(first, last))
    own = mix(key ^ node)
    taken: list[int] = []
    for draw, top in enumerate(range(degree - fanout, degree)):
        number = ((mix(own ^ draw) >> 32) * (top + 1)) >> 32
        taken.append(top if number in taken else number)
    return [first + number for number in taken]


def mix(value: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection of 64 bits.

    Args:
        value: Any integer; higher bits are cut off.
    """
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)

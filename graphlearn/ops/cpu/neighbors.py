"""CPU kernels of neighbour sampling, see `graphlearn.sampling.neighbors`."""

import numpy as np

from graphlearn.ops.cpu.jit import Array, jit, share

__all__ = ["expand", "order_rows", "renumber"]

_FEW = 32  # draws of a row that are compared one by one; more are kept in a hash table
_SHORT = 48  # entries of a row that are put in order by insertion


@jit
def _mix(z: np.uint64) -> np.uint64:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@jit
def _below(own: np.uint64, draw: int, size: int) -> np.int64:
    """A number below `size`, from the upper half of a random word."""
    word = _mix(own ^ np.uint64(draw))
    return np.int64(((word >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@jit
def _is_new(table: Array, number: int) -> bool:
    """Put a number into a table of 2^k places, -1 being free, and say whether it was not there."""
    last = table.size - 1
    place = number & last
    while table[place] >= 0:
        if table[place] == number:
            return False
        place = (place + 1) & last
    table[place] = number
    return True


@jit
def _expand(
    first: int,
    last: int,
    ptr: Array,
    frontier: Array,
    offset: Array,
    fanout: int,
    key: np.uint64,
    entry: Array,
) -> None:
    places = 1
    while fanout > _FEW and places < 2 * fanout:
        places *= 2
    table = np.full(places, -1, dtype=np.int64)
    for k in range(first, last):
        start, degree = ptr[frontier[k]], ptr[frontier[k] + 1] - ptr[frontier[k]]
        taken = entry[offset[k] : offset[k + 1]]
        if taken.size == degree:
            for j in range(degree):
                taken[j] = start + j
            continue
        own = _mix(key ^ np.uint64(frontier[k]))
        for j in range(taken.size):
            top = degree - taken.size + j
            number = _below(own, j, top + 1)
            if taken.size > _FEW:
                if not _is_new(table, number):
                    number = top
                    _is_new(table, number)
            else:
                for i in range(j):
                    if taken[i] == start + number:
                        number = top
                        break
            taken[j] = start + number
        if taken.size > _FEW:
            table[:] = -1


def expand(ptr: Array, frontier: Array, fanout: int, key: int) -> tuple[Array, Array]:
    """Entries that are drawn for each node, and how many.

    Args:
        ptr: First entry of each row.
        frontier: Nodes to expand.
        fanout: Most entries of a node; -1 is all.
        key: Random key of the hop.
    """
    count = ptr[frontier + 1] - ptr[frontier]
    if fanout >= 0:
        fanout = min(fanout, int(count.max(initial=0)))  # tables are as large as it says
        np.minimum(count, fanout, out=count)
    offset = np.zeros(len(frontier) + 1, dtype=np.int64)
    np.cumsum(count, out=offset[1:])
    entry = np.empty(offset[-1], dtype=np.int64)
    work = 16 * (len(entry) + len(frontier))
    share(_expand, len(frontier), work, ptr, frontier, offset, fanout, np.uint64(key), entry)
    return entry, count


@jit
def _renumber(ids: Array, known: int, nodes: Array, place: Array, local: Array) -> int:
    for k in range(ids.size):
        node = ids[k]
        if place[node] < 0:
            place[node] = known
            nodes[known] = node
            known += 1
        local[k] = place[node]
    return known


def renumber(ids: Array, nodes: Array, place: Array) -> tuple[Array, Array]:
    """Give every node its number, in the order in which they are first seen.

    Args:
        ids: Nodes, repeats included.
        nodes: Nodes that have a number already.
        place: Number of every node, or -1; changed in place.

    Returns:
        All nodes with a number, and the number of each of `ids`.
    """
    grown = np.empty(len(nodes) + len(ids), dtype=np.int64)
    grown[: len(nodes)] = nodes
    local = np.empty(len(ids), dtype=np.int32)
    return grown[: _renumber(ids, len(nodes), grown, place, local)], local


@jit
def _order(first: int, last: int, ptr: Array, local: Array, entry: Array) -> None:
    for k in range(first, last):
        row, origin = local[ptr[k] : ptr[k + 1]], entry[ptr[k] : ptr[k + 1]]
        if row.size > _SHORT:
            order = np.argsort(row)
            row[:] = row[order]
            origin[:] = origin[order]
            continue
        for i in range(1, row.size):
            value, where, j = row[i], origin[i], i
            while j > 0 and row[j - 1] > value:
                row[j], origin[j] = row[j - 1], origin[j - 1]
                j -= 1
            row[j], origin[j] = value, where


def order_rows(ptr: Array, local: Array, entry: Array) -> None:
    """Sort the columns of every row in place, and their entries with them."""
    share(_order, len(ptr) - 1, 16 * len(local), ptr, local, entry)

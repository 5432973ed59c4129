"""Meta relations: chains of types and edge types, which of them a stack of layers needs."""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

__all__ = ["EdgeType", "Path", "RelationWeight", "chain", "extended", "layers", "meta_relations"]

EdgeType: TypeAlias = tuple[str, str, str]
Path: TypeAlias = tuple[str, ...]
"""`(x_0, r_1, x_1, ..., r_t, x_t)`, from the source type to the type that receives."""


class RelationWeight(NamedTuple):
    """How much the nodes of a type listen to a meta relation, on average.

    Args:
        order: Layer of the model, from 1.
        path: Types and relations from the source to the receiving type, `(x_0, r_1, x_1, ...)`; of
            a type alone: what its nodes keep of themselves.
        mean: Mean weight in [0, 1]; those of one order and receiving type add up to one.
        std: Standard deviation over the nodes.
    """

    order: int
    path: tuple[str, ...]
    mean: float
    std: float


def chain(path: Path) -> str:
    """A meta relation as it is written in settings, `author-writes-paper`.

    Args:
        path: Types and relations in turn.
    """
    return "-".join(path)


def extended(paths: Iterable[Path], edge_types: Iterable[EdgeType]) -> list[Path]:
    """Every path with every edge type that leads to its source put before it.

    Args:
        paths: Meta relations of one order.
        edge_types: What they are extended by.
    """
    edge_types = list(edge_types)
    return [
        (source, name, *path)
        for path in paths
        for source, name, target in edge_types
        if target == path[0]
    ]


def meta_relations(edge_types: Iterable[EdgeType], order: int) -> list[Path]:
    """All meta relations of an order: chains of edge types, each ending where the next begins.

    Args:
        edge_types: Meta relations of order one.
        order: Number of edge types in a chain, from 1.

    Example:
        >>> both = [("author", "writes", "paper"), ("paper", "by", "author")]
        >>> meta_relations(both, 2)
        [('paper', 'by', 'author', 'writes', 'paper'), ('author', 'writes', 'paper', 'by', 'author')]
    """  # noqa: E501 (a doctest has no other way)
    edge_types = list(edge_types)
    found: list[Path] = list(edge_types)
    for _ in range(1, order):
        found = extended(found, edge_types)
    return found


def layers(
    edge_types: Sequence[EdgeType],
    orders: int,
    *,
    target: str | None,
    join: bool = True,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    most: int = 0,
) -> list[list[Path]]:
    """The meta relations of each layer of a stack.

    Args:
        edge_types: What there is.
        orders: Number of layers.
        target: Type whose outputs are read, from every layer: meta relations on which they do not
            depend are left out. None keeps all.
        join: Whether layer t has the meta relations of order t; else each has those of order one.
        only: Patterns such as `*-paper-*-author`; a meta relation of a higher order than one must
            match one of them. Empty is all.
        without: Patterns of meta relations to leave out, of any order.
        most: Largest number of meta relations of a layer; 0 is any.

    Returns:
        For each layer its meta relations.

    Raises:
        ValueError: if a pattern matches nothing, or a layer has too many.
    """
    every: list[list[Path]] = []
    found: list[Path] = []
    for order in range(1, orders + 1):
        longer = join and order > 1
        found = extended(found, edge_types) if longer else list(edge_types)
        found = [path for path in found if not _matches(path, without)]
        every.append([path for path in found if not longer or not only or _matches(path, only)])
    named = {
        chain(path) for order in range(orders) for path in meta_relations(edge_types, order + 1)
    }
    for pattern in (*only, *without):
        if not any(fnmatchcase(name, pattern) for name in named):
            raise ValueError(
                f"no meta relation of up to {orders} steps matches {pattern!r}; they are written "
                f"like {min(named, default='author-writes-paper')!r}"
            )
    if target is not None:
        every = _needed(every, target)
    for order, found in enumerate(every, start=1):
        if most and len(found) > most:
            raise ValueError(
                f"layer {order} has {len(found)} meta relations, more than max_relations={most}; "
                "name those to use with only, leave some out with without, or raise it"
            )
    return every


def _needed(every: list[list[Path]], target: str) -> list[list[Path]]:
    """Those on which the target's outputs of all layers depend."""
    wanted: Collection[str] = {target}
    kept: list[list[Path]] = []
    for found in reversed(every):
        kept.append([path for path in found if path[-1] in wanted])
        wanted = {*wanted, *(path[0] for path in kept[-1])}
    return kept[::-1]


def _matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(chain(path), pattern) for pattern in patterns)

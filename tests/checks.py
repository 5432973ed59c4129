"""What every member of a kind must satisfy: one function a kind."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import torch
from torch import Tensor

from graphlearn.ops import CSR

__all__ = ["CASES", "check_op", "graph_case", "link_cases", "using", "vectors", "weights"]

# By name, as the package re-exports functions under the names of their modules.
NAMES = """absorb commit dropout ends hops join locate means overlap pairs pairscore refresh small
    spmm transport""".split()
OPS = [importlib.import_module(f"graphlearn.ops.{name}") for name in NAMES]


# Ops: every backend agrees with the reference.


@contextmanager
def using(kernels: ModuleType | None) -> Iterator[None]:
    """Ops run on these kernels, or on their reference (None)."""
    before = [module.kernels for module in OPS]
    for module in OPS:
        module.kernels = lambda device: kernels
    try:
        yield
    finally:
        for module, choice in zip(OPS, before, strict=True):
            module.kernels = choice


def check_op(
    op: Callable[..., Any], *args: Any, kernels: ModuleType, device: str = "cpu", **options: Any
) -> None:
    """The kernels give what the reference gives, and the same gradients.

    Args:
        op: A public op.
        args: Its arguments; float tensors that require a gradient are differentiated.
        kernels: `graphlearn.ops.cpu` or `graphlearn.ops.gpu`.
        device: Where the kernels run; the reference runs on the CPU.
        options: Keyword arguments of the op.
    """
    expected = _outcome(op, args, options, None, "cpu")
    actual = _outcome(op, args, options, kernels, device)
    torch.testing.assert_close(actual, expected)


def _outcome(
    op: Callable[..., Any],
    args: tuple[Any, ...],
    options: dict[str, Any],
    kernels: ModuleType | None,
    device: str,
) -> list[Tensor]:
    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().to(device).requires_grad_(value.requires_grad)
        return value.to(device) if isinstance(value, CSR) else value

    args, options = tuple(map(move, args)), {name: move(v) for name, v in options.items()}
    with using(kernels):
        result = op(*args, **options)
        flat = []
        for part in result if isinstance(result, tuple) else (result,):
            flat += [part.ptr, part.col] if isinstance(part, CSR) else [part]
        leaves = [
            v for v in (*args, *options.values()) if isinstance(v, Tensor) and v.requires_grad
        ]
        if leaves:
            cotangent = torch.linspace(-1, 2, flat[0].numel(), dtype=flat[0].dtype, device=device)
            flat += torch.autograd.grad(flat[0], leaves, cotangent.view_as(flat[0]))
    return [tensor.detach().cpu() for tensor in flat]


def graph_case(
    edges: list[tuple[int, int]], num_nodes: int, pairs: list[tuple[int, int]]
) -> tuple[CSR, Tensor]:
    """An undirected graph, and pairs of its nodes."""
    edge_index = torch.tensor(edges, dtype=torch.int64).view(-1, 2).t()
    graph = CSR.from_edge_index(edge_index, num_nodes, undirected=True)
    return graph, torch.tensor(pairs, dtype=torch.int64).view(-1, 2).t()


def vectors(rows: int, chan: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """Vectors without pattern, to be differentiated unless an interpreter would take too long."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, chan, dtype=dtype, generator=generator)
    return x.requires_grad_(rows < 1000)


def weights(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Values of entries, some of them zero, to be differentiated."""
    generator = torch.Generator().manual_seed(size)
    value = torch.randn(size, dtype=dtype, generator=generator)
    value[::5] = 0
    return value.requires_grad_()


_DENSE = [(i, j) for i in range(9) for j in range(i)]
_HUBS = [(hub, leaf) for hub in (0, 1) for leaf in range(2 + 5 * hub, 80)]  # more than one block
_BIG = 100_000  # the square of it needs more than 32 bits
_FAR = [(_BIG - 1, _BIG - k) for k in range(2, 9)] + [(_BIG - 2, _BIG - k) for k in range(5, 40)]

CASES = {
    "empty": graph_case([], 4, [(0, 1), (2, 2)]),
    "no nodes": graph_case([], 0, []),
    "no pairs": graph_case(_DENSE, 9, []),
    "dense": graph_case(_DENSE, 9, [(0, 1), (8, 2), (3, 3)]),
    "hub": graph_case(_HUBS, 81, [(0, 1), (1, 0), (5, 60), (0, 9), (1, 1)]),
    "isolated": graph_case([(0, 1), (1, 2)], 6, [(0, 2), (3, 0), (4, 5), (5, 5)]),
    "duplicate": graph_case([(0, 1), (0, 1), (1, 0), (1, 2)], 3, [(0, 2), (0, 2), (2, 0)]),
    "far": graph_case(_FAR, _BIG, [(_BIG - 1, _BIG - 2), (_BIG - 2, _BIG - 1), (0, _BIG - 1)]),
}


@st.composite
def link_cases(draw: st.DrawFn, most_pairs: int = 8) -> tuple[CSR, Tensor]:
    """A small graph, perhaps weighted, perhaps with entries switched off, and pairs of nodes."""
    size = draw(st.integers(1, 8))
    ids = st.integers(0, size - 1)
    edges = draw(st.lists(st.tuples(ids, ids), max_size=20))
    edge_index = torch.tensor(edges, dtype=torch.int64).view(-1, 2).t()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    weight = torch.rand(len(edges), generator=generator) - 0.3 if draw(st.booleans()) else None
    undirected = draw(st.booleans())
    graph = CSR.from_edge_index(edge_index, size, weight=weight, undirected=undirected)
    pairs = torch.tensor(draw(st.lists(st.tuples(ids, ids), max_size=most_pairs)))
    pairs = pairs.to(torch.int64).view(-1, 2).t()
    mask = draw(st.sampled_from(["none", "pairs", "entries"]))
    if mask == "pairs":  # what target-link removal does
        graph = graph.without(pairs)
    elif mask == "entries":
        keep = torch.rand(graph.num_entries, generator=generator) < 0.6
        graph = replace(graph, keep=keep, symmetric=False)
    return graph, pairs

"""Common neighbours: lists, counts, sums and what is left over, forward and backward.

Against the pure-torch reference of this package and the product of scipy's sparse rows. Figures in
print are those of the published formulation (row gather, packed keys, binary search).
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from graphlearn.bench import Case
from graphlearn.cli import main
from graphlearn.ops import CSR, difference, overlap, overlap_count, overlap_sum

__all__ = ["cases", "power_law"]

PAIRS, CHANNELS = 65_536, 64
FILES = {
    "Cora": ("cora_linkpred/cora_linkpred.npz", "edge_index"),
    "Amazon Photo": ("amazon_photo/amazon_photo.npz", "edge"),
    "BlogCatalog": ("blogcatalog_graph/blogcatalog_graph.npz", "edge"),
    "ogbl-ddi": ("ogbl_ddi/ogbl_ddi.npz", "train_edge"),
}
DENSE = {"BlogCatalog": 4_096, "ogbl-ddi": 4_096}  # pairs that the alternatives can cope with


class Printed(NamedTuple):
    """CPU milliseconds of the published formulation for 65,536 pairs, one core, elsewhere."""

    lists: float
    residual: float
    forward: float
    backward: float


PRINTED = {
    ("Amazon Photo", "edges"): Printed(740.0, 1305.0, 102.0, 338.0),
    ("BlogCatalog", "edges"): Printed(5196.0, 8453.0, 208.0, 1074.0),
    ("ogbl-ddi", "edges"): Printed(9661.0, 13774.0, 1747.0, 4994.0),
    ("ogbl-ddi", "non-edges"): Printed(5371.0, 8097.0, 353.0, 1448.0),
}


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | str]:
    """Every op on every graph, for sampled edges and for uniform pairs.

    Args:
        smoke: A tiny graph instead.
        data: Folder of the data files; graphs whose file is absent are left out.
    """
    if smoke:
        yield from _graph_cases("power law, 2e3 edges", power_law(500, 2_000), 256, 256)
        return
    for name, (file, key) in FILES.items():
        path = (data or Path()) / file
        if not path.is_file():
            yield f"{name} is left out: there is no {file} in the data folder"
            continue
        with np.load(path, allow_pickle=False) as archive:
            edges = torch.from_numpy(archive[key].astype(np.int64))
            nodes = int(archive["num_nodes"] if "num_nodes" in archive else edges.max() + 1)
        edges = edges if edges.shape[0] == 2 else edges.t()
        graph = CSR.from_edge_index(edges, nodes, undirected=True)
        few = DENSE.get(name, PAIRS)
        if few < PAIRS:
            yield from _ours_alone(name, graph)
        yield from _graph_cases(name, graph, PAIRS, few)
    yield from _graph_cases("power law, 1e6 edges", power_law(200_000, 1_000_000), PAIRS, PAIRS)


def power_law(nodes: int, edges: int, seed: int = 0) -> CSR:
    """A random graph with exactly so many undirected edges, and degrees of exponent 3.

    Args:
        nodes: Number of nodes.
        edges: Number of edges, each stored in both directions.
        seed: Decides the graph.
    """
    draw = np.random.default_rng(seed)
    # P(i) falls with the root of i, so that hubs have the small numbers.
    ends = (nodes * draw.random((2, 2 * edges)) ** 2).astype(np.int64)
    low, high = ends.min(0), ends.max(0)
    keys = np.unique((low * nodes + high)[low < high])
    keys = draw.permutation(keys)[:edges]
    assert keys.size == edges
    pairs = torch.from_numpy(np.stack([keys // nodes, keys % nodes]))
    return CSR.from_edge_index(pairs, nodes, undirected=True)


def _sample(graph: CSR, count: int) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(1)
    entry = torch.randint(graph.num_entries, (count,), generator=made)
    edges = torch.stack([graph.rows()[entry], graph.col[entry].long()])
    uniform = torch.randint(graph.num_rows, (2, count), generator=made)
    return {"edges": edges, "non-edges": uniform}


def _graph_cases(name: str, graph: CSR, pairs: int, few: int) -> Iterator[Case]:
    note = "" if few == pairs else f"{few} pairs: the alternatives need too much for {pairs}"
    x = torch.randn(graph.num_cols, CHANNELS, generator=torch.Generator().manual_seed(2))
    for kind, drawn in _sample(graph, pairs).items():
        ends = drawn[:, :few]
        printed = PRINTED.get((name, kind)) if few == PAIRS else None
        figures = _figures(printed, name)
        for op, (ours, scipy) in _ways(graph, ends, x).items():
            yield Case(
                op,
                f"{name}, {few:,} {kind}",
                {"graphlearn": ours, "torch reference": partial(_reference, ours), "scipy": scipy},
                printed=figures[op][0],
                printed_target=figures[op][1],
                note=note,
                seconds=2.0,
            )


def _ours_alone(name: str, graph: CSR) -> Iterator[Case]:
    """All pairs by our ops alone, beside what is in print; equality is checked on fewer pairs."""
    x = torch.randn(graph.num_cols, CHANNELS)
    note = "equality is checked on fewer pairs, below"
    for kind, ends in _sample(graph, PAIRS).items():
        figures = _figures(PRINTED.get((name, kind)), name)
        for op, (ours, _) in _ways(graph, ends, x).items():
            yield Case(
                op,
                f"{name}, {PAIRS:,} {kind}",
                {"graphlearn": ours},
                printed=figures[op][0],
                printed_target=figures[op][1],
                note=note,
                seconds=2.0,
            )


def _figures(printed: Printed | None, name: str) -> dict[str, tuple[float, float]]:
    """Milliseconds in print and how far below them each op is to be."""
    lists, residual, forward, backward = printed or (0.0, 0.0, 0.0, 0.0)
    goal = 0.0 if printed is None else 20.0 if name in DENSE else 5.0
    counts = 0.0 if printed is None else 1000.0 if name == "ogbl-ddi" else goal
    return {
        "overlap": (lists, goal),
        "difference": (residual, goal),
        "count": (lists, counts),
        "sum": (lists + forward, goal),
        "sum, backward": (lists + forward + backward, goal),
    }


def _ways(
    graph: CSR, ends: Tensor, x: Tensor
) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Our op and scipy's form of it, by name."""
    rows = sp.csr_array(
        (np.ones(graph.num_entries, np.float32), graph.col.numpy(), graph.ptr.numpy()),
        shape=(graph.num_rows, graph.num_cols),
    )
    src, dst = (end.numpy() for end in ends)
    leaf = x.clone().requires_grad_()

    def shared() -> Any:  # noqa: ANN401
        return rows[src].multiply(rows[dst]).tocsr()

    def residual() -> Any:  # noqa: ANN401
        common = shared()
        return [part for end in (src, dst) for part in _lists(rows[end] - common)]

    def backward() -> Any:  # noqa: ANN401
        total = overlap_sum(graph, ends, leaf)
        return total.detach(), torch.autograd.grad(total.sum(), leaf)[0]

    def scipy_backward() -> Any:  # noqa: ANN401
        common = shared()
        total = common @ x.numpy()
        return _tensors(total, common.T @ np.ones_like(total))

    return {
        "overlap": (
            lambda: _parts(overlap(graph, ends)),
            lambda: _lists(shared()),
        ),
        "difference": (
            lambda: [part for side in difference(graph, ends) for part in _parts(side)],
            residual,
        ),
        "count": (
            lambda: overlap_count(graph, ends),
            lambda: torch.from_numpy(np.diff(shared().indptr)),
        ),
        "sum": (
            lambda: overlap_sum(graph, ends, x),
            lambda: torch.from_numpy(shared() @ x.numpy()),
        ),
        "sum, backward": (backward, scipy_backward),
    }


def _reference(way: Callable[[], Any]) -> Any:  # noqa: ANN401
    """The same call with every op sent to its readable reference."""
    before = os.environ.get("GRAPHLEARN_OPS")
    os.environ["GRAPHLEARN_OPS"] = "reference"
    try:
        return way()
    finally:
        if before is None:
            del os.environ["GRAPHLEARN_OPS"]
        else:
            os.environ["GRAPHLEARN_OPS"] = before


def _parts(lists: CSR) -> list[Tensor]:
    return [lists.ptr, lists.col]


def _lists(found: Any) -> list[Tensor]:  # noqa: ANN401
    found.sort_indices()
    return _tensors(found.indptr, found.indices)


def _tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(array) for array in arrays]


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

"""Attacks: random flips against a loop over a set, meta-gradients against a dense adjacency.

The first alternative is the usual one: draw a pair, look it up in a Python set, repeat. The second
one differentiates the training of the surrogate with respect to a dense table of all pairs, as the
published code does.
"""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data

import graphlearn as gl
from graphlearn.attacks import RandomAttack
from graphlearn.attacks.budget import graph_of
from graphlearn.attacks.meta import top_pairs
from graphlearn.attacks.metagrad import Inner, exact_gradient, first_order_gradient
from graphlearn.attacks.surrogate import Problem, Surrogate, draw_weights, problem_of
from graphlearn.bench import Case
from graphlearn.cli import main
from graphlearn.data.nodes import undirected

__all__ = ["cases"]

BEST = 100  # pairs that a step keeps


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | str]:
    """A random attack, and a step of both kinds of meta-gradients.

    Args:
        smoke: A small graph that is drawn.
        data: Folder of the data sets; without robust_cora no meta-gradient is measured.
    """
    yield _random_case(200 if smoke else 200_000, 600 if smoke else 1_000_000)
    if smoke:
        yield from _meta_cases("drawn", _drawn(60, 150, features=12), Inner(4, 4))
        return
    try:
        found = gl.load("robust_cora", root=data).data
    except (FileNotFoundError, ImportError, OSError, ValueError) as error:
        yield f"robust_cora is left out: {error}"
        return
    yield from _meta_cases("robust_cora, clean", found, Inner(steps=20))


def _drawn(nodes: int, edges: int, *, features: int = 0) -> Data:
    made = torch.Generator().manual_seed(0)
    edge_index = undirected(torch.randint(nodes, (2, edges), generator=made), nodes)
    data = Data(edge_index=edge_index, y=torch.arange(nodes) % 3, num_nodes=nodes)
    if features:
        data.x = (torch.rand(nodes, features, generator=made) < 0.3).float()
        data.train_mask = torch.arange(nodes) % 4 == 0
    return data


def _random_case(nodes: int, edges: int) -> Case:
    data = _drawn(nodes, edges)
    count = data.num_edges // 10  # a fifth of the undirected edges

    def ours() -> Tensor:
        return RandomAttack().attack(data, count).edge_index

    def loop() -> Tensor:
        return _by_loop(data.edge_index, nodes, count)

    def facts(edge_index: Tensor) -> dict[str, Any]:
        """Both are random: budget, old edges, loops, and the spread of the new ends must agree."""
        keys = edge_index[0] * nodes + edge_index[1]
        old = data.edge_index[0] * nodes + data.edge_index[1]
        new = edge_index[:, ~torch.isin(keys, old)]
        quarters = torch.histc(new[0].float(), 4, 0, nodes) / new.shape[1]
        return {
            "edges": len(keys.unique()),
            "kept": int(torch.isin(old, keys).sum()),
            "loops": int((edge_index[0] == edge_index[1]).sum()),
            "spread": int((quarters - 0.25).abs().max() > 0.1),
        }

    return Case(
        "random attack, a fifth of the edges",
        f"{nodes:,} nodes, {data.num_edges // 2:,} edges",
        {"graphlearn": ours, "loop and set": loop},
        {"graphlearn": lambda: facts(ours()), "loop and set": lambda: facts(loop())},
        rounds=3,
        note="agreement of counts and of the spread of new ends, since both are random",
    )


def _by_loop(edge_index: Tensor, nodes: int, count: int) -> Tensor:
    """Pairs drawn one by one and looked up in a set."""
    draw = random.Random(0)
    present = {(i, j) for i, j in edge_index.T.tolist() if i < j}
    added = 0
    while added < count:
        i, j = draw.randrange(nodes), draw.randrange(nodes)
        pair = (min(i, j), max(i, j))
        if i != j and pair not in present:
            present.add(pair)
            added += 1
    pairs = torch.tensor(sorted(present)).T
    return torch.cat([pairs, pairs.flip(0)], dim=1)


def _meta_cases(name: str, data: Data, inner: Inner) -> Iterator[Case]:
    problem, graph = problem_of(data, "MetaAttack"), graph_of(data)
    labels = torch.where(problem.y < 0, 0, problem.y)
    none = torch.empty(2, 0, dtype=torch.int64)
    for kind, gradient in (("exact", exact_gradient), ("first order", first_order_gradient)):

        def ours(gradient: Callable[..., Any] = gradient) -> Tensor:
            found = gradient(Surrogate.on(problem, graph), labels, inner, seed=0)
            return top_pairs(found, graph, none, BEST)[1]

        def dense(exact: bool = kind == "exact") -> Tensor:
            grad = _dense_gradient(problem, data.edge_index, labels, inner, exact=exact)
            return _best_of_table(grad, data.edge_index)

        yield Case(
            f"a step of meta-gradients, {kind}",
            f"{name}, {inner.steps} inner steps",
            {"graphlearn": ours, "dense autograd": dense},
            tolerance=1e-3,
            rounds=2,
            seconds=60.0,
            note=f"scores of the {BEST} best pairs agree",
        )


def _dense_gradient(
    problem: Problem, edge_index: Tensor, labels: Tensor, inner: Inner, *, exact: bool
) -> Tensor:
    """The training of the surrogate on a dense adjacency that requires a gradient."""
    size = problem.x.num_rows
    x = torch.zeros(size, problem.x.num_cols)
    x[problem.x.rows(), problem.x.col.long()] = problem.x.weight
    a = torch.zeros(size, size)
    a[edge_index[0], edge_index[1]] = 1
    a.requires_grad_()
    full = a + torch.eye(size)
    scale = full.sum(1).rsqrt()
    norm = scale[:, None] * full * scale
    w1, w2 = (w.requires_grad_() for w in draw_weights(problem, inner.hidden, 0))
    v1, v2 = torch.zeros_like(w1), torch.zeros_like(w2)
    total = torch.zeros_like(a)
    for _ in range(inner.steps):
        z = norm @ (norm @ (x @ w1)) @ w2
        loss = F.cross_entropy(z[problem.train], problem.y[problem.train])
        g1, g2 = torch.autograd.grad(loss, [w1, w2], create_graph=exact, retain_graph=True)
        v1, v2 = inner.momentum * v1 + g1, inner.momentum * v2 + g2
        w1, w2 = w1 - inner.lr * v1, w2 - inner.lr * v2
        if not exact:
            w1, w2 = w1.detach().requires_grad_(), w2.detach().requires_grad_()
            z = norm @ (norm @ (x @ w1)) @ w2
            loss = F.cross_entropy(z[problem.rest], labels[problem.rest])
            total += torch.autograd.grad(loss, a, retain_graph=True)[0]
    if exact:
        z = norm @ (norm @ (x @ w1)) @ w2
        loss = F.cross_entropy(z[problem.rest], labels[problem.rest])
        total = torch.autograd.grad(loss, a)[0]
    return total + total.T


def _best_of_table(grad: Tensor, edge_index: Tensor) -> Tensor:
    """Scores of the best pairs, without deletions that leave a node alone."""
    row, col = edge_index
    degree = torch.bincount(row, minlength=len(grad))
    grad[row, col] *= -1
    last = (degree[row] == 1) | (degree[col] == 1)
    grad[row[last], col[last]] = -torch.inf
    u, v = torch.triu_indices(len(grad), len(grad), 1)
    return grad[u, v].topk(BEST).values


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

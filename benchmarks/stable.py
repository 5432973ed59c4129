"""Steps of STABLE on an attacked graph, against the published formulation and dense adjacencies.

The alternative to the contrastive step is the published formulation written plainly in torch:
dense adjacencies that were normalised once, an encoder pass with its own product of features and
weights for each view, and a bilinear layer on a summary repeated for each node. The alternative to
the classifier's step is the same network on a dense matrix.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

import graphlearn as gl
from graphlearn.bench import Case, Limit
from graphlearn.bench.measure import peak_memory
from graphlearn.cli import main
from graphlearn.models.contrast import Contrast, Views, draw_views
from graphlearn.models.purification import Purification, purify
from graphlearn.models.refine import prune_edges
from graphlearn.models.stable import PowerGCN
from graphlearn.ops import CSR
from graphlearn.ops.adjacency import power_norm
from graphlearn.ops.rows import feature_rows
from graphlearn.train import optim
from graphlearn.train.task import Schedule

__all__ = ["Published", "cases"]

PRINTED = 7000.0  # CPU milliseconds of a contrastive step of the authors' code, elsewhere


class _Part(NamedTuple):
    """An attacked graph with its views."""

    name: str
    x: CSR
    y: Tensor
    graph: CSR
    views: Views


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | Limit | str]:
    """A contrastive step, a step of the classifier, and the memory of a purification.

    Args:
        smoke: A small graph that is drawn.
        data: Folder of the data sets; without robust_cora nothing is measured.
    """
    if smoke:
        part, hidden = _drawn(), 16
    else:
        try:
            part, hidden = _loaded(data), 512
        except (FileNotFoundError, OSError, ValueError) as error:
            yield f"robust_cora is left out: {error}"
            return
    yield _contrast_case(part, hidden, smoke=smoke)
    yield _classifier_case(part, hidden, smoke=smoke)
    yield _memory_limit(part, hidden, smoke=smoke)


class Published(nn.Module):
    """The published formulation, with the weights of one of our encoders.

    Args:
        model: Ours, whose parameters are copied.
    """

    def __init__(self, model: Contrast) -> None:
        super().__init__()
        size = model.match.shape[0]
        self.lin = nn.Linear(model.weight.shape[0], size, bias=False)
        self.bias = nn.Parameter(model.bias.detach().clone())
        self.act = nn.PReLU()
        self.score = nn.Bilinear(size, size, 1)
        with torch.no_grad():
            self.lin.weight.copy_(model.weight.t())
            self.score.weight.copy_(model.match[None])
            self.score.bias.copy_(model.offset)

    def encode(self, x: Tensor, matrix: Tensor) -> Tensor:
        """Representation of each node.

        Args:
            x: Features.
            matrix: Dense normalised adjacency.
        """
        out: Tensor = self.act(matrix @ self.lin(x) + self.bias)
        return out

    def forward(self, x: Tensor, main: Tensor, others: list[Tensor], order: Tensor) -> Tensor:
        """Loss of one step.

        Args:
            x: Features.
            main: Dense adjacency of the graph.
            others: Those of the views.
            order: Row of each node of the shuffled copy.
        """
        true, false = self.encode(x, main), self.encode(x[order], main)
        logits = true.new_zeros(2 * len(x))
        for other in others:
            s = self.encode(x, other).mean(0).sigmoid().expand_as(true).contiguous()
            logits = logits + torch.cat([self.score(h, s).squeeze(1) for h in (true, false)])
        label = torch.cat([torch.ones(len(x)), torch.zeros(len(x))])
        return F.binary_cross_entropy_with_logits(logits, label)


def _loaded(data: Path | None) -> _Part:
    found = gl.load("robust_cora", root=data, rate=0.05)
    return _part("robust_cora, 5 % attacked", found.data.x, found.data.y, found.data.edge_index)


def _drawn(nodes: int = 120) -> _Part:
    made = torch.Generator().manual_seed(0)
    x = (torch.rand(nodes, 50, generator=made) < 0.1).float()
    edges = torch.randint(nodes, (2, 3 * nodes), generator=made)
    return _part("drawn", x, torch.arange(nodes) % 3, edges)


def _part(name: str, x: Tensor, y: Tensor, edges: Tensor) -> _Part:
    rows = feature_rows(x)
    graph = CSR.from_edge_index(edges, rows.num_rows, undirected=True)
    pre, removed = prune_edges(graph, rows, 0.03, similarity="jaccard", strict=True)
    made = torch.Generator().manual_seed(0)
    views = draw_views(pre, removed, extra_loop=1.0, generator=made)
    return _Part(name, rows, y, graph, views)


def _dense(matrix: CSR) -> Tensor:
    out = torch.zeros(matrix.num_rows, matrix.num_cols)
    value = matrix.values()
    out[matrix.rows(), matrix.col.long()] = 1.0 if value is None else value
    return out


def _contrast_case(part: _Part, hidden: int, *, smoke: bool) -> Case:
    torch.manual_seed(0)
    ours = Contrast(part.x.num_cols, hidden=hidden)
    theirs = Published(ours)
    x, order = _dense(part.x), torch.randperm(part.x.num_rows)
    main, others = _dense(part.views.main), [_dense(view) for view in part.views.others]

    def our_loss() -> Tensor:
        return ours(part.x, part.views, order)

    def their_loss() -> Tensor:
        return theirs(x, main, others, order)

    found = _gradients(our_loss(), _ours(ours)), _gradients(their_loss(), _theirs(theirs))
    found[1][1], found[1][4] = found[1][1].t(), found[1][4][0]
    return Case(
        "contrastive step",
        f"{part.name}, {part.x.num_rows:,} nodes, width {hidden}",
        {
            "graphlearn": _step(ours, our_loss, lr=1e-3),
            "published formulation": _step(theirs, their_loss, lr=1e-3),
        },
        {"graphlearn": lambda: found[0], "published formulation": lambda: found[1]},
        targets={} if smoke else {"published formulation": 50.0},
        printed=0.0 if smoke else PRINTED,
        rounds=3,
        note="loss and gradients of all weights agree from the same weights",
    )


def _ours(model: Contrast) -> list[Tensor]:
    return [model.weight, model.bias, model.slope, model.match, model.offset]


def _theirs(model: Published) -> list[Tensor]:
    weights = (model.lin.weight, model.bias, model.act.weight, model.score.weight)
    return [*weights, model.score.bias]


def _gradients(loss: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """Loss and gradients, each gradient by its length: single numbers may be next to nothing."""
    found = list(torch.autograd.grad(loss, weights))
    return [loss.detach(), *(grad / grad.norm().clamp(min=1e-9) + 1 for grad in found)]


def _step(model: nn.Module, loss: Callable[[], Tensor], *, lr: float) -> Callable[[], None]:
    """A training step as the trainer does it."""
    optimizer = optim.make(Schedule(lr=lr), [{"params": list(model.parameters())}])

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def _classifier_case(part: _Part, hidden: int, *, smoke: bool) -> Case:
    torch.manual_seed(0)
    ours = PowerGCN(hidden, int(part.y.max()) + 1, dropout=0.0)
    h = torch.randn(part.x.num_rows, hidden)
    graph = power_norm(part.graph, 0.3)
    matrix, nodes = _dense(graph), torch.arange(0, part.x.num_rows, 10)
    theirs = copy.deepcopy(ours)

    def our_loss() -> Tensor:
        return F.cross_entropy(ours(h, graph)[nodes], part.y[nodes])

    def their_loss() -> Tensor:
        z = matrix @ (h @ theirs.first) + theirs.first_bias
        z = matrix @ (z.relu() @ theirs.second) + theirs.second_bias
        return F.cross_entropy(z[nodes], part.y[nodes])

    found = tuple(
        _gradients(loss(), list(model.parameters()))
        for loss, model in ((our_loss, ours), (their_loss, theirs))
    )
    return Case(
        "step of the classifier",
        f"{part.name}, {part.x.num_rows:,} nodes, width {hidden}",
        {
            "graphlearn": _step(ours, our_loss, lr=0.01),
            "dense adjacency": _step(theirs, their_loss, lr=0.01),
        },
        {"graphlearn": lambda: found[0], "dense adjacency": lambda: found[1]},
        targets={} if smoke else {"dense adjacency": 5.0},
        rounds=9,
        note="loss and gradients agree, without dropout",
    )


def _memory_limit(part: _Part, hidden: int, *, smoke: bool) -> Limit:
    edges = torch.stack([part.graph.rows(), part.graph.col.long()])
    data = Data(x=_dense(part.x), edge_index=edges, num_nodes=part.x.num_rows)

    def grown() -> float:
        torch.manual_seed(0)
        model = Purification(part.x.num_cols, hidden=hidden)
        with peak_memory() as found:
            purify(data, model, epochs=3)
        return found[0] if found else 0.0

    return Limit(
        "memory of a purification",
        f"{part.name}, width {hidden}",
        grown,
        "MB",
        None if smoke else 400.0,
        note="three epochs; a step of the published formulation takes 3 GB",
    )


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

"""An epoch of DAGNN, training step and evaluation, against the published formulation.

The alternative is the published formulation written plainly in torch and PyG: dense features with
dense dropout, self loops and degrees computed again in every pass, messages gathered and scattered
edge by edge, all hops in a stack, scores of the whole stack, `squeeze`. It has the same weights;
in evaluation both must give the same logits, and with dropout off the same gradients.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from graphlearn.bench import Case
from graphlearn.cli import main
from graphlearn.data.pyg import read_raw
from graphlearn.models import DAGNN
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows
from graphlearn.tasks.features import row_normalized
from graphlearn.train import optim
from graphlearn.train.task import Schedule

__all__ = ["Published", "cases"]

# Folder, hops, dropout, weight decay, CPU milliseconds of an epoch of the authors' code in print
# (one thread, elsewhere), and how many times less than the formulation here we want to take.
SETS = (
    ("Cora", 10, 0.8, 5e-3, 98.0, 5.0),
    ("PubMed", 20, 0.8, 5e-3, 321.0, 2.0),
    ("Photo", 5, 0.5, 5e-4, 222.0, 1.0),
)


class _Part(NamedTuple):
    """A graph with features, classes, and the nodes that are trained on."""

    name: str
    x: Tensor
    edge_index: Tensor
    y: Tensor
    train: Tensor


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | str]:
    """Epochs on Cora, PubMed and Amazon Photo.

    Args:
        smoke: A synthetic graph.
        data: Folder of the data sets; those that are absent are left out.
    """
    if smoke:
        yield _case(_toy(), 4, 0.5, 5e-3)
        return
    for name, hops, dropout, decay, printed, goal in SETS:
        try:
            part = _part(name, data)
        except (KeyError, OSError, ValueError) as error:
            yield f"{name} is left out: {error}"
            continue
        yield _case(part, hops, dropout, decay, printed, goal)


class Published(nn.Module):
    """The published formulation, with the weights of one of our models.

    Args:
        model: Ours, whose parameters are copied.
        dropout: Of features and hidden layer.
    """

    def __init__(self, model: DAGNN, dropout: float) -> None:
        super().__init__()
        self.first, self.second = copy.deepcopy(list(model.layers))
        self.prop, self.p = _Prop(copy.deepcopy(model.prop.gate), model.prop.hops), dropout

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits.

        Args:
            x: Dense features.
            edge_index: Edges, both directions.
        """
        x = F.dropout(x, self.p, self.training)
        x = F.dropout(F.relu(self.first(x)), self.p, self.training)
        out: Tensor = self.prop(self.second(x), edge_index)
        return out


class _Prop(MessagePassing):
    """Hops by messages, stacked."""

    def __init__(self, gate: nn.Linear, hops: int) -> None:
        super().__init__(aggr="add")
        self.gate, self.hops = gate, hops

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        edge_index, norm = gcn_norm(edge_index, None, len(x), dtype=x.dtype)
        stack = [x]
        for _ in range(self.hops):
            x = self.propagate(edge_index, x=x, norm=norm)
            stack.append(x)
        hops = torch.stack(stack, 1)
        score = torch.sigmoid(self.gate(hops).squeeze()).unsqueeze(1)
        out: Tensor = torch.matmul(score, hops).squeeze()
        return out

    def message(self, x_j: Tensor, norm: Tensor) -> Tensor:
        return norm.view(-1, 1) * x_j


def _case(
    part: _Part, hops: int, dropout: float, decay: float, printed: float = 0.0, goal: float = 0.0
) -> Case:
    """An epoch of both: loss on the training nodes, a step of Adam, logits of all nodes."""
    torch.manual_seed(0)
    model = DAGNN(part.x.shape[1], int(part.y.max()) + 1, hops=hops, dropout=dropout)
    theirs = Published(model, dropout)
    x, y = row_normalized(feature_rows(part.x)), part.y[part.train]
    matrix = model.prepare(x, CSR.from_edge_index(part.edge_index, len(part.x), undirected=True))
    dense = row_normalized(part.x)
    passes: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "graphlearn": (model, lambda: model(x, matrix)),
        "published formulation": (theirs, lambda: theirs(dense, part.edge_index)),
    }
    found = {way: _answer(*given, part.train, y) for way, given in passes.items()}
    # Each updates as it is used: ours as the trainer does it, theirs as torch's default does.
    plain = Adam(theirs.parameters(), lr=0.01, weight_decay=decay)
    groups = [{"params": list(model.parameters()), "weight_decay": decay}]
    optimizers = {
        "graphlearn": optim.make(Schedule(lr=0.01), groups),
        "published formulation": plain,
    }
    return Case(
        "training step and evaluation",
        f"{part.name}, {hops} hops",
        {way: _epoch(*given, optimizers[way], part.train, y) for way, given in passes.items()},
        {way: lambda way=way: found[way] for way in passes},
        targets={"published formulation": goal} if goal else {},
        printed=printed,
        rounds=15,
        seconds=20.0,
        note="logits and gradients agree in evaluation mode",
    )


def _answer(
    model: nn.Module, run: Callable[[], Tensor], train: Tensor, y: Tensor
) -> dict[str, object]:
    """Logits and gradients without dropout, before a step changes anything."""
    model.eval()
    z = run()
    loss = F.cross_entropy(z[train], y)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return {"logits": z.detach(), "loss": loss.detach(), "gradients": list(grads)}


def _epoch(
    model: nn.Module,
    run: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    train: Tensor,
    y: Tensor,
) -> Callable[[], None]:
    def epoch() -> None:
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(run()[train], y).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            run()

    return epoch


def _part(name: str, data: Path | None) -> _Part:
    """A graph from its files."""
    if data is None:
        raise FileNotFoundError("no folder of data sets")
    if name == "Photo":
        return _photo(data / "amazon_photo" / "amazon_photo.npz")
    found = read_raw(name.lower(), data / "planetoid" / name / "raw")
    train = found.train_mask.nonzero().view(-1)
    return _Part(name, found.x, found.edge_index, found.y, train)


def _photo(file: Path) -> _Part:
    """Amazon Photo, undirected, twenty nodes of each class to train on."""
    with np.load(file, allow_pickle=False) as held:
        edge, ptr, col, size, y = (
            torch.from_numpy(held[key].astype(np.int64))
            for key in ("edge", "x_indptr", "x_indices", "x_shape", "y")
        )
    x = torch.zeros(*size.tolist())
    x[torch.repeat_interleave(torch.arange(len(x)), ptr.diff()), col] = 1
    graph = CSR.from_edge_index(edge.t(), len(x), undirected=True)
    train = torch.cat([(y == c).nonzero().view(-1)[:20] for c in range(int(y.max()) + 1)])
    return _Part("Photo", x, torch.stack([graph.rows(), graph.col.long()]), y, train)


def _toy() -> _Part:
    """A sparse random graph with a bag of words."""
    made = torch.Generator().manual_seed(0)
    graph = CSR.from_edge_index(torch.randint(200, (2, 500), generator=made), 200, undirected=True)
    x = (torch.rand(200, 50, generator=made) < 0.1).float()
    x[:, 0] = 1
    edges = torch.stack([graph.rows(), graph.col.long()])
    return _Part("toy graph", x, edges, torch.arange(200) % 4, torch.arange(40))


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

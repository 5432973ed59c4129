"""Representations without labels: nodes against a shuffled copy, by summaries of views."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.csr import CSR
from graphlearn.ops.product import product
from graphlearn.ops.spmm import propagate
from graphlearn.ops.total import total
from graphlearn.train.task import Schedule, Split, Task

__all__ = ["Contrast", "ContrastTask", "Views", "draw_views"]

PRETRAINING = Schedule(epochs=10_000, lr=1e-3, patience=20)


class Views(NamedTuple):
    """Normalised adjacencies: of the graph itself, and of each disturbed copy."""

    main: CSR
    others: tuple[CSR, ...]


def draw_views(
    graph: CSR,
    removed: Int[Tensor, "2 pair"],
    *,
    count: int = 2,
    recover: float = 0.2,
    beta: float = 2.0,
    extra_loop: float = 0.0,
    generator: torch.Generator | None = None,
) -> Views:
    r"""Views that differ in which removed edges they take back.

    .. math:: \hat A_0 = \hat A(A, \beta), \qquad \hat A_m = \hat A(A + R_m, \beta + w)

    with :math:`R_m` so many removed edges, :math:`\lfloor p |R| \rfloor`, uniformly drawn.

    Args:
        graph: Adjacency without the removed edges.
        removed: Each removed edge once.
        count: Number of views.
        recover: Share :math:`p` of removed edges in each.
        beta: Weight of the self loops.
        extra_loop: :math:`w`; the published code has 1, because it adds the identity twice.
        generator: Draws the edges; None is torch's default.
    """
    size, taken = graph.num_rows, int(recover * removed.shape[1])
    row, col = graph.rows(), graph.col.long()
    if graph.keep is not None:
        row, col = row[graph.keep], col[graph.keep]
    others = []
    for _ in range(count):
        order = torch.randperm(removed.shape[1], generator=generator)[:taken]
        back = removed[:, order.to(removed.device)]
        edges = torch.cat([torch.stack([row, col]), back, back.flip(0)], 1)
        others.append(CSR.from_edge_index(edges, size, undirected=True))
    views = tuple(gcn_norm(view, loops=beta + extra_loop) for view in others)
    return Views(gcn_norm(graph, loops=beta), views)


class Contrast(nn.Module):
    r"""One graph convolution, trained to tell nodes from a shuffled copy by summaries of views.

    .. math::
        H_m = \mathrm{PReLU}(\hat A_m X W + b), \quad s_m = \sigma(\mathrm{mean}_i H_{m,i}), \quad
        l_i = \sum_m (H_{0,i}^\top B s_m + c)

    and :math:`\tilde l_i` the same of the main graph with the rows of :math:`X` shuffled. The loss
    is the mean logistic loss of `l` against 1 and `l~` against 0.

    Reference: Kuan Li et al., "Reliable Representations Make A Stronger Defender: Unsupervised
    Structure Refinement for Robust GNN", KDD 2022, after Petar Veličković et al., "Deep Graph
    Infomax", ICLR 2019. Differs from the published code in form: :math:`v = B \sum_m s_m` is one
    vector, so that all logits of a step are :math:`H v`, and :math:`X W` is computed once for all
    views and the shuffled copy.

    Args:
        in_channels: Features of a node.
        hidden: Width of a representation.
        view_loss: Logistic loss of the summed logit (published code), or the mean of those of each
            view (paper).
    """

    def __init__(
        self,
        in_channels: int,
        *,
        hidden: int = 512,
        view_loss: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__()
        self.view_loss = view_loss
        self.weight = nn.Parameter(torch.empty(in_channels, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.slope = nn.Parameter(torch.full((1,), 0.25))
        self.match = nn.Parameter(torch.empty(hidden, hidden))
        self.offset = nn.Parameter(torch.zeros(1))
        nn.init.xavier_uniform_(self.weight)
        # Xavier's bound for the tensor (1, hidden, hidden) of the published bilinear layer, 16
        # times narrower than for a matrix: the first loss is then log 2.
        bound = (6 / (hidden * hidden + hidden)) ** 0.5
        nn.init.uniform_(self.match, -bound, bound)

    def encode(self, x: Tensor | CSR, graph: CSR) -> Float[Tensor, "node hidden"]:
        """Representation of each node.

        Args:
            x: Features.
            graph: Normalised adjacency.
        """
        return self._activate(propagate(graph, self._map(x)))

    def forward(
        self, x: Tensor | CSR, views: Views, order: Int[Tensor, " node"]
    ) -> Float[Tensor, ""]:
        """Loss of one step.

        Args:
            x: Features.
            views: The graph and its disturbed copies.
            order: Row of `x` that each node of the shuffled copy is given.
        """
        y = self._map(x)
        main = views.main
        true = self._activate(propagate(main, y))
        # Shuffled columns give what shuffled features would, without a copy of them.
        shuffled = replace(main, col=order[main.col.long()].int(), symmetric=False)
        false = self._activate(propagate(shuffled, y))
        means = [self._activate(propagate(view, y)).mean(0) for view in views.others]
        s = torch.stack(means, 1).sigmoid()
        times = 1 if self.view_loss == "mean" else s.shape[1]
        s = s if self.view_loss == "mean" else s.sum(1, keepdim=True)
        v, c = product(self.match, s), times * self.offset
        wrong = F.softplus(-(product(true, v) + c)) + F.softplus(product(false, v) + c)
        return total(wrong.flatten()) / (2 * wrong.numel())

    def _map(self, x: Tensor | CSR) -> Tensor:
        if isinstance(x, CSR):
            return propagate(replace(x, weight=None), self.weight, weight=x.weight)
        return product(x, self.weight)

    def _activate(self, y: Tensor) -> Tensor:
        # One slope as a vector: its gradient is then summed by channel, whatever the threads.
        return F.prelu(y + self.bias, self.slope.expand(y.shape[1]))


class ContrastTask(Task):
    """Trains an encoder on all nodes at once until its loss stalls.

    The loss of an epoch is known before its step, so that no second pass is needed to judge it;
    the weights that gave the least are kept in a buffer, and `settle` puts them in place.

    Args:
        encoder: What is trained.
        x: Features.
        views: The views of one epoch, from the seed of the run and the epoch.
        resample: Ask for new views in every epoch, not only once.
        schedule: How it is optimised; None is the published one.
    """

    monitor = "-loss"

    def __init__(
        self,
        encoder: Contrast,
        x: Tensor | CSR,
        views: Callable[[int, int], Views],
        *,
        resample: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(encoder, schedule=schedule or PRETRAINING)
        self.register_buffer("before", self._flat())
        self.register_buffer("loss", torch.zeros(()))
        self._x, self._draw, self.resample = x, views, resample
        self._views: Views | None = None

    def _flat(self) -> Tensor:
        return torch.cat([value.detach().flatten() for value in self.model.parameters()])

    def start(self, split: Split) -> None:
        """Draw the views of the run or of the epoch.

        Args:
            split: What the pass that begins is for.
        """
        if self._views is None or (self.resample and split == "train"):
            self._x = self._x.to(self.device)
            main, others = self._draw(self.seed, self.epoch if self.resample else 0)
            self._views = Views(main.to(self.device), tuple(g.to(self.device) for g in others))

    def batches(self, split: Split) -> Iterable[Tensor]:
        """One batch: the order of the shuffled copy.

        Args:
            split: What the pass is for.
        """
        assert self._views is not None
        return [torch.randperm(self._views.main.num_rows)]

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """Loss before the step.

        Args:
            batch: What `batches` yields.
        """
        loss: Tensor = self.model(self._x, self._views, batch.to(self.device))
        cast(Tensor, self.before).copy_(self._flat())
        cast(Tensor, self.loss).copy_(loss.detach())
        return {"loss": loss}

    def score(self, batch: Any) -> dict[str, Tensor]:  # noqa: ANN401
        """Loss of the training step of this epoch.

        Args:
            batch: Not used.
        """
        return {"loss": cast(Tensor, self.loss).reshape(1)}

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        """The loss, lower is better.

        Args:
            split: What the pass was for.
            rows: All rows of `score`.
        """
        return {"loss": float(rows["loss"].mean())}

    @torch.no_grad()
    def settle(self) -> None:
        """Give the encoder the weights that the least loss was computed with."""
        values = list(self.model.parameters())
        parts = torch.split(cast(Tensor, self.before), [value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view_as(value))

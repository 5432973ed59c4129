"""Purification of a graph whose edges may be an attack: drop unlikely ones, add likely ones."""

import math
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.data import Data

from graphlearn.models.contrast import PRETRAINING, Contrast, ContrastTask, Views, draw_views
from graphlearn.models.refine import Similarity, add_nearest, entries, prune_edges
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows
from graphlearn.train import Trainer

__all__ = ["Purification", "Refined", "Stats", "purify"]

_DENSE = 0.08  # share of values other than zero from which a dense product is faster
_T1 = 0.03  # of binary features; elsewhere nothing is known about a good threshold


class Stats(NamedTuple):
    """What a purification did, in undirected edges; entries where insertion is directed.

    Homophily is the share of edges that join nodes of one class, nan without labels.
    """

    removed_rough: int
    removed: int
    added: int
    homophily_before: float = math.nan
    homophily_after: float = math.nan


class Refined(NamedTuple):
    """Representations, and the graph that they gave."""

    h: Tensor
    graph: CSR
    stats: Stats


class Purification(nn.Module):
    r"""Structure refinement by representations that were learnt without labels.

    First, edges whose ends share too little, :math:`J(x_i, x_j) < t_1`, are taken out, and an
    encoder is trained on what is left (`graphlearn.models.contrast.Contrast`). Then the graph
    that was given loses the edges with :math:`\cos(H_i, H_j) \le t_2`, and every node gains its
    `k` nearest nodes of a degree above a threshold.

    Reference: Kuan Li et al., "Reliable Representations Make A Stronger Defender: Unsupervised
    Structure Refinement for Robust GNN", KDD 2022. Differs from the published code by default: one
    weight of self loops in all views (`view_extra_loop=1` is theirs), and a node neither finds
    itself (`exclude_self=False`) nor gains one-way edges (`symmetrize=False`).

    Args:
        in_channels: Features of a node.
        t1: Similarity of features below which an edge is left out of the first graph; None is 0.03
            for binary features and 0 for others. One-hot rows say nothing about edges: always 0.
        t2: Cosine of representations at or below which an edge is removed.
        k: Neighbours that each node gains; 0 adds none.
        beta: Weight of self loops in the encoder.
        recover: Share of the left-out edges that each view takes back.
        views: Number of views.
        hidden: Width of a representation.
        similarity: Of features: `jaccard` of the positions that are not zero, or `cosine`.
        degree_threshold: Only nodes of a larger degree are gained.
        exclude_self: A node does not count itself among its nearest.
        exclude_existing: A node does not count its neighbours.
        symmetrize: Edges that are added have both directions.
        min_sim: Cosine that an added edge must exceed.
        view_extra_loop: Added to `beta` in the views.
        view_loss: See `graphlearn.models.contrast.Contrast`.
        resample_views: Draw the views anew in every epoch.

    Raises:
        ValueError: if a value lies outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        t1: float | None = None,
        t2: float = 0.1,
        k: int = 5,
        beta: float = 2.0,
        recover: float = 0.2,
        views: int = 2,
        hidden: int = 512,
        similarity: Similarity = "jaccard",
        degree_threshold: int = 1,
        exclude_self: bool = True,
        exclude_existing: bool = False,
        symmetrize: bool = True,
        min_sim: float | None = None,
        view_extra_loop: float = 0.0,
        view_loss: Literal["sum", "mean"] = "sum",
        resample_views: bool = False,
    ) -> None:
        super().__init__()
        _check("t1", t1, 0.0, 1.0)
        _check("t2", t2, -1.0, 1.0)
        _check("min_sim", min_sim, -1.0, 1.0)
        _check("recover", recover, 0.0, 1.0)
        for name, value, least in (
            ("k", k, 0), ("views", views, 1), ("hidden", hidden, 1), ("beta", beta, 0),
            ("degree_threshold", degree_threshold, 0), ("view_extra_loop", view_extra_loop, 0),
        ):  # fmt: skip
            if not least <= value < math.inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {value}")
        self.t1, self.t2, self.k, self.beta = t1, t2, k, beta
        self.recover, self.views, self.similarity = recover, views, similarity
        self.degree_threshold, self.min_sim = degree_threshold, min_sim
        self.exclude_self, self.exclude_existing = exclude_self, exclude_existing
        self.symmetrize, self.view_extra_loop = symmetrize, view_extra_loop
        self.resample_views = resample_views
        self.encoder = Contrast(in_channels, hidden=hidden, view_loss=view_loss)

    def rough(self, x: Tensor | CSR, graph: CSR) -> tuple[CSR, Int[Tensor, "2 pair"]]:
        """The graph without edges between nodes of unlike features, and these edges.

        Args:
            x: Features.
            graph: Adjacency.
        """
        threshold = _threshold(self.t1, x)
        if threshold == 0:
            return graph, torch.empty(2, 0, dtype=torch.int64, device=graph.col.device)
        return prune_edges(graph, x, threshold, similarity=self.similarity, strict=True)

    def pretraining(self, x: Tensor | CSR, graph: CSR) -> ContrastTask:
        """The task that trains the encoder.

        Args:
            x: Features.
            graph: Plain undirected adjacency.

        Raises:
            ValueError: if the graph is weighted or not symmetric, or all features are zero.
        """
        _check_plain(graph)
        if _all_zero(x):
            raise ValueError(
                "all features are zero, which tells no node from another; "
                "give each node an id instead: x = torch.arange(num_nodes)"
            )
        pre, removed = self.rough(x, graph)

        def views(seed: int, epoch: int) -> Views:
            made = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % (1 << 63))
            return draw_views(
                pre,
                removed,
                count=self.views,
                recover=self.recover,
                beta=self.beta,
                extra_loop=self.view_extra_loop,
                generator=made,
            )

        return ContrastTask(self.encoder, _by_density(x), views, resample=self.resample_views)

    def embed(self, x: Tensor | CSR, graph: CSR) -> tuple[Float[Tensor, "node chan"], int]:
        """Representations by the encoder as it is, and how many edges the features took away.

        Args:
            x: Features.
            graph: Adjacency, perhaps weighted.
        """
        pre, rough = self.rough(x, graph)
        h = self.encoder.encode(_by_density(x), gcn_norm(pre, loops=self.beta))
        return h, rough.shape[1]

    def refine(self, x: Tensor | CSR, graph: CSR) -> Refined:
        """Representations, and the graph that they give.

        Which edges go and come is a constant; the weights of those that stay, and the
        representations, are differentiable in the weights of the graph.

        Args:
            x: Features.
            graph: Adjacency, perhaps weighted.
        """
        h, rough = self.embed(x, graph)
        kept, gone = prune_edges(graph, h.detach(), self.t2, similarity="cosine", strict=False)
        refined = add_nearest(
            kept,
            h,
            self.k,
            degree_threshold=self.degree_threshold,
            exclude_self=self.exclude_self,
            exclude_existing=self.exclude_existing,
            symmetrize=self.symmetrize,
            min_sim=self.min_sim,
        )
        added = refined.num_entries - int(kept.degree().sum())
        added = added // 2 if refined.symmetric else added
        return Refined(h, refined, Stats(rough, gone.shape[1], added))


def purify(
    data: Data,
    purification: Purification | None = None,
    *,
    seed: int = 0,
    epochs: int = PRETRAINING.epochs,
    device: str = "auto",
) -> Data:
    """A graph whose edges were purified, for any model.

    Labels take no part; they only serve to report homophily. `functools.partial` of this function
    is a transform for `torch_geometric.transforms.Compose`.

    Args:
        data: `edge_index` in both directions without weights, and `x`: float (N, F), dense or
            sparse, or ids (N,).
        purification: The settings, and the encoder, which is trained; None is the default.
        seed: Seed of the encoder and its training.
        epochs: Epochs of it at most.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Returns:
        A copy with another `edge_index`, the representations `h` and `stats` (`Stats`).

    Raises:
        ValueError: if `data` has no features or weighted edges, or its edges lack a direction.

    Example:
        >>> edges = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> data = Data(x=torch.eye(4), edge_index=edges)
        >>> purify(data, Purification(4, hidden=8, k=0), epochs=5).stats.removed_rough
        0
    """
    if data.x is None:
        raise ValueError("purification compares features, but data.x is missing; add ids or rows")
    if data.edge_weight is not None or data.edge_attr is not None:
        raise ValueError("purification takes edges without weights, got edge_weight or edge_attr")
    nodes = int(data.num_nodes)
    graph = _plain(data.edge_index, nodes)
    x = feature_rows(data.x)
    if purification is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            purification = Purification(x.num_cols)
    task = purification.pretraining(x, graph)
    task.schedule = replace(PRETRAINING, epochs=epochs)
    task.seed = seed
    Trainer(device=device, progress=False).fit(task)
    task.settle()
    with torch.no_grad():
        place = task.device
        refined = purification.refine(x.to(place), graph.to(place))
    out = data.clone()
    found = refined.graph.to("cpu")
    out.edge_index = torch.stack([found.rows(), found.col.long()])
    out.h = refined.h.cpu()
    stats = refined.stats
    if data.y is not None:
        before, after = _homophily(graph, data.y), _homophily(found, data.y)
        stats = stats._replace(homophily_before=before, homophily_after=after)
    out.stats = stats
    return out


def _check(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {value}")


def _check_plain(graph: CSR) -> None:
    if graph.weight is not None or not graph.symmetric:
        kind = "a weighted one" if graph.weight is not None else "one that is not symmetric"
        raise ValueError(f"structure refinement needs a plain undirected graph, got {kind}")


def _threshold(t1: float | None, x: Tensor | CSR) -> float:
    """`t1` with what it is by default and for features that cannot be compared."""
    if t1 == 0:
        return 0.0
    rows = feature_rows(x)
    if rows.num_entries == 0:
        return 0.0
    if int(rows.ptr.diff().max()) <= 1 and int(torch.bincount(rows.col.long()).max()) <= 1:
        return 0.0
    if t1 is not None:
        return t1
    binary = rows.weight is None or bool(((rows.weight == 0) | (rows.weight == 1)).all())
    return _T1 if binary else 0.0


def _all_zero(x: Tensor | CSR) -> bool:
    value = x.values() if isinstance(x, CSR) else x
    return not (value is None or bool(value.any())) or (isinstance(x, CSR) and not x.num_entries)


def _by_density(x: Tensor | CSR) -> Tensor | CSR:
    """Dense rows where their product with a wide matrix is faster."""
    if not isinstance(x, CSR) or x.num_entries < _DENSE * x.num_rows * x.num_cols:
        return x
    value = x.values()
    out = torch.zeros(x.num_rows, x.num_cols, device=x.col.device)
    out[x.rows(), x.col.long()] = out.new_ones(()) if value is None else value
    return out


def _plain(edge_index: Tensor, nodes: int) -> CSR:
    """Neighbour lists of edges that are given in both directions."""
    graph = CSR.from_edge_index(edge_index, nodes, undirected=True)
    given = CSR.from_edge_index(edge_index[:, edge_index[0] != edge_index[1]], nodes)
    if given.num_entries != graph.num_entries:
        missing = graph.num_entries - given.num_entries
        raise ValueError(
            f"edges must have both directions, but {missing} lack one; "
            "see torch_geometric.utils.to_undirected"
        )
    return graph


def _homophily(graph: CSR, y: Tensor) -> float:
    row, col = entries(graph)
    known = (y[row] >= 0) & (y[col] >= 0)
    return float((y[row] == y[col])[known].double().mean())

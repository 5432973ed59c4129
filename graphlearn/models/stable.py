"""STABLE: a graph convolution on a purified graph that trusts nodes by their degree."""

from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphlearn.models.purification import Purification, Stats
from graphlearn.ops.adjacency import power_norm
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.product import product
from graphlearn.ops.spmm import propagate

__all__ = ["STABLE", "PowerGCN", "Prepared", "preset"]

# What the published settings assume.
PARITY: dict[str, Any] = {
    "exclude_self": False, "symmetrize": False, "view_extra_loop": 1.0,
}  # fmt: skip
# By data set and attack rate in percent: alpha, beta, k, t1, t2.
_PUBLISHED: dict[str, dict[int, tuple[float, float, int, float, float]]] = {
    "cora": {
        0: (-0.5, 2, 1, 0, 0.1),
        5: (-0.3, 2, 5, 0.03, 0.1),
        10: (0.3, 2, 7, 0.03, 0.1),
        15: (0.6, 2, 7, 0.03, 0.2),
        20: (0.6, 2, 7, 0.03, 0.25),
    },
    "citeseer": {
        0: (-0.5, 2, 3, 0, 0.1),
        5: (-0.3, 2, 3, 0.02, 0.1),
        10: (-0.1, 2, 5, 0.02, 0.1),
        15: (-0.1, 2, 5, 0.04, 0.1),
        20: (0.1, 2, 5, 0.03, 0.1),
    },
    "polblogs": {
        0: (-0.5, 2, 0, 0, 0.1),
        5: (0.3, 1, 3, 0, 0.1),
        10: (0.5, 1, 3, 0, 0.1),
        15: (2, 2, 3, 0, 0.1),
        20: (2, 2, 3, 0, 0.1),
    },
}


class Prepared(NamedTuple):
    """What the classifier needs of the graph, and what the purification did to it."""

    h: Tensor
    graph: CSR
    stats: Stats


class PowerGCN(nn.Module):
    r"""Two graph convolutions, :math:`P \, \mathrm{drop}(\sigma(P H W_1 + b_1)) W_2 + b_2`.

    Weights and biases start uniformly within one over the square root of the width of their layer.

    Args:
        in_channels: Width of the input.
        out_channels: Classes.
        hidden: Width between the layers.
        dropout: Dropout between the layers.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, hidden: int = 16, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(in_channels, hidden))
        self.first_bias = nn.Parameter(torch.empty(hidden))
        self.second = nn.Parameter(torch.empty(hidden, out_channels))
        self.second_bias = nn.Parameter(torch.empty(out_channels))
        self.dropout = Dropout(dropout, relu=True)
        for weight in self.parameters():
            bound = weight.shape[-1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, h: Float[Tensor, "node chan"], graph: CSR) -> Float[Tensor, "node class"]:
        """Logits of each class for each node.

        Args:
            h: Input.
            graph: Propagation matrix.
        """
        z = propagate(graph, product(h, self.first)) + self.first_bias
        return propagate(graph, product(self.dropout(z), self.second)) + self.second_bias


class STABLE(Purification):
    r"""A classifier on representations and a graph that were both refined without labels.

    After the purification (`graphlearn.models.purification.Purification`) with representations
    :math:`H` and graph :math:`A_r`, propagation trusts nodes by a power of their degree :math:`d`:

    .. math:: P_{ij} \propto d_j^\alpha (A_r + w I)_{ij}, \qquad
              Z = P \, \mathrm{drop}(\sigma(P H W_1 + b_1)) W_2 + b_2

    Attackers mostly link to nodes of low degree, so :math:`\alpha > 0` mistrusts these.

    Reference: Kuan Li, Yang Liu, Xiang Ao, Jianfeng Chi, Jinghua Feng, Hao Yang, Qing He, "Reliable
    Representations Make A Stronger Defender: Unsupervised Structure Refinement for Robust GNN",
    KDD 2022. Differs from the published code as `graphlearn.models.purification.Purification` says.
    The settings in print depend on the attack rate, which a defender does not know: `preset` gives
    them, the defaults here need no rate.

    Args:
        in_channels: Features of a node.
        out_channels: Classes.
        alpha: Power of the degree; 0 is the mean, -0.5 the usual symmetric normalisation.
        t1: Similarity of features below which an edge is left out of the first graph; None is 0.03
            for binary features and 0 for others.
        t2: Cosine of representations at or below which an edge is removed.
        k: Neighbours that each node gains; 0 adds none.
        beta: Weight of self loops in the encoder.
        recover: Share of the left-out edges that each view takes back.
        views: Number of views.
        hidden: Width of a representation.
        channels: Width between the layers of the classifier.
        dropout: Dropout between the layers of the classifier.
        similarity: Of features: `jaccard` of the positions that are not zero, or `cosine`.
        degree_threshold: Only nodes of a larger degree are gained.
        exclude_self: A node does not count itself among its nearest.
        exclude_existing: A node does not count its neighbours.
        symmetrize: Edges that are added have both directions.
        min_sim: Cosine that an added edge must exceed.
        self_loop_weight: Weight :math:`w` of self loops in the classifier.
        row_normalize: Divide the rows of the propagation matrix by their sums; None: unless alpha
            is -0.5.
        view_extra_loop: Added to `beta` in the views; 1 in the published code.
        view_loss: See `graphlearn.models.contrast.Contrast`.
        resample_views: Draw the views anew in every epoch.

    Raises:
        ValueError: if a value lies outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        alpha: float = 0.3,
        t1: float | None = None,
        t2: float = 0.1,
        k: int = 5,
        beta: float = 2.0,
        recover: float = 0.2,
        views: int = 2,
        hidden: int = 512,
        channels: int = 16,
        dropout: float = 0.5,
        similarity: Literal["jaccard", "cosine"] = "jaccard",
        degree_threshold: int = 1,
        exclude_self: bool = True,
        exclude_existing: bool = False,
        symmetrize: bool = True,
        min_sim: float | None = None,
        self_loop_weight: float = 1.0,
        row_normalize: bool | None = None,
        view_extra_loop: float = 0.0,
        view_loss: Literal["sum", "mean"] = "sum",
        resample_views: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            t1=t1,
            t2=t2,
            k=k,
            beta=beta,
            recover=recover,
            views=views,
            hidden=hidden,
            similarity=similarity,
            degree_threshold=degree_threshold,
            exclude_self=exclude_self,
            exclude_existing=exclude_existing,
            symmetrize=symmetrize,
            min_sim=min_sim,
            view_extra_loop=view_extra_loop,
            view_loss=view_loss,
            resample_views=resample_views,
        )
        if not -100 <= alpha <= 100:
            raise ValueError(f"alpha must lie in [-100, 100], got {alpha}")
        if not 0 <= self_loop_weight < float("inf"):
            raise ValueError(
                f"self_loop_weight must be at least 0 and finite, got {self_loop_weight}"
            )
        self.alpha, self.self_loop_weight = alpha, self_loop_weight
        self.row_normalize = row_normalize
        self.register_buffer("chosen", torch.tensor([alpha, t2, k], dtype=torch.float64))
        self.classifier = PowerGCN(hidden, out_channels, hidden=channels, dropout=dropout)

    def choose(self, *, alpha: float, t2: float, k: int) -> None:
        """Replace three settings by what was found to be good; they are saved with the weights.

        Args:
            alpha: Power of the degree.
            t2: Cosine at or below which an edge is removed.
            k: Neighbours that each node gains.
        """
        cast(Tensor, self.chosen).copy_(torch.tensor([alpha, t2, k], dtype=torch.float64))
        self.alpha, self.t2, self.k = alpha, t2, k

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        super()._load_from_state_dict(state_dict, prefix, *rest)
        alpha, t2, k = cast(Tensor, self.chosen).tolist()
        self.alpha, self.t2, self.k = alpha, t2, int(k)

    def prepare(self, x: Tensor | CSR, graph: CSR) -> Prepared:
        """Representations and propagation matrix, by the encoder as it is.

        Differentiable in the weights of the graph; which edges go and come is a constant.

        Args:
            x: Features.
            graph: Adjacency, perhaps weighted.
        """
        h, refined, stats = self.refine(x, graph)
        matrix = power_norm(
            refined, self.alpha, loops=self.self_loop_weight, row_normalize=self.row_normalize
        )
        return Prepared(h, matrix, stats)

    def forward(self, x: Tensor | CSR, graph: Prepared) -> Float[Tensor, "node class"]:
        """Logits of each class for each node.

        Args:
            x: Not used; the classifier sees representations.
            graph: What `prepare` returned.
        """
        out: Tensor = self.classifier(graph.h, graph.graph)
        return out


def preset(name: str, rate: float) -> dict[str, Any]:
    """The settings in print for a data set and an attack rate, as arguments of `STABLE`.

    They come with the published behaviour that they were found with, and they use knowledge of
    the rate that a defender does not have.

    Args:
        name: `cora`, `citeseer` or `polblogs`; `robust_cora` means the same.
        rate: Share of changed edges: 0, 0.05, 0.1, 0.15 or 0.2.

    Raises:
        KeyError: if there are no such settings.
    """
    table = _PUBLISHED.get(name.removeprefix("robust_"))
    if table is None:
        raise KeyError(f"no settings in print for {name!r}; there are {', '.join(_PUBLISHED)}")
    found = table.get(round(100 * rate))
    if found is None or abs(100 * rate - round(100 * rate)) > 1e-6:
        rates = ", ".join(str(percent / 100) for percent in table)
        raise KeyError(f"no settings in print for {name} at rate {rate}; there are {rates}")
    alpha, beta, k, t1, t2 = found
    values = {"alpha": float(alpha), "beta": float(beta), "k": k, "t1": float(t1), "t2": t2}
    return values | PARITY

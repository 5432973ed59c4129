"""Sheaf diffusion on any undirected graph, and the recommender made of it."""

from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphlearn.models.mf import MF, Readout, both_ways, readout
from graphlearn.models.restriction import Maps, Orthogonal, RestrictionMaps, blocks
from graphlearn.nn import Linear
from graphlearn.ops.adjacency import row_sums
from graphlearn.ops.csr import CSR
from graphlearn.ops.ends import row_totals
from graphlearn.ops.roots import inverse_root
from graphlearn.ops.small import small_product
from graphlearn.ops.transport import transport

__all__ = ["Normalization", "Sheaf", "SheafConv", "SheafRecommender", "diffused", "sheaf_layers"]

Normalization = Literal["augmented", "sym", "degree", "none"]
Nonlinearity = Literal["id", "tanh", "elu"]

_NONLINEAR = {"id": nn.Identity, "tanh": nn.Tanh, "elu": nn.ELU}


class Sheaf(NamedTuple):
    r"""A sheaf on a graph, as its Laplacian needs it: the diagonal, the edges and the scale.

    Tensors of d by d matrices, or their diagonals, or (last axis 1) multiples of the identity.

    Args:
        graph: Symmetric matrix.
        diagonal: :math:`D_v = \sum_e M_{v,e}^\top M_{v,e}` of each node.
        block: :math:`M_{v,e}^\top M_{w,e}` of each entry.
        scale: S of each node; None is the identity.
    """

    graph: CSR
    diagonal: Tensor
    block: Tensor
    scale: Tensor | None

    def laplacian(self, x: Float[Tensor, "node chan"]) -> Float[Tensor, "node chan"]:
        r"""The sheaf Laplacian applied to vectors, :math:`\Delta X = S (D - B) S X`.

        Equal to :math:`S \delta^\top \delta S X` with the coboundary :math:`(\delta X)_e = M_{w,e}
        X_w - M_{v,e} X_v`, which is not formed: neither is any matrix on all stalks.

        Args:
            x: Vector of each node, d rows of f channels.
        """
        y = x if self.scale is None else _times(self.scale, x)
        z = _times(self.diagonal, y) - transport(self.graph, self.block, y)
        return z if self.scale is None else _times(self.scale, z)

    def energy(self, x: Float[Tensor, "node chan"]) -> Float[Tensor, ""]:
        r"""How much vectors disagree along edges, :math:`x^\top \Delta x`.

        Args:
            x: Vector of each node.
        """
        return (x * self.laplacian(x)).sum()


class SheafConv(nn.Module):
    r"""One step of sheaf diffusion.

    .. math:: X' = (1 + \tanh \varepsilon) \odot X
              - \eta \, \sigma \big( \Delta(X) [(I \otimes W_1) X W_2] \big), \qquad
              \Delta = S (D - B) S

    where the sheaf Laplacian :math:`\Delta(X)` has maps learned from X, see `RestrictionMaps`. A
    vector of `channels` numbers is a stalk of d rows of f = `channels` / d.

    Normalisations: `sym` is :math:`S = D^{-1/2}` (zero where D has a kernel), `augmented` is
    :math:`(D + I)^{-1/2}`, `degree` is :math:`(d \deg + 1)^{-1/2}`, which needs no root of a
    matrix, and `none` is the identity. With the first two the eigenvalues of :math:`\Delta` lie in
    [0, 2].

    With identity maps, `sym` and no weights a step is :math:`D^{-1/2} A D^{-1/2} X`: LightGCN.

    References: Cristian Bodnar, Francesco Di Giovanni, Benjamin Chamberlain, Pietro Liò, Michael
    Bronstein, "Neural Sheaf Diffusion: A Topological Perspective on Heterophily and Oversmoothing
    in GNNs", NeurIPS 2022; Antonio Purificato, Giulia Cassarà, Federico Siciliano, Pietro Liò,
    Fabrizio Silvestri, "Sheaf4Rec: Sheaf Neural Networks for Graph-based Recommender Systems", ACM
    Transactions on Recommender Systems, 2025. The code released with the latter has scalar maps
    only, and takes the gradient of a sparse matrix as a dense one; here there is neither.

    Args:
        channels: Width of a vector.
        stalk_dim: Rows d that it is divided into.
        maps: Form of the restriction maps.
        normalization: Form of S.
        step_size: :math:`\eta`.
        left: Learn :math:`W_1` (d by d, starts as the identity).
        right: Learn :math:`W_2`: `orthogonal` (without bias, its start), `linear` (with bias, as in
            the released code), or not (`none`).
        damping: Learn :math:`\varepsilon`, one number for each row of a stalk, from zero.
        nonlinearity: :math:`\sigma`.
        init: Whether maps start as the identity, or from random weights (`linear`).
        orth: How rotations are made.

    Raises:
        ValueError: if options do not fit each other.
    """

    def __init__(
        self,
        channels: int,
        *,
        stalk_dim: int = 1,
        maps: Maps = "scalar",
        normalization: Normalization = "sym",
        step_size: float = 1.0,
        left: bool = False,
        right: Literal["none", "orthogonal", "linear"] = "none",
        damping: bool = False,
        nonlinearity: Nonlinearity = "id",
        init: Literal["identity", "linear"] = "identity",
        orth: Orthogonal = "cayley",
    ) -> None:
        super().__init__()
        if stalk_dim < 1 or channels % stalk_dim:
            raise ValueError(
                f"channels must be a multiple of stalk_dim, got {channels} and {stalk_dim}"
            )
        if normalization not in get_args(Normalization):
            known = ", ".join(get_args(Normalization))
            raise ValueError(f"normalization must be one of {known}, got {normalization!r}")
        self.stalk_dim, self.normalization, self.step_size = stalk_dim, normalization, step_size
        self.width = channels // stalk_dim
        self.maps = RestrictionMaps(
            channels, kind=maps, stalk_dim=stalk_dim, init=init, orthogonal=orth
        )
        self.left = nn.Parameter(torch.eye(stalk_dim)) if left else None
        self.right = None
        if right != "none":
            self.right = Linear(self.width, self.width, bias=right == "linear")
        if right == "orthogonal":
            assert self.right is not None
            nn.init.orthogonal_(self.right.weight)
        self.damping = nn.Parameter(torch.zeros(stalk_dim)) if damping else None
        self.nonlinearity = _NONLINEAR[nonlinearity]()

    def forward(
        self,
        x: Float[Tensor, "node chan"],
        graph: CSR | Int[Tensor, "2 edge"],
        *,
        sheaf: Sheaf | None = None,
    ) -> Float[Tensor, "node chan"]:
        """Diffuse.

        Args:
            x: Vector of each node.
            graph: An undirected graph; weights of edges scale their part of the Laplacian.
            sheaf: The sheaf to diffuse on; without it, the one that `sheaf` makes of `x`.

        Raises:
            ValueError: if an edge lacks its reverse.
        """
        if sheaf is None:
            sheaf = self.sheaf(x, graph)
        step: Tensor = self.step_size * self.nonlinearity(sheaf.laplacian(self._mixed(x)))
        if self.damping is None:
            return x - step
        keep: Tensor = (1 + self.damping.tanh()).repeat_interleave(self.width)
        return keep * x - step

    def sheaf(self, x: Float[Tensor, "node chan"], graph: CSR | Int[Tensor, "2 edge"]) -> Sheaf:
        """The sheaf that the vectors of the nodes define.

        Args:
            x: Vector of each node.
            graph: An undirected graph.

        Raises:
            ValueError: if an edge lacks its reverse.
        """
        matrix = graph if isinstance(graph, CSR) else _undirected(graph, len(x))
        maps = self.maps(x, matrix)
        weight = matrix.values()
        block = blocks(matrix, maps)
        if weight is not None:
            weight = weight.to(x.dtype).view(-1, *[1] * (maps.ndim - 1))
            block = block * weight
        if self.maps.kind == "orthogonal":  # Q^T Q is the identity
            diagonal = row_sums(matrix).to(x.dtype).unsqueeze(1)
        else:
            diagonal = _diagonal(matrix, maps, weight)
        return Sheaf(matrix, diagonal, block, self._scale(matrix, diagonal))

    def _scale(self, graph: CSR, diagonal: Tensor) -> Tensor | None:
        if self.normalization == "none":
            return None
        if self.normalization == "degree":
            return (self.stalk_dim * row_sums(graph).to(diagonal.dtype) + 1).rsqrt().unsqueeze(1)
        more = 1.0 if self.normalization == "augmented" else 0.0
        if diagonal.ndim == 3:
            return inverse_root(diagonal + more * torch.eye(self.stalk_dim).to(diagonal))
        positive = diagonal + more > 0
        return torch.where(positive, torch.where(positive, diagonal + more, 1.0).rsqrt(), 0.0)

    def _mixed(self, x: Tensor) -> Tensor:
        """The signal that the Laplacian is applied to."""
        if self.left is not None:
            x = _times(self.left.expand(len(x), -1, -1), x)
        if self.right is not None:
            x = self.right(x.view(-1, self.width)).view_as(x)
        return x


class SheafRecommender(MF):
    r"""Sheaf diffusion over the graph of interactions.

    .. math:: X^{(l+1)} = \mathrm{SheafConv}_l(X^{(l)}), \qquad h = \mathrm{readout}(X^{(0)},
              \ldots, X^{(L)}), \qquad \hat y_{ui} = \langle h_u, h_i \rangle

    By default the maps start at the identity, S is :math:`D^{-1/2}`, layers have no weights and the
    read-out is the mean: before its first step the model *is* LightGCN, and what it is better or
    worse afterwards is due to the maps. The released form is the recipe `sheaf-released`: scalar
    maps from random weights, `augmented`, `right="linear"`, five layers, `concat`.

    Reference: Antonio Purificato, Giulia Cassarà, Federico Siciliano, Pietro Liò, Fabrizio
    Silvestri, "Sheaf4Rec: Sheaf Neural Networks for Graph-based Recommender Systems", ACM
    Transactions on Recommender Systems, 2025. Differs from the released code: stalks may have more
    than one coordinate, and the edges carry the training interactions without repeats.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        channels: Width of a vector, of all rows of a stalk together.
        stalk_dim: Rows d of a stalk.
        layers: Number L of steps.
        maps: Form of the restriction maps.
        normalization: Form of S, see `SheafConv`.
        readout: How layers become one vector.
        per_layer: Each layer learns its own maps from its own input; else one sheaf, made from the
            embeddings, serves all layers.
        step_size: Length of a step.
        left: Learn a d by d matrix in each layer.
        right: Learn an f by f matrix in each layer.
        damping: Learn how much each row of a stalk keeps.
        nonlinearity: Applied to each step.
        init: Whether maps start as the identity.
        orth: How rotations are made.
        std: Standard deviation of the normal distribution that embeddings are drawn from.
        cosine: Scale vectors to unit length, so that scores are cosines.

    Raises:
        ValueError: if options do not fit each other.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        channels: int = 64,
        stalk_dim: int = 1,
        layers: int = 3,
        maps: Maps = "scalar",
        normalization: Normalization = "sym",
        readout: Readout = "mean",
        per_layer: bool = False,
        step_size: float = 1.0,
        left: bool = False,
        right: Literal["none", "orthogonal", "linear"] = "none",
        damping: bool = False,
        nonlinearity: Nonlinearity = "id",
        init: Literal["identity", "linear"] = "identity",
        orth: Orthogonal = "cayley",
        std: float = 0.1,
        cosine: bool = False,
    ) -> None:
        super().__init__(num_users, num_items, channels=channels, std=std, cosine=cosine)
        self.readout = readout
        self.convs = sheaf_layers(
            layers, channels, per_layer=per_layer, stalk_dim=stalk_dim, maps=maps,
            normalization=normalization, step_size=step_size, left=left, right=right,
            damping=damping, nonlinearity=nonlinearity, init=init, orth=orth,
        )  # fmt: skip

    def prepare(self, graph: CSR) -> CSR:
        """The graph of users and items.

        Args:
            graph: Training interactions, users by items.
        """
        return both_ways(graph)

    def vectors(self, graph: CSR) -> Float[Tensor, "node chan"]:
        """Diffusion of the embeddings, read out.

        Args:
            graph: What `prepare` returned.
        """
        return readout(diffused(self.convs, self.embedding, graph), self.readout)


def sheaf_layers(layers: int, channels: int, *, per_layer: bool, **options: Any) -> nn.ModuleList:  # noqa: ANN401
    """Steps of diffusion, with maps of their own, or those of the first step alone.

    Args:
        layers: How many.
        channels: Width of a vector.
        per_layer: Whether each has its own maps.
        **options: Keywords of `SheafConv`.

    Raises:
        ValueError: if there is no step, or options do not fit each other.
    """
    if layers < 1:
        raise ValueError(f"layers must be at least 1, got {layers}")
    convs = [SheafConv(channels, **options) for _ in range(layers)]
    if not per_layer:
        for conv in convs[1:]:
            del conv.maps
    return nn.ModuleList(convs)


def diffused(
    convs: nn.ModuleList, x: Float[Tensor, "node chan"], graph: CSR
) -> list[Float[Tensor, "node chan"]]:
    """Vectors after each step, the given ones first.

    A step without maps of its own takes the sheaf of the step before it.

    Args:
        convs: What `sheaf_layers` made.
        x: Vector of each node.
        graph: An undirected graph.
    """
    outputs, sheaf = [x], None
    for conv in convs:
        assert isinstance(conv, SheafConv)
        if sheaf is None or hasattr(conv, "maps"):
            sheaf = conv.sheaf(outputs[-1], graph)
        outputs.append(conv(outputs[-1], graph, sheaf=sheaf))
    return outputs


def _diagonal(graph: CSR, maps: Tensor, weight: Tensor | None) -> Tensor:
    """Sum over the edges of each node of the transpose of its map times the map."""
    own = maps.square() if maps.ndim == 2 else small_product(maps, maps, transpose_left=True)
    own = own if weight is None else own * weight
    return row_totals(graph, own.flatten(1)).view(-1, *own.shape[1:])


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """Small matrices, diagonals or numbers times the stalk of each node."""
    if matrix.shape[1] == 1:
        return matrix.view(-1, 1) * x
    rows = x.view(len(x), matrix.shape[1], -1)
    out = matrix.unsqueeze(-1) * rows if matrix.ndim == 2 else matrix @ rows
    return out.flatten(1)


def _undirected(edge_index: Tensor, nodes: int) -> CSR:
    """Neighbour lists of a list of edges that holds both directions of each."""
    graph = CSR.from_edge_index(edge_index, nodes, undirected=True)
    once = CSR.from_edge_index(edge_index[:, edge_index[0] != edge_index[1]], nodes)
    if once.num_entries != graph.num_entries:
        missing = graph.num_entries - once.num_entries
        raise ValueError(
            f"{missing} edges lack their reverse: a sheaf needs an undirected graph; add them with "
            "torch_geometric.utils.to_undirected"
        )
    return graph

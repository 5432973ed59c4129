r"""Restriction maps of a cellular sheaf: a small matrix for each end of each edge.

A node v has a stalk of d coordinates, and so has an edge e; the map :math:`M_{v,e}` takes the one
to the other. Learned maps are functions of the vectors of both ends, this one first.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphlearn.ops.csr import CSR
from graphlearn.ops.ends import end_sums, flipped
from graphlearn.ops.product import product
from graphlearn.ops.small import small_product

__all__ = ["Maps", "Orthogonal", "RestrictionMaps", "blocks", "orthogonal"]

Maps = Literal["scalar", "diagonal", "orthogonal", "general"]
Orthogonal = Literal["cayley", "matrix_exp", "householder", "euler"]


class RestrictionMaps(nn.Module):
    r"""Maps from the vectors of both ends of an edge.

    .. math:: \theta_{v,e} = V [x_v \Vert x_w] = V_1 x_v + V_2 x_w, \qquad e = \{v, w\}

    ============  ===================  =====================================================
    kind          size of theta        :math:`M_{v,e}`
    ============  ===================  =====================================================
    `scalar`      1                    :math:`\tanh(\theta) I`
    `diagonal`    d                    :math:`\mathrm{diag}(\tanh \theta)`
    `orthogonal`  d (d - 1) / 2        rotation, see `orthogonal`
    `general`     d * d                :math:`\tanh(\theta)`, reshaped
    ============  ===================  =====================================================

    With `init="identity"` V starts at zero and :math:`\tanh(\theta)` is added to the identity, so
    that a sheaf starts as the plain graph. V is one for both ends; the map of w at e has the
    vectors in the other order. :math:`V_1 x` and :math:`V_2 x` are computed once per node.

    Reference: Cristian Bodnar, Francesco Di Giovanni, Benjamin Chamberlain, Pietro Liò, Michael
    Bronstein, "Neural Sheaf Diffusion: A Topological Perspective on Heterophily and Oversmoothing
    in GNNs", NeurIPS 2022.

    Args:
        channels: Width of a vector.
        kind: Form of the maps.
        stalk_dim: Number d of coordinates of a stalk; `scalar` maps are the same for any.
        init: Start as the identity, or as `nn.Linear` does.
        orthogonal: How rotations are made.

    Raises:
        ValueError: if an option is not valid or does not fit the others.
    """

    def __init__(
        self,
        channels: int,
        *,
        kind: Maps = "scalar",
        stalk_dim: int = 1,
        init: Literal["identity", "linear"] = "identity",
        orthogonal: Orthogonal = "cayley",
    ) -> None:
        super().__init__()
        if kind not in get_args(Maps):
            raise ValueError(f"maps must be one of {', '.join(get_args(Maps))}, got {kind!r}")
        if orthogonal not in get_args(Orthogonal):
            raise ValueError(
                f"orth must be one of {', '.join(get_args(Orthogonal))}, got {orthogonal!r}"
            )
        if kind == "orthogonal" and (stalk_dim < 2 or (orthogonal == "euler" and stalk_dim > 3)):
            most = "2 or 3" if orthogonal == "euler" else "at least 2"
            raise ValueError(f"{orthogonal} rotations need stalk_dim {most}, got {stalk_dim}")
        self.kind, self.stalk_dim, self.identity = kind, stalk_dim, init == "identity"
        self.form: Orthogonal = orthogonal
        size = {
            "scalar": 1,
            "diagonal": stalk_dim,
            "orthogonal": stalk_dim * (stalk_dim - 1) // 2,
            "general": stalk_dim * stalk_dim,
        }[kind]
        self.left = nn.Linear(channels, size, bias=False)
        self.right = nn.Linear(channels, size, bias=False)
        for half in (self.left, self.right):
            if self.identity:
                nn.init.zeros_(half.weight)
            else:  # as one Linear of both halves: half the variance
                nn.init.uniform_(half.weight, -((2 * channels) ** -0.5), (2 * channels) ** -0.5)

    def forward(self, x: Float[Tensor, "node chan"], graph: CSR) -> Float[Tensor, "edge *stalk"]:
        """Map of the row's node at each entry: (edge, d, d), or (edge, d) for diagonal ones.

        Args:
            x: Vector of each node.
            graph: Symmetric matrix.
        """
        theta = end_sums(graph, product(x, self.left.weight.t()), product(x, self.right.weight.t()))
        if self.kind == "orthogonal":
            return orthogonal(theta, self.stalk_dim, self.form)
        value = theta.tanh()
        if self.kind != "general":
            return value + 1 if self.identity else value
        value = value.view(-1, self.stalk_dim, self.stalk_dim)
        return value + torch.eye(self.stalk_dim).to(value) if self.identity else value


def blocks(graph: CSR, maps: Float[Tensor, "edge *stalk"]) -> Float[Tensor, "edge *stalk"]:
    r"""What moves a vector along an entry, :math:`B_{(v, w)} = M_{v,e}^\top M_{w,e}`.

    Args:
        graph: Symmetric matrix.
        maps: Map of the row's node at each entry.
    """
    other = flipped(graph, maps.flatten(1)).view_as(maps)
    if maps.ndim == 2:
        return maps * other
    return small_product(maps, other, transpose_left=True)


def orthogonal(
    theta: Float[Tensor, "edge angle"], dim: int, form: Orthogonal = "cayley"
) -> Float[Tensor, "edge stalk stalk"]:
    r"""Orthogonal matrices from d (d - 1) / 2 free numbers.

    With the skew-symmetric A that has these numbers below its diagonal: `cayley` is
    :math:`(I - A/2)^{-1} (I + A/2)`, `matrix_exp` is :math:`e^A`, `householder` the product of the
    reflections :math:`I - 2 v_k v_k^\top / \|v_k\|^2` with :math:`v_k = e_k +` column k of A below
    the diagonal, and `euler` rotates about the axes by the angles :math:`2 \pi \tanh \theta`.

    Args:
        theta: The numbers.
        dim: d.
        form: How they become a matrix.
    """
    if form == "euler":
        return _euler(theta, dim)
    if dim == 2 and form != "householder":
        angle = theta[:, 0] if form == "matrix_exp" else 2 * torch.atan(theta[:, 0] / 2)
        return _rotation(angle)
    lower = _lower(theta, dim)
    if form == "householder":
        return _reflections(lower)
    skew = lower - lower.mT
    if form == "matrix_exp":
        out: Tensor = torch.linalg.matrix_exp(skew)
        return out
    eye = torch.eye(dim).to(theta)
    solved: Tensor = torch.linalg.solve(eye - skew / 2, eye + skew / 2)
    return solved


def _lower(theta: Tensor, dim: int) -> Tensor:
    """The numbers below the diagonals of matrices."""
    row, col = torch.tril_indices(dim, dim, -1, device=theta.device)
    basis = torch.zeros(len(row), dim, dim, dtype=theta.dtype, device=theta.device)
    basis[torch.arange(len(row)), row, col] = 1
    return (theta[:, :, None, None] * basis).sum(1)


def _reflections(lower: Tensor) -> Tensor:
    dim = lower.shape[1]
    eye = torch.eye(dim).to(lower)
    out = eye.expand_as(lower)
    for k in range(dim - 1):
        v = lower[:, :, k] + eye[k]
        turn = 2 / v.square().sum(1)
        out = (
            out - (out * v.unsqueeze(1)).sum(2, keepdim=True) * v.unsqueeze(1) * turn[:, None, None]
        )
    return out


def _euler(theta: Tensor, dim: int) -> Tensor:
    angles = 2 * torch.pi * theta.tanh()
    if dim == 2:
        return _rotation(angles[:, 0])
    out = torch.eye(3).to(theta).expand(len(theta), 3, 3)
    for axis in range(3):  # yaw, pitch, roll
        i, j = [(0, 1), (0, 2), (1, 2)][axis]
        turn = torch.eye(3).to(theta).repeat(len(theta), 1, 1)
        plane = _rotation(angles[:, axis])
        turn[:, [[i, i], [j, j]], [[i, j], [i, j]]] = plane
        out = out @ turn
    return out


def _rotation(angle: Tensor) -> Tensor:
    """Rotations of the plane, [[cos, -sin], [sin, cos]]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)

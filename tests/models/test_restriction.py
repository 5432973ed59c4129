"""Restriction maps: what they are at the start, their forms, their messages."""

import math

import pytest
import torch
from checks import CASES

from graphlearn.models.restriction import RestrictionMaps, blocks, orthogonal

KINDS = [
    ("scalar", 1, "cayley"),
    ("scalar", 2, "cayley"),
    ("diagonal", 3, "cayley"),
    ("general", 2, "cayley"),
    *(("orthogonal", 2, form) for form in ("cayley", "matrix_exp", "householder", "euler")),
    *(("orthogonal", 3, form) for form in ("cayley", "matrix_exp", "householder", "euler")),
    ("orthogonal", 4, "householder"),
]
GRAPH = CASES["dense"][0]


def dense(maps, stalk):
    """Maps as full matrices."""
    if maps.ndim == 3:
        return maps
    return torch.diag_embed(maps.expand(-1, stalk))


@pytest.mark.parametrize(("kind", "stalk", "form"), KINDS)
def test_the_identity_start_moves_vectors_unchanged(kind, stalk, form):
    """Blocks M^T M are the identity, also where maps are a common reflection."""
    maps = RestrictionMaps(12, kind=kind, stalk_dim=stalk, orthogonal=form)
    found = blocks(GRAPH, maps(torch.randn(9, 12), GRAPH))
    torch.testing.assert_close(dense(found, stalk), torch.eye(stalk).expand(72, -1, -1))


@pytest.mark.parametrize(("kind", "stalk", "form"), KINDS)
def test_maps_depend_on_both_ends_in_their_order(kind, stalk, form):
    torch.manual_seed(0)
    maps = RestrictionMaps(12, kind=kind, stalk_dim=stalk, init="linear", orthogonal=form)
    x = torch.randn(9, 12)
    found = maps(x, GRAPH)
    whole = torch.nn.Linear(24, len(maps.left.weight), bias=False)
    with torch.no_grad():
        whole.weight.copy_(torch.cat([maps.left.weight, maps.right.weight], 1))
    theta = whole(torch.cat([x[GRAPH.rows()], x[GRAPH.col.long()]], 1))
    if kind == "orthogonal":
        torch.testing.assert_close(found, orthogonal(theta, stalk, form))
    else:
        torch.testing.assert_close(found.flatten(1), theta.tanh())
    row, col = GRAPH.rows(), GRAPH.col.long()
    for k in (0, 5, 40):
        back = int(((row == col[k]) & (col == row[k])).nonzero())
        one, other = dense(found[[k, back]], stalk)
        expected = one.T @ other
        torch.testing.assert_close(dense(blocks(GRAPH, found), stalk)[k], expected)


@pytest.mark.parametrize("dim", [2, 3, 4])
@pytest.mark.parametrize("form", ["cayley", "matrix_exp", "householder", "euler"])
def test_orthogonal_matrices_are_orthogonal_and_differentiable(dim, form):
    if form == "euler" and dim > 3:
        return
    theta = torch.randn(6, dim * (dim - 1) // 2, dtype=torch.float64, requires_grad=True)
    found = orthogonal(theta, dim, form)
    torch.testing.assert_close(found.mT @ found, torch.eye(dim).double().expand(6, -1, -1))
    assert torch.autograd.gradcheck(lambda t: orthogonal(t, dim, form), theta)


@pytest.mark.parametrize("form", ["cayley", "matrix_exp"])
def test_the_plane_agrees_with_the_general_formula(form):
    theta = torch.randn(5, 1, dtype=torch.float64)
    skew = torch.zeros(5, 2, 2, dtype=torch.float64)
    skew[:, 1, 0], skew[:, 0, 1] = theta[:, 0], -theta[:, 0]
    eye = torch.eye(2).double()
    exact = {
        "cayley": torch.linalg.solve(eye - skew / 2, eye + skew / 2),
        "matrix_exp": torch.linalg.matrix_exp(skew),
    }[form]
    torch.testing.assert_close(orthogonal(theta, 2, form), exact)


def test_euler_angles_turn_once_around_at_most():
    theta = torch.atanh(torch.tensor([[0.25]], dtype=torch.float64))
    expected = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(orthogonal(theta, 2, "euler"), expected)
    assert math.isclose(float(orthogonal(theta, 2, "euler").det()), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "affine"}, "maps must be one of scalar, diagonal, orthogonal, general, got 'aff"),
        ({"orthogonal": "qr"}, "orth must be one of cayley, matrix_exp, householder, euler, got"),
        ({"kind": "orthogonal"}, "cayley rotations need stalk_dim at least 2, got 1"),
        (
            {"kind": "orthogonal", "stalk_dim": 4, "orthogonal": "euler"},
            "euler rotations need stalk_dim 2 or 3, got 4",
        ),
    ],
)
def test_messages(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        RestrictionMaps(8, **options)

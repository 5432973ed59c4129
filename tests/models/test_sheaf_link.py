"""Sheaf diffusion as an encoder of links."""

import pytest
import torch
from link_checks import check_link_model, random_graph

from graphlearn.models.sheaf_link import SheafLink

FORMS = [
    {},
    {"maps": "diagonal", "stalk_dim": 2, "per_layer": True},
    {"maps": "orthogonal", "stalk_dim": 2, "right": "orthogonal", "damping": True},
    {"maps": "general", "stalk_dim": 2, "normalization": "sym", "nonlinearity": "elu"},
]


@pytest.mark.parametrize("options", FORMS)
def test_it_is_a_link_model(options):
    check_link_model(
        lambda: SheafLink(7, hidden=8, predictor_dropout=0.0, init="linear", **options),
        tolerance=1e-4,
    )


def test_ids_have_embeddings():
    model = SheafLink(0, 30, hidden=8)
    (h,) = model.encode(torch.arange(30), random_graph())
    assert h.shape == (30, 8)


@pytest.mark.parametrize("options", FORMS)
def test_links_that_are_switched_off_take_no_part(options):
    """As if they were not there, also in the normalisation."""
    torch.manual_seed(0)
    model = SheafLink(7, hidden=8, init="linear", **options).eval()
    graph, x = random_graph(), torch.randn(30, 7)
    pairs = torch.stack([graph.rows(), graph.col.long()])
    gone = pairs[:, pairs[0] < pairs[1]][:, :15]
    masked = graph.without(gone)
    kept = pairs[:, masked.keep]
    rebuilt = type(graph).from_edge_index(kept, 30, undirected=True)
    torch.testing.assert_close(
        model.encode(x, masked), model.encode(x, rebuilt), rtol=1e-4, atol=1e-5
    )


def test_messages():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        SheafLink(7, layers=0)

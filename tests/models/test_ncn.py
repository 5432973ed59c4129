"""NCN: the published numbers, and what any link model must do."""

import pytest
import torch
from link_checks import check_link_model, random_graph
from models.golden import Golden

from graphlearn.models.ncn import NCN, Terms
from graphlearn.ops.overlap import overlap

FLAGS = {
    "xt": {"node_mlp": True, "tail_activation": True, "two_layer": False},
    "x2": {"node_mlp": True, "tail_activation": False, "two_layer": True},
    "plain": {"node_mlp": False, "tail_activation": True, "two_layer": False},
}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("encoder", ["puregcn", "puresum", "puremean", "puremax", "none"])
def test_contract_pure(flags, encoder):
    check_link_model(lambda: NCN(7, hidden=8, encoder=encoder, jk=encoder != "none", **flags))


@pytest.mark.parametrize("encoder", ["gcn", "sage", "gin", "max", "graphsage"])
def test_contract_with_weights(encoder):
    make = lambda: NCN(7, hidden=8, layers=2, encoder=encoder, residual=True)  # noqa: E731
    check_link_model(make, tolerance=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("name", FLAGS)
def test_predictor_equals_the_published_one(data_root, name):
    model = NCN(12, hidden=16, **FLAGS[name]).eval()
    Golden(data_root).check_predictor(model, name, "depth0_reference")


@pytest.mark.parametrize(
    ("count", "sizes", "settings"),
    [
        (
            1_412_098,
            (0, 4267),
            {"hidden": 224, "encoder": "puresum", "residual": True, "tail_activation": False}
            | {"two_layer": True, "extra_row": True},
        ),
        (
            33_538,
            (0, 58),
            {"hidden": 64, "layers": 3, "encoder": "gcn", "residual": True, "node_mlp": False},
        ),
    ],
    ids=["ogbl-ddi", "ogbl-ppa"],
)
def test_parameter_counts_are_those_of_the_leaderboard(count, sizes, settings):
    assert sum(p.numel() for p in NCN(*sizes, **settings).parameters()) == count


def test_a_node_term_is_evaluated_only_where_a_list_needs_it():
    calls = []

    class Count(torch.nn.Module):
        def forward(self, x):
            calls.append(len(x))
            return x

    graph = random_graph()
    h, pairs = torch.randn(30, 4), torch.tensor([[0, 1], [2, 3]])
    lists = overlap(graph, pairs)
    terms = Terms((h,), Count(), used=[lists.col])
    used = lists.col.long().unique()
    torch.testing.assert_close(terms.at(1), 2 * h[used])
    assert calls == [len(used)] and len(used) < 27
    assert torch.equal(used[terms.local(lists).col.long()], lists.col.long())


def test_training_uses_the_restricted_terms_without_changing_the_score():
    torch.manual_seed(0)
    model, graph = NCN(7, hidden=8), random_graph()
    x, pairs = torch.randn(30, 7), torch.randint(30, (2, 3))
    trained = model.score(model.encode(x, graph), graph, pairs)
    model.eval()
    torch.testing.assert_close(trained, model.score(model.encode(x, graph), graph, pairs))


def test_edge_dropout_of_the_predictor_changes_what_is_common():
    torch.manual_seed(0)
    model, graph = NCN(7, hidden=8, predictor_edge_dropout=0.5), random_graph()
    x, pairs = torch.randn(30, 7), torch.randint(30, (2, 20))
    first, second = (model.score(model.encode(x, graph), graph, pairs) for _ in range(2))
    assert not torch.equal(first, second)

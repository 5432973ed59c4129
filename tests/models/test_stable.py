"""STABLE: the classifier's propagation, what it is given, settings in print, messages."""

import pytest
import torch
from checks import vectors
from torch_geometric.nn.conv.gcn_conv import gcn_norm as pyg_norm

from graphlearn.models.stable import STABLE, PowerGCN, preset
from graphlearn.ops import CSR
from graphlearn.ops.adjacency import power_norm
from graphlearn.ops.rows import feature_rows

TOY = CSR.from_edge_index(torch.tensor([[0, 0, 1, 1], [1, 2, 2, 3]]), 4, undirected=True)


def some_graph(nodes: int = 40) -> CSR:
    made = torch.Generator().manual_seed(0)
    return CSR.from_edge_index(
        torch.randint(nodes, (2, 3 * nodes), generator=made), nodes, undirected=True
    )


def some_model(**settings) -> STABLE:
    torch.manual_seed(0)
    return STABLE(12, 3, **{"hidden": 16, "channels": 8, **settings})


def some_rows(nodes: int = 40) -> torch.Tensor:
    return (vectors(nodes, 12).detach() > 0.5).float()


def dense(graph: CSR) -> torch.Tensor:
    out = torch.zeros(graph.num_rows, graph.num_cols)
    value = graph.values()
    out[graph.rows(), graph.col.long()] = 1.0 if value is None else value.detach()
    return out


@pytest.mark.parametrize(
    ("alpha", "rows"),
    [
        (0.6, [(0.31364, 0.37273, 0.31364, 0.0), (0.25173, 0.29916, 0.25173, 0.19737)]),
        (-0.3, [(0.34278, 0.31444, 0.34278, 0.0), (0.24712, 0.22668, 0.24712, 0.27908)]),
        (2.0, [(0.26471, 0.47059, 0.26471, 0.0)]),
    ],
)
def test_published_propagation(alpha, rows):
    model = STABLE(4, 2, alpha=alpha, k=0, t2=-1.0, t1=0.0, hidden=8)
    found = dense(model.prepare(torch.eye(4), TOY).graph)
    assert torch.equal(found, dense(power_norm(TOY, alpha)))
    torch.testing.assert_close(found[: len(rows)], torch.tensor(rows), rtol=0, atol=6e-6)


@pytest.mark.parametrize("alpha", [-2.0, -0.5, 0.0, 0.3, 4.0])
@pytest.mark.parametrize("row_normalize", [None, True, False])
def test_rows_sum_to_one_unless_the_form_is_symmetric(alpha, row_normalize):
    model = some_model(alpha=alpha, row_normalize=row_normalize)
    sums = dense(model.prepare(some_rows(), some_graph()).graph).sum(1)
    expected = row_normalize if row_normalize is not None else alpha != -0.5
    assert torch.allclose(sums, torch.ones(40), atol=1e-5) == expected


def test_a_power_of_minus_one_half_is_the_norm_of_pyg():
    model, graph = some_model(alpha=-0.5, k=0, t2=-1.0), some_graph()
    index = torch.stack([graph.rows(), graph.col.long()])
    index, weight = pyg_norm(index, num_nodes=40)
    expected = torch.zeros(40, 40).index_put_((index[0], index[1]), weight)
    torch.testing.assert_close(dense(model.prepare(some_rows(), graph).graph), expected)


def test_the_weight_of_self_loops():
    model, graph = some_model(alpha=0.0, k=0, t2=-1.0, self_loop_weight=3.0), some_graph()
    matrix = dense(graph) + 3 * torch.eye(40)
    expected = matrix / matrix.sum(1, keepdim=True)
    torch.testing.assert_close(dense(model.prepare(some_rows(), graph).graph), expected)


def test_the_classifier_is_two_convolutions():
    h, graph = vectors(40, 16).detach(), power_norm(some_graph(), 0.3)
    torch.manual_seed(0)
    net = PowerGCN(16, 3, hidden=8).eval()
    bounds = [8**-0.5, 8**-0.5, 3**-0.5, 3**-0.5]
    for weight, bound in zip(net.parameters(), bounds, strict=True):
        assert 0.5 * bound < weight.detach().abs().max() <= bound
    p = dense(graph)
    z = (p @ h @ net.first + net.first_bias).relu()
    torch.testing.assert_close(net(h, graph), p @ z @ net.second + net.second_bias)
    net.train()
    assert not torch.equal(net(h, graph), net(h, graph))


def test_gradients_reach_the_weights_of_the_graph():
    model, plain, x = some_model(t1=0.1, t2=0.0, k=2), some_graph(), feature_rows(some_rows())
    index = torch.stack([plain.rows(), plain.col.long()])
    weight = torch.ones(plain.num_entries, requires_grad=True)
    graph = CSR.from_edge_index(index, 40, weight=weight)
    model.eval()
    prepared = model.prepare(x, graph)
    same = model.prepare(x, plain)
    torch.testing.assert_close(model(x, prepared), model(x, same))
    assert prepared.stats.removed == 2 * same.stats.removed  # entries of a graph without symmetry
    (grad,) = torch.autograd.grad(model(x, prepared).square().sum(), weight)
    assert grad.isfinite().all()
    kept = torch.zeros(40, 40)
    kept[same.graph.rows(), same.graph.col.long()] = 1
    reached = (grad != 0)[kept[index[0], index[1]] > 0]
    assert reached.float().mean() > 0.9


def test_every_parameter_of_the_classifier_is_trained_and_the_encoder_is_not():
    model, x = some_model(), some_rows()
    with torch.no_grad():
        prepared = model.prepare(x, some_graph())
    model(x, prepared).square().sum().backward()
    assert all((value.grad != 0).any() for value in model.classifier.parameters())
    assert all(value.grad is None for value in model.encoder.parameters())


def test_the_order_of_nodes_does_not_matter():
    model, x, graph = some_model().eval(), some_rows(), some_graph()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(5))
    place = torch.empty_like(order)
    place[order] = torch.arange(40)
    pairs = place[torch.stack([graph.rows(), graph.col.long()])]
    other = CSR.from_edge_index(pairs, 40, undirected=True)
    out = model(x, model.prepare(x, graph))
    moved = model(x[order], model.prepare(x[order], other))
    torch.testing.assert_close(moved, out[order])


def test_chosen_settings_are_saved_with_the_weights():
    model = some_model()
    model.choose(alpha=2.0, t2=0.7, k=3)
    assert (model.alpha, model.t2, model.k) == (2.0, 0.7, 3)
    other = some_model()
    other.load_state_dict(model.state_dict())
    assert (other.alpha, other.t2, other.k) == (2.0, 0.7, 3)
    graph, x = some_graph(), some_rows()
    assert torch.equal(dense(other.prepare(x, graph).graph), dense(model.prepare(x, graph).graph))


def test_settings_in_print():
    found = preset("robust_cora", 0.15)
    expected = {"alpha": 0.6, "beta": 2.0, "k": 7, "t1": 0.03, "t2": 0.2}
    parity = {"exclude_self": False, "symmetrize": False, "view_extra_loop": 1.0}
    assert found == expected | parity
    assert preset("polblogs", 0.05)["beta"] == 1
    assert preset("citeseer", 0.0)["t1"] == 0
    for name in ("cora", "citeseer", "polblogs"):
        for rate in (0.0, 0.05, 0.1, 0.15, 0.2):
            STABLE(4, 2, hidden=4, **preset(name, rate))


def test_messages():
    with pytest.raises(KeyError, match="no settings in print for 'pubmed'; there are cora, cit"):
        preset("pubmed", 0.05)
    with pytest.raises(KeyError, match=r"for cora at rate 0.25; there are 0.0, 0.05, 0.1, 0.15"):
        preset("cora", 0.25)
    with pytest.raises(ValueError, match=r"alpha must lie in \[-100, 100\], got inf"):
        some_model(alpha=float("inf"))
    with pytest.raises(ValueError, match=r"self_loop_weight must be at least 0 and fin.*, got -1"):
        some_model(self_loop_weight=-1.0)

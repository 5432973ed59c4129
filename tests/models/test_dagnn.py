"""DAGNN against the published formula, its kinds of input, its cache, and over-smoothing."""

import copy
import io
import warnings
from dataclasses import replace

import pytest
import torch
from node_checks import check_node_model, node_case
from torch import nn
from torch_geometric.nn.conv.gcn_conv import gcn_norm as pyg_norm
from torch_geometric.utils import add_self_loops

from graphlearn.models import DAGNN, DAProp
from graphlearn.ops import CSR
from graphlearn.ops.smoothness import smoothness


def edge_list(graph):
    return torch.stack([graph.col.long(), graph.rows()])


def sparse(x, layout=torch.sparse_csr):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this layout a beta
        return x.to_sparse(layout=layout)


def published(model, x, edge_index, edge_weight=None):
    """The formula with a dense matrix, one score per hop and node in a stack."""
    edges, weight = pyg_norm(edge_index, edge_weight, len(x), dtype=x.dtype)
    matrix = torch.zeros(len(x), len(x), dtype=x.dtype)
    matrix.index_put_((edges[1], edges[0]), weight, accumulate=True)
    first, second = model.layers
    hops = [torch.relu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias]
    for _ in range(model.prop.hops):
        hops.append(matrix @ hops[-1])
    stack = torch.stack(hops, 1)
    score = torch.sigmoid(stack @ model.prop.gate.weight.T + model.prop.gate.bias)
    return (score.transpose(1, 2) @ stack).squeeze(1)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_it_is_a_node_model(num_layers, batch_norm):
    settings = {"hidden": 8, "hops": 4, "dropout": 0.1, "num_layers": num_layers}
    check_node_model(lambda: DAGNN(7, 3, **settings, batch_norm=batch_norm))


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("hops", [0, 1, 10])
def test_equals_the_published_formula_with_gradients(hops, checkpoint):
    torch.manual_seed(0)
    graph, x = node_case()
    x, edges = x.double(), edge_list(graph)
    model = DAGNN(7, 3, hidden=8, hops=hops, checkpoint=checkpoint).double().eval()
    expected = published(model, x, edges)
    cotangent = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * cotangent).sum(), list(model.parameters()))
    for prepared in (model.prepare(x, graph), edges):
        out = model(x, prepared)
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)  # the norm is float32
        found = torch.autograd.grad((out * cotangent).sum(), list(model.parameters()))
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_directed_weighted_edges_flow_as_in_pyg():
    torch.manual_seed(0)
    edges = torch.tensor([[0, 1, 2, 2, 4, 1, 3], [1, 2, 0, 2, 3, 2, 3]])  # 1 -> 2 comes twice
    weight, x = torch.rand(7).double() + 0.1, torch.randn(6, 7).double()
    model = DAGNN(7, 3, hidden=8, hops=5).double().eval()
    torch.testing.assert_close(model(x, edges, weight), published(model, x, edges, weight))
    expected = published(model, x, edges)
    torch.testing.assert_close(model(x, edges), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ((1433, 7), 92_239),
        ((3703, 6), 237_453),
        ((500, 3), 32_263),
        ((745, 8), 48_273),
    ],
)
def test_published_numbers_of_parameters(size, count):
    assert sum(p.numel() for p in DAGNN(*size).parameters()) == count


def test_the_recipe_of_arxiv_has_its_number_of_parameters():
    settings = {"hidden": 256, "hops": 16, "dropout": 0.2, "input_dropout": 0.0}
    model = DAGNN(128, 40, **settings, batch_norm=True)
    assert sum(p.numel() for p in model.parameters()) == 43_857


def test_it_starts_as_linear_maps_do():
    made = []
    for make in (lambda: DAGNN(50, 3), lambda: [nn.Linear(50, 64), nn.Linear(64, 3)]):
        torch.manual_seed(0)
        made.append(make())
    model, plain = made
    for ours, theirs in zip(model.layers, plain, strict=True):
        assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)


@pytest.mark.parametrize(("nodes", "classes"), [(1, 1), (1, 3), (5, 1)])
def test_one_node_and_one_class_keep_their_axes(nodes, classes):
    model = DAGNN(4, classes, hidden=8, hops=3).eval()
    graph = CSR.from_edge_index(torch.zeros(2, 0, dtype=torch.int64), nodes, undirected=True)
    x = torch.randn(nodes, 4)
    assert model(x, model.prepare(x, graph)).shape == (nodes, classes)
    assert model.gates(x, model.prepare(x, graph)).shape == (nodes, 4)


def test_an_isolated_node_is_its_own_neighbourhood():
    graph, x = node_case()
    model = DAGNN(7, 3, hops=6).eval()
    z, matrix = model.transform(x), model.prepare(x, graph)
    total = model.gates(x, matrix)[-1].sum()
    torch.testing.assert_close(model(x, matrix)[-1], total * z[-1])


def test_gates_and_their_mean():
    graph, x = node_case()
    model = DAGNN(7, 3, hops=6).eval()
    matrix = model.prepare(x, graph)
    gates = model.gates(x, matrix)
    assert gates.shape == (30, 7) and gates.min() > 0 and gates.max() < 1
    torch.testing.assert_close(model.gate_profile(x, matrix), gates.mean(0))
    with torch.no_grad():
        model.prop.gate.weight.zero_()
        model.prop.gate.bias.fill_(20.0)
    torch.testing.assert_close(model.gate_profile(x, matrix), torch.ones(7))


# Kinds of input.


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo])
def test_sparse_tensors_equal_dense_ones(layout):
    graph, x = node_case()
    model = DAGNN(7, 3, hops=4).eval()
    expected = model(x, model.prepare(x, graph))
    adjacency = torch.zeros(30, 30)
    adjacency[graph.rows(), graph.col.long()] = 1
    torch.testing.assert_close(model(sparse(x, layout), edge_list(graph)), expected)
    torch.testing.assert_close(model(x, sparse(adjacency, layout)), expected)


def test_the_row_of_a_sparse_graph_receives():
    adjacency, x = torch.zeros(3, 3), torch.randn(3, 7)
    adjacency[0, 1] = adjacency[1, 2] = 0.5
    model = DAGNN(7, 3, hops=2).eval()
    edges = torch.tensor([[1, 2], [0, 1]])
    expected = model(x, edges, torch.full((2,), 0.5))
    torch.testing.assert_close(model(x, sparse(adjacency)), expected)


def test_ids_are_one_hot_rows():
    graph, _ = node_case()
    model = DAGNN(30, 3, hops=4).eval()
    matrix, ids = model.prepare(torch.eye(30), graph), torch.arange(30).flip(0)
    torch.testing.assert_close(model(ids, matrix), model(torch.eye(30)[ids], matrix))


def test_dropout_of_stored_values_is_dropout_of_the_matrix():
    _, x = node_case()
    model, found = DAGNN(7, 3, dropout=0.0, input_dropout=0.5), []
    often = x.repeat(3000, 1)
    for features in (often, sparse(often)):
        torch.manual_seed(0)
        drawn = _first(model, features).detach().view(3000, 30, -1)
        found.append((drawn.mean(0), drawn.var(0)))
    plain = model.layers[0](x).detach()
    for mean, _ in found:
        torch.testing.assert_close(mean, plain, rtol=0, atol=0.06)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0.25, atol=0.01)


def _first(model, x):
    """The first map of features with dropout."""
    held = []
    hook = model.layers[0].register_forward_hook(lambda *given: held.append(given[2]))
    model.transform(x)
    hook.remove()
    return held[0]


def test_dropout_acts_in_training_only():
    graph, x = node_case()
    model = DAGNN(7, 3, hops=2, dropout=0.5)
    matrix = model.prepare(x, graph)
    assert not torch.equal(model(x, matrix), model(x, matrix))
    model.eval()
    assert torch.equal(model(x, matrix), model(x, matrix))
    bare = DAGNN(7, 3, dropout=0.5, input_dropout=0.0).train()
    assert torch.equal(_first(bare, x), bare.layers[0](x))


# The cache of edge lists.


@pytest.fixture
def counted(monkeypatch):
    """A layer, and a list that grows with every graph it normalises."""
    layer, seen = DAProp(3, hops=2), []
    plain = layer.prepare
    monkeypatch.setattr(layer, "prepare", lambda graph: (seen.append(1), plain(graph))[1])
    return layer, seen


def test_the_same_edges_are_normalised_once(counted):
    layer, seen = counted
    z, edges = torch.randn(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])
    weight = torch.rand(3)
    for _ in range(3):
        layer(z, edges)
    assert len(seen) == 1
    for _ in range(2):
        layer(z, edges, weight)
    assert len(seen) == 2
    adjacency = sparse(torch.eye(4))
    for _ in range(2):
        layer(z, adjacency)
    assert len(seen) == 3
    coordinates = sparse(torch.eye(4), torch.sparse_coo)
    assert torch.equal(layer(z, coordinates), layer(z, coordinates))
    assert len(seen) == 5  # torch does not say whether these have changed


def test_what_has_changed_is_normalised_anew():
    layer, z = DAProp(3, hops=2), torch.randn(5, 3)
    edges, weight = torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.rand(3)

    def fresh(*given):
        other = copy.deepcopy(layer)
        other.cached = False
        return other(*given)

    before = layer(z, edges, weight)
    edges[1, 2] = 0  # in place
    assert torch.equal(layer(z, edges, weight), fresh(z, edges, weight))
    assert not torch.equal(layer(z, edges, weight), before)
    weight.mul_(2)
    assert torch.equal(layer(z, edges, weight), fresh(z, edges, weight))
    assert torch.equal(layer(z, edges), fresh(z, edges))  # without weights
    assert torch.equal(layer(z[:4], edges), fresh(z[:4], edges))  # fewer nodes
    other = torch.tensor([[0, 1, 3], [1, 2, 2]])  # another list of the same shape
    assert torch.equal(layer(z, other), fresh(z, other))
    adjacency = sparse(torch.rand(5, 5))
    layer(z, adjacency)
    adjacency.values().mul_(torch.arange(1.0, 26.0))
    assert torch.equal(layer(z, adjacency), fresh(z, adjacency))


def test_a_list_in_the_place_of_one_that_is_gone_is_not_taken_for_it():
    layer, z = DAProp(3, hops=2, cached=True), torch.randn(9, 3)
    for shift in range(1, 9):  # memory is given out again and again
        edges = (torch.arange(9) * torch.ones(2, 1)).long()
        edges[1] = (edges[1] + shift) % 9
        edges = edges.clone()
        bare = DAProp(3, hops=2, cached=False)
        bare.load_state_dict(layer.state_dict())
        assert torch.equal(layer(z, edges), bare(z, edges))
        del edges


def test_weights_that_learn_are_never_cached():
    layer, z = DAProp(3, hops=2), torch.randn(4, 3)
    edges, weight = torch.tensor([[0, 1], [1, 2]]), torch.rand(2, requires_grad=True)
    for _ in range(2):  # a second way back through a kept matrix would fail
        (grad,) = torch.autograd.grad(layer(z, edges, weight).square().sum(), weight)
        assert grad.any()


def test_inference_tensors_work():
    layer = DAProp(3, hops=2)
    with torch.inference_mode():
        z, edges = torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]])
        first = layer(z, edges)
        edges[0, 0] = 3
        assert not torch.equal(layer(z, edges), first)


def test_a_used_layer_can_be_copied_and_saved():
    layer, z = DAProp(3, hops=2), torch.randn(4, 3)
    edges = torch.tensor([[0, 1], [1, 2]])
    out = layer(z, edges)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(z, edges), out)
    assert torch.equal(copy.deepcopy(layer)(z, edges), out)


# The layer alone.


def test_without_normalisation_weights_are_taken_as_they_are():
    graph, z = node_case()[0], torch.randn(30, 2)
    layer = DAProp(2, hops=1, normalize=False)
    assert layer.prepare(graph) is graph
    adjacency = torch.zeros(30, 30)
    adjacency[graph.rows(), graph.col.long()] = 1
    h = torch.stack([z, adjacency @ z])
    expected = (torch.sigmoid(layer.gate(h)) * h).sum(0)
    torch.testing.assert_close(layer(z, edge_list(graph)), expected)
    assert repr(layer).startswith("DAProp(\n  hops=1\n")


def test_without_self_loops():
    graph, z = node_case()[0], torch.randn(30, 2)
    bare, full = DAProp(2, hops=2, add_self_loops=False), DAProp(2, hops=2)
    full.load_state_dict(bare.state_dict())
    edges = edge_list(graph)
    looped, _ = add_self_loops(edges, num_nodes=30)
    torch.testing.assert_close(bare(z, looped), full(z, edges))
    alone = torch.sigmoid(bare.gate(z[-1])) * z[-1]  # nothing comes back to an isolated node
    torch.testing.assert_close(bare(z, edges)[-1], alone)


def test_depth_smooths_and_the_gate_can_prevent_it():
    graph, z = node_case()[0], torch.randn(30, 4)
    matrix = DAProp(4).prepare(graph)
    first = torch.arange(30) < 29  # without the isolated node
    values = []
    for hops in (1, 60):
        layer = DAProp(4, hops=hops)
        nn.init.zeros_(layer.gate.weight)
        values.append(smoothness(layer(z, matrix)[first].detach()))
    assert values[1] < values[0] < smoothness(z[first])


# Messages.


def test_what_does_not_fit_is_said():
    graph, x = node_case()
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        DAGNN(7, 3, num_layers=0)
    with pytest.raises(ValueError, match=r"input_dropout must lie in \[0, 1\), got 1.0"):
        DAGNN(7, 3, input_dropout=1.0)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got -0.1"):
        DAGNN(7, 3, dropout=-0.1, input_dropout=0.0)
    with pytest.raises(ValueError, match="hops must be at least 0, got -2"):
        DAGNN(7, 3, hops=-2)
    model = DAGNN(7, 3).eval()
    with pytest.raises(ValueError, match=r"integers of shape \(2, edges\), got torch.int64 of"):
        model(x, edge_list(graph).t())
    with pytest.raises(ValueError, match=r"of shape \(2, edges\), got torch.float32"):
        model(x, edge_list(graph).float())
    with pytest.raises(ValueError, match=r"must have shape \(30, 30\), got \(4, 4\)"):
        model(x, sparse(torch.eye(4)))
    weight = torch.ones(graph.num_entries)
    with pytest.raises(ValueError, match="belongs to an edge list, got it with a CSR"):
        model(x, replace(graph), weight)
    with pytest.raises(ValueError, match="belongs to an edge list, got it with a sparse tensor"):
        model(x, sparse(torch.eye(30)), torch.ones(30))


def test_ids_out_of_range_are_refused():
    edges = torch.tensor([[0, 1], [1, 2]])
    for bad in (-1, 7, 400_000_000):
        with pytest.raises(ValueError, match=r"node ids must lie in \[0, 5\)"):
            DAGNN(5, 2)(torch.tensor([0, 1, bad]), edges)


def test_what_was_made_without_gradients_serves_no_training():
    edges, z = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.randn(3, 2, requires_grad=True)
    prop, weight = DAProp(2, hops=2), torch.ones(4, requires_grad=True)
    with torch.no_grad():
        prop(z, edges, weight)
    prop(z, edges, weight).sum().backward()
    assert weight.grad is not None and weight.grad.any()
    with torch.inference_mode():
        prop(z, edges)
    prop(z, edges).sum().backward()
    assert z.grad is not None

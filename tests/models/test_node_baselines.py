"""Baselines of node classification."""

import pytest
import torch
from node_checks import check_node_model, node_case
from torch_geometric.nn import APPNP, GATConv, GCNConv, SGConv

from graphlearn.models.node_baselines import NodeBaseline
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import one_hot

KINDS = ["mlp", "gcn", "gat", "sgc", "appnp"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_node_model(kind):
    weighted = kind in ("gcn", "appnp", "sgc")
    check_node_model(
        lambda: NodeBaseline(7, 3, kind=kind, hidden=8, heads=2, hops=3), weights=weighted
    )


def pyg(kind: str, model: NodeBaseline) -> list[torch.nn.Module]:
    """Layers as PyG makes them by default, with the same weights."""
    if kind == "gcn":
        made = [GCNConv(7, 8), GCNConv(8, 3)]
    elif kind == "gat":
        made = [GATConv(7, 4, heads=2), GATConv(8, 3)]
    else:
        made = [SGConv(7, 3, K=3)]
    own = [model.sgc] if kind == "sgc" else model.layers
    for layer, mine in zip(made, own, strict=True):
        # Our layers keep the map beside what PyG has of the layer.
        state = {key.removeprefix("conv."): value for key, value in mine.state_dict().items()}
        if kind == "sgc":
            state["lin.bias"] = state.pop("bias")
        layer.load_state_dict(state)
    return made


@pytest.mark.parametrize("kind", ["gcn", "gat", "sgc"])
def test_it_equals_the_layers_of_pyg(kind):
    graph, x = node_case()
    edges = torch.stack([graph.col.long(), graph.rows()])
    model = NodeBaseline(7, 3, kind=kind, hidden=8, heads=2, hops=3).eval()
    h = x
    for layer in pyg(kind, model):
        h = layer(
            h if h is x else (h.relu() if kind == "gcn" else torch.nn.functional.elu(h)), edges
        )
    torch.testing.assert_close(model(x, model.prepare(x, graph)), h)


def test_appnp_propagates_what_the_mlp_says():
    graph, x = node_case()
    edges = torch.stack([graph.col.long(), graph.rows()])
    model = NodeBaseline(7, 3, kind="appnp", hidden=8, hops=4, teleport=0.2).eval()
    z = model.layers[1](model.layers[0](x).relu())
    torch.testing.assert_close(model(x, model.prepare(x, graph)), APPNP(4, 0.2)(z, edges))


def test_entries_that_are_switched_off_send_nothing():
    graph, x = node_case()
    pair = torch.stack([graph.rows()[:1], graph.col[:1].long()])
    model = NodeBaseline(7, 3, kind="gat", hidden=8, heads=2).eval()
    edges = model.prepare(x, graph.without(pair)).edge_index
    assert edges.shape[1] == graph.num_entries - 2


def test_dropout_works_in_training_only():
    graph, x = node_case()
    for kind in ("mlp", "gcn", "gat", "appnp"):
        model = NodeBaseline(7, 3, kind=kind, hidden=8, heads=2, hops=2).train()
        ready = model.prepare(x, graph)
        assert not torch.equal(model(x, ready), model(x, ready))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="hidden must be a multiple of heads, got 10 and 4"):
        NodeBaseline(7, 3, kind="gat", hidden=10, heads=4)


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_threads(kind):
    graph, x = node_case(3000, 40)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            model = NodeBaseline(40, 3, kind=kind, hidden=16, heads=2, hops=2, dropout=0.0)
            z = model(x, model.prepare(x, graph))
            grads = torch.autograd.grad(z.square().sum(1).mean(), list(model.parameters()))
            found.append([z, *grads])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("kind", ["gat", "sgc"])
def test_nodes_without_features_make_no_square_matrix(kind):
    nodes = 60_000
    edges = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    graph = CSR.from_edge_index(edges, nodes, undirected=True)
    x = one_hot(torch.arange(nodes))
    model = NodeBaseline(nodes, 3, kind=kind, hidden=2, heads=1, hops=1).eval()
    assert model(x, model.prepare(x, graph)).shape == (nodes, 3)

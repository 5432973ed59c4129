"""The shared encoder: published numbers, sparse features, edge dropout."""

import pytest
import torch
from link_checks import random_graph
from models.golden import Golden, encoder_name

from graphlearn.nn import Encoder, Linear, drop_edge, mlp
from graphlearn.ops.csr import CSR

PUBLISHED = {
    "puregcn_jk": {"conv": "puregcn", "layers": 2, "jk": True},
    "puresum_res": {"conv": "puresum", "layers": 1, "residual": True},
    "gcn_res3_ln": {"conv": "gcn", "layers": 3, "residual": True},
    "gcn_1": {"conv": "gcn", "layers": 1, "residual": True},
}


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_encoder_equals_the_published_one(data_root, name):
    golden = Golden(data_root)
    model = Encoder(12, hidden=16, **PUBLISHED[name]).eval()
    weights = golden.weights(f"enc_{name}")
    model.load_state_dict({encoder_name(key): value for key, value in weights.items()})
    out = model(golden["x"], golden.graph)
    torch.testing.assert_close(out, golden[f"enc_{name}__out"], rtol=0, atol=1e-4)


def sparse(x: torch.Tensor) -> CSR:
    rows, cols = x.nonzero().t()
    return CSR.from_edge_index(
        torch.stack([rows, cols]), x.shape[0], num_cols=x.shape[1], weight=x[rows, cols]
    )


@pytest.mark.parametrize("conv", ["puregcn", "gcn", "graphsage", "none"])
def test_sparse_features_give_the_same_output_and_gradient(conv):
    torch.manual_seed(0)
    x = torch.randn(30, 11) * (torch.rand(30, 11) < 0.2)
    model, graph = Encoder(11, hidden=8, conv=conv), random_graph()
    results = []
    for features in (x, sparse(x)):
        model.zero_grad()
        out = model(features, graph)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
    for dense, thin in zip(*results, strict=True):
        torch.testing.assert_close(dense, thin, rtol=1e-4, atol=1e-5)


def test_pyg_gcn_agrees():
    from torch_geometric.nn import GCNConv

    torch.manual_seed(0)
    graph, x = random_graph(), torch.randn(30, 5)
    model = Encoder(5, hidden=8, conv="gcn", layers=2, norm=False).eval()
    theirs = []
    for layer in model.convs:
        conv = GCNConv(layer.lin.in_features, 8)
        conv.lin.weight, conv.bias = layer.lin.weight, layer.bias
        theirs.append(conv)
    edges = torch.stack([graph.rows(), graph.col.long()])
    expected = theirs[1](theirs[0](x, edges).relu(), edges)
    torch.testing.assert_close(model(x, graph), expected, rtol=1e-4, atol=1e-5)


def test_ids_are_embedded_orthogonally():
    model = Encoder(0, 20, hidden=8, conv="none")
    table = model.embedding.weight
    torch.testing.assert_close(table.t() @ table, torch.eye(8), rtol=1e-4, atol=1e-5)
    out = model(torch.tensor([3, 0]), random_graph())
    assert torch.equal(out, table[[3, 0]])
    assert len(Encoder(0, 20, hidden=8, extra_row=True).embedding.weight) == 21


def test_ids_and_sparse_features_do_not_go_together():
    with pytest.raises(TypeError, match="embeds node ids"):
        Encoder(0, 30, hidden=8)(sparse(torch.eye(30)), random_graph())


def test_jumping_knowledge_weighs_all_layers():
    torch.manual_seed(0)
    model = Encoder(5, hidden=8, layers=2, jk=True, jk_init="ones").eval()
    graph, x = random_graph(), torch.randn(30, 5)
    first = Encoder(5, hidden=8, layers=1).eval()
    first.input.load_state_dict(model.input.state_dict())
    second = Encoder(5, hidden=8, layers=2).eval()
    second.input.load_state_dict(model.input.state_dict())
    torch.testing.assert_close(model(x, graph), first(x, graph) + second(x, graph))


def test_drop_edge():
    torch.manual_seed(0)
    graph = random_graph(60, 600)
    assert drop_edge(graph, 0.0) is graph
    thin = drop_edge(graph, 0.3)
    assert not thin.symmetric
    assert float(thin.keep.float().mean()) == pytest.approx(0.7, abs=0.05)
    again = drop_edge(thin, 0.5)
    assert not (again.keep & ~thin.keep).any()


def test_drop_edge_can_keep_the_graph_symmetric():
    torch.manual_seed(0)
    thin = drop_edge(random_graph(40, 300), 0.4, symmetric=True)
    back = thin.locate(torch.stack([thin.col.long(), thin.rows()]))
    assert thin.symmetric and torch.equal(thin.keep, thin.keep[back])


def test_edge_dropout_keeps_the_expected_sum():
    torch.manual_seed(0)
    graph, x = random_graph(), torch.randn(30, 4)
    model = Encoder(4, hidden=4, conv="puresum", edge_dropout=0.5)
    mean = torch.stack([model(x, graph) for _ in range(2000)]).mean(0)
    model.eval()
    torch.testing.assert_close(mean, model(x, graph), rtol=0, atol=0.5)


def test_linear_and_mlp():
    layer = Linear(6, 3, bias=False)
    x = torch.randn(4, 6) * (torch.rand(4, 6) < 0.5)
    torch.testing.assert_close(layer(sparse(x)), layer(x))
    assert len(mlp(layer, None, torch.nn.ReLU())) == 2

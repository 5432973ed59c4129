"""Graph convolutions against PyG and against dense formulas."""

from dataclasses import replace

import pytest
import torch
from node_checks import check_node_model, node_case
from torch_geometric.nn import GCNConv

from graphlearn.models.gcn import GCN, GCNSVD, GCNJaccard
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows, one_hot
from graphlearn.ops.similar import jaccard


@pytest.mark.parametrize(
    "make",
    [
        lambda: GCN(7, 3),
        lambda: GCNJaccard(7, 3, threshold=0.3),
        lambda: GCNJaccard(7, 3, threshold=0.4, similarity="cosine"),
        lambda: GCNSVD(7, 3, rank=4),
    ],
)
def test_it_is_a_node_model(make):
    check_node_model(make)


def edges_of(graph: CSR) -> torch.Tensor:
    pairs = torch.stack([graph.rows(), graph.col.long()])
    return pairs if graph.keep is None else pairs[:, graph.keep]


def by_pyg(model: GCN, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
    first, second = GCNConv(7, 16), GCNConv(16, 3)
    first.load_state_dict(model.first.state_dict())
    second.load_state_dict(model.second.state_dict())
    return second(first(x, edge_index).relu(), edge_index)


def test_gcn_equals_pyg():
    graph, x = node_case()
    model = GCN(7, 3).eval()
    torch.nn.init.normal_(model.first.bias)
    expected = by_pyg(model, x, edges_of(graph))
    torch.testing.assert_close(model(x, model.prepare(x, graph)), expected)
    torch.testing.assert_close(model(feature_rows(x), model.prepare(x, graph)), expected)


def test_weights_start_as_in_pyg():
    torch.manual_seed(0)
    model = GCN(400, 3, hidden=200)
    bound = (6 / 600) ** 0.5
    weight = model.first.lin.weight.detach()
    assert float(weight.abs().max()) <= bound and float(weight.std()) == pytest.approx(
        bound / 3**0.5, rel=0.02
    )
    assert not model.first.bias.any() and not model.second.bias.any()


def test_dropout_lies_between_the_layers():
    graph, x = node_case()
    model = GCN(7, 3, dropout=0.9).train()
    ready = model.prepare(x, graph)
    assert not torch.equal(model(x, ready), model(x, ready))
    # With no more than the bias behind the dropout there is nothing random.
    torch.nn.init.zeros_(model.second.lin.weight)
    assert torch.equal(model(x, ready), model(x, ready))


@pytest.mark.parametrize("threshold", [0.01, 0.25, 0.5])
def test_jaccard_is_a_gcn_on_similar_ends(threshold):
    graph, x = node_case()
    model = GCNJaccard(7, 3, threshold=threshold).eval()
    pairs = edges_of(graph)
    kept = pairs[:, jaccard(feature_rows(x), pairs) >= threshold]
    torch.testing.assert_close(model(x, model.prepare(x, graph)), by_pyg(model, x, kept))


def test_cosine_is_a_gcn_on_similar_ends():
    graph, x = node_case()
    x = x * torch.rand(30, 7, generator=torch.Generator().manual_seed(0))
    model = GCNJaccard(7, 3, threshold=0.6, similarity="cosine").eval()
    pairs = edges_of(graph)
    kept = pairs[:, torch.cosine_similarity(x[pairs[0]], x[pairs[1]]) >= 0.6]
    assert 0 < kept.shape[1] < pairs.shape[1]
    torch.testing.assert_close(model(x, model.prepare(x, graph)), by_pyg(model, x, kept))


@pytest.mark.parametrize("x", [torch.arange(30), one_hot(torch.arange(30))])
def test_features_that_say_nothing_drop_nothing(x):
    graph, _ = node_case()
    ready = GCNJaccard(30, 3).prepare(x, graph)
    assert ready.num_entries == graph.num_entries + 30
    assert (ready.values() > 0).all()


@pytest.mark.parametrize(("nodes", "rank"), [(30, 3), (30, 12), (80, 5), (80, 200)])
def test_svd_equals_the_dense_formula(nodes, rank):
    graph, x = node_case(nodes)
    model = GCNSVD(7, 3, rank=rank).eval()
    pairs = edges_of(graph)
    a = torch.zeros(nodes, nodes, dtype=torch.float64)
    a[pairs[0], pairs[1]] = 1
    u, s, v = torch.linalg.svd(a)
    low = u[:, :rank] * s[:rank] @ v[:rank] + torch.eye(nodes)
    total = low.sum(1)
    scale = torch.where(total > 0, total.clamp(min=1e-30).rsqrt(), 0.0)
    hat = (scale[:, None] * low * scale).float()
    h = (hat @ x @ model.first.lin.weight.T + model.first.bias).relu()
    expected = hat @ h @ model.second.lin.weight.T + model.second.bias
    torch.testing.assert_close(model(x, model.prepare(x, graph)), expected, rtol=1e-4, atol=1e-5)


def test_rows_of_negative_sum_are_silent():
    graph, x = node_case()
    weight = torch.full((graph.num_entries,), -1.0)
    model = GCNSVD(7, 3, rank=30).eval()
    ready = model.prepare(x, replace(graph, weight=weight))
    silent = graph.degree() > 1
    assert (ready.scale[silent] == 0).all() and (ready.scale[~silent] >= 0).all()
    assert model(x, ready).isfinite().all()


def test_svd_keeps_no_table_of_all_nodes():
    graph, x = node_case(400)
    ready = GCNSVD(7, 3, rank=5).prepare(x, graph)
    assert max(part.numel() for part in ready) == 5 * 400


def test_svd_is_the_same_at_every_call():
    graph, x = node_case(200)
    model = GCNSVD(7, 3, rank=6)
    for one, other in zip(model.prepare(x, graph), model.prepare(x, graph), strict=True):
        assert torch.equal(one, other)


def test_gradients_of_weights_equal_differences():
    """Of the plain and the pruned model; the projection of the third is not the whole gradient."""
    graph, x = node_case()
    for model in (GCN(7, 3), GCNJaccard(7, 3, threshold=0.3)):
        model = model.double().eval()

        def total(weight, model=model):
            heavy = replace(graph, weight=weight, symmetric=False)
            return model(x.double(), model.prepare(x, heavy)).square().sum()

        weight = torch.rand(graph.num_entries, dtype=torch.float64) + 0.5
        assert torch.autograd.gradcheck(total, weight.requires_grad_(), atol=1e-6)


def test_gradient_of_svd_is_that_of_the_projection():
    graph, x = node_case(40)
    model = GCNSVD(7, 3, rank=6)
    weight = torch.ones(graph.num_entries, requires_grad=True)
    ready = model.prepare(x, replace(graph, weight=weight, symmetric=False))
    (grad,) = torch.autograd.grad(ready.core.trace(), weight)
    expected = (ready.left[graph.rows()] * ready.right[graph.col.long()]).sum(1)
    torch.testing.assert_close(grad, expected)


def test_settings_must_make_sense(unchecked):
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        GCN(7, 3, hidden=0)
    with pytest.raises(ValueError, match="similarity must be jaccard or cosine, got 'dot'"):
        GCNJaccard(7, 3, similarity="dot")
    with pytest.raises(ValueError, match=r"threshold must lie in \[-1, 1\], got 2.0"):
        GCNJaccard(7, 3, threshold=2.0)
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        GCNSVD(7, 3, rank=0)

"""Sheaf diffusion against a Laplacian that is assembled densely in float64."""

import pytest
import torch
from torch_geometric.utils import to_undirected

from graphlearn.models.lightgcn import LightGCN
from graphlearn.models.sheaf import Sheaf, SheafConv, SheafRecommender
from graphlearn.ops.csr import CSR

KINDS = {
    "scalar": {"maps": "scalar"},
    "scalar, wide stalks": {"maps": "scalar", "stalk_dim": 2},
    "diagonal": {"maps": "diagonal", "stalk_dim": 3},
    "rotations of the plane": {"maps": "orthogonal", "stalk_dim": 2},
    "rotations": {"maps": "orthogonal", "stalk_dim": 3},
    "reflections": {"maps": "orthogonal", "stalk_dim": 3, "orth": "householder"},
    "general": {"maps": "general", "stalk_dim": 2},
    "general, wide": {"maps": "general", "stalk_dim": 3},
}
NORMS = ["augmented", "sym", "degree", "none"]


def twelve(weighted=False, keep=False):
    """A graph of twelve nodes, one of them isolated."""
    generator = torch.Generator().manual_seed(4)
    edges = torch.randint(11, (2, 24), generator=generator)
    weight = torch.rand(24, generator=generator).double() + 0.5 if weighted else None
    graph = CSR.from_edge_index(edges, 12, weight=weight, undirected=True)
    return graph.without(edges[:, :4]) if keep else graph


def conv(channels=6, **options):
    torch.manual_seed(1)
    return SheafConv(channels, **{"init": "linear", **options}).double()


def assembled(layer, x, graph):
    """The coboundary as a dense matrix on all stalks, edge by edge, and the Laplacian from it."""
    d = layer.stalk_dim
    maps = layer.maps(x, graph)
    maps = maps if maps.ndim == 3 else torch.diag_embed(maps.expand(-1, d))
    row, col, value = graph.rows().tolist(), graph.col.tolist(), graph.values()
    where = {pair: k for k, pair in enumerate(zip(row, col, strict=True))}
    rows, degree = [], torch.zeros(graph.num_rows, dtype=x.dtype)
    for (v, w), k in where.items():
        if v < w:
            line = x.new_zeros(d, graph.num_rows, d)
            strength = 1.0 if value is None else float(value[k])
            line[:, v] = -(strength**0.5) * maps[k]
            line[:, w] = strength**0.5 * maps[where[w, v]]
            rows.append(line)
            degree[[v, w]] += strength
    delta = torch.cat(rows).flatten(1)
    laplacian = delta.T @ delta
    n = graph.num_rows
    blocks = laplacian.view(n, d, n, d)
    scale = torch.block_diag(*(_scale(layer, blocks[v, :, v], degree[v]) for v in range(n)))
    return delta, scale @ laplacian @ scale


def _scale(layer, own, degree):
    """The factor of one node, by ways that can be differentiated."""
    d, eye = layer.stalk_dim, torch.eye(layer.stalk_dim, dtype=own.dtype)
    if layer.normalization in ("degree", "none"):
        return eye * (d * degree + 1) ** -0.5 if layer.normalization == "degree" else eye
    more = 1.0 if layer.normalization == "augmented" else 0.0
    if not own.any():  # an isolated node
        return more * eye
    if layer.maps.kind != "general":  # diagonal, with equal eigenvalues perhaps
        return torch.diag((own.diagonal() + more).rsqrt())
    value, vector = torch.linalg.eigh(own + more * eye)
    return vector @ torch.diag(value.rsqrt()) @ vector.T


def on_stalks(matrix, x, d):
    return (matrix @ x.reshape(len(x) * d, -1)).view_as(x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_assembled_laplacian(kind, norm):
    layer, graph = conv(normalization=norm, **KINDS[kind]), twelve()
    x = torch.randn(12, 6, dtype=torch.float64)
    _, dense = assembled(layer, x, graph)
    signal = torch.randn(12, 6, dtype=torch.float64)
    found = layer.sheaf(x, graph).laplacian(signal)
    torch.testing.assert_close(found, on_stalks(dense, signal, layer.stalk_dim))
    torch.testing.assert_close(layer(x, graph), x - on_stalks(dense, x, layer.stalk_dim))


@pytest.mark.parametrize("options", [{"weighted": True}, {"keep": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_dropped_edges(kind, options):
    layer, graph = conv(normalization="augmented", **KINDS[kind]), twelve(**options)
    x = torch.randn(12, 6, dtype=torch.float64)
    _, dense = assembled(layer, x, graph)
    found = layer.sheaf(x, graph).laplacian(x)
    torch.testing.assert_close(found, on_stalks(dense, x, layer.stalk_dim))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_the_assembled_laplacian(kind, norm):
    layer, graph = conv(normalization=norm, **KINDS[kind]), twelve()
    x = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    target = torch.randn(12, 6, dtype=torch.float64)
    leaves = [x, *layer.parameters()]
    ours = torch.autograd.grad((layer(x, graph) * target).sum(), leaves)
    _, dense = assembled(layer, x, graph)
    theirs = x - on_stalks(dense, x, layer.stalk_dim)
    torch.testing.assert_close(ours, torch.autograd.grad((theirs * target).sum(), leaves))


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind):
    layer = conv(normalization="augmented", left=True, right="linear", damping=True,
                 nonlinearity="tanh", **KINDS[kind])  # fmt: skip
    graph = twelve()
    x = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]
    values = [value.detach().clone().requires_grad_() for value in layer.parameters()]

    def run(x, *values):
        named = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, named, (x, graph))

    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


@pytest.mark.parametrize("norm", ["augmented", "sym"])
@pytest.mark.parametrize("kind", KINDS)
def test_spectrum_lies_between_zero_and_two(kind, norm):
    layer, graph = conv(normalization=norm, **KINDS[kind]), twelve()
    x = torch.randn(12, 6, dtype=torch.float64)
    d = layer.stalk_dim
    eye = torch.eye(12 * d, dtype=torch.float64)
    with torch.no_grad():
        sheaf = layer.sheaf(x, graph)
    matrix = torch.stack([sheaf.laplacian(one.view(12, d)).flatten() for one in eye])
    torch.testing.assert_close(matrix, matrix.T)
    values = torch.linalg.eigvalsh(matrix)
    assert float(values.min()) > -1e-9 and float(values.max()) < 2 + 1e-9
    if norm == "augmented":  # strictly below two: a step of one contracts what is no section
        assert float(values.max()) < 2 - 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_energy_is_the_disagreement_along_edges(kind):
    layer, graph = conv(normalization="none", **KINDS[kind]), twelve()
    x = torch.randn(12, 6, dtype=torch.float64)
    delta, _ = assembled(layer, x, graph)
    apart = delta @ x.reshape(12 * layer.stalk_dim, -1)
    torch.testing.assert_close(layer.sheaf(x, graph).energy(x), apart.square().sum())


def test_maps_of_one_give_the_graph_laplacian():
    graph = twelve()
    layer = SheafConv(4, normalization="none").double()
    x = torch.randn(12, 4, dtype=torch.float64)
    dense = torch.zeros(12, 12, dtype=torch.float64)
    dense[graph.rows(), graph.col.long()] = 1
    expected = torch.diag(dense.sum(1)) - dense
    torch.testing.assert_close(layer.sheaf(x, graph).laplacian(x), expected @ x)


def test_consistent_rotations_have_global_sections():
    """With M_{v,e} = Q_v the vectors Q_v^T c agree along every edge."""
    graph = twelve()
    q, _ = torch.linalg.qr(torch.randn(12, 3, 3, dtype=torch.float64))
    block = q[graph.rows()].mT @ q[graph.col.long()]
    degree = graph.degree().double().unsqueeze(1)
    section = q.mT @ torch.randn(3, 2, dtype=torch.float64)
    sheaf = Sheaf(graph, degree, block, None)
    torch.testing.assert_close(sheaf.laplacian(section.flatten(1)), torch.zeros(12, 6).double())


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_nodes_do_not_matter(kind):
    """Neither do the order of edges nor which end comes first, as both follow from the names."""
    layer, graph = conv(**KINDS[kind]), twelve()
    x = torch.randn(12, 6, dtype=torch.float64)
    order = torch.randperm(12)
    renamed = CSR.from_edge_index(
        order[torch.stack([graph.rows(), graph.col.long()])], 12, undirected=True
    )
    moved = torch.empty_like(x)
    moved[order] = x
    torch.testing.assert_close(layer(moved, renamed)[order], layer(x, graph))


def test_a_list_of_edges_will_do():
    layer, graph = conv(maps="general", stalk_dim=2), twelve()
    x = torch.randn(12, 6, dtype=torch.float64)
    edges = torch.stack([graph.rows(), graph.col.long()])
    torch.testing.assert_close(layer(x, to_undirected(edges)), layer(x, graph))
    with pytest.raises(ValueError, match="1 edges lack their reverse: a sheaf needs an undirected"):
        layer(x, edges[:, 1:])


def released_layer(x, edge_index, theta, weight, bias):
    """The formula of the released layer, with a map for each directed edge and dense algebra."""
    row, col = edge_index
    maps = torch.tanh(torch.cat([x[row], x[col]], 1) @ theta.T).squeeze(1)
    n = len(x)
    own = torch.zeros(n, n)
    own[row, col] = maps
    degree = torch.zeros(n).index_add(0, row, maps.square())
    scale = (degree + 1).rsqrt()
    laplacian = scale[:, None] * (torch.diag(degree) - own * own.T) * scale
    return x - laplacian @ (x @ weight.T + bias)


def bipartite():
    generator = torch.Generator().manual_seed(3)
    pairs = torch.stack(
        [
            torch.randint(15, (70,), generator=generator),
            torch.randint(20, (70,), generator=generator),
        ]
    )
    return CSR.from_edge_index(pairs, 15, num_cols=20)


RELEASED = {
    "normalization": "augmented", "readout": "concat", "right": "linear", "init": "linear",
    "per_layer": True, "layers": 5,
}  # fmt: skip


def test_the_released_layer():
    torch.manual_seed(0)
    model = SheafRecommender(15, 20, channels=8, **RELEASED)
    graph = model.prepare(bipartite())
    x, outputs = model.embedding, [model.embedding]
    edges = torch.stack([graph.rows(), graph.col.long()])
    for layer in model.convs:
        theta = torch.cat([layer.maps.left.weight, layer.maps.right.weight], 1)
        x = released_layer(x, edges, theta, layer.right.weight, layer.right.bias)
        outputs.append(x)
    (found,) = model.encode(graph)
    assert float((found - torch.cat(outputs, 1)).detach().abs().max()) < 1e-5


def test_parameters_of_the_released_model():
    model = SheafRecommender(943, 1547, channels=64, **RELEASED)
    assert sum(value.numel() for value in model.parameters()) == 180_800


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_layer", [False, True])
def test_it_starts_as_lightgcn(kind, per_layer):
    options = KINDS[kind]
    theirs = LightGCN(15, 20, channels=6)
    ours = SheafRecommender(15, 20, channels=6, per_layer=per_layer, **options)
    with torch.no_grad():
        ours.embedding.copy_(theirs.embedding)
    graph = bipartite()
    (expected,), (found,) = (m.encode(m.prepare(graph)) for m in (theirs, ours))
    joined = ours.prepare(graph).degree() > 0  # an item nobody has keeps its vector in a sheaf
    torch.testing.assert_close(found[joined], expected[joined])


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind, per_layer):
    torch.manual_seed(0)
    model = SheafRecommender(15, 20, channels=6, per_layer=per_layer, left=True,
                             right="orthogonal", damping=True, **KINDS[kind])  # fmt: skip
    (h,) = model.encode(model.prepare(bipartite()))
    (h * torch.randn_like(h)).sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stalk_dim": 3}, "channels must be a multiple of stalk_dim, got 64 and 3"),
        ({"normalization": "left"}, "normalization must be one of augmented, sym, degree, none"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
    ],
)
def test_messages(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        SheafRecommender(3, 4, **options)


def test_a_directed_matrix_is_refused():
    graph = CSR.from_edge_index(torch.tensor([[0], [1]]), 2)
    with pytest.raises(ValueError, match="needs an undirected graph"):
        SheafConv(2)(torch.zeros(2, 2), graph)

"""Baselines of heterogeneous node classification."""

import pytest
import torch
from hetero_checks import check_hetero_model, hetero_case
from torch_geometric.nn import HANConv, HGTConv, RGCNConv
from toy_hetero import hetero_dataset

from graphlearn.knobs import build
from graphlearn.models.hetero_baselines import HeteroBaseline
from graphlearn.ops.csr import CSR

KINDS = ["rgcn", "han", "hgt", "gat"]


def made(kind: str, **knobs) -> HeteroBaseline:
    knobs = {"hidden": 8, "heads": 2} | knobs
    return build(HeteroBaseline, hetero_dataset(), kind=kind, **knobs)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_model_of_heterogeneous_graphs(kind, layers):
    check_hetero_model(lambda: made(kind, layers=layers))


def logits(model: HeteroBaseline, x=None, graph=None) -> torch.Tensor:
    own = hetero_case()
    x, graph = x or own[0], graph or own[1]
    with torch.no_grad():
        return model.eval()(x, model.prepare(x, graph))


def hidden(model: HeteroBaseline) -> dict[str, torch.Tensor]:
    """What the first layer gets."""
    x, _ = hetero_case()
    return {name: one(x[name]).relu() for name, one in model.input.items()}


def edges(key: tuple[str, str, str]) -> torch.Tensor:
    _, graph = hetero_case()
    return torch.stack([graph[key].col.long(), graph[key].rows()])


def test_rgcn_is_the_layer_of_pyg_where_one_type_is_computed():
    model = made("rgcn", layers=1)
    h = hidden(model)
    keys = [key for key in hetero_case()[1] if key[2] == "paper"]
    start = {"paper": 0, "author": 60, "venue": 84}
    layer = RGCNConv(8, 3, num_relations=2, aggr="mean")
    index, kind = [], []
    with torch.no_grad():
        for i, key in enumerate(keys):
            layer.weight[i] = model.core.convs["0", *key].lin_l.weight.T
            index.append(edges(key) + torch.tensor([[start[key[0]]], [0]]))
            kind.append(torch.full_like(index[-1][0], i))
        layer.root.copy_(model.core.own["0", "paper"].weight.T)
        layer.bias.copy_(model.core.own["0", "paper"].bias)
        merged = torch.cat([h[name] for name in start])
        want = layer(merged, torch.cat(index, 1), torch.cat(kind))[:60]
    torch.testing.assert_close(logits(model), want)


def test_hgt_is_the_layer_of_pyg():
    model = made("hgt", layers=1)
    h = hidden(model)
    keys = [key for key in hetero_case()[1] if key[2] == "paper"]
    alias = model.core.alias
    layer = HGTConv(8, 8, ([alias[name] for name in h], list(model.core.renamed.values())), 2)
    layer.load_state_dict(model.core.convs[0].state_dict(), strict=False)
    with torch.no_grad():
        z = layer(
            {alias[name]: one for name, one in h.items()},
            {model.core.renamed[key]: edges(key) for key in keys},
        )
        want = model.core.output(z[alias["paper"]])
    torch.testing.assert_close(logits(model), want)


def test_han_is_the_layer_of_pyg_on_composed_edges():
    model = made("han")
    assert model.core.paths == [("paper", "author", "paper"), ("paper", "venue", "paper")]
    adjacency = {}
    for key, middle in zip(model.core.keys, ("author", "venue"), strict=True):
        rel = {"author": "writes", "venue": "prints"}[middle]
        dense = torch.zeros(60, 24)
        source, end = edges((middle, rel, "paper"))
        dense[end, source] = 1.0
        adjacency[key] = (dense @ dense.T + torch.eye(60)).T.nonzero().T
    layer = HANConv(8, 8, (["node"], model.core.keys), 2)
    layer.load_state_dict(model.core.conv.state_dict())
    with torch.no_grad():
        z = layer({"node": hidden(model)["paper"]}, adjacency)["node"]
        want = model.core.output(z)
    torch.testing.assert_close(logits(model), want)


def test_a_composed_path_is_read_from_its_start():
    x, graph = hetero_case()
    model = made("han", length=4, metapaths=("paper-author-paper-venue-paper",))
    (key,) = model.core.keys
    a, v = torch.zeros(60, 24), torch.zeros(60, 6)
    a[tuple(edges(("author", "writes", "paper")).flip(0))] = 1.0
    v[tuple(edges(("venue", "prints", "paper")).flip(0))] = 1.0
    want = v @ v.T @ a @ a.T + torch.eye(60)
    found = model.prepare(x, graph)[key]
    assert torch.equal(torch.stack([found.rows(), found.col.long()]), want.nonzero().T)


@pytest.mark.parametrize(
    ("knobs", "count"),
    [
        ({}, 2),
        ({"length": 4}, 2),
        ({"length": 4, "metapaths": ("paper-*-paper-*-paper",)}, 4),
        ({"metapaths": ("paper-venue-paper",)}, 1),
    ],
)
def test_metapaths_that_are_used(knobs, count):
    assert len(made("han", **knobs).core.paths) == count


def test_edge_types_between_the_same_types_are_one_step():
    types, kinds = ("a", "b"), (("b", "x", "a"), ("b", "y", "a"), ("a", "z", "b"), ("a", "to", "a"))
    model = HeteroBaseline((types, kinds), "a", {"a": 2, "b": 2}, {"a": 3, "b": 2}, 2, kind="han")
    assert model.core.paths == [("a", "a"), ("a", "b", "a")]
    csr = hetero_graph({("b", "a"): [[0, 1]], ("a", "b"): [[0, 0], [2, 1]], ("a", "a"): []})
    graph = {kinds[0]: csr["b", "a"], kinds[1]: hetero_graph({("b", "a"): [[1, 0]]})["b", "a"]}
    graph |= {kinds[2]: csr["a", "b"], kinds[3]: csr["a", "a"]}
    found = model.prepare({"a": torch.ones(3, 2)}, graph)[model.core.keys[1]]
    # Node 1 reads node 0 by way of b0, and node 0 reads node 2 by way of b1.
    pairs = set(zip(found.rows().tolist(), found.col.tolist(), strict=True))
    assert pairs == {(0, 0), (1, 1), (2, 2), (1, 0), (0, 2)}


def hetero_graph(given):
    """From (source, target) types to pairs, of three nodes `a` and two `b`."""
    size = {"a": 3, "b": 2}
    made = {}
    for (source, end), pairs in given.items():
        index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T.flip(0)
        made[source, end] = CSR.from_edge_index(index, size[end], num_cols=size[source])
    return made


def test_what_does_not_reach_the_target_has_no_parameters():
    assert {"editor"} == set(made("rgcn").input) - set(made("rgcn", layers=1).input)
    assert list(made("han").input) == ["paper"]


def test_gat_gives_logits_of_length_one():
    norm = logits(made("gat")).norm(dim=1)
    torch.testing.assert_close(norm, torch.ones(60))


def test_gat_knows_edge_types():
    model = made("gat", layers=1)
    before = logits(model)
    with torch.no_grad():
        model.core.kinds[0].weight[0] += 3.0
    assert not torch.allclose(before, logits(model))


@pytest.mark.parametrize("kind", KINDS)
def test_entries_that_are_switched_off_send_nothing(kind):
    _, graph = hetero_case()
    key = ("author", "writes", "paper")
    pair = torch.stack([graph[key].rows()[:5], graph[key].col[:5].long()])
    row, col = torch.stack([graph[key].rows(), graph[key].col.long()])[:, 5:]
    fewer = type(graph[key]).from_edge_index(torch.stack([row, col]), 60, num_cols=24)
    model = made(kind)
    torch.testing.assert_close(
        logits(model, graph={**graph, key: graph[key].without(pair)}),
        logits(model, graph={**graph, key: fewer}),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_relations_without_any_edge_are_taken(kind):
    _, graph = hetero_case()
    empty = {
        key: one.without(torch.stack([one.rows(), one.col.long()])) for key, one in graph.items()
    }
    assert logits(made(kind), graph=empty).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_works_in_training_only(kind):
    x, graph = hetero_case()
    model = made(kind).train()
    ready = model.prepare(x, graph)
    assert not torch.equal(model(x, ready), model(x, ready))


@pytest.mark.parametrize("kind", KINDS)
def test_any_names_of_types_are_taken(kind):
    kinds = (("a.b", "of", "items"), ("items", "to__", "a.b"))
    size = {"a.b": 2, "items": 3}
    model = HeteroBaseline((("a.b", "items"), kinds), "items", size, size, 2, kind=kind)
    csr = hetero_graph({("b", "a"): [[0, 1], [1, 2]], ("a", "b"): [[1, 0]]})
    x = {"a.b": torch.ones(2, 2), "items": torch.eye(3)}
    graph = dict(zip(kinds, csr.values(), strict=True))
    assert logits(model, x, graph).shape == (3, 2)


@pytest.mark.parametrize(
    ("kind", "knobs", "message"),
    [
        ("hgt", {"hidden": 9}, r"hidden must be a multiple of heads, got 9 and 2"),
        ("rgcn", {"layers": 0}, r"layers must be at least 1, got 0"),
        ("han", {"length": 1}, r"no meta-path of up to length=1 steps leads from 'paper' back"),
        (
            "han",
            {"metapaths": ("paper-editor-paper",)},
            r"length=2 steps matches 'paper-editor-paper'; there are paper-author-paper, paper-ve",
        ),
    ],
)
def test_impossible_settings(kind, knobs, message):
    with pytest.raises(ValueError, match=message):
        made(kind, **knobs)


def test_a_target_that_receives_nothing():
    given = ((("a", "b"), (("a", "to", "b"),)), "a", {"a": 2, "b": 2}, {"a": 3, "b": 2}, 2)
    with pytest.raises(ValueError, match=r"no edge type leads to 'a', so that it receives nothi"):
        HeteroBaseline(*given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_bits(kind):
    x, graph = hetero_case()
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = made(kind).train()
        z = model(x, model.prepare(x, graph))
        found.append([z, *torch.autograd.grad(z.square().sum(), list(model.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_dropout_of_features_works_in_training_only():
    x, graph = hetero_case()
    model = made("rgcn", dropout=0.0, input_dropout=0.5)
    ready = model.prepare(x, graph)
    assert not torch.equal(model.train()(x, ready), model(x, ready))
    torch.testing.assert_close(model.eval()(x, ready), model(x, ready), rtol=0, atol=0)

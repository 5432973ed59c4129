"""LATTE: as a model of its kind, its joins, outputs, size, and what it leaves out."""

import pytest
import torch
from hetero_checks import check_hetero_model, hetero_case
from toy_hetero import hetero_dataset

from graphlearn.knobs import build
from graphlearn.models import LATTE


def make(**settings):
    return build(LATTE, hetero_dataset(), **{"hidden": 8} | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"orders": 1},
        {"orders": 2},
        {"orders": 3, "readout": "mean"},
        {"choice": "aggregated", "norm": "layer", "activation": "prelu"},
        {"readout": "max", "norm": "batch", "input_norm": True, "activation": "identity"},
        {"readout": "last", "join": "off", "activation": "leaky_relu"},
        {"join": "dynamic", "threshold": 0.3},
        {"heads": 4, "mask_empty": False, "even_start": False},
    ],
)
def test_it_is_a_hetero_model(settings):
    torch.manual_seed(0)
    # Every row keeps all of its entries: among equals it is the number of a node that decides.
    check_hetero_model(lambda: make(neighbors=0, **settings))


def test_what_the_target_does_not_need_is_not_there_and_does_not_matter():
    x, graph = hetero_case()
    model = make(orders=1)
    assert {path[-1] for path in model.paths[0]} == {"paper"}
    assert set(model.convs[0].left.keys()) == {"paper"}
    assert "editor" not in model.input and set(model.input.keys()) == {"paper", "author"}
    whole = make(orders=1, prune=False)
    assert {path[-1] for path in whole.paths[0]} == {"paper", "author", "venue"}
    common = model.state_dict().keys() & whole.state_dict().keys()
    for number, path in enumerate(model.paths[0]):
        place = whole.paths[0].index(path)
        for name in ("attn_left", "attn_right", "scale"):
            getattr(whole.convs[0], name).data[place] = getattr(model.convs[0], name)[number]
    fits = {name for name in common if "attn" not in name and "scale" not in name}
    state = {name: model.state_dict()[name] for name in fits}
    whole.load_state_dict(state, strict=False)
    model.eval(), whole.eval()
    with torch.no_grad():
        got, want = model(x, model.prepare(x, graph)), whole(x, whole.prepare(x, graph))
    torch.testing.assert_close(got, want)


def test_the_published_number_of_parameters():
    """LATTE-1 on ACM: 832,142 trainable parameters."""
    edges = [
        ("author", "writes", "paper"), ("paper", "written_by", "author"),
        ("subject", "of", "paper"), ("paper", "has", "subject"),
    ]  # fmt: skip
    types = ("paper", "author", "subject")
    sizes = {"paper": 3025, "author": 5912, "subject": 57}
    model = LATTE(
        (types, edges), "paper", dict.fromkeys(types, 1902), sizes, 3, orders=1, prune=False
    )
    assert sum(value.numel() for value in model.parameters()) == 832_142


def test_attention_and_weights_come_with_the_logits():
    x, graph = hetero_case()
    model = make(orders=2).eval()
    ready = model.prepare(x, graph)
    with torch.no_grad():
        plain = model(x, ready)
        logits, layers = model(x, ready, return_attention=True)
    assert torch.equal(plain, logits) and len(layers) == 2
    for number, found in enumerate(layers):
        assert set(found.entries) == set(ready.layers[number])
        for path, (edges, alpha) in found.entries.items():
            assert int(edges[0].max()) < len(x[path[0]]) and int(edges[1].max()) < len(x[path[-1]])
            sums = torch.zeros(len(x[path[-1]]), 2).index_add_(0, edges[1], alpha)
            assert ((sums - 1).abs().lt(1e-5) | (sums == 0)).all()
        for kind, beta in found.beta.items():
            assert beta.shape == (len(x[kind]), len(found.relations[kind]))
            assert found.relations[kind][-1] == (kind,)
    weights = model.relation_weights(x, ready)
    assert {one.order for one in weights} == {1, 2}
    for order in (1, 2):
        for kind in {one.path[-1] for one in weights if one.order == order}:
            parts = [one for one in weights if one.order == order and one.path[-1] == kind]
            assert sum(one.mean for one in parts) == pytest.approx(1, abs=1e-5)
            beta = layers[order - 1].beta[kind]
            assert [one.std for one in parts] == pytest.approx(
                beta.double().std(0, correction=0).tolist()
            )


def test_it_takes_the_objects_of_pyg():
    data = hetero_dataset().data
    torch.manual_seed(0)
    model = LATTE.from_hetero_data(data, "paper", 3, hidden=8).eval()
    torch.manual_seed(0)
    same = make().eval()
    x, graph = hetero_case()
    ready = model.prepare(data.x_dict, data.edge_index_dict)
    with torch.no_grad():
        got = model(data.x_dict, ready)
        torch.testing.assert_close(got, same(x, same.prepare(x, graph)))
        embedded = model.embed(data.x_dict, ready)
    assert embedded.shape == (60, 16)
    torch.testing.assert_close(model.out(embedded), got)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"orders": 0}, "orders must be at least 1 and finite, got 0"),
        ({"neighbors": -1}, "neighbors must be at least 0 and finite, got -1"),
        ({"negatives": -2.0}, "negatives must be at least 0 and finite, got -2.0"),
        ({"proximity": float("nan")}, "proximity must be at least 0 and finite, got nan"),
        ({"threshold": -0.5}, "threshold must be at least 0 and finite, got -0.5"),
        ({"max_relations": -1}, "max_relations must be at least 0 and finite, got -1"),
    ],
)
def test_settings_outside_their_range(setting, message):
    with pytest.raises(ValueError, match=message):
        make(**setting)


def test_messages():
    x, graph = hetero_case()
    fewer = {kind: part for kind, part in graph.items() if kind[1] != "writes"}
    with pytest.raises(ValueError, match="the graph has no edges author-writes-paper, not even"):
        make().prepare(x, fewer)
    with pytest.raises(ValueError, match="no node type 'papper'; did you mean 'paper'"):
        LATTE((["paper"], []), "papper", {"paper": 3}, {"paper": 5}, 2)
    with pytest.raises(ValueError, match="layer 1 has 5 meta relations, more than max_relations=4"):
        make(prune=False, max_relations=4)

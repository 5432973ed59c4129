"""Joins of LATTE: once by structure, or in every step from what was attended to."""

import torch
from hetero_checks import hetero_case
from toy_hetero import hetero_dataset

from graphlearn.knobs import build
from graphlearn.models import LATTE
from graphlearn.ops.compose import compose


def make(**settings):
    return build(LATTE, hetero_dataset(), **{"hidden": 8} | settings)


def test_joins_are_made_once_and_in_two_steps():
    x, graph = hetero_case()
    model = make(orders=3, neighbors=0)
    ready = model.prepare(x, graph)
    assert [len(part) for part in ready.layers] == [len(found) for found in model.paths]
    path = ("paper", "printed_in", "venue", "prints", "paper")
    first = graph["venue", "prints", "paper"]
    want = compose(first, graph["paper", "printed_in", "venue"])
    assert torch.equal(ready.layers[1][path].col, want.col)
    torch.testing.assert_close(ready.layers[1][path].weight, want.weight)
    longer = ("editor", "runs", "venue", "prints", "paper")
    assert longer in ready.layers[1] and longer not in ready.layers[0]
    cut = make(neighbors=3).prepare(x, graph).layers[1][path]
    assert int(cut.ptr.diff().max()) == 3


def test_a_dynamic_join_keeps_what_is_attended_to():
    x, graph = hetero_case()
    model = make(join="dynamic", threshold=0.5, neighbors=0).eval()
    with torch.no_grad():
        first, second = model.traced(x, model.prepare(x, graph))[1]
    path = ("paper", "written_by", "author", "writes", "paper")
    alpha, part = first.alpha[path[2:]].max(1).values, first.graph[path[2:]]
    kept = alpha >= 0.5
    assert 0 < int(kept.sum()) < len(kept)
    dense = torch.zeros(60, 24)
    dense[part.rows()[kept], part.col[kept].long()] = alpha[kept]
    other = torch.zeros(24, 60)
    back = graph[path[:3]]
    other[back.rows(), back.col.long()] = 1
    total = dense.sum(0) + other.sum(1)
    want = dense @ torch.diag(1 / total.clamp(min=1e-9)) @ other
    found = second.graph[path]
    got = torch.zeros(60, 60)
    got[found.rows(), found.col.long()] = found.weight
    torch.testing.assert_close(got, want)


def test_samples_of_dynamic_joins_are_drawn_in_training_alone():
    x, graph = hetero_case()
    model = make(join="dynamic", sample=True, threshold=0.0, neighbors=0)
    ready = model.prepare(x, graph)
    size = lambda trace: {path: part.num_entries for path, part in trace.graph.items()}  # noqa: E731
    with torch.no_grad():
        torch.manual_seed(0)
        one, two = (model.traced(x, ready)[1][1] for _ in range(2))
        torch.manual_seed(0)
        again = model.traced(x, ready)[1][1]
    path = ("paper", "printed_in", "venue", "prints", "paper")
    assert size(one) == size(two) and size(one)[path] == 60
    assert not torch.equal(one.graph[path].col, two.graph[path].col)
    assert torch.equal(one.graph[path].col, again.graph[path].col)

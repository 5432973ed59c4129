"""The proximity loss: against its sum written out, where gradients go, and odd graphs."""

import math

import pytest
import torch
from hetero_checks import hetero_case
from toy_hetero import hetero_dataset

from graphlearn.knobs import build
from graphlearn.models import LATTE
from graphlearn.models.latte_conv import LATTEConv, Trace
from graphlearn.models.proximity import proximity_loss
from graphlearn.ops import CSR
from graphlearn.sampling.batches import fold
from graphlearn.sampling.negatives import absent

PATH = ("author", "writes", "paper")


def case(weight=None):
    torch.manual_seed(0)
    conv = LATTEConv(4, [PATH], ["paper"], heads=2)
    edges = torch.tensor([[0, 0, 1, 3], [0, 1, 1, 2]])
    graph = CSR.from_edge_index(edges, 4, num_cols=3, weight=weight)
    h = {"paper": torch.randn(4, 4), "author": torch.randn(3, 4)}
    return conv, h, conv(h, {PATH: graph})[1]


def loss(conv, trace, **options):
    options = {"negatives": 1.0, "seed": 5} | options
    return proximity_loss(trace.graph, trace.ends, conv.logits, **options)


def written_out(conv, trace, weight, seed=5):
    left, right = (one.detach() for one in trace.ends[PATH])
    graph = trace.graph[PATH]

    def logit(i, j):
        best = float((left[i] + right[j]).max())
        return float(conv.scale[0].detach()) * (best if best > 0 else 0.2 * best)

    linked = list(zip(graph.rows().tolist(), graph.col.tolist(), strict=True))
    other = torch.stack(absent(graph, 4, seed=fold(seed, 0))).T.tolist()
    assert not set(map(tuple, other)) & set(linked)
    positive = [w * math.log1p(math.exp(-logit(*ij))) for w, ij in zip(weight, linked, strict=True)]
    negative = [math.log1p(math.exp(logit(*ij))) for ij in other]
    return (sum(positive) / 4 + sum(negative) / 4) / 2


def test_equals_the_sum_written_out():
    conv, _, trace = case()
    assert float(loss(conv, trace).detach()) == pytest.approx(written_out(conv, trace, [1] * 4))
    conv, _, trace = case(torch.tensor([1.0, 3.0, 5.0, 7.0]))
    want = written_out(conv, trace, [0.5, 1.5, 1.0, 1.0])  # over the mean of the row
    assert float(loss(conv, trace).detach()) == pytest.approx(want)
    alpha = trace.alpha[PATH].detach().max(1).values.tolist()
    found = float(loss(conv, trace, weights=trace.alpha).detach())
    assert found == pytest.approx(written_out(conv, trace, alpha))


def test_the_attention_itself_gets_a_gradient_only_where_that_is_asked_for():
    for trained in (False, True):
        conv, _, trace = case()
        alpha = trace.alpha[PATH].detach().requires_grad_()
        loss(conv, trace, weights={PATH: alpha} if trained else None).backward()
        assert (alpha.grad is not None) == trained
        assert conv.attn_left.grad.any() and conv.scale.grad.any()


def test_relations_without_entries_and_full_ones():
    conv, h, _ = case()
    none = CSR.from_edge_index(torch.empty(2, 0).long(), 4, num_cols=3)
    assert float(loss(conv, conv(h, {PATH: none})[1])) == 0
    full = CSR.from_edge_index(torch.ones(4, 3).nonzero().T, 4, num_cols=3)
    found = float(loss(conv, conv(h, {PATH: full})[1]).detach())
    assert math.isfinite(found) and found > 0
    assert float(loss(conv, Trace({}, {}, {}, {}))) == 0


def test_the_seed_alone_decides_the_pairs():
    x, graph = hetero_case()
    model = build(LATTE, hetero_dataset(), hidden=8, proximity=1.0).eval()
    ready = model.prepare(x, graph)
    with torch.no_grad():
        (z, one), (_, two), (_, other) = (model.learn(x, ready, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(z, model(x, ready))
    assert one == two and one != other
    model.proximity = 3.0
    torch.testing.assert_close(model.learn(x, ready, seed=1)[1].detach(), 3 * one)


def test_learning_beats_chance():
    x, graph = hetero_case()
    torch.manual_seed(0)
    model = build(LATTE, hetero_dataset(), hidden=8, proximity=1.0)
    ready, seen = model.prepare(x, graph), []
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(60):
        extra = model.learn(x, ready, seed=step)[1]
        optimizer.zero_grad()
        extra.backward()
        optimizer.step()
        seen.append(float(extra.detach()))
    # Logits of zero cost log 2 in each of the two layers.
    assert sum(seen[-10:]) / 10 < 0.95 * 2 * math.log(2) < sum(seen[:10]) / 10

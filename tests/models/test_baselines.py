"""Heuristics against sets and published values; auto-encoders as link models."""

import math

import pytest
import torch
from link_checks import check_link_model, random_graph

from graphlearn.models.baselines import GAE, Heuristic

KINDS = ["cn", "aa", "ra", "jaccard", "degree"]


@pytest.mark.parametrize("kind", KINDS)
def test_heuristics_equal_sets(kind):
    graph = random_graph()
    near = [set(graph.col[a:b].tolist()) for a, b in zip(graph.ptr, graph.ptr[1:], strict=False)]
    degree = [len(row) for row in near]
    pairs = torch.randint(30, (2, 60), generator=torch.Generator().manual_seed(0))
    model = Heuristic(30, kind=kind)
    out = model.score(model.encode(torch.zeros(30, 1), graph), graph, pairs)
    for (i, j), score in zip(pairs.t().tolist(), out.tolist(), strict=True):
        common = near[i] & near[j]
        expected = {
            "cn": len(common),
            "aa": sum(1 / math.log(degree[u]) for u in common if degree[u] > 1),
            "ra": sum(1 / degree[u] for u in common),
            "jaccard": len(common) / max(len(near[i] | near[j]), 1),
            "degree": degree[i] * degree[j],
        }[kind]
        assert score == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_heuristics_are_link_models(kind):
    check_link_model(lambda: Heuristic(30, kind=kind))


@pytest.mark.parametrize("encoder", ["gcn", "graphsage", "none"])
def test_auto_encoders_are_link_models(encoder):
    check_link_model(lambda: GAE(7, hidden=8, encoder=encoder), tolerance=1e-4)

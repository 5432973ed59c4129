"""Purification: what it does to real and toy graphs, memory, messages."""

import subprocess
import sys
from functools import partial

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import Compose

import graphlearn as gl
from graphlearn.models.purification import Purification, purify
from graphlearn.ops import CSR
from graphlearn.ops.rows import feature_rows


def attacked(nodes: int = 60, seed: int = 0) -> Data:
    """Two groups with features of their own, and a few edges between them."""
    made = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % 2
    x = (torch.rand(nodes, 40, generator=made) < 0.15).float()
    half = torch.arange(40) < 20
    x = torch.where(half == (y[:, None] == 0), (x + 0.4).round().clamp(max=1), x * 0)
    x += (torch.rand(nodes, 40, generator=made) < 0.15).float()
    ends = torch.randint(nodes, (2, 400), generator=made)
    inside = y[ends[0]] == y[ends[1]]
    edges = torch.cat([ends[:, inside][:, :120], ends[:, ~inside][:, :40]], 1)
    graph = CSR.from_edge_index(edges, nodes, undirected=True)
    index = torch.stack([graph.rows(), graph.col.long()])
    return Data(x=x.clamp(max=1), edge_index=index, y=y)


def small(channels: int = 40, **settings) -> Purification:
    torch.manual_seed(0)
    return Purification(channels, **{"hidden": 32, **settings})


def test_edges_between_classes_go():
    data = attacked()
    out = purify(data, small(t2=0.9, k=0), epochs=60)
    assert out.stats.removed > 0 == out.stats.added
    assert out.stats.homophily_after > out.stats.homophily_before + 0.1


def test_what_comes_out():
    data = attacked()
    out = purify(data, small(t2=0.3, k=3), epochs=5)
    stats = out.stats
    assert stats.added > 0
    assert out.h.shape == (60, 32) and not out.h.requires_grad
    assert torch.equal(out.x, data.x) and torch.equal(out.y, data.y)
    assert out.is_undirected() and not out.has_self_loops()
    change = out.edge_index.shape[1] - data.edge_index.shape[1]
    assert change == 2 * (stats.added - stats.removed)


def test_it_is_a_transform_and_the_seed_decides():
    data = attacked()
    clean = Compose([partial(purify, epochs=5, seed=1)])
    torch.manual_seed(0)
    one, two = clean(data.clone()), clean(data.clone())
    assert torch.equal(one.edge_index, two.edge_index) and torch.equal(one.h, two.h)
    assert not torch.equal(purify(data, epochs=5, seed=2).h, one.h)
    assert one.h.shape[1] == 512


@pytest.mark.data
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.15, 0.2, 0.25])
def test_homophily_of_the_benchmark_rises(rate, data_root):
    data = gl.load("robust_cora", root=data_root, rate=rate).data
    torch.manual_seed(0)
    out = purify(data, Purification(1433, hidden=128, t2=0.2, k=0), epochs=60)
    assert out.stats.homophily_after > out.stats.homophily_before + 0.01


def test_the_default_of_the_first_threshold_depends_on_the_features():
    graph = CSR.from_edge_index(attacked().edge_index, 60, undirected=True)
    x = attacked().x
    removed = {}
    for name, form in (
        ("binary", x), ("real", x * 0.7), ("identity", torch.eye(60)),
    ):  # fmt: skip
        removed[name] = small(form.shape[1]).rough(feature_rows(form), graph)[1].shape[1]
    assert removed["binary"] > 0 == removed["real"] == removed["identity"]
    assert small(60, t1=0.03).rough(torch.eye(60), graph)[1].shape[1] == 0
    assert small(t1=0.03).rough(x * 0.7, graph)[1].shape[1] == removed["binary"]
    likely = small(t1=0.5, similarity="cosine").rough(x, graph)[1].shape[1]
    assert removed["binary"] < likely < graph.num_entries // 2


def test_dense_and_sparse_features_give_the_same():
    data, model = attacked(), small()
    graph = CSR.from_edge_index(data.edge_index, 60, undirected=True)
    one, two = model.refine(data.x, graph), model.refine(feature_rows(data.x), graph)
    torch.testing.assert_close(one.h, two.h)
    assert one.stats == two.stats and torch.equal(one.graph.col, two.graph.col)


MEMORY = """
import resource, torch
from torch_geometric.data import Data
from graphlearn.models.purification import Purification, purify
from graphlearn.ops import CSR

torch.set_num_threads(1)
def data(nodes):
    edges = torch.randint(nodes, (2, 3 * nodes))
    graph = CSR.from_edge_index(edges, nodes, undirected=True)
    at = torch.stack([torch.arange(nodes).repeat_interleave(10), torch.randint(500, (10 * nodes,))])
    x = torch.sparse_coo_tensor(at, torch.ones(10 * nodes), (nodes, 500)).coalesce()
    x = torch.sparse_coo_tensor(x.indices(), torch.ones(x._nnz()), (nodes, 500))
    return Data(x=x, edge_index=torch.stack([graph.rows(), graph.col.long()]), num_nodes=nodes)

model = Purification(500, hidden=32)
purify(data(200), model, epochs=1)
big = data(20_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
purify(big, model, epochs=1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.slow
def test_nothing_as_large_as_all_pairs_is_made():
    """All pairs of 20,000 nodes would take 1600 MiB in floats and 400 in bits."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 600, done.stdout


def test_messages():
    data = attacked()
    x = data.x
    for change, message in (
        ({"x": None}, "purification compares features, but data.x is missing"),
        ({"x": 0 * x}, "all features are zero, which tells no node from another; give each"),
        ({"edge_weight": torch.ones(data.num_edges)}, "edges without weights, got edge_weight"),
        ({"edge_index": data.edge_index[:, 1:]}, "both directions, but 1 lack one; see torch_g"),
    ):
        wrong = data.clone()
        for name, value in change.items():
            wrong[name] = value
        wrong.num_nodes = 60
        with pytest.raises(ValueError, match=message):
            purify(wrong, small(), epochs=1)
    entry, weight = data.edge_index, torch.ones(data.num_edges)
    with pytest.raises(ValueError, match="needs a plain undirected graph, got a weighted one"):
        small().pretraining(x, CSR.from_edge_index(entry, 60, weight=weight))
    with pytest.raises(ValueError, match="plain undirected graph, got one that is not symmetric"):
        small().pretraining(x, CSR.from_edge_index(entry[:, 1:], 60))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"t1": 1.5}, r"t1 must lie in \[0, 1\], got 1.5"),
        ({"t2": -1.5}, r"t2 must lie in \[-1, 1\], got -1.5"),
        ({"min_sim": 2.0}, r"min_sim must lie in \[-1, 1\], got 2.0"),
        ({"recover": 1.1}, r"recover must lie in \[0, 1\], got 1.1"),
        ({"k": -1}, "k must be at least 0 and finite, got -1"),
        ({"views": 0}, "views must be at least 1 and finite, got 0"),
        ({"hidden": 0}, "hidden must be at least 1 and finite, got 0"),
        ({"beta": float("nan")}, "beta must be at least 0 and finite, got nan"),
        ({"degree_threshold": -1}, "degree_threshold must be at least 0 and finite, got -1"),
        ({"view_extra_loop": -1.0}, "view_extra_loop must be at least 0 and finite, got -1.0"),
    ],
)
def test_ranges(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)

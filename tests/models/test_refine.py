"""What similarity takes from a graph and adds to it."""

from dataclasses import replace

import pytest
import torch
from checks import vectors

import graphlearn as gl
from graphlearn.models.refine import add_nearest, entries, prune_edges
from graphlearn.ops import CSR
from graphlearn.ops.adjacency import edges_once
from graphlearn.ops.rows import feature_rows

# Undirected edges of robust_cora, and how many have a Jaccard below 0.01, 0.02, ..., 0.05.
GOLDEN = {
    0.0: (5069, (548, 548, 1015, 1203, 1561)),
    0.05: (5322, (671, 671, 1191, 1391, 1767)),
    0.1: (5567, (790, 790, 1374, 1584, 1970)),
    0.15: (5809, (864, 864, 1518, 1750, 2155)),
    0.2: (6040, (986, 986, 1706, 1942, 2388)),
    0.25: (6246, (1042, 1042, 1832, 2106, 2555)),
}
DIFFERENT = {0.0: 259, 0.05: 405, 0.1: 564, 0.15: 715, 0.2: 915, 0.25: 1024}


def graph_of(edges, nodes):
    return CSR.from_edge_index(torch.tensor(edges).T, nodes, undirected=True)


def dense(graph: CSR) -> torch.Tensor:
    out = torch.zeros(graph.num_rows, graph.num_cols)
    value = graph.values()
    out[graph.rows(), graph.col.long()] = 1.0 if value is None else value.detach()
    return out


TOY = graph_of([(0, 1), (1, 2), (2, 3), (0, 3)], 5)
H = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.7, 0.7], [0.1, 0.9]])
PUBLISHED = {"exclude_self": False, "symmetrize": False}


@pytest.mark.data
@pytest.mark.parametrize("rate", GOLDEN)
def test_published_counts(rate, data_root):
    data = gl.load("robust_cora", root=data_root, rate=rate).data
    graph, x = CSR.from_edge_index(data.edge_index, 2485, undirected=True), feature_rows(data.x)
    edges, counts = GOLDEN[rate]
    assert edges_once(graph).shape[1] == edges
    for t1, count in zip((0.01, 0.02, 0.03, 0.04, 0.05), counts, strict=True):
        kept, gone = prune_edges(graph, x, t1, similarity="jaccard", strict=True)
        assert gone.shape[1] == count
        assert int(kept.degree().sum()) == 2 * (edges - count)
        if t1 == 0.03:
            assert int((data.y[gone[0]] != data.y[gone[1]]).sum()) == DIFFERENT[rate]


def test_an_edge_at_the_threshold_stays_if_the_rule_is_strict():
    x = torch.tensor([[1.0, 1, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]])
    graph = graph_of([(0, 1), (1, 2), (2, 3)], 4)
    for strict, left in ((True, [[0, 2], [1, 3]]), (False, [[], []])):
        kept, gone = prune_edges(graph, x, 0.5, similarity="jaccard", strict=strict)
        assert edges_once(kept).tolist() == left
        assert gone.shape[1] == 3 - len(left[0])
        assert kept.symmetric


@pytest.mark.parametrize("similarity", ["jaccard", "cosine"])
def test_a_directed_graph_is_pruned_entry_by_entry(similarity):
    graph = CSR.from_edge_index(torch.tensor([[0, 2, 2, 1], [1, 0, 1, 1]]), 3)
    graph = replace(graph, keep=torch.tensor([True, True, False, True]))
    x = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    kept, gone = prune_edges(graph, x, 0.5, similarity=similarity, strict=True)
    assert gone.tolist() == [[2], [1]]
    assert dense(kept).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]  # the loop stays


def test_weights_and_their_gradients_stay():
    weight = torch.tensor([0.5, 2.0, 3.0], requires_grad=True)
    graph = CSR.from_edge_index(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3, weight=weight)
    x = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    kept, _ = prune_edges(graph, x, 0.5, similarity="cosine", strict=False)
    out = add_nearest(kept, x, 1, degree_threshold=0)
    assert dense(out)[0, 1] == 0.5
    out.weight.sum().backward()
    assert weight.grad.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("k", "rows"),
    [
        (0, ["01010", "10100", "01010", "10100", "00000"]),
        (2, ["01010", "10100", "01010", "11100", "00110"]),
        (3, ["01010", "10110", "01010", "11100", "01110"]),
    ],
)
def test_published_insertion(k, rows):
    found = dense(add_nearest(TOY, H, k, **PUBLISHED)).int().tolist()
    assert ["".join(map(str, row)) for row in found] == rows


def test_options_of_the_insertion():
    h = vectors(30, 4).detach()
    drawn = torch.randint(30, (2, 60), generator=torch.Generator().manual_seed(0))
    graph = CSR.from_edge_index(drawn, 30, undirected=True)
    old, unit = dense(graph), torch.nn.functional.normalize(h, dim=1)
    sim = unit @ unit.T
    plenty = (old.sum(1) > 3).expand(30, 30)
    for existing in (False, True):
        allowed = plenty & ~torch.eye(30, dtype=torch.bool)
        allowed = allowed & (old == 0) if existing else allowed
        best = sim.masked_fill(~allowed, -9).topk(3).indices
        new = torch.zeros(30, 30).scatter(1, best, 1.0)
        options = {"degree_threshold": 3, "exclude_existing": existing}
        one_way = add_nearest(graph, h, 3, symmetrize=False, **options)
        assert torch.equal(dense(one_way), old.maximum(new))
        assert not one_way.symmetric
        both = add_nearest(graph, h, 3, **options)
        assert torch.equal(dense(both), old.maximum(new).maximum(new.T))
        assert both.symmetric and both.weight is None
        near = add_nearest(graph, h, 3, symmetrize=False, min_sim=0.8, **options)
        assert torch.equal(dense(near), old.maximum(new * (sim > 0.8)))


def test_entries_switched_off_may_be_found_again():
    pruned = TOY.without(torch.tensor([[0], [3]]))
    assert dense(add_nearest(pruned, H, 0)).tolist() == dense(pruned).tolist()
    again = add_nearest(pruned, H, 4, degree_threshold=0, exclude_existing=True)
    assert dense(again)[0, 3] == dense(again)[3, 0] == 1
    assert int(again.degree().sum()) == again.num_entries


def test_a_vector_of_zeros_is_like_none():
    h = H.clone()
    h[4] = 0
    assert dense(add_nearest(TOY, h, 2))[4].sum() == 0


def test_entries_leave_loops_and_what_is_off():
    graph = CSR.from_edge_index(torch.tensor([[0, 0, 1], [0, 1, 0]]), 2)
    assert entries(graph).tolist() == [[0, 1], [1, 0]]
    assert entries(graph.without(torch.tensor([[1], [0]]))).tolist() == [[0], [1]]

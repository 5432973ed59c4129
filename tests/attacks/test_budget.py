"""The parts of all attacks: the graph that is accepted, the budget, removals, the result."""

import hypothesis.strategies as st
import pytest
import torch
from attack_cases import attacked_graph, check_result, graphs, pairs_of
from hypothesis import given
from torch_geometric.data import Data

from graphlearn.attacks.budget import (
    changes,
    flipped,
    graph_of,
    labels_of,
    may_go,
    removable,
    shuffled,
    steady,
)
from graphlearn.ops.adjacency import edges_once
from graphlearn.sampling.negatives import uniform

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def test_edges_may_come_in_any_order():
    data = attacked_graph()
    graph = graph_of(data)
    order = torch.randperm(data.num_edges, generator=torch.Generator().manual_seed(0))
    mixed = graph_of(Data(edge_index=data.edge_index[:, order], num_nodes=60))
    assert torch.equal(graph.col, mixed.col) and torch.equal(graph.ptr, mixed.ptr)
    assert torch.equal(torch.stack([graph.rows(), graph.col.long()]), data.edge_index)
    assert graph.symmetric and graph.weight is None


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (None, r"an attack needs data.edge_index of shape \(2, E\), got None"),
        (torch.zeros(3, 2).long(), r"an attack needs data.edge_index of shape \(2, E\), got \(3"),
        ([[0, 1], [1, 2]], "needs each edge in both directions, but 2 lack their opposite; see"),
        ([[0, 1, 1], [1, 0, 1]], "needs edges between different nodes, got 1 self loops; see"),
        ([[0, 1, 0], [1, 0, 1]], "needs each edge once in each direction, but 1 are repeated"),
        ([[0, 3], [3, 0]], r"node ids must lie in \[0, 3\), got 0 to 3"),
    ],
)
def test_graphs_that_are_not_plain(edges, message):
    edges = torch.tensor(edges) if isinstance(edges, list) else edges
    with pytest.raises(ValueError, match=message):
        graph_of(Data(edge_index=edges, num_nodes=3))


@pytest.mark.parametrize("name", ["edge_weight", "edge_attr"])
def test_weights_are_refused(name):
    data = Data(edge_index=PATH, num_nodes=3, **{name: torch.ones(4)})
    with pytest.raises(ValueError, match=f"flips plain edges, but data has {name}; remove it"):
        graph_of(data)


def test_labels_must_be_there():
    with pytest.raises(ValueError, match=r"X needs labels, but data.y is missing"):
        labels_of(Data(edge_index=PATH, num_nodes=3), "X")
    for y in (torch.zeros(3), torch.zeros(2).long(), torch.zeros(3, 1).long()):
        with pytest.raises(ValueError, match=r"X needs data.y with 3 whole numbers, got \w+ of "):
            labels_of(Data(edge_index=PATH, num_nodes=3, y=y), "X")


@pytest.mark.parametrize(
    ("budget", "edges", "count"),
    [
        (0, 9, 0),
        (7, 3, 7),
        (0.0, 9, 0),
        (0.29, 100, 29),
        (0.05, 5069, 253),
        (0.99, 1, 0),
        (2.0, 5, 10),
    ],
)
def test_a_share_is_rounded_down(budget, edges, count):
    assert changes(budget, edges) == count


@pytest.mark.parametrize("budget", [-1, -0.1, float("nan"), float("inf"), True])
def test_budgets_that_are_none(budget):
    with pytest.raises(ValueError, match=f"budget must be a number of edges or .*, got {budget}"):
        changes(budget, 10)


@given(graphs(), st.integers(0, 99), st.integers(0, 30), st.booleans())
def test_removals_equal_those_one_by_one(data, seed, count, isolate):
    graph = graph_of(data)
    pairs = shuffled(graph, torch.Generator().manual_seed(seed))
    degree, expected = graph.degree().tolist(), []
    for i, j in pairs.T.tolist():
        fine = isolate or min(degree[i], degree[j]) > 1
        expected.append(fine)
        degree[i] -= fine
        degree[j] -= fine
    found = may_go(pairs, graph.degree(), isolate=isolate)
    assert found.tolist() == expected
    some = removable(pairs, graph.degree(), count, isolate=isolate)
    assert torch.equal(some, pairs[:, found][:, :count])


def test_removals_of_a_large_graph_equal_those_one_by_one():
    data = attacked_graph(nodes=3000, degree=2)
    graph = graph_of(data)
    pairs = shuffled(graph, torch.Generator().manual_seed(1))
    degree, expected = graph.degree().tolist(), []
    for i, j in pairs.T.tolist():
        expected.append(min(degree[i], degree[j]) > 1)
        degree[i] -= expected[-1]
        degree[j] -= expected[-1]
    assert may_go(pairs, graph.degree()).tolist() == expected
    first = removable(pairs, graph.degree(), 50)
    assert torch.equal(first, pairs[:, torch.tensor(expected)][:, :50])


def test_the_result_is_sorted_and_names_the_smaller_end_first():
    data = attacked_graph()
    graph = graph_of(data)
    removed = edges_once(graph)[:, [9, 2]].flip(0)
    added = uniform(graph, 2, seed=0, undirected=True)
    result = flipped(graph, added.flip(0), removed)
    check_result(data, result, 4)
    assert pairs_of(result.added) == pairs_of(added)
    assert pairs_of(result.removed) == pairs_of(removed.flip(0))


def test_threads_are_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with steady(torch.device("cpu")):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)

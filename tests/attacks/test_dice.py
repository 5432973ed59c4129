"""DICE: what it removes and adds, and that both kinds stand in for each other."""

import hypothesis.strategies as st
import pytest
import torch
from attack_cases import attacked_graph, check_result, graphs
from hypothesis import given
from torch_geometric.data import Data

from graphlearn.attacks.dice import DICEAttack


def check_classes(data, result):
    y = data.y
    assert (y[result.removed[0]] == y[result.removed[1]]).all()
    assert (y[result.added[0]] != y[result.added[1]]).all()
    for ends in (result.added, result.removed):
        assert (y[ends] >= 0).all()


@pytest.mark.parametrize("budget", [0, 1, 0.1, 0.5, 33])
def test_the_budget_is_exact(budget):
    data = attacked_graph()
    data.y[::7] = -1
    result = DICEAttack().attack(data, budget, seed=2)
    edges = data.num_edges // 2
    check_result(data, result, budget if isinstance(budget, int) else int(budget * edges))
    check_classes(data, result)


@given(graphs(), st.integers(0, 40), st.booleans(), st.integers(0, 9))
def test_small_graphs_give_the_budget_or_say_why_not(data, count, isolate, seed):
    y, (row, col) = data.y, data.edge_index
    known = (y[row] >= 0) & (y[col] >= 0)
    inner = int((known & (y[row] == y[col])).sum()) // 2
    u, v = torch.triu_indices(len(y), len(y), 1)
    cross = int(((y[u] != y[v]) & (y[u] >= 0) & (y[v] >= 0)).sum())
    free = cross - int((known & (y[row] != y[col])).sum()) // 2
    try:
        result = DICEAttack(isolate=isolate).attack(data, count, seed=seed)
    except ValueError as error:
        assert count > free + (inner if isolate else 0)
        assert f"{count} edges are to be changed, but only" in str(error)
        assert f"and {free} across classes could come" in str(error)
        return
    assert count <= free + inner
    check_result(data, result, count, isolate=isolate)
    check_classes(data, result)


def test_half_of_the_changes_are_removals():
    data = attacked_graph(nodes=300, degree=10)
    removed = sum(DICEAttack().attack(data, 100, seed=s).removed.shape[1] for s in range(50))
    assert abs(removed - 2500) < 5 * (5000 * 0.25) ** 0.5


@pytest.mark.parametrize(("classes", "count"), [([1, 1, 1, 1, 2], 2), ([1, 2, 5], 3), ([4, 4], 9)])
def test_every_pair_across_classes_is_as_likely(classes, count):
    """Without edges nothing can be removed, so that all of the budget is added."""
    y = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(classes))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    data = Data(edge_index=torch.empty(2, 0).long(), y=y[order], num_nodes=len(y))
    runs, found = 400, torch.zeros(len(y), len(y))
    for seed in range(runs):
        added = DICEAttack().attack(data, count, seed=seed).added
        found[added[0], added[1]] += 1
    u, v = torch.triu_indices(len(y), len(y), 1)
    across = data.y[u] != data.y[v]
    expected = count * runs / int(across.sum())
    assert not found[u, v][~across].any()
    assert ((found[u, v][across] - expected).abs() < 5 * expected**0.5).all()


def test_the_seed_decides():
    data = attacked_graph()
    one, same, other = (DICEAttack().attack(data, 0.3, seed=s).edge_index for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_without_labels_there_is_no_attack():
    data = attacked_graph()
    data.y = None
    with pytest.raises(ValueError, match=r"DICEAttack needs labels, but data.y is missing"):
        DICEAttack().attack(data, 1)


def test_what_cannot_be_changed_is_said():
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([0, 0, 1]), num_nodes=3)
    with pytest.raises(ValueError, match="3 edges are to be changed, but only 0 within classes co"):
        DICEAttack().attack(data, 3)
    assert DICEAttack(isolate=True).attack(data, 3).edge_index.tolist() == [
        [0, 1, 2, 2],
        [2, 2, 0, 1],
    ]

"""Self loops and normalisations, against dense matrices and PyG."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm as pyg_norm

from graphlearn.ops.adjacency import edges_once, gcn_norm, power_norm, row_sums, with_loops
from graphlearn.ops.csr import CSR

TOY = torch.tensor([[0, 0, 1, 1], [1, 2, 2, 3]])  # robust.md: edges 01, 02, 12, 13
SQUARE = torch.tensor([[0, 1, 2, 0], [1, 2, 3, 3]])  # edges 01, 12, 23, 03


def dense(graph: CSR) -> torch.Tensor:
    out = torch.zeros(graph.num_rows, graph.num_cols)
    value = graph.values()
    out[graph.rows(), graph.col.long()] = torch.ones(graph.num_entries) if value is None else value
    return out


def graph(edges: torch.Tensor = TOY, nodes: int = 4) -> CSR:
    return CSR.from_edge_index(edges, nodes, undirected=True)


def test_loops_are_put_where_there_are_none():
    some = CSR.from_edge_index(
        torch.tensor([[0, 0, 2], [0, 1, 1]]), 3, weight=torch.tensor([5.0, 1.0, 2.0])
    )
    looped = with_loops(some, 0.5)
    expected = torch.tensor([[5.0, 1, 0], [0, 0.5, 0], [0, 2, 0.5]])
    assert torch.equal(dense(looped), expected)
    assert with_loops(graph()).weight is None and with_loops(graph()).symmetric
    assert torch.equal(dense(with_loops(graph())), dense(graph()) + torch.eye(4))


def test_entries_that_are_switched_off_are_gone():
    less = graph().without(torch.tensor([[0], [1]]))
    assert torch.equal(dense(with_loops(less)), dense(less) + torch.eye(4))
    torch.testing.assert_close(row_sums(less), dense(less).sum(1))
    heavy = replace(less, weight=torch.full((less.num_entries,), 2.0))
    torch.testing.assert_close(row_sums(heavy), 2 * dense(less).sum(1))
    torch.testing.assert_close(dense(with_loops(heavy)), dense(heavy) + torch.eye(4))


def test_the_weighted_loops_of_the_contrastive_views():
    first = dense(gcn_norm(graph(), loops=2.0))[0]
    torch.testing.assert_close(first, torch.tensor([0.5, 0.22361, 0.25, 0]), atol=1e-5, rtol=0)
    first = dense(gcn_norm(graph(), loops=3.0))[0]
    torch.testing.assert_close(first, torch.tensor([0.6, 0.18257, 0.2, 0]), atol=1e-5, rtol=0)


def test_the_normalisation_equals_that_of_pyg():
    generator = torch.Generator().manual_seed(0)
    some = CSR.from_edge_index(torch.randint(20, (2, 60), generator=generator), 25, undirected=True)
    edges = torch.stack([some.rows(), some.col.long()])
    index, weight = pyg_norm(edges, None, 25, dtype=torch.float32)
    expected = torch.zeros(25, 25)
    expected[index[0], index[1]] = weight
    torch.testing.assert_close(dense(gcn_norm(some)), expected)
    half = power_norm(some, -0.5)
    assert half.symmetric
    torch.testing.assert_close(dense(half), expected)


def test_without_loops_an_isolated_node_stays_zero():
    alone = CSR.from_edge_index(torch.tensor([[0], [1]]), 3, undirected=True)
    for norm in (gcn_norm(alone, loops=0.0), power_norm(alone, 0.3, loops=0.0)):
        assert dense(norm)[2].eq(0).all() and dense(norm).isfinite().all()


@pytest.mark.parametrize(
    ("alpha", "zero", "one"),
    [
        (0.6, (0.31364, 0.37273, 0.31364, 0), (0.25173, 0.29916, 0.25173, 0.19737)),
        (-0.3, (0.34278, 0.31444, 0.34278, 0), (0.24712, 0.22668, 0.24712, 0.27908)),
        (2.0, (0.26471, 0.47059, 0.26471, 0), None),
    ],
)
def test_powers_of_the_degree(alpha, zero, one):
    out = dense(power_norm(graph(), alpha))
    torch.testing.assert_close(out[0], torch.tensor(zero), atol=1e-5, rtol=0)
    if one is not None:
        torch.testing.assert_close(out[1], torch.tensor(one), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.sum(1), torch.ones(4))


def test_rows_are_divided_only_where_that_is_asked_for():
    total = dense(with_loops(graph())).sum(1)
    raw = (total[:, None] * total[None]) ** 0.3 * dense(with_loops(graph()))
    torch.testing.assert_close(dense(power_norm(graph(), 0.3, row_normalize=False)), raw)
    whole = dense(power_norm(graph(), -0.5, row_normalize=True))
    torch.testing.assert_close(whole.sum(1), torch.ones(4))


def test_large_powers_stay_finite():
    star = CSR.from_edge_index(
        torch.stack([torch.zeros(999, dtype=torch.long), torch.arange(1, 1000)]), 1000,
        undirected=True,
    )  # fmt: skip
    out = power_norm(star, 30.0)
    assert out.weight.isfinite().all()
    torch.testing.assert_close(row_sums(out), torch.ones(1000))


@pytest.mark.parametrize("norm", [gcn_norm, lambda g: power_norm(g, 0.7)])
def test_gradients_reach_the_weights(norm):
    some = graph(SQUARE)
    weight = (torch.arange(some.num_entries, dtype=torch.float64) / 7 + 0.5).requires_grad_()

    def values(weight: torch.Tensor) -> torch.Tensor:
        return norm(replace(some, weight=weight, symmetric=False)).weight

    assert torch.autograd.gradcheck(values, weight)


def test_every_edge_once():
    assert edges_once(graph()).tolist() == TOY.tolist()
    assert edges_once(with_loops(graph())).tolist() == TOY.tolist()
    assert edges_once(graph().without(TOY[:, :1])).tolist() == TOY[:, 1:].tolist()


def test_a_matrix_must_be_square():
    wide = CSR.from_edge_index(torch.tensor([[0], [2]]), 2, num_cols=3)
    with pytest.raises(ValueError, match="must be square, got 2 rows and 3 columns"):
        gcn_norm(wide)


def test_large_negative_powers_stay_finite():
    ends = torch.stack([torch.zeros(200, dtype=torch.long), torch.arange(1, 201)])
    out = power_norm(CSR.from_edge_index(ends, 201, undirected=True), -20.0)
    assert out.weight.isfinite().all()
    torch.testing.assert_close(row_sums(out), torch.ones(201))

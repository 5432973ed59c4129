"""The graph type: how it is built, thinned, transposed and moved."""

import pytest
import torch
from checks import CASES, link_cases
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.ops import CSR, contains


def dense(graph):
    """The matrix, zero where nothing is kept."""
    out = torch.zeros(graph.num_rows, graph.num_cols, dtype=torch.float64)
    value = graph.values()
    out[graph.rows(), graph.col.long()] = (
        torch.ones(graph.num_entries, dtype=torch.float64) if value is None else value.double()
    )
    return out


def edges(*rows):
    return torch.tensor(rows, dtype=torch.int64).view(-1, 2).t()


@settings(max_examples=50, deadline=None)
@given(
    size=st.integers(1, 6),
    data=st.data(),
    undirected=st.booleans(),
    weighted=st.booleans(),
)
def test_holds_the_sum_of_all_records(size, data, undirected, weighted):
    ids = st.integers(0, size - 1)
    listed = data.draw(st.lists(st.tuples(ids, ids), max_size=15))
    weight = torch.arange(1, len(listed) + 1, dtype=torch.float32) if weighted else None
    graph = CSR.from_edge_index(edges(*listed), size, weight=weight, undirected=undirected)
    expected = torch.zeros(size, size, dtype=torch.float64)
    for k, (i, j) in enumerate(listed):
        value = k + 1 if weighted else 1
        if not undirected:
            expected[i, j] += value
        elif i != j:
            expected[i, j] += value
            expected[j, i] += value
    if not weighted:
        expected.clamp_(max=1)
    assert torch.equal(dense(graph), expected)
    assert graph.symmetric == undirected
    assert graph.num_entries == int((expected > 0).sum())
    for row, begin, end in zip(range(size), graph.ptr[:-1], graph.ptr[1:], strict=True):
        columns = graph.col[begin:end].tolist()
        assert columns == sorted(set(columns)), row


def test_types_are_fixed():
    graph = CSR.from_edge_index(edges((0, 1)).int(), 2)
    assert (graph.ptr.dtype, graph.col.dtype) == (torch.int64, torch.int32)


def test_rows_and_columns_may_differ():
    graph = CSR.from_edge_index(edges((0, 4), (2, 0)), 3, num_cols=5)
    assert (graph.num_rows, graph.num_cols) == (3, 5)
    assert graph.transpose().num_rows == 5
    assert torch.equal(dense(graph.transpose()), dense(graph).t())


@pytest.mark.parametrize("ids", [((0, 3),), ((3, 0),), ((-1, 0),)])
@pytest.mark.parametrize("undirected", [False, True])
def test_ids_outside_are_refused(undirected, ids):
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 3\), got (3 to 3|-1 to -1)"):
        CSR.from_edge_index(edges(*ids), 3, undirected=undirected)


def test_columns_must_fit_in_32_bits():
    with pytest.raises(ValueError, match="a matrix has at most 2147483647 columns, got 2147483648"):
        CSR.from_edge_index(edges(), 1, num_cols=2**31)


def test_columns_close_to_the_largest_are_kept():
    graph = CSR.from_edge_index(edges((70_000, 2**31 - 2), (70_000, 1)), 70_001, num_cols=2**31 - 1)
    assert graph.col.tolist() == [1, 2**31 - 2]
    assert graph.degree()[70_000] == 2


@settings(max_examples=40, deadline=None)
@given(case=link_cases())
def test_degree_rows_and_transpose_agree_with_the_matrix(case):
    graph, _ = case
    kept = torch.ones(graph.num_entries) if graph.keep is None else graph.keep
    support = torch.zeros(graph.num_rows, graph.num_cols)
    support[graph.rows(), graph.col.long()] = kept.float()
    assert torch.equal(graph.degree(), support.sum(1).long())
    assert torch.equal(dense(graph.transpose()), dense(graph).t())
    if graph.symmetric:
        assert torch.equal(dense(graph), dense(graph).t())
        assert graph.transpose() is graph


def test_without_removes_both_directions_and_leaves_the_original():
    graph = CSR.from_edge_index(edges((0, 1), (1, 2), (2, 3)), 4, undirected=True)
    thin = graph.without(edges((2, 1), (0, 3)))
    assert thin.symmetric
    assert dense(thin).nonzero().tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert graph.keep is None
    again = thin.without(edges((0, 1)))
    assert dense(again).nonzero().tolist() == [[2, 3], [3, 2]]
    assert int(dense(thin).sum()) == 4


def test_without_removes_one_direction_of_a_directed_matrix():
    graph = CSR.from_edge_index(edges((0, 1), (1, 0)), 2)
    assert dense(graph.without(edges((0, 1)))).nonzero().tolist() == [[1, 0]]


def test_nothing_removed_is_the_same_graph():
    graph = CSR.from_edge_index(edges((0, 1)), 2, undirected=True)
    assert torch.equal(dense(graph.without(edges())), dense(graph))


def test_without_counts_records_where_asked():
    listed = edges((0, 1), (1, 0), (0, 1), (1, 2))
    graph = CSR.from_edge_index(listed, 3, weight=torch.ones(4), undirected=True)
    some = graph.without(edges((0, 1), (1, 0), (1, 2)), records=True)
    assert dense(some).nonzero().tolist() == [[0, 1], [1, 0]]
    all_of_it = some.without(edges((0, 1), (1, 0), (0, 1)), records=True)
    assert not dense(all_of_it).any()
    assert not dense(graph.without(edges((0, 1), (1, 2)))).any()


def test_without_weights_every_entry_is_one_record():
    graph = CSR.from_edge_index(edges((0, 1), (0, 1)), 2, undirected=True)
    assert not dense(graph.without(edges((0, 1)), records=True)).any()


def test_locate_and_contains_look_at_stored_entries():
    graph = CSR.from_edge_index(edges((0, 2), (1, 0), (1, 2)), 3)
    asked = edges((1, 2), (2, 1), (0, 2))
    assert graph.locate(asked).tolist() == [2, -1, 0]
    assert contains(graph.without(asked), asked).tolist() == [True, False, True]


def test_values_are_zero_where_nothing_is_kept():
    graph = CSR.from_edge_index(edges((0, 1), (1, 0)), 2, weight=torch.tensor([2.0, 3.0]))
    assert graph.values().tolist() == [2, 3]
    assert graph.without(edges((1, 0))).values().tolist() == [2, 0]
    assert CSR.from_edge_index(edges((0, 1)), 2).values() is None


def test_moves_with_all_it_holds():
    graph = CSR.from_edge_index(edges((0, 1)), 2, weight=torch.ones(1), undirected=True)
    moved = graph.without(edges((0, 1))).to("meta")
    tensors = (moved.ptr, moved.col, moved.keep, moved.weight)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved.num_cols, moved.symmetric) == (2, True)
    assert graph.to("cpu").keep is None


def test_reverse_finds_the_other_direction_of_every_entry():
    graph, _ = CASES["dense"]
    back = graph.reverse()
    row, col = graph.rows(), graph.col.long()
    assert torch.equal(row[back], col) and torch.equal(col[back], row)
    assert graph.without(torch.tensor([[0], [1]])).reverse() is back, "computed once"


def test_reverse_needs_a_symmetric_matrix():
    with pytest.raises(ValueError, match="needs an undirected graph, each edge in both directions"):
        CSR.from_edge_index(torch.tensor([[0], [1]]), 2).reverse()

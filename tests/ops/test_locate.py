"""The look-up of single entries against Python's own containers."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.ops import CSR
from graphlearn.ops.locate import expand_rows, locate, locate_reference

FAR = 2**31 - 1


@settings(max_examples=40, deadline=None)
@given(entries=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6))), data=st.data())
def test_finds_what_is_stored_and_nothing_else(entries, data):
    asked = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(-2, 9))))
    index = torch.tensor(sorted(entries), dtype=torch.int64).view(-1, 2).t()
    graph = CSR.from_edge_index(index, 5, num_cols=7)
    row, target = torch.tensor(asked, dtype=torch.int64).view(-1, 2).t()
    position = {entry: k for k, entry in enumerate(sorted(entries))}
    expected = [position.get(pair, -1) for pair in asked]
    for look in (locate, locate_reference):
        assert look(graph.ptr, graph.col, row, target).tolist() == expected


def test_keys_beyond_32_bits():
    graph = CSR.from_edge_index(torch.tensor([[4, 4], [3, FAR - 1]]), 5, num_cols=FAR)
    row, target = torch.tensor([[4, 4, 3], [FAR - 1, 4, FAR - 1]])
    for look in (locate, locate_reference):
        assert look(graph.ptr, graph.col, row, target).tolist() == [1, -1, -1]


def test_ids_may_be_of_32_bits():
    graph = CSR.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2)
    found = locate(graph.ptr, graph.col, torch.tensor([1]).int(), torch.tensor([0]).int())
    assert (found.tolist(), found.dtype) == ([1], torch.int64)


def test_opcheck(unchecked):
    graph = CSR.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2)
    row, target = torch.tensor([[0, 1, 1], [1, 1, 0]])
    torch.library.opcheck(torch.ops.graphlearn.locate.default, (graph.ptr, graph.col, row, target))


def test_rows_are_expanded_in_the_order_asked_for():
    entry, owner = expand_rows(torch.tensor([0, 2, 2, 5]), torch.tensor([2, 1, 0, 2]))
    assert entry.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert owner.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]

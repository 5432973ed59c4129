"""Fewer entries of a relation: those above a threshold, and samples."""

import torch

from graphlearn.ops import CSR
from graphlearn.ops.thin import strong, thinned


def graph():
    edges = torch.tensor([[0, 0, 1, 3, 3], [0, 2, 1, 0, 1]])
    return CSR.from_edge_index(edges, 4, num_cols=3, weight=torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))


def test_entries_of_at_least_the_threshold_stay():
    found = strong(graph(), torch.tensor([0.2, 0.5, 0.9, 0.4, 0.6]), 0.5)
    assert found.ptr.tolist() == [0, 1, 2, 2, 3]
    assert found.col.tolist() == [2, 1, 1]
    torch.testing.assert_close(found.weight, torch.tensor([0.5, 0.9, 0.6]))


def test_the_strongest_stays_where_none_reaches_the_threshold():
    found = strong(graph(), torch.tensor([0.2, 0.3, 0.1, 0.4, 0.2]), 0.5)
    assert found.rows().tolist() == [3] and found.col.tolist() == [0]
    empty = CSR.from_edge_index(torch.empty(2, 0).long(), 4, num_cols=3)
    assert strong(empty, torch.empty(0), 0.5).num_entries == 0


def test_a_sample_has_the_size_and_favours_heavy_entries():
    count = torch.zeros(5)
    for seed in range(2000):
        found = thinned(graph(), 1, seed=seed)
        assert found.num_entries == 1 and found.num_rows == 4
        count[int(found.weight) - 1] += 1
    share = torch.arange(1, 6) / 15
    error = (share * (1 - share) / 2000).sqrt()
    assert ((count / 2000 - share).abs() < 5 * error).all()


def test_a_sample_is_decided_by_the_seed_and_keeps_what_is_no_more():
    big = CSR.from_edge_index(
        torch.stack([torch.arange(100), torch.arange(100)]), 100, weight=torch.rand(100)
    )
    one, two = thinned(big, 10, seed=3), thinned(big, 10, seed=3)
    assert torch.equal(one.col, two.col) and one.num_entries == 10
    assert not torch.equal(one.col, thinned(big, 10, seed=4).col)
    assert thinned(big, 100, seed=0) is big

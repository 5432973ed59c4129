import logging

import pytest
import torch

from graphlearn.data.pairs import both_directions, non_edges, pair_keys, simple_pairs, sort_pairs


def edges(*pairs):
    return torch.tensor(pairs).T


def test_simple_pairs_merges_and_sorts():
    got = simple_pairs(edges((2, 1), (0, 1), (1, 0), (0, 1), (1, 1)), 4, source="toy")
    assert got.tolist() == [[0, 1], [1, 2]]


def test_simple_pairs_logs_what_it_changes(caplog):
    with caplog.at_level(logging.WARNING):
        simple_pairs(edges((0, 1), (1, 0), (1, 2), (1, 2), (3, 3)), 4, source="toy")
    assert "toy: dropped 1 self loops" in caplog.text
    assert "toy: merged 1 repeated edges" in caplog.text
    assert "a directed list is taken as undirected (1 of 2 edges" in caplog.text


@pytest.mark.parametrize("both", [True, False])
def test_an_undirected_list_is_silent(both, caplog):
    pairs = edges((0, 1), (1, 2))
    with caplog.at_level(logging.WARNING):
        simple_pairs(both_directions(pairs) if both else pairs, 3, source="toy")
    assert not caplog.text


def test_simple_pairs_refuses_bad_ids_and_empty_graphs():
    with pytest.raises(ValueError, match=r"toy: node ids must lie in \[0, 3\), got 3"):
        simple_pairs(edges((0, 3)), 3, source="toy")
    with pytest.raises(ValueError, match=r"toy: node ids must lie in \[0, 3\), got -1"):
        simple_pairs(edges((0, -1)), 3, source="toy")
    for empty in (edges((1, 1)), torch.empty(2, 0, dtype=torch.long)):
        with pytest.raises(ValueError, match="toy: the graph has no edges"):
            simple_pairs(empty, 3, source="toy")


def test_both_directions_is_sorted_by_row():
    assert both_directions(edges((0, 2), (0, 1))).tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]


def test_sort_pairs_and_keys():
    pairs = edges((3, 1), (0, 2))
    assert sort_pairs(pairs).tolist() == [[0, 1], [2, 3]]
    assert sort_pairs(pairs, orient=False).tolist() == [[0, 3], [2, 1]]
    assert torch.equal(pair_keys(pairs, 5), pair_keys(pairs.flip(0), 5))
    assert pair_keys(edges((2**33, 1)), 2**34).item() == 2**34 + 2**33


@pytest.mark.parametrize("limit", [1 << 25, 0])
def test_non_edges_are_all_non_edges_once(monkeypatch, limit):
    monkeypatch.setattr("graphlearn.data.pairs._SHUFFLE_LIMIT", limit)
    pairs = edges((0, 1), (0, 4), (1, 2), (2, 4), (3, 4))
    generator = torch.Generator().manual_seed(0)
    got = non_edges(pairs, 5, 5, generator=generator)
    assert sorted(map(tuple, got.T.tolist())) == [(0, 2), (0, 3), (1, 3), (1, 4), (2, 3)]


def test_non_edges_of_a_large_graph(monkeypatch):
    monkeypatch.setattr("graphlearn.data.pairs._SHUFFLE_LIMIT", 0)
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(60, (2, 400), generator=generator)
    pairs = simple_pairs(raw, 60, source="toy")
    got = non_edges(pairs, 60, 500, generator=generator)
    assert got.shape == (2, 500) and bool((got[0] < got[1]).all())
    assert len(pair_keys(got, 60).unique()) == 500
    assert not torch.isin(pair_keys(got, 60), pair_keys(pairs, 60)).any()
    # Two thirds of the way through, ends are spread over all nodes, not bunched at one side.
    assert got.flatten().bincount(minlength=60).min() > 0


def test_non_edges_of_billions_of_pairs():
    generator = torch.Generator().manual_seed(0)
    nodes = 3_000_000
    got = non_edges(edges((0, 1), (7, nodes - 1)), nodes, 1000, generator=generator)
    assert bool((got[0] < got[1]).all()) and int(got.max()) < nodes


def test_a_dense_graph_has_too_few_non_edges():
    with pytest.raises(ValueError, match="too dense: 2 negative pairs are needed, it has 1"):
        non_edges(edges((0, 1), (0, 2)), 3, 2, generator=torch.Generator())

import pytest
import torch

from graphlearn.ops.csr import CSR
from graphlearn.sampling.candidates import all_pairs, two_hop_pairs


def random_graph(nodes, edges, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(nodes, (2, edges), generator=generator)
    return CSR.from_edge_index(index, nodes, undirected=True)


def neighbours(graph):
    table = [set() for _ in range(graph.num_rows)]
    for u, v in zip(graph.rows().tolist(), graph.col.tolist(), strict=True):
        table[u].add(v)
    return table


def oracle(graph, *, two_hop, nodes=None):
    table, n = neighbours(graph), graph.num_rows
    wanted = set(range(n)) if nodes is None else set(nodes)
    return {
        (u, v)
        for u in range(n)
        for v in range(u + 1, n)
        if v not in table[u] and {u, v} & wanted and (not two_hop or table[u] & table[v])
    }


def collect(blocks):
    pairs = [tuple(p) for block in blocks for p in block.T.tolist()]
    assert len(pairs) == len(set(pairs))
    return set(pairs)


@pytest.mark.parametrize("find", [two_hop_pairs, all_pairs])
@pytest.mark.parametrize("edges", [0, 15, 80, 600])
@pytest.mark.parametrize("block", [1, 37, 1 << 20])
@pytest.mark.parametrize("nodes", [None, [0, 7, 7, 24], []], ids=["all", "some", "none"])
def test_against_python_sets(find, edges, block, nodes):
    graph = random_graph(25, edges)
    ids = None if nodes is None else torch.tensor(nodes, dtype=torch.int64)
    found = collect(find(graph, block=block, nodes=ids))
    assert found == oracle(graph, two_hop=find is two_hop_pairs, nodes=nodes)


@pytest.mark.parametrize("find", [two_hop_pairs, all_pairs])
def test_blocks_are_bounded(find):
    graph = random_graph(60, 200)
    sizes = [pairs.shape[1] for pairs in find(graph, block=100)]
    assert len(sizes) > 2
    assert max(sizes) <= 160


def test_a_hub_brings_all_its_neighbours_together():
    leaves = torch.arange(1, 300)
    graph = CSR.from_edge_index(torch.stack([leaves * 0, leaves]), 300, undirected=True)
    assert sum(p.shape[1] for p in two_hop_pairs(graph, block=1000)) == 299 * 298 // 2


@pytest.mark.parametrize("find", [two_hop_pairs, all_pairs])
def test_entries_switched_off_still_count_as_edges(find):
    graph = random_graph(20, 40)
    hidden = graph.without(torch.stack([graph.rows(), graph.col.long()]))
    assert collect(find(hidden)) == collect(find(graph))


@pytest.mark.parametrize("find", [two_hop_pairs, all_pairs])
def test_errors_come_at_the_call(find):
    graph = random_graph(5, 6)
    directed = CSR.from_edge_index(torch.tensor([[0], [1]]), 2)
    with pytest.raises(ValueError, match="need an undirected graph, got a directed one; build it"):
        find(directed)
    with pytest.raises(ValueError, match="block must be at least 1 pair, got 0"):
        find(graph, block=0)
    with pytest.raises(ValueError, match=r"nodes must lie in \[0, 5\), got 2 to 5"):
        find(graph, nodes=torch.tensor([2, 5]))


def test_an_empty_graph_has_no_candidates():
    graph = CSR.from_edge_index(torch.empty((2, 0), dtype=torch.int64), 0, undirected=True)
    assert collect(two_hop_pairs(graph)) == collect(all_pairs(graph)) == set()

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.ops.cpu import jit
from graphlearn.ops.csr import CSR
from graphlearn.sampling.batches import _scramble
from graphlearn.sampling.neighbors import NeighborSampler, mix


def random_graph(nodes, edges, seed=0, weighted=False):
    """A directed graph with loops, isolated nodes and a hub."""
    made = torch.Generator().manual_seed(seed)
    ends = torch.randint(max(nodes, 1), (2, edges if nodes else 0), generator=made)
    hub = torch.stack([torch.zeros(nodes), torch.arange(nodes)]).long()
    ends = torch.cat([ends, hub], 1)
    weight = torch.rand(ends.shape[1], generator=made) if weighted else None
    return CSR.from_edge_index(ends, nodes, weight=weight)


def same(first, second):
    for a, b in ((first, second), (first.graph, second.graph)):
        names = ("nodes", "edge", "num_nodes", "num_edges") if a is first else ("ptr", "col")
        for name in names:
            x, y = getattr(a, name), getattr(b, name)
            assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y, name


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 300),
    st.lists(st.sampled_from([-1, 1, 2, 5, 33, 50]), min_size=1, max_size=3),
    st.lists(st.integers(0, 59), max_size=12),
    st.integers(0, 2**63),
)
def test_the_kernels_do_what_the_reference_says(nodes, edges, fanouts, seeds, seed):
    sampler = NeighborSampler(random_graph(nodes, edges, weighted=True), fanouts)
    start = torch.tensor([node % nodes for node in seeds], dtype=torch.int64)
    found = sampler.sample(start, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHLEARN_OPS", "reference")
        expected = sampler.sample(start, seed=seed)
    same(found, expected)
    assert torch.equal(found.graph.weight, expected.graph.weight)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 200), st.integers(0, 5), st.integers(1, 6))
def test_a_sample_is_a_part_of_the_graph(nodes, edges, seed, fanout):
    graph = random_graph(nodes, edges, weighted=True)
    seeds = torch.randperm(nodes)[:5]
    found = NeighborSampler(graph, (fanout, -1)).sample(seeds, seed=seed)
    assert torch.equal(found.nodes[: len(seeds)], seeds)
    assert len(found.nodes.unique()) == len(found.nodes) == sum(found.num_nodes)
    rows, cols = found.graph.rows(), found.graph.col.long()
    assert torch.equal(found.nodes[cols], graph.col[found.edge].long())
    assert torch.equal(found.nodes[rows], graph.rows()[found.edge])
    assert torch.equal(found.graph.weight, graph.weight[found.edge])
    assert len(found.edge.unique()) == len(found.edge) == sum(found.num_edges)
    assert (cols.diff()[rows.diff() == 0] > 0).all()  # ascending and distinct in a row
    full = graph.degree()[found.nodes]
    first, second = found.num_nodes[:2]
    wanted = torch.cat([full[:first].clamp(max=fanout), full[first : first + second]])
    got = found.graph.degree()
    assert torch.equal(got[: first + second], wanted) and int(got[first + second :].sum()) == 0


def test_everything_is_the_whole_neighbourhood():
    graph = random_graph(50, 60, seed=3)
    found = NeighborSampler(graph, (-1, -1, -1)).sample(torch.tensor([7]), seed=0)
    dense = torch.zeros(50, 50)
    dense[graph.rows(), graph.col.long()] = 1
    reached = torch.zeros(50)
    reached[7] = 1
    for _ in range(3):
        reached = ((reached + reached @ dense) > 0).float()
    assert sorted(found.nodes.tolist()) == reached.nonzero().flatten().tolist()


def test_nodes_are_numbered_as_they_are_first_seen():
    edges = torch.tensor([[0, 0, 1, 2, 3, 4], [2, 4, 5, 6, 0, 7]])
    graph = CSR.from_edge_index(edges, 8)
    found = NeighborSampler(graph, (-1, -1)).sample(torch.tensor([3, 1, 3, 0]), seed=0)
    assert found.nodes.tolist() == [3, 1, 0, 5, 2, 4, 6, 7]
    assert found.num_nodes == (3, 3, 2) and found.num_edges == (4, 2)
    assert found.graph.ptr.tolist() == [0, 1, 2, 4, 4, 5, 6, 6, 6]
    assert found.graph.col.tolist() == [2, 3, 4, 5, 6, 7]


def test_threads_and_company_change_nothing(monkeypatch):
    monkeypatch.setattr(jit, "_WORTH", 0)
    before = torch.get_num_threads()
    graph = random_graph(400, 8_000)
    seeds = torch.arange(0, 400, 3)
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(NeighborSampler(graph, (5, 40)).sample(seeds, seed=8))
    torch.set_num_threads(before)
    same(results[0], results[1])
    same(results[0], results[2])
    # What is drawn for a node does not depend on the other seeds either.
    together = results[0]
    for k in (0, 50, 133):
        alone = NeighborSampler(graph, (5,)).sample(seeds[k : k + 1], seed=8)
        row = slice(*together.graph.ptr[k : k + 2].tolist())
        assert sorted(alone.edge.tolist()) == sorted(together.edge[row].tolist())


def test_a_sampler_has_no_memory():
    sampler = NeighborSampler(random_graph(100, 900), (3, 3))
    seeds = torch.arange(10)
    first = sampler.sample(seeds, seed=1)
    other = sampler.sample(seeds, seed=2)
    same(first, sampler.sample(seeds, seed=1))
    assert not torch.equal(first.nodes, other.nodes)


@pytest.mark.parametrize("fanout", [3, 40])
def test_every_neighbour_is_equally_likely(fanout):
    """Each of 60 neighbours is drawn with probability f / 60, whatever the node and the seed."""
    repeats, degree = 2_000, 60
    row = torch.arange(repeats).repeat_interleave(degree)
    graph = CSR.from_edge_index(torch.stack([row, torch.arange(degree).repeat(repeats)]), repeats)
    found = NeighborSampler(graph, (fanout,)).sample(torch.arange(repeats), seed=5)
    count = torch.bincount(found.edge % degree, minlength=degree)
    share = fanout / degree
    chi = float(((count - repeats * share) ** 2 / (repeats * share * (1 - share))).sum())
    # Counts have a fixed sum: 59 of 60 terms are free, and their sum is that of chi square.
    assert chi * (degree - 1) / degree < degree - 1 + 4 * (2 * (degree - 1)) ** 0.5
    if fanout == 3:
        pairs = found.edge.reshape(repeats, 3).sort(1).values % degree
        assert len({tuple(row) for row in pairs.tolist()}) > 1_900  # of 34,220 sets


def test_the_words_are_those_of_splitmix64():
    for value in (0, 1, 2**64 - 1, 12345678901234567890):
        assert mix(value) == _scramble(value)


def test_no_seeds_and_no_edges():
    empty = NeighborSampler(random_graph(5, 5), (2, 2)).sample(torch.empty(0).long(), seed=0)
    assert empty.nodes.shape == (0,) and empty.graph.num_rows == 0
    assert empty.num_nodes == (0, 0, 0) and empty.num_edges == (0, 0)
    bare = CSR.from_edge_index(torch.empty(2, 0).long(), 4)
    alone = NeighborSampler(bare, (2,)).sample(torch.tensor([2, 1]), seed=0)
    assert alone.nodes.tolist() == [2, 1] and alone.graph.num_entries == 0


def test_a_message_passed_over_all_neighbours_is_exact():
    graph = random_graph(60, 300, weighted=True)
    x = torch.randn(60, 4, dtype=torch.float64)
    dense = torch.zeros(60, 60, dtype=torch.float64)
    dense[graph.rows(), graph.col.long()] = graph.weight.double()
    seeds = torch.tensor([5, 0, 41])
    found = NeighborSampler(graph, (-1, -1)).sample(seeds, seed=0)
    local = torch.zeros(len(found.nodes), len(found.nodes), dtype=torch.float64)
    local[found.graph.rows(), found.graph.col.long()] = found.graph.weight.double()
    twice = local @ (local @ x[found.nodes])
    torch.testing.assert_close(twice[:3], (dense @ (dense @ x))[seeds])


def test_what_is_refused():
    graph = random_graph(6, 9)
    for fanouts in ((), (0,), (3, -2)):
        with pytest.raises(ValueError, match=r"fan-outs must be positive, or -1 for all .* got \("):
            NeighborSampler(graph, fanouts)
    wide = CSR.from_edge_index(torch.tensor([[0], [4]]), 2, num_cols=5)
    with pytest.raises(
        ValueError, match="neighbours need a square graph, got 2 rows and 5 columns"
    ):
        NeighborSampler(wide, (1,))
    with pytest.raises(ValueError, match="neighbours need a graph without entries that are switch"):
        NeighborSampler(graph.without(torch.tensor([[0], [1]])), (1,))
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 6\), got 6 to 6"):
        NeighborSampler(graph, (1,)).sample(torch.tensor([6]), seed=0)


def test_a_fan_out_beyond_all_degrees_is_all():
    graph = CSR.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, undirected=True)
    found = NeighborSampler(graph, (10**9,)).sample(torch.tensor([1]), seed=0)
    assert sorted(found.nodes.tolist()) == [0, 1, 2]

import pytest
import torch

from graphlearn.ops.csr import CSR
from graphlearn.sampling.negatives import absent, corrupt, uniform


def random_graph(nodes, edges, *, seed=0, undirected=True):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(nodes, (2, edges), generator=generator)
    return CSR.from_edge_index(index, nodes, undirected=undirected)


def links(graph):
    return set(zip(graph.rows().tolist(), graph.col.tolist(), strict=True))


def as_set(pairs):
    return set(zip(*pairs.tolist(), strict=True))


def oracle(graph, *, undirected):
    """All pairs without an edge, by Python sets."""
    linked, n = links(graph), graph.num_rows
    pairs = {(u, v) for u in range(n) for v in range(n) if u != v}
    if undirected:
        return {(u, v) for u, v in pairs if u < v and not {(u, v), (v, u)} & linked}
    return pairs - linked


CASES = [
    pytest.param(undirected, symmetric, id=f"{'pairs' if undirected else 'ordered'}-{symmetric}")
    for undirected in (True, False)
    for symmetric in (True, False)
]


@pytest.mark.parametrize(("undirected", "symmetric"), CASES)
@pytest.mark.parametrize("edges", [0, 30, 300, 3000])
@pytest.mark.parametrize("share", [0.01, 0.4, 0.9, 1.0])
def test_distinct_non_edges_exactly_as_many_as_asked(edges, share, undirected, symmetric):
    graph = random_graph(30, edges, undirected=symmetric)
    free = oracle(graph, undirected=undirected)
    num = int(share * len(free))
    pairs = uniform(graph, num, seed=1, undirected=undirected)
    assert pairs.shape == (2, num)
    found = as_set(pairs)
    assert len(found) == num
    assert found <= free


def test_all_that_exist_and_not_one_more():
    graph = random_graph(20, 60)
    free = oracle(graph, undirected=True)
    assert as_set(uniform(graph, len(free), seed=0, undirected=True)) == free
    message = rf"{len(free) + 1} distinct negatives asked for, but only {len(free)} pairs"
    with pytest.raises(ValueError, match=message):
        uniform(graph, len(free) + 1, seed=0, undirected=True)


def test_a_wild_number_is_refused_without_listing_all_pairs():
    graph = random_graph(10**6, 10)
    with pytest.raises(ValueError, match=r"distinct negatives asked for, but only .* have no edge"):
        uniform(graph, 10**13, seed=0)


@pytest.mark.parametrize("nodes", [1, 4])
def test_a_complete_graph_has_none(nodes):
    index = torch.combinations(torch.arange(nodes)).T
    graph = CSR.from_edge_index(index, nodes, undirected=True)
    assert uniform(graph, 0, seed=0).shape == (2, 0)
    for distinct in (True, False):
        with pytest.raises(ValueError, match=r"1 .*negatives asked for, but only 0 pairs"):
            uniform(graph, 1, seed=0, distinct=distinct)


@pytest.mark.parametrize("undirected", [True, False])
@pytest.mark.parametrize("edges", [20, 200])
def test_repeats_where_they_are_allowed(edges, undirected):
    graph = random_graph(20, edges)
    free = oracle(graph, undirected=undirected)
    pairs = uniform(graph, 5000, seed=0, undirected=undirected, distinct=False)
    assert pairs.shape == (2, 5000)
    assert as_set(pairs) == free


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("edges", [8, 60])
def test_every_pair_is_equally_likely_at_every_position(edges, distinct):
    graph = random_graph(9, edges)
    free = sorted(oracle(graph, undirected=True))
    count = torch.zeros(9, 9)
    repeats, num = 3000, max(1, len(free) // 3)
    for seed in range(repeats):
        u, v = uniform(graph, num, seed=seed, undirected=True, distinct=distinct)[:, 0]
        count[u, v] += 1
    got = torch.stack([count[u, v] for u, v in free])
    expected = repeats / len(free)
    chi = float(((got - expected) ** 2 / expected).sum())
    freedom = len(free) - 1
    assert chi < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations


def test_entries_switched_off_still_count_as_edges():
    graph = random_graph(12, 30)
    hidden = graph.without(torch.stack([graph.rows(), graph.col.long()]))
    assert as_set(uniform(hidden, 20, seed=0)).isdisjoint(links(graph))


def test_self_loops_take_no_place():
    graph = CSR.from_edge_index(torch.tensor([[0, 1, 2, 0], [0, 1, 2, 1]]), 3)
    assert as_set(uniform(graph, 5, seed=0)) == oracle(graph, undirected=False)


@pytest.mark.parametrize("edges", [50, 2000])
def test_deterministic_in_the_seed_alone(edges):
    graph = random_graph(50, edges)
    threads = torch.get_num_threads()
    first = uniform(graph, 40, seed=5)
    try:
        torch.set_num_threads(1)
        torch.manual_seed(1)
        again = uniform(graph, 40, seed=5)
    finally:
        torch.set_num_threads(threads)
    assert first.equal(again)
    assert not first.equal(uniform(graph, 40, seed=6))


def test_ids_whose_product_passes_32_bits():
    graph = random_graph(200_000, 1000)
    pairs = uniform(graph, 5000, seed=0)
    assert len(as_set(pairs)) == 5000
    assert 0 <= int(pairs.min()) <= int(pairs.max()) < 200_000
    assert as_set(pairs).isdisjoint(links(graph))


def test_a_table_that_is_not_square_is_refused():
    graph = CSR.from_edge_index(torch.tensor([[0], [4]]), 2, num_cols=5)
    with pytest.raises(ValueError, match="need a square graph, got 2 rows and 5 columns"):
        uniform(graph, 1, seed=0)


def test_corrupt_keeps_the_source_and_covers_the_targets():
    pos = torch.tensor([[3, 1], [0, 2]])
    neg = corrupt(pos, 5, 200, seed=0)
    assert neg.shape == (2, 2, 200)
    assert (neg[0] == pos[0][:, None]).all()
    assert neg[1].unique().equal(torch.arange(5))
    assert neg.equal(corrupt(pos, 5, 200, seed=0))
    assert not neg.equal(corrupt(pos, 5, 200, seed=1))
    assert corrupt(pos[:, :0], 5, 3, seed=0).shape == (2, 0, 3)


@pytest.mark.parametrize("entries", [0, 5, 30, 69])
def test_absent_cells_are_uniform_and_empty(entries):
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(70, generator=generator)[:entries]
    graph = CSR.from_edge_index(torch.stack([cells // 7, cells % 7]), 10, num_cols=7)
    count = torch.zeros(10, 7)
    for seed in range(300):
        row, col = absent(graph, 20, seed=seed)
        assert len(row) == len(col) == min(20, 70 - entries)
        count.index_put_((row, col), torch.ones(len(row)), accumulate=True)
    linked = torch.zeros(10, 7, dtype=torch.bool)
    linked[graph.rows(), graph.col.long()] = True
    assert not count[linked].any()
    mean = count.sum() / (70 - entries)
    assert (count[~linked] - mean).abs().max() < 5 * mean.sqrt()
    assert torch.equal(absent(graph, 20, seed=3)[0], absent(graph, 20, seed=3)[0])


def test_a_full_matrix_has_no_absent_cell():
    full = CSR.from_edge_index(torch.ones(3, 2).nonzero().T, 3, num_cols=2)
    assert len(absent(full, 5, seed=0)[0]) == 0
    empty = CSR.from_edge_index(torch.empty(2, 0).long(), 0, num_cols=2)
    assert len(absent(empty, 5, seed=0)[0]) == 0

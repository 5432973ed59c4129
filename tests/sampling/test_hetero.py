"""Sampling in heterogeneous graphs: what is drawn, how evenly, and on what it depends."""

import pytest
import torch
from hetero_checks import hetero_case

from graphlearn.ops.csr import CSR
from graphlearn.sampling.hetero import HeteroSampler

SEEDS = torch.tensor([7, 0, 31, 2])


def sampler(fanouts=(3, 2), graph=None):
    return HeteroSampler(hetero_case()[1] if graph is None else graph, fanouts)


def entries(found):
    """Entries of each edge type in the ids of the whole graph, in order."""
    return {
        kind: torch.stack(
            [found.nodes[kind[2]][part.rows()], found.nodes[kind[0]][part.col.long()]]
        )
        for kind, part in found.graph.items()
    }


def same(one, two):
    assert one.nodes.keys() == two.nodes.keys() and one.graph.keys() == two.graph.keys()
    assert all(torch.equal(one.nodes[kind], two.nodes[kind]) for kind in one.nodes)
    for kind in one.graph:
        assert torch.equal(one.graph[kind].ptr, two.graph[kind].ptr)
        assert torch.equal(one.graph[kind].col, two.graph[kind].col)
        assert torch.equal(one.edge[kind], two.edge[kind])
    assert list(one.num_nodes) == list(two.num_nodes)


def test_it_is_a_part_of_the_graph_with_no_more_than_the_fan_outs():
    graph = hetero_case()[1]
    found = sampler().sample(SEEDS, "paper", seed=1)
    assert set(found.graph) == set(graph), "every relation is there, also an empty one"
    assert torch.equal(found.nodes["paper"][:4], SEEDS)
    for kind, pairs in entries(found).items():
        whole = graph[kind]
        assert torch.equal(whole.locate(pairs), found.edge[kind])
        part = found.graph[kind]
        assert (part.num_rows, part.num_cols) == (
            len(found.nodes[kind[2]]), len(found.nodes[kind[0]]),
        )  # fmt: skip
        drawn, degree = part.ptr.diff(), whole.ptr.diff()[found.nodes[kind[2]]]
        first = sum(hop[kind[2]] for hop in found.num_nodes[:1])
        second = first + found.num_nodes[1][kind[2]]
        assert torch.equal(drawn[:first], degree[:first].clamp(max=3))
        assert torch.equal(drawn[first:second], degree[first:second].clamp(max=2))
        assert not drawn[second:].any(), "nodes of the last hop are not expanded"
        assert pairs.unique(dim=1).shape == pairs.shape
    for kind, nodes in found.nodes.items():
        assert len(nodes.unique()) == len(nodes) == sum(hop[kind] for hop in found.num_nodes)


def test_all_neighbours_are_the_surroundings_by_brute_force():
    graph = hetero_case()[1]
    found = sampler((-1, -1)).sample(SEEDS, "paper", seed=0)
    known = {kind: set() for kind in found.nodes} | {"paper": set(SEEDS.tolist())}
    want = {kind: set() for kind in graph}
    frontier = {kind: set(ids) for kind, ids in known.items()}
    for _ in range(2):
        new = {kind: set() for kind in known}
        for kind, part in graph.items():
            for row, col in zip(part.rows().tolist(), part.col.tolist(), strict=True):
                if row in frontier[kind[2]]:
                    want[kind].add((row, col))
                    new[kind[0]].add(col)
        frontier = {kind: new[kind] - known[kind] for kind in known}
        known = {kind: known[kind] | new[kind] for kind in known}
    assert {kind: set(map(tuple, e.T.tolist())) for kind, e in entries(found).items()} == want
    assert {kind: set(ids.tolist()) for kind, ids in found.nodes.items()} == known


@pytest.mark.parametrize("fanouts", [(2, 2), (-1,), (1, 3, 2)])
def test_plain_python_draws_the_same(fanouts, monkeypatch):
    found = sampler(fanouts).sample(SEEDS, "paper", seed=5)
    monkeypatch.setenv("GRAPHLEARN_OPS", "reference")
    same(found, sampler(fanouts).sample(SEEDS, "paper", seed=5))


def test_a_draw_depends_on_the_seed_alone():
    graph = hetero_case()[1]
    mine = sampler()
    one = mine.sample(SEEDS, "paper", seed=2)
    same(one, mine.sample(SEEDS, "paper", seed=2))
    turned = dict(reversed(list(graph.items())))
    same(one, sampler(graph=turned).sample(SEEDS, "paper", seed=2))
    other = mine.sample(SEEDS, "paper", seed=3)
    assert any(not torch.equal(one.edge[kind], other.edge[kind]) for kind in graph)
    kind = ("venue", "prints", "paper")
    venue = torch.tensor([0])
    back = ("paper", "printed_in", "venue")
    alone = sampler((2,)).sample(venue, "venue", seed=2)
    batch = sampler((2,)).sample(torch.tensor([3, 0, 5]), "venue", seed=2)
    pairs = entries(batch)[back]
    assert torch.equal(entries(alone)[back][1], pairs[1][pairs[0] == 0])
    less = {name: part for name, part in graph.items() if name != kind}
    fewer = sampler((2,), less).sample(venue, "venue", seed=2)
    assert torch.equal(entries(fewer)[back], entries(alone)[back])


def test_threads_draw_the_same():
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(20_000, (2, 400_000), generator=generator)
    graph = {("a", "to", "b"): CSR.from_edge_index(edges, 20_000)}
    graph["b", "to", "a"] = graph["a", "to", "b"].transpose()
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(HeteroSampler(graph, (5, 5)).sample(torch.arange(3000), "b", seed=0))
    torch.set_num_threads(threads)
    same(*found)


def test_every_set_of_neighbours_is_as_likely():
    star = CSR.from_edge_index(torch.tensor([[0] * 5, [0, 1, 2, 3, 4]]), 1, num_cols=5)
    mine = HeteroSampler({("leaf", "of", "root"): star}, (2,))
    count = {}
    for seed in range(3000):
        found = mine.sample(torch.tensor([0]), "root", seed=seed)
        drawn = tuple(sorted(found.nodes["leaf"].tolist()))
        count[drawn] = count.get(drawn, 0) + 1
    assert len(count) == 10 and max(abs(n - 300) for n in count.values()) < 5 * 300**0.5


def test_relations_have_their_own_numbers_and_fan_outs():
    whole = torch.cartesian_prod(torch.arange(4), torch.arange(50)).T
    part = CSR.from_edge_index(whole, 4, num_cols=50)
    graph = {("x", "one", "y"): part, ("x", "two", "y"): part}
    found = HeteroSampler(graph, (6,)).sample(torch.arange(4), "y", seed=0)
    one, two = (entries(found)[kind] for kind in graph)
    assert not torch.equal(one, two), "two relations of the same types draw apart"
    uneven = HeteroSampler(graph, {("x", "two", "y"): (3,)}).sample(torch.arange(4), "y", seed=0)
    assert [int(uneven.graph[kind].ptr.diff().max()) for kind in graph] == [0, 3]


def test_seeds_without_edges_stay_and_repeats_go():
    found = sampler().sample(torch.tensor([0, 5, 0]), "paper", seed=0)
    assert found.nodes["paper"][:2].tolist() == [0, 5]
    assert found.num_nodes[0]["paper"] == 2
    lonely = sampler().sample(torch.tensor([1]), "editor", seed=0)
    assert lonely.nodes["editor"].tolist() == [1]
    assert all(part.num_entries == 0 for part in lonely.graph.values())
    none = sampler().sample(torch.empty(0).long(), "paper", seed=0)
    assert all(len(ids) == 0 for ids in none.nodes.values())


def test_weights_come_along():
    part = CSR.from_edge_index(
        torch.tensor([[0, 0, 1], [2, 1, 0]]), 2, num_cols=3, weight=torch.tensor([1.0, 2.0, 3.0])
    )
    found = HeteroSampler({("a", "to", "b"): part}, (-1,)).sample(torch.tensor([0]), "b", seed=0)
    weight = found.graph["a", "to", "b"].weight
    assert sorted(weight.tolist()) == [1.0, 2.0]
    torch.testing.assert_close(weight, part.weight[found.edge["a", "to", "b"]])


def test_messages():
    graph = hetero_case()[1]
    with pytest.raises(ValueError, match="no edge has the node type 'papr'; did you mean 'paper'"):
        sampler().sample(SEEDS, "papr", seed=0)
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 60\), got 2 to 60"):
        sampler().sample(torch.tensor([2, 60]), "paper", seed=0)
    for wrong in ((0, 2), (), (-2,), {}):
        with pytest.raises(ValueError, match="fan-outs must be positive, or -1 for all"):
            sampler(wrong)
    with pytest.raises(ValueError, match="author-writs-paper, which is no edge type; did you mea"):
        sampler({("author", "writs", "paper"): (2,)})
    odd = graph | {("paper", "cites", "paper"): CSR.from_edge_index(torch.ones(2, 1).long(), 61)}
    with pytest.raises(ValueError, match=r"has 6[01] nodes of type 'paper', others have 6[01]"):
        sampler(graph=odd)
    part = graph["author", "writes", "paper"].without(torch.tensor([[1], [0]]))
    with pytest.raises(ValueError, match="author-writes-paper has entries that are switched off"):
        sampler(graph={("author", "writes", "paper"): part})

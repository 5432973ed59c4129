import math
from collections import deque
from dataclasses import replace

import pytest
import torch

from graphlearn.data import heart
from graphlearn.data.dataset import Dataset, LinkSplit
from graphlearn.data.heart import heart_negatives, heart_split
from graphlearn.ops.csr import CSR


class Bag:
    """Just enough of a PyG object."""

    def __init__(self, x=None):
        self.x = x


def random_links(nodes, edges, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(nodes, (2, edges), generator=generator)
    graph = CSR.from_edge_index(index, nodes, undirected=True)
    links = torch.stack([graph.rows(), graph.col.long()])
    links = links[:, links[0] < links[1]]
    return links[:, torch.randperm(links.shape[1], generator=generator)]


def toy(nodes=40, edges=110, *, x=None, name="toy", seed=0):
    links = random_links(nodes, edges, seed=seed)
    cut = links.shape[1] - 24
    return Dataset(
        name=name,
        kind="link",
        metric="hits@20",
        data=Bag(x),
        splits={
            "train": LinkSplit(links[:, :cut]),
            "valid": LinkSplit(links[:, cut : cut + 12], torch.zeros(2, 5, dtype=torch.int64)),
            "test": LinkSplit(links[:, cut + 12 :], torch.zeros(2, 5, dtype=torch.int64)),
        },
        facts={"num_nodes": nodes},
    )


def undirected(nodes, *parts):
    return CSR.from_edge_index(torch.cat(parts, dim=1), nodes, undirected=True)


def binary_features(nodes, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(nodes, 6, generator=generator) < 0.4).float()


# --- the protocol once more, node by node in plain Python ----------------------------------------


def neighbours(graph):
    table = [set() for _ in range(graph.num_rows)]
    for u, v in zip(graph.rows().tolist(), graph.col.tolist(), strict=True):
        table[u].add(v)
    return table


def allocation(table, node):
    return [sum(1 / len(table[u]) for u in table[node] & table[w]) for w in range(len(table))]


def pagerank(table, node, tolerance):
    rank, residual = [0.0] * len(table), [0.0] * len(table)
    residual[node], queue = 1.0, deque([node])
    while queue:
        u = queue.popleft()
        mass, residual[u] = residual[u], 0.0
        rank[u] += 0.15 * mass
        for v in sorted(table[u]):
            residual[v] += 0.85 * mass / len(table[u])
            if residual[v] >= tolerance * len(table[v]) and v not in queue:
                queue.append(v)
    return rank


def cosine(x, node):
    rows = x.double().tolist()
    norm = [math.sqrt(sum(v * v for v in row)) for row in rows]
    scale = [1 / n if n else 0.0 for n in norm]
    return [
        sum(a * b for a, b in zip(rows[node], row, strict=True)) * scale[node] * s
        for row, s in zip(rows, scale, strict=True)
    ]


def combined(scores, forbidden):
    """Rank and whether any score is positive, of each node that is allowed."""
    size = len(scores[0])
    allowed = [w for w in range(size) if w not in forbidden]
    best = dict.fromkeys(allowed, size)
    some = {w for w in allowed if any(score[w] > 0 for score in scores)}
    for score in scores:
        value = {w: round(score[w], 9) for w in allowed}
        positive = [v for v in value.values() if v > 0]
        ascending = {w: 1 + sum(p < value[w] for p in positive) for w in allowed if value[w] > 0}
        top = max(ascending.values(), default=0)
        rank = {w: top - r + 1 for w, r in ascending.items()}
        last = max(rank.values(), default=0)
        for w in allowed:
            best[w] = min(best[w], rank.get(w, last + 1))
    return best, some


def check_half(found, best, some, half):
    """What the protocol leaves no choice about."""
    real = found[: len(some)] if len(some) < half else found
    assert len(set(real)) == len(real)
    assert set(real) <= some
    ranks = [best[w] for w in real]
    assert ranks == sorted(ranks)
    assert ranks == sorted(best[w] for w in some)[: len(real)]
    rest = found[len(real) :]
    others = set(best) - some
    assert set(rest) <= (others or some)


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("k", [2, 10, 60])
@pytest.mark.parametrize("seed", [0, 1])
def test_against_the_protocol_in_plain_python(features, k, seed):
    nodes, x = 40, binary_features(40) if features else None
    links = random_links(nodes, 90, seed=seed)
    pos = torch.cat([links[:, -10:], links[:, -4:].flip(0)], dim=1)
    graph, known = undirected(nodes, links[:, :-10]), undirected(nodes, links[:, :-5])
    neg = heart_negatives(pos, graph, known, x=x, k=k, tolerance=1e-4, seed=seed)
    assert neg.shape == (2, pos.shape[1], k)
    half, table, taken = k // 2, neighbours(graph), neighbours(known)
    for pair, ends in enumerate(pos.T.tolist()):
        for side in (0, 1):
            node, other = ends[side], ends[1 - side]
            part = neg[:, pair, side * half : (side + 1) * half]
            assert (part[side] == node).all()
            scores = [allocation(table, node), pagerank(table, node, 1e-4)]
            scores += [cosine(x, node)] if features else []
            best, some = combined(scores, taken[node] | {node, other})
            check_half(part[1 - side].tolist(), best, some, half)


def test_a_node_in_several_pairs_is_scored_alike_each_time():
    links, x = random_links(30, 80), binary_features(30)
    pos = links[:, :1].repeat(1, 4)
    neg = heart_negatives(pos, undirected(30, links[:, 5:]), None, x=x, k=8, seed=0)
    table = neighbours(undirected(30, links[:, 5:]))
    node, other = pos[:, 0].tolist()
    scores = [allocation(table, node), pagerank(table, node, 1e-5), cosine(x, node)]
    best, _ = combined(scores, {node, other})
    ranks = [[best[w] for w in row] for row in neg[1, :, :4].tolist()]
    assert ranks[0] == ranks[1] == ranks[2] == ranks[3]


def test_the_seed_decides_and_nothing_else():
    data = toy(x=binary_features(40))
    first = heart_split(data, k=20, seed=3)
    torch.manual_seed(1)
    again, other = heart_split(data, k=20, seed=3), heart_split(data, k=20, seed=4)
    for key in ("valid", "test"):
        assert first.splits[key].neg.equal(again.splits[key].neg)
        assert not first.splits[key].neg.equal(other.splits[key].neg)


def test_a_pair_is_the_same_whatever_its_company():
    links = random_links(40, 110)
    graph = undirected(40, links[:, 20:])
    many = heart_negatives(links[:, :20], graph, graph, k=10, seed=0)
    few = heart_negatives(links[:, :5], graph, graph, k=10, seed=0)
    assert few.equal(many[:, :5])


def test_ties_do_not_favour_low_ids():
    # The leaves of a star look all alike to one another.
    leaves = torch.arange(1, 101)
    star = undirected(101, torch.stack([leaves * 0, leaves]))
    pos = torch.tensor([[1], [2]]).repeat(1, 200)
    chosen = heart_negatives(pos, star, star, k=10, seed=0)[1, :, :5]
    assert 48 < float(chosen.double().mean()) < 56


def test_filling_up_is_uniform_over_nodes_without_a_score():
    pos = torch.tensor([[0], [1]])
    graph = undirected(8, torch.tensor([[0, 2], [2, 3]]))
    target = heart_negatives(pos, graph, graph, k=4000, seed=0)[1, 0, :2000]
    assert int(target[0]) == 3
    count = torch.bincount(target[1:], minlength=8)
    assert (count[:4] == 0).all()
    assert (count[4:] > 400).all()


def test_repeats_where_every_node_has_a_score():
    pos = torch.tensor([[0], [1]])
    graph = undirected(4, torch.tensor([[0, 2], [2, 3]]))
    assert set(heart_negatives(pos, graph, graph, k=10)[1, 0, :5].tolist()) == {3}


def test_the_split_forbids_what_is_known_at_its_time():
    data = toy()
    hard = heart_split(data, k=30, seed=0)
    train, valid = data.splits["train"].pos, data.splits["valid"].pos
    assert hard.metric == "mrr"
    assert hard.splits["train"] is data.splits["train"]
    for key, known in (("valid", [train]), ("test", [train, valid])):
        neg = hard.splits[key].neg
        assert neg.shape == (2, 12, 30)
        assert hard.splits[key].pos is data.splits[key].pos
        assert not (undirected(40, *known).locate(neg.flatten(1)) >= 0).any()
        assert (neg[0] != neg[1]).all()
        pos = data.splits[key].pos[:, :, None]
        assert not ((neg == pos).all(0) | (neg == pos.flip(0)).all(0)).any()
    expected = heart_negatives(valid, undirected(40, train), undirected(40, train), k=30, seed=0)
    assert hard.splits["valid"].neg.equal(expected)


def test_on_collab_known_links_may_come_back():
    data = toy(name="ogbl-collab", x=binary_features(40))
    hard = heart_split(data, k=70, seed=0)
    train, valid = data.splits["train"].pos, data.splits["valid"].pos
    both = undirected(40, train, valid)
    assert (both.locate(hard.splits["test"].neg.flatten(1)) >= 0).any()
    test = heart_negatives(data.splits["test"].pos, both, None, k=70, seed=0)
    assert hard.splits["test"].neg.equal(test)


def test_published_tolerances_and_features(monkeypatch):
    seen = []

    def spy(pos, graph, known, *, x, k, tolerance, seed):
        seen.append((x is not None, tolerance))
        return torch.zeros(2, pos.shape[1], k, dtype=torch.int64)

    monkeypatch.setattr(heart, "heart_negatives", spy)
    data = toy(x=binary_features(40))
    for name in ("Cora", "PubMed", "ogbl-ppa", "ogbl-citation2"):
        heart_split(replace(data, name=name))
    heart_split(data, features=False, tolerance=0.5)
    heart_split(replace(data, data=Bag(torch.arange(40))))
    assert seen[::2] == [
        (True, 1e-7),
        (True, 1e-5),
        (False, 5e-6),
        (False, 5e-5),
        (False, 0.5),
        (False, 1e-5),
    ]


def test_errors():
    pos = torch.tensor([[0], [1]])
    graph = undirected(3, torch.tensor([[0, 0], [1, 2]]))
    with pytest.raises(ValueError, match="k must be even and positive, got 3"):
        heart_negatives(pos, graph, graph, k=3)
    with pytest.raises(ValueError, match="tolerance must be positive, got 0"):
        heart_negatives(pos, graph, graph, tolerance=0.0)
    with pytest.raises(ValueError, match="need an undirected graph, got a directed one"):
        heart_negatives(pos, replace(graph, symmetric=False), graph)
    with pytest.raises(ValueError, match="node 0 is linked to all other nodes"):
        heart_negatives(pos, graph, graph, k=2)
    with pytest.raises(ValueError, match="needs float features, which toy lacks"):
        heart_split(toy(), features=True)


def test_no_pairs():
    graph = undirected(3, torch.tensor([[0], [1]]))
    pos = torch.empty(2, 0, dtype=torch.int64)
    assert heart_negatives(pos, graph, graph, k=4).shape == (2, 0, 4)

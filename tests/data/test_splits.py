from dataclasses import replace

import pytest
import torch

from graphlearn.data.dataset import LinkSplit
from graphlearn.data.pairs import pair_keys, simple_pairs
from graphlearn.data.splits import (
    check_no_leak,
    hits_metric,
    link_dataset,
    planetoid_links,
    random_links,
    split_links,
)

NODES = 200


def graph(edges=1000, nodes=NODES):
    generator = torch.Generator().manual_seed(1)
    return simple_pairs(torch.randint(nodes, (2, edges), generator=generator), nodes, source="toy")


PAIRS = graph()


def keys(pairs):
    return set(pair_keys(pairs, NODES).tolist())


@pytest.mark.parametrize("split", [random_links, planetoid_links])
def test_splits_are_disjoint_and_complete(split):
    splits = split(PAIRS, NODES, seed=3)
    parts = [keys(splits[name].pos) for name in ("train", "valid", "test")]
    assert set.union(*parts) == keys(PAIRS) and sum(map(len, parts)) == PAIRS.shape[1]
    negatives = [keys(splits[name].neg) for name in ("valid", "test")]
    assert not negatives[0] & negatives[1] and not (negatives[0] | negatives[1]) & keys(PAIRS)
    assert len(negatives[0]) == splits["valid"].neg.shape[1]
    assert splits["train"].neg is None
    assert all(bool((part.pos[0] < part.pos[1]).all()) for part in splits.values())


@pytest.mark.parametrize("split", [random_links, planetoid_links])
def test_a_seed_decides_the_split(split):
    first, again, other = (split(PAIRS, NODES, seed=seed) for seed in (3, 3, 4))
    shuffled = split(PAIRS[:, torch.randperm(PAIRS.shape[1])].flip(0), NODES, seed=3)
    for name in ("train", "valid", "test"):
        assert torch.equal(first[name].pos, again[name].pos)
        assert torch.equal(first[name].pos, shuffled[name].pos)
        assert keys(first[name].pos) != keys(other[name].pos)
    assert torch.equal(first["test"].neg, again["test"].neg)


def test_splits_do_not_depend_on_the_global_generator():
    torch.manual_seed(0)
    first = random_links(PAIRS, NODES)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    second = random_links(PAIRS, NODES)
    assert torch.equal(first["test"].neg, second["test"].neg)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("nodes", "edges", "sizes"),
    [
        (2708, 5278, (3696, 527, 1055, 1055, 1055)),
        (3327, 4552, (3187, 455, 910, 910, 910)),
        (19717, 44324, (31028, 4432, 8864, 8864, 8864)),
    ],
)
def test_published_sizes(nodes, edges, sizes):
    ring = torch.arange(edges)
    pairs = torch.stack([ring % nodes, (ring % nodes + ring // nodes + 1) % nodes])
    pairs = simple_pairs(pairs, nodes, source="ring")
    splits = planetoid_links(pairs, nodes, seed=0)
    got = [splits["train"].pos, splits["valid"].pos, splits["valid"].neg]
    got += [splits["test"].pos, splits["test"].neg]
    assert tuple(part.shape[1] for part in got) == sizes


def test_shares_of_a_random_split():
    splits = random_links(PAIRS, NODES, valid=0.05, test=0.1)
    count = PAIRS.shape[1]
    assert splits["valid"].pos.shape[1] == splits["valid"].neg.shape[1] == int(0.05 * count)
    assert splits["test"].pos.shape[1] == splits["test"].neg.shape[1] == int(0.1 * count)


def test_bad_shares_and_small_graphs():
    with pytest.raises(ValueError, match=r"add up to less than 1, got 0.5 and 0.5"):
        random_links(PAIRS, NODES, valid=0.5, test=0.5)
    with pytest.raises(ValueError, match=r"must be positive"):
        random_links(PAIRS, NODES, valid=0.0)
    for split in (random_links, planetoid_links):
        with pytest.raises(ValueError, match=r"a graph of 4 edges is too small to split"):
            split(PAIRS[:, :4], NODES)
    triangle = torch.combinations(torch.arange(6)).T
    with pytest.raises(ValueError, match=r"the graph is too dense"):
        random_links(triangle, 6)


def test_split_links_follows_the_protocol():
    planetoid = split_links(PAIRS, NODES, protocol="planetoid", seed=2)
    assert torch.equal(planetoid["test"].pos, planetoid_links(PAIRS, NODES, seed=2)["test"].pos)
    for protocol in ("auto", "random", "heart"):
        got = split_links(PAIRS, NODES, protocol=protocol, seed=2)
        assert torch.equal(got["test"].pos, random_links(PAIRS, NODES, seed=2)["test"].pos)
    with pytest.raises(ValueError, match=r"always splits 70/10/20, got valid=0.2"):
        split_links(PAIRS, NODES, protocol="planetoid", valid=0.2)
    with pytest.raises(ValueError, match=r"protocol must be auto, random, .* got 'ogb'"):
        split_links(PAIRS, NODES, protocol="ogb")


def test_link_dataset_holds_training_edges_and_facts():
    splits = random_links(PAIRS, NODES)
    dataset = link_dataset("toy", splits, NODES, x=torch.ones(NODES, 3))
    assert keys(dataset.data.edge_index) == keys(splits["train"].pos)
    assert dataset.data.edge_index.shape[1] == 2 * splits["train"].pos.shape[1]
    assert dataset.facts == {"num_nodes": NODES, "in_channels": 3, "num_ids": 0}
    bare = link_dataset("toy", splits, NODES)
    assert bare.facts == {"num_nodes": NODES, "in_channels": 0, "num_ids": NODES}
    assert torch.equal(bare.data.x, torch.arange(NODES))


@pytest.mark.parametrize(
    ("pools", "metric"),
    [
        ((90, 90), "hits@10"),
        ((200, 1000), "hits@20"),
        ((500, 999), "hits@50"),
        ((5000, 1000), "hits@100"),
    ],
)
def test_metric_fits_the_negatives(pools, metric):
    pos = torch.zeros(2, 1, dtype=torch.long)
    parts = [LinkSplit(pos, torch.zeros(2, size, dtype=torch.long)) for size in pools]
    assert hits_metric({"train": LinkSplit(pos), "valid": parts[0], "test": parts[1]}) == metric


def test_no_leak_is_found():
    dataset = link_dataset("toy", random_links(PAIRS, NODES), NODES)
    check_no_leak(dataset)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_leak_is_found_in_either_direction(split):
    dataset = link_dataset("toy", random_links(PAIRS, NODES), NODES)
    leak = dataset.splits["train"].pos[:, :1].flip(0)
    held = dataset.splits[split]
    leaky = replace(held, pos=torch.cat([held.pos, leak], dim=1))
    first = rf"toy: 1 {split} pairs are among the training pairs, the first is \({leak[0, 0]}, "
    with pytest.raises(ValueError, match=first):
        check_no_leak(replace(dataset, splits={**dataset.splits, split: leaky}))
    data = dataset.data.clone()
    data.edge_index = torch.cat([data.edge_index, held.pos[:, :2].flip(0)], dim=1)
    with pytest.raises(ValueError, match=f"toy: 2 {split} pairs are among edge_index"):
        check_no_leak(replace(dataset, data=data))

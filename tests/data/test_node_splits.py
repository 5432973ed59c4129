import pytest
import torch

from graphlearn.data.node_splits import (
    largest_component,
    masked_split,
    random_per_class_split,
    split_nodes,
    stratified_split,
)

Y = torch.tensor([0, 1, 2, -1]).repeat(40)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sizes(splits):
    return [len(splits[part]) for part in ("train", "valid", "test")]


def disjoint(splits):
    ids = torch.cat(list(splits.values()))
    return len(ids.unique()) == len(ids) and bool((Y[ids] >= 0).all())


def test_so_many_of_each_class():
    splits = random_per_class_split(Y, 10, val_per_class=5, generator=seeded())
    assert disjoint(splits) and sizes(splits) == [30, 15, 75]
    for part, count in (("train", 10), ("valid", 5), ("test", 25)):
        assert torch.bincount(Y[splits[part]]).tolist() == [count] * 3
        assert (splits[part].diff() > 0).all()


def test_so_many_in_all():
    splits = random_per_class_split(Y, 20, val=17, test=31, generator=seeded())
    assert disjoint(splits) and sizes(splits) == [60, 17, 31]
    assert torch.bincount(Y[splits["train"]]).tolist() == [20] * 3
    assert torch.bincount(Y[splits["valid"]]).min() > 0  # classes are mixed, not in a row
    assert sizes(random_per_class_split(Y, 20, val=17, generator=seeded())) == [60, 17, 43]


def test_nodes_are_ids_and_not_positions():
    """In the published loader, positions in the list of nodes were taken for ids."""
    nodes = torch.arange(80, 160)
    splits = random_per_class_split(Y, 5, val_per_class=5, nodes=nodes, generator=seeded())
    assert disjoint(splits) and sizes(splits) == [15, 15, 30]
    assert torch.bincount(Y[splits["train"]]).tolist() == [5] * 3
    assert min(int(ids.min()) for ids in splits.values()) >= 80
    shares = stratified_split(Y, nodes=nodes, generator=seeded())
    assert min(int(ids.min()) for ids in shares.values()) >= 80 and sum(sizes(shares)) == 60


def test_a_seed_decides():
    for split in (
        lambda seed: random_per_class_split(Y, 5, val=5, generator=seeded(seed)),
        lambda seed: stratified_split(Y, generator=seeded(seed)),
    ):
        first, again, other = split(1), split(1), split(2)
        assert all(torch.equal(first[part], again[part]) for part in first)
        assert not torch.equal(first["test"], other["test"])


def test_every_node_is_as_likely_as_any_other_of_its_class():
    count = torch.zeros(len(Y))
    for seed in range(300):
        count[random_per_class_split(Y, 10, val_per_class=5, generator=seeded(seed))["train"]] += 1
    got = count[Y >= 0]
    assert abs(float(got.mean()) - 75) < 1e-3
    assert float(((got - 75) ** 2 / (75 * 0.75)).sum()) < 120 + 4 * (2 * 120) ** 0.5


def test_shares_of_every_class():
    y = torch.tensor([0] * 100 + [1] * 40 + [2] * 5 + [3] * 2 + [4])
    splits = stratified_split(y, generator=seeded())
    assert sorted(torch.cat(list(splits.values())).tolist()) == list(range(len(y)))
    assert torch.bincount(y[splits["train"]]).tolist() == [10, 4, 1, 1, 1]
    assert torch.bincount(y[splits["valid"]]).tolist() == [10, 4, 1, 1]
    assert torch.bincount(y[splits["test"]]).tolist() == [80, 32, 3]
    half = stratified_split(y[:140], valid=0.25, test=0.25, generator=seeded())
    assert sizes(half) == [70, 35, 35]
    tiny = stratified_split(torch.zeros(3).long(), valid=0.6, test=0.1, generator=seeded())
    assert sizes(tiny) == [1, 1, 1]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"val": 3, "val_per_class": 3}, "train and one of val and val_per_class must be positive"),
        ({}, "train and one of val and val_per_class .* got train=20, val=0, val_per_class=0"),
        ({"train": 0, "val": 3}, "train and one of val .* got train=0, val=3"),
        ({"val": 3, "test": 0}, "test must be positive, or None for all that is left, got 0"),
        ({"val_per_class": 30}, r"class 0 has 40 nodes to draw from, 50 are needed \(train=20"),
        ({"val": 90}, "120 labelled nodes are too few for 60 training, 90 validation and 1 test"),
        ({"val": 50, "test": 20}, "too few for 60 training, 50 validation and 20 test nodes"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        random_per_class_split(Y, **sizes)


def test_shares_that_do_not_fit():
    with pytest.raises(ValueError, match=r"valid and test must be positive .* got 0.5 and 0.5"):
        stratified_split(Y, valid=0.5, test=0.5)
    with pytest.raises(ValueError, match=r"2 labelled nodes are too few to split, .* left: test"):
        stratified_split(torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="no node that may be drawn has a label"):
        stratified_split(torch.full((4,), -1))


def test_protocols():
    given = {"train": torch.tensor([0]), "valid": torch.tensor([1]), "test": torch.tensor([2])}
    for protocol in ("auto", "public"):
        assert split_nodes(Y, protocol=protocol, source="toy", given=given) == given
    drawn = split_nodes(Y, protocol="random", source="toy", given=given, seed=3, val=20, test=9)
    expected = random_per_class_split(Y, 20, val=20, test=9, generator=seeded(3))
    assert all(torch.equal(drawn[part], expected[part]) for part in drawn)
    shares = split_nodes(Y, protocol="auto", source="toy", seed=4, shares=(0.2, 0.5))
    expected = stratified_split(Y, valid=0.2, test=0.5, generator=seeded(4))
    assert all(torch.equal(shares[part], expected[part]) for part in shares)
    usual = split_nodes(torch.arange(2).repeat(60), protocol="auto", source="toy", usual="random")
    assert sizes(usual) == [40, 60, 20]


def test_protocols_that_do_not_fit():
    message = "protocol must be auto, random or stratified for the nodes of toy, got 'public'"
    with pytest.raises(ValueError, match=message):
        split_nodes(Y, protocol="public", source="toy")
    with pytest.raises(ValueError, match=r"must be auto, public, random or stratified .* 'ogb'"):
        split_nodes(Y, protocol="ogb", source="toy", given={})
    message = "protocol 'random' of toy fixes the sizes, got valid=0.2 and test=None; use protocol"
    with pytest.raises(ValueError, match=message):
        split_nodes(Y, protocol="random", source="toy", shares=(0.2, None))


def test_the_largest_component():
    edges = torch.tensor([[1, 5, 3, 7], [2, 3, 6, 7]])
    assert largest_component(edges, 9).tolist() == [3, 5, 6]
    assert largest_component(edges[:, :0], 3).tolist() == [0]


def test_masks_as_a_split():
    train, valid = torch.arange(4) < 2, torch.arange(4) == 2
    columns = torch.stack([train, ~train], 1)
    stored = {"train_mask": columns, "val_mask": valid, "test_mask": torch.arange(4) == 3}
    found = masked_split(stored, 4, 1)
    assert {part: ids.tolist() for part, ids in found.items()} == {
        "train": [2, 3], "valid": [2], "test": [3],
    }  # fmt: skip
    assert masked_split(stored, 4, 2)["train"].tolist() == [0, 1]
    assert masked_split({"x": train}, 4, 0) is None
    with pytest.raises(ValueError, match=r"own.val_mask must hold 4 truth values, got none"):
        masked_split({"train_mask": train}, 4, 0, source="own")

"""False pairs of a split: where they come from, what they are aligned with, what decides them."""

from dataclasses import replace

import pytest
import torch
from toy import event_dataset

from graphlearn.data import load
from graphlearn.tasks.opponents import KINDS, Opponents, scored_rows


def ends(dataset, ids):
    return set(zip(dataset.data.src[ids].tolist(), dataset.data.dst[ids].tolist(), strict=True))


def partly(dataset, split="valid"):
    """Every third event of a split is scored."""
    part = dataset.splits[split]
    mask = torch.arange(len(part.events)) % 3 == 0
    part = replace(part, scored=mask, groups={})
    return replace(dataset, splits={**dataset.splits, split: part})


def test_windows_and_their_scored_rows():
    part = partly(event_dataset()).splits["valid"]
    chosen, seen = part.events[part.scored], []
    for window, scored in scored_rows(part, 7):
        ids = part.events[window]
        assert torch.equal(chosen[scored], ids[part.scored[window]])
        seen.append(ids)
    assert torch.equal(torch.cat(seen), part.events) and len(seen[0]) == 7


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_random_targets_are_known_up_to_the_split(split):
    dataset = event_dataset()
    src, target = Opponents(dataset).draw(split, ("random",), 10, seed=3)[:, 0]
    splits = ["train", "valid", "test"]
    until = splits[: splits.index(split) + 1]
    known = torch.cat([dataset.data.dst[dataset.splits[one].events] for one in until])
    assert torch.equal(src, dataset.data.src[dataset.splits[split].events])
    assert torch.isin(target, known).all()


@pytest.mark.parametrize("kind", ["historical", "inductive"])
def test_past_pairs_are_never_of_the_batch(kind):
    dataset = event_dataset()
    drawn = Opponents(dataset).draw("test", (kind,), 10, seed=3)[:, 0]
    part = dataset.splits["test"]
    trained = ends(dataset, dataset.splits["train"].events)
    assert drawn.shape == (2, len(part.events))
    for window, rows in scored_rows(part, 10):
        ids = part.events[window]
        pairs = set(map(tuple, drawn[:, rows].T.tolist()))
        assert not pairs & ends(dataset, ids)
        if kind == "historical":
            assert pairs <= ends(dataset, torch.arange(int(ids[0]) + 3))
        else:
            assert pairs - trained


def test_several_kinds_and_their_seeds():
    opponents = Opponents(event_dataset())
    both = opponents.draw("valid", (*KINDS, "random"), 10, seed=1)
    assert both.shape[:2] == (2, 4)
    assert not torch.equal(both[:, 0], both[:, 3])
    assert torch.equal(both, opponents.draw("valid", (*KINDS, "random"), 10, seed=1))
    assert not torch.equal(both, opponents.draw("valid", (*KINDS, "random"), 10, seed=2))


@pytest.mark.parametrize("kind", KINDS)
def test_only_scored_events_get_false_pairs(kind):
    dataset = partly(event_dataset())
    count = int(dataset.splits["valid"].scored.sum())
    assert Opponents(dataset).draw("valid", (kind,), 7, seed=0).shape == (2, 1, count)


def test_candidates_are_never_true():
    dataset = partly(event_dataset())
    part, data = dataset.splits["valid"], dataset.data
    chosen = part.events[part.scored]
    blocks = list(Opponents(dataset).candidates("valid", 9, 7, seed=0))
    pairs = torch.cat(blocks, dim=2)
    assert len(blocks) == -(-len(part.events) // 7) and pairs.shape == (2, 9, len(chosen))
    assert (pairs[0] == data.src[chosen]).all() and (pairs[1] != data.dst[chosen]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", ["inductive", "new-node"])
def test_nodes_that_are_held_out_are_no_false_pairs_of_training(kind, protocol):
    dataset = load(event_dataset(num_events=2000, num_nodes=60).data, protocol=protocol)
    train = dataset.splits["train"].events
    known = set(dataset.data.src[train].tolist()) | set(dataset.data.dst[train].tolist())
    assert len(known) < 60
    drawn = Opponents(dataset).draw("train", (kind,), 50, seed=1)
    assert set(drawn.flatten().tolist()) <= known

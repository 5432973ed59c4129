"""Event prediction: order, state, negatives, metrics, learning, resuming, recommending."""

from dataclasses import replace

import pytest
import torch
from event_checks import check_event_model
from torch import nn
from toy import event_dataset, link_dataset
from toy_events import Trails

from graphlearn.data.dataset import EventSplit
from graphlearn.knobs import build
from graphlearn.models.edgebank import EdgeBank
from graphlearn.sampling.stream import Events, Features
from graphlearn.tasks import events as module
from graphlearn.tasks.events import EventModel, EventPrediction
from graphlearn.train.task import Schedule
from graphlearn.train.trainer import Trainer


def make(dataset=None, *, seed=0, dropout=0.0, epochs=3, lr=0.05, **options):
    dataset = dataset or event_dataset()
    torch.manual_seed(seed)
    model = build(Trails, dataset, dropout=dropout)
    schedule = Schedule(epochs=epochs, lr=lr)
    options = {"batch_size": 20, "eval_batch_size": 8, "schedule": schedule} | options
    task = EventPrediction(model, dataset, **options)
    task.seed = seed
    return task


def quiet(**options):
    return Trainer(progress=False, device="cpu", **options)


def partly(dataset, split):
    """The first half of a split is not scored."""
    part = dataset.splits[split]
    mask = torch.arange(len(part.events)) >= len(part.events) // 2
    groups = {"new": part.groups["new"]} if part.groups else {}
    part = EventSplit(part.history, part.events, mask, groups)
    return replace(dataset, splits={**dataset.splits, split: part})


def test_the_toy_keeps_the_contract():
    check_event_model(lambda dataset: build(Trails, dataset))


def test_events_are_taken_in_order_and_after_the_step():
    dataset, task = event_dataset(), make()
    task.start("train")
    log, train = task.model.log, dataset.splits["train"].events
    assert log == ["reset"]
    visited = []
    for batch in task.batches("train"):
        log.clear()
        task(batch)["loss"].backward()
        assert log == ["read"], "events are taken in before the step"
        visited.append(batch.events.eid)
    assert log == ["read", ("update", visited[-1].tolist())]
    assert torch.equal(torch.cat(visited), train)
    assert task.model.seen.tolist() == [len(train), int((train + 1).sum())]


def test_batches_that_nobody_scores_are_taken_in_all_the_same():
    task = make()
    task.start("train")
    list(task.batches("train"))
    assert int(task.model.seen[0]) == len(task.dataset.splits["train"].events)
    for split in ("train", "valid"):
        task = make(partly(event_dataset(), split))
        task.start(split)
        part, count = task.dataset.splits[split], 0
        for batch in task.batches(split):
            count += batch.pos.shape[1]
            task(batch) if split == "train" else task.score(batch)
        assert count == int(part.scored.sum())
        assert int(task.model.seen[0]) == len(part.history) + len(part.events)


def test_the_state_goes_on_from_split_to_split():
    task = make()
    task.start("train")
    for batch in task.batches("train"):
        task(batch)
    for split in ("valid", "test"):
        task.model.log.clear()
        task.start(split)
        assert task.model.log == []
        for batch in task.batches(split):
            task.score(batch)
    task.start("test")
    assert task.model.log.count("reset") == 1, "another state is rebuilt"
    assert int(task.model.seen[0]) == len(task.dataset.splits["test"].history)


def test_only_what_is_missing_is_replayed():
    task = make()
    task.start("valid")
    task.model.log.clear()
    task.start("test")
    assert "reset" not in task.model.log
    updates = [torch.tensor(entry[1]) for entry in task.model.log if entry != "read"]
    valid = task.dataset.splits["valid"].events
    assert torch.equal(torch.cat(updates), valid) and len(updates[0]) == 8


def test_other_events_of_the_same_number_are_noticed():
    dataset = event_dataset()
    task = make(dataset)
    task.start("valid")
    count = int(task.model.seen[0])
    history = torch.arange(len(dataset.data.src))[-count:]
    task.model.log.clear()
    task._reach(history)
    assert task.model.log[0] == "reset"
    assert task.model.seen.tolist() == [count, int((history + 1).sum())]


def test_one_loss_from_one_call():
    task = make(negatives=3)
    task.start("train")
    batch = next(iter(task.batches("train")))
    assert batch.neg.shape == (2, 3, 20)
    assert (batch.neg[0] == batch.pos[0]).all()
    view = task.model.read(None, None, task._features)
    pos = task.model.score(view, batch.pos, batch.t)
    neg = task.model.score(view, batch.neg.flatten(1), batch.t.repeat(3))
    want = nn.functional.softplus(-pos).mean() + nn.functional.softplus(neg).mean()
    torch.testing.assert_close(task(batch)["loss"], want)


@pytest.mark.parametrize("kind", ["random", "historical", "inductive"])
def test_negatives_of_training_change_with_the_epoch_and_the_seed(kind):
    found = []
    for seed, epoch in ((0, 1), (0, 2), (1, 1), (0, 1)):
        task = make(seed=seed, train_negatives=kind)
        task.epoch = epoch
        task.start("train")
        found.append(torch.cat([batch.neg for batch in task.batches("train")], dim=2))
    assert torch.equal(found[0], found[3])
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_negatives_of_evaluation_are_the_same_in_all_runs():
    found = []
    for seed, epoch in ((0, 1), (1, 5)):
        task = make(seed=seed, eval_negatives=("random", "historical", "inductive"))
        task.epoch = epoch
        for split, kinds in (("valid", 1), ("test", 3)):
            task.start(split)
            neg = torch.cat([batch.neg for batch in task.batches(split)], dim=2)
            assert neg.shape[1] == kinds
            found.append(neg)
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])


def test_metrics_of_a_run():
    kinds = ("historical", "random")
    result = quiet().fit(make(eval_negatives=kinds))
    assert set(result.valid) == {
        f"{name}{end}" for name in ("ap", "auc") for end in ("", "@batch", "/new")
    }
    assert set(result.test) == set(result.valid) | {"ap/random", "auc/random"}
    assert result.monitor == "ap"
    old = event_dataset().splits["valid"]
    empty = replace(old, groups={"new": torch.zeros_like(old.groups["new"])})
    dataset = event_dataset()
    dataset = replace(dataset, splits={**dataset.splits, "valid": empty})
    assert "ap/new" not in quiet().evaluate(make(dataset), "valid")


def test_the_batch_size_of_evaluation_decides_how_fresh_the_state_is():
    one, two = (quiet().fit(make(eval_batch_size=size)).test for size in (1, 64))
    assert one["ap"] != two["ap"] and one["ap@batch"] != two["ap@batch"]


def test_candidates_are_ranked_in_blocks(monkeypatch):
    whole = quiet().fit(make(candidates=12))
    assert whole.monitor == "mrr"
    assert set(whole.valid) == {"mrr", "hits@10", "mrr/new", "hits@10/new"}
    monkeypatch.setattr(module, "_BLOCK", 17)
    assert quiet().fit(make(candidates=12)).test == pytest.approx(whole.test)


def test_candidates_are_read_once():
    task = make(candidates=25, eval_batch_size=30)
    task.start("valid")
    batch, read, shown = next(iter(task.batches("valid"))), task.model.read, []
    task.eval().model.read = lambda nodes, *rest: shown.append(nodes) or read(nodes, *rest)
    task.score(batch)
    assert len(shown[0]) <= 2 * 30 + 30 and set(batch.neg[1].flatten().tolist()) - {-1} <= set(
        shown[0].tolist()
    )


def test_padding_does_not_count():
    task = make(candidates=5)
    task.start("valid")
    batch = next(iter(task.batches("valid")))
    padded = torch.cat([batch.neg, batch.neg], dim=1)
    padded[1, 5:] = -1
    other = make(candidates=5)
    other.start("valid")
    rank = other.score(batch._replace(neg=padded))["rank"]
    assert torch.equal(task.score(batch)["rank"], rank)


def test_learns():
    result = quiet().fit(make(epochs=10))
    assert result.test["ap"] > 0.75 and result.history[-1]["loss"] < result.history[0]["loss"]


def test_overfits_ten_events():
    dataset = event_dataset(node_dim=8)
    task = make(dataset, batch_size=10, lr=0.05)
    task.start("train")
    batch = next(iter(task.batches("train")))
    task.model.node = nn.Linear(9, 64)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.02)
    for _ in range(200):
        loss = task(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01


def test_no_parameter_no_training():
    dataset = event_dataset()
    result = quiet().fit(EventPrediction(build(EdgeBank, dataset), dataset))
    assert result.epochs == 0 and result.test["ap"] > 0.6


def test_the_seed_fixes_everything():
    runs = [make(edge, seed=3, dropout=0.3) for edge in [event_dataset(edge_dim=2)] * 2]
    one, two = (quiet().fit(task) for task in runs)
    assert one.test == two.test and one.valid == two.valid
    for left, right in zip(*(task.state_dict().values() for task in runs), strict=True):
        assert torch.equal(left, right)


def test_resumed_equals_uninterrupted(tmp_path):
    def fit(epochs, folder, **options):
        task = make(epochs=epochs, dropout=0.3)
        return quiet(out=tmp_path / folder, save_seconds=0.0, **options).fit(task), task

    whole, one = fit(5, "whole")
    fit(2, "parts")
    resumed, two = fit(5, "parts", resume=True)
    assert resumed.valid == whole.valid and resumed.test == whole.test
    for left, right in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_the_best_weights_bring_their_state(tmp_path):
    """A test of the best epoch is the same right after training and from its file."""
    task = make(epochs=6, lr=0.5)
    result = quiet(out=tmp_path).fit(task)
    valid = task.dataset.splits["valid"]
    history = task.dataset.splits["test"].history
    assert task.model.seen.tolist() == [len(history), int((history + 1).sum())]
    assert quiet().evaluate(task, "test") == result.test
    task.start("valid")
    assert int(task.model.seen[0]) == len(valid.history)


def test_timeline():
    task = make()
    lines = task.timeline("test")
    batches = -(-len(task.dataset.splits["test"].events) // 8)
    assert {name: len(values) for name, values in lines.items()} == dict.fromkeys(
        ("time", "ap", "auc", "occupancy"), batches
    )
    assert lines["occupancy"].shape == (batches, 2) and (lines["time"].diff() > 0).all()
    found = quiet().evaluate(make(), "test")
    assert float(lines["ap"].mean()) == pytest.approx(found["ap@batch"])
    lines = make(partly(event_dataset(), "test"), candidates=4).timeline("test")
    assert set(lines) == {"time", "mrr", "occupancy"} and len(lines["mrr"]) < batches


def test_predictions_know_the_whole_stream():
    task = make()
    events = len(task.dataset.data.src)
    pairs = torch.tensor([[0, 1, 2], [5, 6, 2]])
    scores = task.predict(pairs)
    assert task.model.seen.tolist() == [events, events * (events + 1) // 2]
    task.model.log.clear()
    assert torch.equal(task.predict(pairs[:, 1:]), scores[1:])
    assert task.model.log == ["read"], "nothing is missing any more"


def test_recommendations_are_the_best_of_all_pairs(monkeypatch):
    task = make()
    quiet().fit(task)
    data = task.dataset.data
    for block in (1 << 16, 7):
        monkeypatch.setattr(module, "_BLOCK", block)
        pairs, scores = task.recommend(10)
        sources, targets = data.src.unique(), data.dst.unique()
        every = torch.cartesian_prod(sources, targets).T.contiguous()
        every = every[:, every[0] != every[1]]
        want = task.predict(every).sort(descending=True).values[:10]
        assert torch.equal(scores, want) and torch.equal(task.predict(pairs), scores)


def test_recommendations_for_some_nodes():
    dataset = event_dataset()
    seen = dataset.data.dst.clone()
    dataset.data.dst[seen == 7] = 8
    task = make(dataset)
    nodes = torch.tensor([3, 3, 4])
    pairs, _ = task.recommend(100, nodes=nodes)
    assert set(pairs[0].tolist()) == {3, 4} and 7 not in pairs[1].tolist()
    assert set(map(tuple, pairs.T.tolist())) & set(
        zip(dataset.data.src.tolist(), dataset.data.dst.tolist(), strict=True)
    ), "partners met before may meet again"
    every, _ = task.recommend(100, nodes=nodes, exhaustive=True)
    assert every.shape == (2, 2 * 29) and not (every[0] == every[1]).any()


def test_features_and_their_absence():
    task = make(event_dataset(edge_dim=3, node_dim=5))
    task.start("train")
    assert [part.shape[1] for part in task._features] == [5, 3]
    task = make()
    task.start("train")
    assert [tuple(part.shape) for part in task._features] == [(30, 0), (300, 0)]
    assert isinstance(task._features, Features) and isinstance(task._stream, Events)


def test_protocol():
    assert isinstance(Trails(3), EventModel) and not isinstance(nn.Linear(1, 1), EventModel)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"eval_batch_size": 0}, "eval_batch_size must be at least 1, got 0"),
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
        ({"candidates": -1}, "candidates must be at least 0, got -1"),
        (
            {"eval_negatives": ("historic",)},
            "eval_negatives must be of random, historical, inductive, got 'historic'; "
            "did you mean 'historical'?",
        ),
        (
            {"eval_negatives": ("random", "random")},
            "eval_negatives must name at least one kind, each once, got ('random', 'random')",
        ),
        ({"eval_negatives": ()}, "eval_negatives must name at least one kind, each once, got ()"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises(ValueError) as error:
        make(**options)
    assert str(error.value) == message


def test_other_errors():
    with pytest.raises(ValueError, match="toy is a data set of kind 'link', not 'events'"):
        EventPrediction(Trails(3), link_dataset())
    with pytest.raises(TypeError, match="Linear is no event model: it lacks 'reset'"):
        EventPrediction(nn.Linear(1, 1), event_dataset())
    dataset = partly(event_dataset(), "test")
    dataset.splits["test"].scored.zero_()
    with pytest.raises(ValueError, match="no event of the test split of toy-events is scored"):
        make(dataset)

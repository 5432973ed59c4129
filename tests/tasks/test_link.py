"""Link prediction: targets never see themselves, ranks are OGB's, runs learn and resume."""

from dataclasses import replace

import pytest
import torch
from toy import link_dataset

from graphlearn.data.dataset import LinkSplit
from graphlearn.models.baselines import GAE, Heuristic
from graphlearn.models.ncn import NCN
from graphlearn.models.ncnc import NCNC
from graphlearn.ops.csr import CSR
from graphlearn.ops.overlap import contains
from graphlearn.tasks.link import LinkBatch, LinkPrediction
from graphlearn.train.task import Schedule, Shard
from graphlearn.train.trainer import Trainer


def make(kind=NCN, dataset=None, *, seed=0, settings=None, **options):
    dataset = dataset or link_dataset()
    torch.manual_seed(seed)
    sizes = dataset.facts["in_channels"], dataset.facts["num_ids"]
    model = kind(*sizes, hidden=16, **settings or {})
    options = {"batch_size": 32, "schedule": Schedule(epochs=4, lr=0.01)} | options
    task = LinkPrediction(model, dataset, **options)
    task.seed = seed
    return task


def unordered(pairs):
    return {tuple(sorted(pair)) for pair in pairs.t().tolist()}


def quiet(**options):
    return Trainer(progress=False, **options)


class Spy(torch.nn.Module):
    """A link model that records what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def encode(self, x, graph):
        self.seen.append((self.training, graph))
        return (self.weight,)

    def score(self, nodes, graph, pairs):
        self.seen.append((self.training, graph, pairs))
        return self.weight * pairs.sum(0)


def test_no_held_out_pair_ever_reaches_training():
    dataset, spy = link_dataset(), Spy()
    task = LinkPrediction(spy, dataset, batch_size=32, schedule=Schedule(epochs=3))
    quiet().fit(task)
    held = torch.cat([dataset.splits[split].pos for split in ("valid", "test")], dim=1)
    assert len(spy.seen) > 6
    for training, graph, *pairs in spy.seen:
        assert not contains(graph, held).any() and not contains(graph, held.flip(0)).any()
        if training and pairs:
            true = pairs[0][:, : pairs[0].shape[1] // 2]
            assert not unordered(true) & unordered(held)


def test_targets_are_taken_out_of_the_graph():
    dataset, spy = link_dataset(), Spy()
    task = LinkPrediction(spy, dataset, batch_size=32)
    task.start("train")
    for batch in task.batches("train"):
        spy.seen.clear()
        task(batch)
        graph = spy.seen[0][1]
        kept = graph.keep[graph.locate(batch.targets)]
        assert not kept.any() and int(graph.keep.sum()) == graph.num_entries - 2 * 32
        break
    task.remove_targets = False
    task(batch)
    assert spy.seen[-1][1].keep is None


def test_the_score_of_a_batch_edge_ignores_that_edge():
    dataset = link_dataset()
    train = dataset.splits["train"].pos
    without = replace(dataset, splits={**dataset.splits, "train": LinkSplit(train[:, 1:])})
    losses = []
    for data in (dataset, without):
        task = make(dataset=data)
        task.start("train")
        pair = train[:, :1]
        losses.append(task(LinkBatch(pair, pair.flip(0) * 0, pair, (1, 1)))["loss"])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize(("removal", "stays"), [("pairs", False), ("records", True)])
def test_repeated_pairs_leak_only_where_records_are_removed(removal, stays):
    dataset, spy = link_dataset(), Spy()
    pos = dataset.splits["train"].pos
    twice = {**dataset.splits, "train": LinkSplit(torch.cat([pos, pos[:, :1]], dim=1))}
    task = LinkPrediction(spy, replace(dataset, splits=twice), removal=removal)
    task.start("train")
    task(LinkBatch(pos[:, :1], pos[:, :1], pos[:, :1], (1, 1)))
    graph = spy.seen[0][1]
    assert bool(graph.keep[graph.locate(pos[:, :1])]) is stays and graph.weight is None


def test_validation_pairs_are_input_of_the_test_only():
    dataset, spy = link_dataset(), Spy()
    task = LinkPrediction(spy, dataset, use_valid_edges=True)
    for split, found in (("train", False), ("valid", False), ("test", True)):
        task.start(split)
        graph = task._graph
        assert bool(contains(graph, dataset.splits["valid"].pos).all()) is found
        assert not contains(graph, dataset.splits["test"].pos).any()


def test_negatives_are_no_edges_and_change_with_the_epoch():
    task = make(batch_size=16, negatives=2)
    graph, epochs = task.graph(), []
    for task.epoch in (1, 2, 1):
        task.start("train")
        batches = list(task.batches("train"))
        neg = torch.cat([batch.neg for batch in batches], dim=1)
        assert neg.shape[1] == 2 * sum(batch.pos.shape[1] for batch in batches)
        assert not contains(graph, neg).any() and not (neg[0] == neg[1]).any()
        epochs.append(neg)
    assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])


def test_sources_are_kept_where_asked():
    task = make(batch_size=16, sources=True)
    task.start("train")
    for batch in task.batches("train"):
        assert torch.equal(batch.neg[0], batch.pos[0])


def test_given_negatives_of_training_are_used():
    dataset = link_dataset()
    pool = dataset.splits["valid"].neg
    splits = {**dataset.splits, "train": replace(dataset.splits["train"], neg=pool)}
    task = make(dataset=replace(dataset, splits=splits))
    task.start("train")
    known = {tuple(pair) for pair in pool.t().tolist()}
    for batch in task.batches("train"):
        assert {tuple(pair) for pair in batch.neg.t().tolist()} <= known


def test_shards_divide_a_batch_and_average_to_its_loss():
    whole = make(seed=3)
    whole.start("train")
    expected = [whole(batch)["loss"].item() for batch in whole.batches("train")]
    parts = []
    for rank in range(2):
        task = make(seed=3)
        task.shard = Shard(rank, 2)
        task.start("train")
        parts.append([task(batch)["loss"].item() for batch in task.batches("train")])
    mean = [sum(pair) / 2 for pair in zip(*parts, strict=True)]
    assert mean == pytest.approx(expected, rel=1e-5)


def test_drop_last_and_its_error():
    pairs = link_dataset().splits["train"].pos.shape[1]
    task = make(batch_size=32, drop_last=True)
    task.start("train")
    assert {batch.pos.shape[1] for batch in task.batches("train")} == {32} and pairs % 32
    with pytest.raises(ValueError, match=f"batch_size must be at most {pairs}"):
        make(batch_size=pairs + 1, drop_last=True)


def test_other_errors():
    with pytest.raises(ValueError, match="kind 'node', not 'link'"):
        make(dataset=replace(link_dataset(), kind="node"))
    with pytest.raises(ValueError, match="eval_batch_size must be at least 1, got 0"):
        make(eval_batch_size=0)


@pytest.mark.parametrize("step", [1, 7, 8192])
def test_metrics_do_not_depend_on_the_blocks(step):
    task = make(kind=GAE, eval_batch_size=step)
    full = quiet().evaluate(make(kind=GAE), "valid")
    assert quiet().evaluate(task, "valid") == pytest.approx(full)
    assert {"hits@10", "mrr", "auc", "ap"} <= full.keys()


def test_candidates_of_each_pair():
    dataset = link_dataset()
    pos = dataset.splits["valid"].pos
    neg = torch.randint(48, (2, pos.shape[1], 30))
    splits = {**dataset.splits, "valid": LinkSplit(pos, neg.int())}
    task = make(dataset=replace(dataset, splits=splits, metric="mrr"), eval_batch_size=64)
    found = quiet().evaluate(task, "valid")
    task.start("valid")
    score = lambda pairs: task.predict(pairs.reshape(2, -1))  # noqa: E731
    true, false = score(pos), score(neg.long()).view(-1, 30)
    above = (false > true[:, None]).sum(1) + (false >= true[:, None]).sum(1)
    assert found["mrr"] == pytest.approx(float((1 / (1 + above / 2)).mean()))


def test_a_large_pool_keeps_only_its_largest_scores(monkeypatch):
    full = quiet().evaluate(make(), "valid")
    monkeypatch.setattr("graphlearn.tasks.link._STREAM", 0)
    monkeypatch.setattr("graphlearn.tasks.link._CUTS", (3, 10))
    task = make(eval_batch_size=8)
    found = quiet().evaluate(task, "valid")
    assert found["hits@10"] == full["hits@10"] and "auc" not in found
    task.start("valid")
    sizes = {task.score(batch)["neg"].shape[0] for batch in task.batches("valid")}
    assert max(sizes) <= 10


@pytest.mark.parametrize("kind", [NCN, NCNC, GAE])
def test_overfits_one_batch(kind):
    task = make(kind, batch_size=10)
    task.start("train")
    batch = next(iter(task.batches("train")))
    optimizer = torch.optim.Adam(task.parameters(), lr=0.01)
    for _ in range(150):
        loss = task(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01


@pytest.mark.parametrize("features", [True, False])
def test_learns_the_cliques(features):
    task = make(dataset=link_dataset(features=features), schedule=Schedule(epochs=30, lr=0.01))
    assert quiet().fit(task).test["auc"] > 0.9


def test_heuristics_need_no_training():
    dataset = link_dataset()
    result = quiet().fit(LinkPrediction(Heuristic(48, kind="cn"), dataset))
    assert result.epochs == 0 and result.test["auc"] > 0.9


@pytest.mark.parametrize("kind", [NCN, NCNC])
def test_resumed_equals_uninterrupted(kind, tmp_path):
    noisy = {"predictor_dropout": 0.2, "predictor_edge_dropout": 0.2, "dropout": 0.1}

    def fit(epochs, folder, **options):
        task = make(kind, settings=noisy, schedule=Schedule(epochs=epochs, lr=0.01))
        return quiet(out=tmp_path / folder, save_seconds=0.0, **options).fit(task), task

    whole, one = fit(6, "whole")
    fit(3, "parts")
    resumed, two = fit(6, "parts", resume=True)
    assert resumed.valid == whole.valid and resumed.test == whole.test
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_seed_fixes_everything_whatever_the_number_of_threads():
    states, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            task = make(NCNC, settings={"predictor_dropout": 0.2, "predictor_edge_dropout": 0.2})
            quiet().fit(task)
            states.append(torch.cat([p.detach().flatten() for p in task.parameters()]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_half_precision_trains_and_scores_in_float32():
    task = make(NCNC, schedule=Schedule(epochs=12, lr=0.01))
    result = quiet(precision="bf16").fit(task)
    assert result.test["auc"] > 0.8
    assert task.predict(torch.tensor([[0], [1]])).dtype == torch.float32


def test_a_link_that_is_missing_everywhere_is_recommended():
    dataset = link_dataset()
    train = dataset.splits["train"].pos
    inside = (train // 6)[0] == (train // 6)[1]
    gone = train[:, inside][:, 0]
    kept = train[:, ~((train == gone[:, None]).all(0))]
    splits = {**dataset.splits, "train": LinkSplit(kept)}
    task = make(dataset=replace(dataset, splits=splits), schedule=Schedule(epochs=20, lr=0.01))
    quiet().fit(task)
    pairs, score = task.recommend(5)
    assert pairs.shape == (2, 5) and torch.equal(score, score.sort(descending=True).values)
    assert unordered(gone[:, None]) <= unordered(pairs)
    known = torch.cat([part.pos for part in splits.values()], dim=1)
    everything, _ = task.recommend(10**6, exhaustive=True)
    assert everything.shape[1] == 48 * 47 // 2 - known.shape[1]
    mine, _ = task.recommend(50, nodes=torch.tensor([4]), exhaustive=True)
    assert (mine == 4).any(0).all() and mine.shape[1] > 30


def test_predict_sees_the_training_pairs_alone():
    dataset = link_dataset()
    task = make(dataset=dataset)
    quiet().fit(task)
    task.recommend(3)
    pos = dataset.splits["test"].pos
    task.start("test")
    torch.testing.assert_close(task.predict(pos), task.score((pos, True))["pos"])
    assert task.predict(pos[:, :0]).shape == (0,)


def test_sparse_features_stay_sparse():
    dataset = link_dataset()
    dataset.data.x = torch.eye(48)
    facts = {**dataset.facts, "in_channels": 48}
    task = make(dataset=replace(dataset, facts=facts))
    task.start("valid")
    assert isinstance(task._x, CSR)
    assert quiet().fit(task).epochs == 4


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    losses = []
    for processes in (1, 2):
        task = make(NCN, schedule=Schedule(epochs=3, lr=0.01))
        result = quiet(processes=processes, device="cpu", strategy="ddp_spawn").fit(task)
        losses.append([row["loss"] for row in result.history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)

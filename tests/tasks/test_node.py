"""Node classification: only training labels teach, whole and sampled graphs, runs resume."""

from dataclasses import replace
from itertools import chain

import pytest
import torch
from toy import link_dataset, node_dataset

from graphlearn.knobs import build, locate
from graphlearn.models.dagnn import DAGNN
from graphlearn.models.node_baselines import NodeBaseline
from graphlearn.ops.csr import CSR
from graphlearn.recipe import find
from graphlearn.tasks.classify import NodeBatch
from graphlearn.tasks.node import NodeClassification
from graphlearn.tasks.robust import RobustClassification
from graphlearn.train.task import Schedule, Shard
from graphlearn.train.trainer import Trainer


def make(kind=DAGNN, dataset=None, *, seed=0, settings=None, **options):
    dataset = dataset or node_dataset()
    torch.manual_seed(seed)
    settings = {"hidden": 16} | (settings or {})
    if kind is DAGNN:
        settings = {"hops": 3, "dropout": 0.2} | settings
    options = {"schedule": Schedule(epochs=4, lr=0.02)} | options
    task = NodeClassification(build(kind, dataset, **settings), dataset, **options)
    task.seed = seed
    return task


def quiet(**options):
    return Trainer(progress=False, **options)


def weights(task):
    return torch.cat([value.detach().flatten() for value in task.parameters()])


def test_the_loss_is_the_mean_cross_entropy_of_training_nodes():
    task = make(settings={"dropout": 0.0})
    task.start("train")
    (batch,) = task.batches("train")
    ids = task.dataset.splits["train"]
    assert torch.equal(batch.nodes, ids) and batch.size == len(ids)
    z = task.model(task.x(), task.prepared())
    expected = torch.nn.functional.cross_entropy(z[ids], task.dataset.data.y[ids])
    torch.testing.assert_close(task(batch)["loss"], expected)


def test_shards_average_to_the_whole():
    task = make(settings={"dropout": 0.0})
    whole = task(next(iter(task.batches("train"))))["loss"]
    parts = []
    for rank in range(2):
        task.shard = Shard(rank, 2)
        parts.append(task(next(iter(task.batches("train"))))["loss"])
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_only_training_labels_reach_the_weights():
    dataset = node_dataset()
    other = node_dataset()
    for split in ("valid", "test"):
        ids = dataset.splits[split]
        other.data.y[ids] = (other.data.y[ids] + 1) % 3
    options = {"schedule": Schedule(epochs=3, lr=0.05), "monitor": "-loss"}
    tasks = [make(dataset=one, **options) for one in (dataset, other)]
    for task in tasks:
        task.monitor = ""  # the last weights, whatever the validation says
        quiet().fit(task)
    assert torch.equal(weights(tasks[0]), weights(tasks[1]))


def test_metrics_of_known_guesses():
    task = make()
    rows = {
        "label": torch.tensor([0, 0, 1, 2]),
        "guess": torch.tensor([0, 1, 1, 2]),
        "loss": torch.tensor([1.0, 2.0, 3.0, 4.0]),
    }
    found = task.metrics("test", rows)
    assert found["accuracy"] == 0.75 and found["loss"] == 2.5
    assert found["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


@pytest.mark.parametrize("features", ["dense", "sparse", "ids"])
@pytest.mark.parametrize("row_normalize", [False, True])
def test_learns_the_communities(features, row_normalize):
    dataset = node_dataset(features=features)
    task = make(dataset=dataset, row_normalize=row_normalize, schedule=Schedule(epochs=60, lr=0.02))
    result = quiet().fit(task)
    assert result.test["accuracy"] > 0.8 and result.monitor == "accuracy"
    assert isinstance(task.x(), CSR)


def test_dense_features_stay_dense_and_are_divided_by_their_sum():
    dataset = node_dataset()
    dataset.data.x = dataset.data.x + 1
    plain, task = make(dataset=dataset), make(dataset=dataset, row_normalize=True)
    assert torch.equal(plain.x(), dataset.data.x)
    torch.testing.assert_close(task.x().sum(1), torch.ones(60))


@pytest.mark.parametrize("kind", [DAGNN, NodeBaseline])
def test_all_neighbours_are_the_whole_graph(kind):
    """With every neighbour drawn for as many hops as a model has, a batch is exact."""
    hops = {"hops": 2, "dropout": 0.0} if kind is DAGNN else {"dropout": 0.0, "kind": "gat"}
    whole = make(kind, settings=hops)
    part = make(kind, settings=hops, neighbors=(-1, -1, -1), batch_size=7)
    part.model.load_state_dict(whole.model.state_dict())
    whole.start("train"), part.start("train")
    sizes = []
    for batch in part.batches("train"):
        sizes.append(len(batch.nodes))
        torch.testing.assert_close(
            part(batch)["loss"], whole(NodeBatch(batch.nodes, batch.size))["loss"]
        )
    assert sorted(sizes) == sorted(
        [7] * (sum(sizes) // 7) + [sum(sizes) % 7] * (sum(sizes) % 7 > 0)
    )


def test_sampled_neighbours_learn_too():
    task = make(neighbors=(3, 3), batch_size=5, schedule=Schedule(epochs=40, lr=0.02))
    assert quiet().fit(task).test["accuracy"] > 0.8


def test_batches_derive_from_seed_and_epoch():
    task = make(neighbors=(2,), batch_size=4)
    first = [batch.nodes.tolist() for batch in task.batches("train")]
    assert first == [batch.nodes.tolist() for batch in task.batches("train")]
    task.epoch = 2
    second = [batch.nodes.tolist() for batch in task.batches("train")]
    assert first != second and sorted(chain(*first)) == sorted(chain(*second))


@pytest.mark.parametrize("neighbors", [(), (2, 2)])
def test_resumed_equals_uninterrupted(neighbors, tmp_path):
    def fit(epochs, folder, **options):
        task = make(neighbors=neighbors, batch_size=5, schedule=Schedule(epochs=epochs, lr=0.02))
        return quiet(out=tmp_path / folder, save_seconds=0.0, **options).fit(task), task

    whole, one = fit(6, "whole")
    fit(3, "parts")
    resumed, two = fit(6, "parts", resume=True)
    assert resumed.valid == whole.valid and resumed.test == whole.test
    assert torch.equal(weights(one), weights(two))


@pytest.mark.parametrize("neighbors", [(), (2, 2)])
def test_the_seed_fixes_everything_whatever_the_number_of_threads(neighbors):
    states, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            task = make(neighbors=neighbors, batch_size=8)
            quiet().fit(task)
            states.append(weights(task))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(states[0], state) for state in states[1:])


def test_stopping_at_the_mean_is_part_of_a_schedule():
    schedule = Schedule(epochs=40, lr=0.1, patience=2, stop="mean")
    result = quiet().fit(make(schedule=schedule, monitor="-loss"))
    assert 20 < result.epochs < 40 and result.stopped == "patience"


def test_half_precision_trains_and_scores_in_float32():
    task = make(schedule=Schedule(epochs=40, lr=0.02))
    assert quiet(precision="bf16").fit(task).test["accuracy"] > 0.8
    assert task.logits().dtype == torch.float32


def test_classes_and_gates_of_nodes():
    task = make()
    quiet().fit(task)
    chance = task.classify(torch.tensor([3, 1]))
    torch.testing.assert_close(chance.sum(1), torch.ones(2))
    torch.testing.assert_close(chance, task.logits().softmax(1)[[3, 1]])
    assert task.gates().shape == (60, 4)
    assert make(NodeBaseline).gates() is None


def test_weights_of_edges_count():
    dataset = node_dataset()
    dataset.data.edge_weight = torch.rand(dataset.data.edge_index.shape[1]) + 0.5
    task = make(NodeBaseline, dataset=dataset, settings={"kind": "gcn"})
    plain = make(NodeBaseline, settings={"kind": "gcn"})
    assert not torch.allclose(task.logits(), plain.logits())


def test_what_is_refused():
    with pytest.raises(ValueError, match="toy is a data set of kind 'link', not 'node'; a graph"):
        make(dataset=replace(link_dataset(), facts={"in_channels": 3, "out_channels": 2}))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        make(batch_size=0)


@pytest.mark.slow
@pytest.mark.parametrize("neighbors", [(), (-1, -1, -1, -1)])
def test_two_processes_equal_one(neighbors):
    losses = []
    for processes in (1, 2):
        task = make(settings={"dropout": 0.0}, neighbors=neighbors, batch_size=6)
        result = quiet(processes=processes, device="cpu", strategy="ddp_spawn").fit(task)
        losses.append([row["loss"] for row in result.history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("name", ["stable", "robust-svd", "robust-jaccard"])
def test_half_precision_prepares_in_full(name):
    recipe = find(name, "stdlib")
    dataset = node_dataset()
    knobs = {"hidden": 8} if name != "robust-svd" else {"hidden": 8, "rank": 5}
    model = build(locate(recipe.model), dataset, **knobs)
    options = {"pretraining_epochs": 2} if name == "stable" else {}
    task = RobustClassification(model, dataset, schedule=Schedule(epochs=3), **options)
    assert quiet(precision="bf16").fit(task).epochs == 3
    assert task.logits().dtype == torch.float32

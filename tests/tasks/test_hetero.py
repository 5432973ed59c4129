"""Classification in heterogeneous graphs: what is seen, whole and sampled, runs resume."""

from dataclasses import replace

import pytest
import torch
from toy import node_dataset
from toy_hetero import hetero_dataset

from graphlearn.data.inductive import visible
from graphlearn.knobs import build
from graphlearn.models import LATTE
from graphlearn.ops.adjacency import row_sums
from graphlearn.tasks import HeteroClassification
from graphlearn.tasks import hetero as module
from graphlearn.train.task import Schedule, Shard
from graphlearn.train.trainer import Trainer


def make(dataset=None, *, seed=0, settings=None, **options):
    dataset = dataset or hetero_dataset()
    torch.manual_seed(seed)
    model = build(LATTE, dataset, **{"hidden": 16, "neighbors": 0} | (settings or {}))
    options = {"schedule": Schedule(epochs=4, lr=0.02)} | options
    task = HeteroClassification(model, dataset, **options)
    task.seed = seed
    return task


def quiet(**options):
    return Trainer(progress=False, **options)


def weights(task):
    return torch.cat([value.detach().flatten() for value in task.parameters()])


def test_it_learns_the_toy():
    task = make(schedule=Schedule(epochs=40, lr=0.02))
    assert quiet().fit(task).test["accuracy"] > 0.6  # chance is a third


@pytest.mark.parametrize("options", [{}, {"inductive": True}, {"neighbors": (4, 3)}])
def test_a_seed_fixes_everything(options):
    found = [quiet().fit(make(seed=3, batch_size=8, **options)) for _ in range(2)]
    assert found[0].test == found[1].test
    tasks = [make(seed=3, batch_size=8, **options) for _ in range(2)]
    for task in tasks:
        quiet().fit(task)
    assert torch.equal(weights(tasks[0]), weights(tasks[1]))


@pytest.mark.parametrize(
    "options", [{}, {"inductive": True}, {"neighbors": (4, 3), "batch_size": 8}]
)
def test_a_resumed_run_equals_an_uninterrupted_one(options, tmp_path):
    proximity = {"proximity": 0.5}
    straight = make(settings=proximity, **options)
    quiet(out=tmp_path / "a").fit(straight)
    half = make(settings=proximity, **options | {"schedule": Schedule(epochs=2, lr=0.02)})
    quiet(out=tmp_path / "b").fit(half)
    rest = make(settings=proximity, seed=0, **options)
    quiet(out=tmp_path / "b", resume=True).fit(rest)
    assert torch.equal(weights(straight), weights(rest))


def test_threads_give_the_same_bits():
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        task = make(settings={"proximity": 1.0, "orders": 3, "norm": "layer"})
        quiet().fit(task)
        found.append(weights(task))
    torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_all_neighbours_are_the_whole_graph():
    whole = make(settings={"dropout": 0.0, "attn_dropout": 0.0, "out_dropout": 0.0})
    part = make(
        settings={"dropout": 0.0, "attn_dropout": 0.0, "out_dropout": 0.0},
        neighbors=(-1, -1, -1), batch_size=5,
    )  # fmt: skip
    for task in (whole, part):
        task.start("train")
    batch = next(iter(part.batches("train")))
    torch.testing.assert_close(part.outputs(batch.nodes), whole.outputs(batch.nodes))


def test_the_loss_of_the_model_is_added():
    task, plain = make(settings={"proximity": 1.0}), make()
    task.eval(), plain.eval()
    for one in (task, plain):
        one.start("train")
    (batch,) = task.batches("train")
    found = task(batch)
    assert found["proximity"] > 0
    torch.testing.assert_close(found["loss"] - found["proximity"], plain(batch)["loss"])
    again = task(batch)["proximity"]
    assert torch.equal(found["proximity"], again)
    task.epoch += 1
    assert task(batch)["proximity"] != again, "pairs are drawn anew in each epoch"


def test_shards_average_to_the_whole():
    off = {"dropout": 0.0, "attn_dropout": 0.0, "out_dropout": 0.0, "proximity": 1.0}
    task = make(settings=off)
    task.start("train")
    whole = task(next(iter(task.batches("train"))))["loss"]
    parts = []
    for rank in range(2):
        task.shard = Shard(rank, 2)
        parts.append(task(next(iter(task.batches("train"))))["loss"])
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("sparse", [False, True])
def test_the_inductive_protocol_hides_what_comes_later(sparse):
    """Whatever hidden nodes hold, training does not change by a bit."""
    dataset = hetero_dataset()
    other = replace(dataset, data=dataset.data.clone())
    later = torch.cat([dataset.splits["valid"], dataset.splits["test"]])
    other.data["paper"].x[later] += 3.0
    other.data["paper"].y[dataset.splits["test"]] = 0
    if sparse:
        for one in (dataset, other):
            one.data["paper"].x = one.data["paper"].x.to_sparse_csr()
    tasks = [make(one, inductive=True) for one in (dataset, other)]
    for task in tasks:
        task.start("train")
        (batch,) = task.batches("train")
        task.zero_grad()
        torch.manual_seed(0)
        task(batch)["loss"].backward()
    for one, two in zip(*(task.parameters() for task in tasks), strict=True):
        assert (one.grad is None) == (two.grad is None)
        assert one.grad is None or torch.equal(one.grad, two.grad)
    seen = tasks[0].seen().graph["author", "writes", "paper"]
    assert not seen.ptr.diff()[later].any()
    tasks[0].start("valid")
    seen = tasks[0].seen().graph["author", "writes", "paper"]
    assert seen.ptr.diff()[dataset.splits["valid"]].any()
    assert not seen.ptr.diff()[dataset.splits["test"]].any()
    tasks[0].start("test")
    assert tasks[0].seen().graph["author", "writes", "paper"].num_entries == 76


def test_an_inductive_pass_checks_that_nothing_leaks(monkeypatch):
    leaky = lambda dataset, split, **_: visible(dataset, "test")._replace(  # noqa: E731
        hidden=dataset.splits["test"]
    )
    monkeypatch.setattr(module, "visible", leaky)
    task = make(inductive=True)
    with pytest.raises(ValueError, match="ends in the hidden paper"):
        task.start("valid")
    make(inductive=True, recompute_neighbor_features=False).start("valid")


def test_it_classifies_from_all_there_is():
    task = make(inductive=True)
    task.start("train")
    nodes = torch.tensor([5, 0, 7])
    chance = task.classify(nodes)
    torch.testing.assert_close(chance.sum(1), torch.ones(3))
    task.start("test")
    torch.testing.assert_close(chance, task.logits().softmax(1)[nodes])


def test_weights_of_relations():
    assert {one.path[-1] for one in make().relation_weights()} == {"paper"}
    found = make(settings={"prune": False}).relation_weights()
    assert {one.path[-1] for one in found} >= {"paper", "author", "venue"}
    assert sum(one.mean for one in found if (one.order, one.path[-1]) == (2, "paper")) == (
        pytest.approx(1, abs=1e-5)
    )


def test_biases_scales_and_tables_have_no_penalty():
    groups = make(schedule=Schedule(weight_decay=0.01)).param_groups()
    free = [p for group in groups for p in group["params"] if group["weight_decay"] == 0]
    held = [p for group in groups for p in group["params"] if group["weight_decay"] == 0.01]
    task = make(schedule=Schedule(weight_decay=0.01), decay_all=True)
    assert len(free) + len(held) == len(list(task.parameters()))
    assert all(p.dim() >= 2 for p in held) and any(p.shape == (6, 16) for p in free)
    assert {group["weight_decay"] for group in task.param_groups()} == {0.01}


def test_rows_are_normalised_where_there_are_features():
    x = make(row_normalize=True).seen().x
    torch.testing.assert_close(row_sums(x["paper"]), torch.ones(60))
    assert torch.equal(x["venue"], torch.arange(6))


def test_other_kinds_of_data_are_refused():
    model = make().model
    with pytest.raises(ValueError, match="toy is a data set of kind 'node', not 'hetero'"):
        HeteroClassification(model, node_dataset())

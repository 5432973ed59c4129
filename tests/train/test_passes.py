import random

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from toy_tasks import Regression, same, weights

from graphlearn.train import distributed, optim, passes
from graphlearn.train.tracking import Bar


def step(task, *, precision="32", fused=True):
    """One epoch; the means of the losses."""
    fabric = distributed.start(device="cpu", precision=precision)
    task.epoch = 1
    run = fabric.setup_module(task)
    optimizer = fabric.setup_optimizers(optim.make(task.schedule, task.param_groups(), fused=fused))
    return passes.train(fabric, task, run, optimizer, Bar(enabled=False))


def evaluate(task, split="valid"):
    fabric = Fabric(accelerator="cpu", devices=1)
    return passes.evaluate(fabric, task, split, Bar(enabled=False))


def draw():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()


def test_seeds_decide_all_that_is_drawn():
    task = Regression()
    first = {"stage": 0, "epoch": 1}
    passes.reseed(task, "train", **first)
    drawn = draw()
    passes.reseed(task, "train", **first)
    assert draw() == drawn
    later, beside = {**first, "stage": 1}, {**first, "rank": 1}
    for purpose, place in (("valid", first), ("train", later), ("train", beside)):
        passes.reseed(task, purpose, **place)
        assert draw()[0] != drawn[0]


def test_the_means_are_over_batches():
    task = Regression(lr=1e-9, size=5)
    expected = (task.model(task.x) - task.y).square().mean().item()
    means = step(task)
    assert list(means) == ["loss", "train/bias"]
    assert means["loss"] == pytest.approx(expected, rel=1e-5)
    assert task.passes == [(0, 1, "train")]


@pytest.mark.parametrize("every", [2, 4])
def test_accumulated_batches_are_one_large_batch(every):
    many, one = Regression(size=5, accumulate=every), Regression(size=5 * every)
    step(many)
    step(one)
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(many)[name], value)


def test_batches_left_over_are_one_more_step():
    many = Regression(size=5, accumulate=3, optimizer="sgd")
    step(many)
    single = Regression(size=5, optimizer="sgd")
    single.epoch = 1
    optimizer = optim.make(single.schedule, single.param_groups())
    batches = list(single.batches("train"))
    for group in (batches[:3], batches[3:]):
        optimizer.zero_grad()
        (sum(single(batch)["loss"] for batch in group) / len(group)).backward()
        optimizer.step()
    for name, value in weights(single).items():
        torch.testing.assert_close(weights(many)[name], value)


def test_the_gradient_is_clipped():
    task = Regression(size=20, clip=1e-3, optimizer="sgd", lr=1.0)
    before = weights(task)
    step(task)
    moved = sum((value - before[name]).square().sum() for name, value in weights(task).items())
    assert moved.sqrt().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_half_precision_on_the_cpu(clip):
    class Spy(nn.Linear):
        def forward(self, x):
            found = super().forward(x)
            seen.append((x.dtype, found.dtype))
            return found

    class Wide(Regression):
        def forward(self, batch):
            return super().forward(batch[:, 0].long())

        def batches(self, split):
            for batch in super().batches(split):
                yield batch.float()[:, None] if split == "train" else batch

    seen = []
    task = Wide(clip=clip)
    task.model.encoder = Spy(4, 8)
    loss = step(task, precision="bf16")["loss"]
    assert loss == pytest.approx(step(Regression(clip=clip))["loss"], rel=0.5)
    assert {after for _, after in seen} == {torch.bfloat16}
    assert all(value.dtype == torch.float32 for value in task.parameters())
    seen.clear()
    evaluate(task)
    assert set(seen) == {(torch.float32, torch.float32)}


def test_floats_in_a_batch_stay_exact():
    class Times(Regression):
        def batches(self, split):
            yield torch.tensor([16777215.0])

        def forward(self, batch):
            assert batch.item() == 16777215.0
            return {"loss": self.model(self.x).square().mean()}

    step(Times(), precision="bf16")


def test_half_rows_become_single():
    class Half(Regression):
        def score(self, batch):
            return {"error": super().score(batch)["error"].half()}

        def metrics(self, split, rows):
            assert rows["error"].dtype == torch.float32
            return super().metrics(split, rows)

    assert evaluate(Half())["mse"] > 0


def test_evaluation_changes_nothing_and_needs_no_gradient():
    task = Regression(dropout=0.5)
    before = weights(task)
    found = evaluate(task)
    assert found == evaluate(task)
    assert same(before, weights(task))
    assert not task.training
    assert {type(value) for value in found.values()} == {float}


def test_no_training_batches():
    task = Regression()
    task.batches = lambda split: iter(())
    with pytest.raises(ValueError, match="epoch 1 has no training batches: the training split is"):
        step(task)


def test_no_rows():
    task = Regression()
    task.batches = lambda split: iter(())
    with pytest.raises(ValueError, match="nothing to evaluate: the test split has no batches"):
        evaluate(task, "test")


@pytest.mark.parametrize(("returned", "got"), [({"nll": torch.ones(1)}, r"\['nll'\]"), (3, "int")])
def test_a_loss_must_be_called_loss(returned, got):
    class Mute(Regression):
        def forward(self, batch):
            return returned

    with pytest.raises(TypeError, match=f"Mute.forward must return a dict with 'loss', got {got}"):
        step(Mute())


class Broken(Regression):
    def forward(self, batch):
        losses = super().forward(batch)
        return {**losses, "loss": losses["loss"] * float("nan")}


def test_a_loss_that_is_no_number():
    with pytest.raises(FloatingPointError, match="the loss of epoch 1 is nan: lower lr or set"):
        step(Broken())


def test_every_step_is_checked_on_request(monkeypatch):
    monkeypatch.setenv("GRAPHLEARN_CHECK", "1")
    with pytest.raises(FloatingPointError, match="the loss of step 1 in epoch 1 is nan"):
        step(Broken())

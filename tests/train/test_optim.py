import pytest
import torch
from torch import nn
from toy_tasks import Regression

from graphlearn.train import optim
from graphlearn.train.task import Schedule


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_moves_the_parameters_against_the_gradient(name):
    value = nn.Parameter(torch.tensor([1.0, -1.0]))
    groups = [{"params": [value], "lr": 0.1, "weight_decay": 0.0}]
    optimizer = optim.make(Schedule(optimizer=name), groups)
    for _ in range(60):
        value.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert value.abs().max() < 0.3
    assert type(optimizer).__name__.lower() == name


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_one_kernel_gives_what_many_give(name):
    found = []
    for fused in (False, True):
        value = nn.Parameter(torch.linspace(-1, 1, 5))
        groups = [{"params": [value], "lr": 0.1, "weight_decay": 0.01}]
        optimizer = optim.make(Schedule(optimizer=name), groups, fused=fused)
        for _ in range(5):
            value.pow(4).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        found.append(value.detach().clone())
    torch.testing.assert_close(*found)


def test_decay_of_weights_reaches_its_group():
    task = Regression(weight_decay=0.1, decay_of={"head": 0.0}, optimizer="adamw")
    optimizer = optim.make(task.schedule, task.param_groups())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_rates_keep_their_proportions():
    task = Regression(lr=0.1, lr_of={"head": 0.4}, epochs=4, decay="step")
    optimizer = optim.make(task.schedule, task.param_groups())
    optim.set_rates(optimizer, [0.1, 0.4], task.schedule, epoch=3, scale=0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.005, 0.02])


def test_only_freezes_for_a_time():
    task = Regression(lr_of={"encoder": 0.0})
    task.model.head.bias.requires_grad_(False)
    with optim.only(task, task.param_groups()):
        trained = [name for name, value in task.named_parameters() if value.requires_grad]
        assert trained == ["model.head.weight"]
    trained = [name for name, value in task.named_parameters() if value.requires_grad]
    assert trained == ["model.encoder.weight", "model.encoder.bias", "model.head.weight"]

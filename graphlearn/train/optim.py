"""What a schedule says about optimisation, as optimizer, rates and frozen parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

from graphlearn.train.task import Schedule, Task

__all__ = ["Groups", "make", "only", "set_rates"]

Groups = list[dict[str, Any]]


def make(schedule: Schedule, groups: Groups, *, fused: bool = True) -> Optimizer:
    """The optimizer of a schedule.

    Args:
        schedule: Says which.
        groups: What `Task.param_groups` returned.
        fused: Update all parameters in one kernel, where there is one.
    """
    kinds = {value.device.type for group in groups for value in group["params"]}
    fused = fused and kinds <= {"cpu", "cuda"}
    if schedule.optimizer == "sgd":
        return SGD(groups, lr=schedule.lr, momentum=0.9, fused=fused)
    kind = Adam if schedule.optimizer == "adam" else AdamW
    return kind(groups, lr=schedule.lr, fused=fused)


def set_rates(
    optimizer: Optimizer, rates: list[float], schedule: Schedule, *, epoch: int, scale: float
) -> None:
    """Set the rates of an epoch.

    Args:
        optimizer: What is set.
        rates: Full rate of each group.
        schedule: Its warm-up and decay.
        epoch: The first one is 1.
        scale: What plateaus have left.
    """
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * schedule.factor(epoch) * scale


@contextmanager
def only(task: Task, groups: Groups) -> Iterator[None]:
    """Freeze what is in no group, for the time of one stage.

    Args:
        task: Owner of the parameters.
        groups: The parameters that stay trainable.
    """
    trained = {id(value) for group in groups for value in group["params"]}
    frozen = [value for value in task.parameters() if id(value) not in trained]
    frozen = [value for value in frozen if value.requires_grad]
    for value in frozen:
        value.requires_grad_(False)
    try:
        yield
    finally:
        for value in frozen:
            value.requires_grad_(True)

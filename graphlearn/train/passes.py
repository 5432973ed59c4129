"""One pass over the data, to train or to evaluate."""

import math
import random
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from graphlearn.settings import checking
from graphlearn.train import distributed
from graphlearn.train.task import Split, Task
from graphlearn.train.tracking import Bar

__all__ = ["evaluate", "reseed", "train"]

PURPOSES = ("train", "valid", "test", "stages")


def reseed(task: Task, purpose: str, *, stage: int, epoch: int, rank: int = 0) -> None:
    """Seed torch, numpy and random for one pass, whatever was drawn before.

    Args:
        task: Holds the seed of the run.
        purpose: `train`, `valid`, `test` or `stages`, the code between two stages.
        stage: Number of the stage.
        epoch: Number of the epoch.
        rank: Number of the process.
    """
    source = np.random.SeedSequence([task.seed, stage, epoch, rank, PURPOSES.index(purpose)])
    seed = int(source.generate_state(1, np.uint64)[0])
    # torch.manual_seed would queue a call, with its stack, for every kind of device that is absent
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if task.device.type == "mps":
        torch.mps.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def train(
    fabric: Fabric, task: Task, run: nn.Module, optimizer: Optimizer, bar: Bar
) -> dict[str, float]:
    """Train for one epoch.

    Args:
        fabric: Device, precision and processes.
        task: The bare task.
        run: The task as the fabric has set it up; its call is what is differentiated.
        optimizer: The optimizer as the fabric has set it up.
        bar: Shows the batches.

    Returns:
        Means of what the task returned, over batches and processes: `loss` and `train/...`.

    Raises:
        FloatingPointError: if the loss is not finite.
        ValueError: if there are no batches.
    """
    every, check = task.schedule.accumulate, checking()
    sums: dict[str, Tensor] = {}
    steps = 0
    reseed(task, "train", stage=task.stage, epoch=task.epoch, rank=fabric.global_rank)
    task.train()
    task.start("train")
    for steps, batch in enumerate(bar.batches(task.batches("train"), "train"), start=1):
        with fabric.no_backward_sync(run, enabled=steps % every != 0):  # type: ignore[arg-type]
            losses = run(_moved(fabric, batch))
            loss = _loss(task, losses)
            fabric.backward(loss if every == 1 else loss / every)
        if check and not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss of step {steps} in epoch {task.epoch} is {loss.item()}"
            )
        if steps % every == 0:
            _step(fabric, task, optimizer)
        for name, value in losses.items():
            if name not in sums:
                sums[name] = _zero(fabric.device)
            sums[name] += value.detach()
    if steps == 0:
        raise ValueError(
            f"epoch {task.epoch} has no training batches: the training split is empty, "
            "or smaller than a batch while drop_last is set"
        )
    if left := steps % every:
        _complete(fabric, task, every / left)
        _step(fabric, task, optimizer)
    means = fabric.all_reduce(torch.stack(list(sums.values())) / steps, reduce_op="mean")
    assert isinstance(means, Tensor)
    return _named(task, dict(zip(sums, means.tolist(), strict=True)))


@torch.no_grad()
def evaluate(fabric: Fabric, task: Task, split: Split, bar: Bar) -> dict[str, float]:
    """Metrics of one split, from the rows of all processes, in 32 bits.

    Args:
        fabric: Device and processes.
        task: The bare task; left in evaluation mode.
        split: The split.
        bar: Shows the batches.

    Raises:
        ValueError: if there are no batches.
    """
    reseed(task, split, stage=task.stage, epoch=task.epoch, rank=fabric.global_rank)
    task.eval()
    task.start(split)
    parts: dict[str, list[Tensor]] = {}
    for batch in bar.batches(task.batches(split), split):
        for name, value in task.score(_moved(fabric, batch)).items():
            parts.setdefault(name, []).append(_single(value))
    rows = distributed.gather(fabric, {name: torch.cat(part) for name, part in parts.items()})
    if not rows:
        raise ValueError(f"there is nothing to evaluate: the {split} split has no batches")
    return distributed.on_first(
        fabric, lambda: {name: float(value) for name, value in task.metrics(split, rows).items()}
    )


def _step(fabric: Fabric, task: Task, optimizer: Optimizer) -> None:
    if task.schedule.clip:
        fabric.clip_gradients(
            task, optimizer, max_norm=task.schedule.clip, error_if_nonfinite=False
        )
    optimizer.step()
    optimizer.zero_grad()


def _complete(fabric: Fabric, task: Task, factor: float) -> None:
    """Make the gradient of the batches left over a mean, over the processes too."""
    for parameter in task.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)
            fabric.all_reduce(parameter.grad, reduce_op="mean")


def _loss(task: Task, losses: object) -> Tensor:
    if not isinstance(losses, dict) or "loss" not in losses:
        got = list(losses) if isinstance(losses, dict) else type(losses).__name__
        raise TypeError(f"{type(task).__name__}.forward must return a dict with 'loss', got {got}")
    loss: Tensor = losses["loss"]
    return loss


def _named(task: Task, means: dict[str, float]) -> dict[str, float]:
    if not math.isfinite(means["loss"]):
        raise FloatingPointError(
            f"the loss of epoch {task.epoch} is {means['loss']}: lower lr or set clip; "
            "GRAPHLEARN_CHECK=1 finds the step"
        )
    return {key if key == "loss" else f"train/{key}": value for key, value in means.items()}


def _moved(fabric: Fabric, batch: Any) -> Any:  # noqa: ANN401
    return batch if fabric.device.type == "cpu" else fabric.to_device(batch)


def _single(value: Tensor) -> Tensor:
    """Half precision makes ties, which ranking metrics punish."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _zero(device: torch.device) -> Tensor:
    wide = torch.float32 if device.type == "mps" else torch.float64
    return torch.zeros((), device=device, dtype=wide)

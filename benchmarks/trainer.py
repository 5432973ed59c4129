"""What the training loop itself costs: a near-empty model, one and 51 steps an epoch.

Against the shortest loop that does the same in bare PyTorch, and the same loop on Lightning Fabric,
which our trainer builds on. All three train, validate after each epoch and test at the end; ours
also selects the best epoch, keeps its weights and records every metric.
"""

import copy
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from graphlearn.bench import Case
from graphlearn.cli import main
from graphlearn.train.task import Schedule, Split, Task
from graphlearn.train.trainer import Trainer

__all__ = ["cases"]

Batch = tuple[Tensor, Tensor]


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case]:
    """A Linear(8, 2) on 32 rows a batch.

    Args:
        smoke: Two epochs.
        data: Not used; the rows are drawn.
    """
    for steps, epochs in ((1, 500), (51, 20)):
        epochs = 2 if smoke else epochs
        yield Case(
            f"training, {steps} step{'s' * (steps > 1)} an epoch",
            f"Linear(8, 2), {epochs} epochs",
            _ways(steps, epochs),
            note="time of all epochs, set-up and test included",
        )


class _Rows(Task):
    """The same batches in every epoch, so that three loops can be compared."""

    monitor = "-error"

    def __init__(self, steps: int, epochs: int) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Linear(8, 2), schedule=Schedule(epochs=epochs, lr=1e-4))
        x = torch.randn(steps, 32, 8)
        self.rows = [(one, one[:, :2] - one[:, 2:4]) for one in x]

    def batches(self, split: Split) -> list[Batch]:
        return self.rows if split == "train" else self.rows[:1]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(self.model(batch[0]), batch[1])}

    def score(self, batch: Batch) -> dict[str, Tensor]:
        return {"error": (self.model(batch[0]) - batch[1]).square()}

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        return {"error": float(rows["error"].mean())}


def _ways(steps: int, epochs: int) -> dict[str, Callable[[], Any]]:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    made = _Rows(steps, epochs)

    def ours() -> Any:  # noqa: ANN401
        task = copy.deepcopy(made)
        Trainer(device="cpu", progress=False).fit(task)
        return _weights(task)

    def fabric() -> Any:  # noqa: ANN401
        task = copy.deepcopy(made)
        loop = Fabric(accelerator="cpu", devices=1)
        run, optimizer = loop.setup(task, torch.optim.Adam(task.parameters(), lr=1e-4))
        _train(task, run, optimizer, loop.backward)
        return _weights(task)

    def bare() -> Any:  # noqa: ANN401
        task = copy.deepcopy(made)
        optimizer = torch.optim.Adam(task.parameters(), lr=1e-4)
        _train(task, task, optimizer, lambda loss: loss.backward())
        return _weights(task)

    return {"graphlearn": ours, "bare loop": bare, "Fabric loop": fabric}


def _train(task: _Rows, run: nn.Module, optimizer: Any, backward: Callable[[Tensor], Any]) -> None:  # noqa: ANN401
    """The loop without which nothing is trained."""
    for _ in range(task.schedule.epochs):
        task.train()
        for batch in task.batches("train"):
            optimizer.zero_grad()
            backward(run(batch)["loss"])
            optimizer.step()
        _evaluate(task, "valid")
    _evaluate(task, "test")


@torch.no_grad()
def _evaluate(task: _Rows, split: Split) -> dict[str, float]:
    task.eval()
    parts = [task.score(batch)["error"] for batch in task.batches(split)]
    return task.metrics(split, {"error": torch.cat(parts)})


def _weights(task: Task) -> list[Tensor]:
    return [value.detach() for value in task.parameters()]


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

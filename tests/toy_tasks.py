"""Tiny tasks without graphs: what the loop has to cope with."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from graphlearn.train import Trainer
from graphlearn.train.task import Schedule, Split, Task


class Net(nn.Module):
    """Two layers and dropout, so that the random numbers of a step matter."""

    def __init__(self, dropout: float = 0.0, hidden: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(torch.tanh(self.encoder(x)))).squeeze(-1)


class Regression(Task):
    """Mini batches in a shuffled order that derives from (seed, stage, epoch)."""

    monitor = "-mse"

    def __init__(
        self, *, size: int = 5, dropout: float = 0.0, model: nn.Module | None = None, **schedule
    ) -> None:
        if model is None:
            torch.manual_seed(0)
            model = Net(dropout)
        super().__init__(model, schedule=Schedule(**({"lr": 0.02, "epochs": 8} | schedule)))
        made = torch.Generator().manual_seed(7)
        self.x = torch.randn(20, 4, generator=made)
        self.y = self.x[:, 0] - self.x[:, 1] * self.x[:, 2]
        self.size = size
        self.fail_at = ()
        self.passes = []

    def start(self, split: Split) -> None:
        self.passes.append((self.stage, self.epoch, split))

    def batches(self, split: Split) -> Iterator[Tensor]:
        if split != "train":
            yield torch.arange(self.shard.rank, 20, self.shard.world)
            return
        order = torch.Generator().manual_seed(1000 * self.seed + 100 * self.stage + self.epoch)
        for number, batch in enumerate(torch.randperm(20, generator=order).split(self.size)):
            if (self.epoch, number) == self.fail_at:
                raise KeyboardInterrupt
            yield batch[self.shard.rank :: self.shard.world]

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        error = self.model(self.x[batch]) - self.y[batch]
        total = min(self.size, 20)
        loss = error.square().sum() * self.shard.world / total
        return {"loss": loss, "bias": error.mean()}

    def score(self, batch: Tensor) -> dict[str, Tensor]:
        return {"error": self.model(self.x[batch]) - self.y[batch]}

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        assert len(rows["error"]) == 20
        return {"mse": rows["error"].square().mean().item(), "mae": rows["error"].abs().mean()}


class Streaming(Regression):
    """Carries a running state from training through validation to the test."""

    shares = "seeds"

    def __init__(self, **keywords) -> None:
        super().__init__(**keywords)
        self.register_buffer("state", torch.zeros(()))

    def start(self, split: Split) -> None:
        super().start(split)
        if split == "train":
            self.state.zero_()

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        losses = super().forward(batch)
        self.state += self.model(self.x[batch]).detach().sum()
        return losses

    def score(self, batch: Tensor) -> dict[str, Tensor]:
        rows = super().score(batch)
        self.state += rows["error"].sum()
        return rows

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        return {**super().metrics(split, rows), "state": self.state.item()}


class Staged(Regression):
    """Fits another task first and then starts from its encoder, in noise."""

    def __init__(self, first: Task, **keywords) -> None:
        super().__init__(**keywords)
        self.first = first

    def stages(self) -> Iterator[Task]:
        yield self.first
        with torch.no_grad():
            weight = self.first.model.encoder.weight
            self.model.encoder.weight.copy_(weight + 0.01 * torch.randn_like(weight))
        yield self


class Counting(Task):
    """Nothing to train."""

    monitor = "rows"

    def __init__(self) -> None:
        super().__init__(nn.Identity())

    def batches(self, split: Split) -> list[Tensor]:
        return [torch.zeros(3), torch.zeros(2)]

    def score(self, batch: Tensor) -> dict[str, Tensor]:
        return {"x": batch}

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        return {"rows": float(len(rows["x"]))}


def weights(task: Task) -> dict[str, Tensor]:
    """A copy of all parameters and buffers."""
    return {name: value.clone() for name, value in task.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Equality to the bit."""
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def fit(task, **options):
    return Trainer(**{"device": "cpu", **options}).fit(task)


def numbers(result):
    """A result without what the clock decides."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]
    return result.best_epoch, result.epochs, result.valid, result.test, rows


def assert_same_run(left, right):
    """Two pairs of task and result agree to the bit."""
    assert numbers(left[1]) == numbers(right[1])
    assert same(weights(left[0]), weights(right[0]))


class Peaked(Regression):
    """Is best in epoch 3, whatever the weights."""

    def metrics(self, split, rows):
        return {"mse": -1.0 if self.epoch == 3 else float(self.epoch > 5), "auc": 0.5}

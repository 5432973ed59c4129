"""The contract between a learning problem and the loop that solves it."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from graphlearn.extras import nearest

__all__ = ["Schedule", "Shard", "Split", "Task"]

Split = Literal["train", "valid", "test"]
Optimizer = Literal["adam", "adamw", "sgd"]
Decay = Literal["constant", "cosine", "step", "plateau"]
Stop = Literal["best", "mean"]


class Shard(NamedTuple):
    """Which part of the work belongs to this process."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Schedule:
    """What a paper decides about optimisation.

    Args:
        epochs: Passes over the training data at most.
        optimizer: Update rule; `sgd` has a momentum of 0.9.
        lr: Learning rate.
        lr_of: Rate of the parameters below a part of the model, by its dotted name (`encoder`);
            the longest name wins, 0 freezes.
        weight_decay: L2 penalty (decoupled for adamw).
        decay_of: Penalty of the parameters below a part of the model, by its dotted name.
        warmup: Epochs of linear growth of the rate from zero.
        decay: Shape of the rate after the warm-up; `step` divides by ten at one half and three
            quarters, `plateau` halves it when the monitor stalls for `patience` / 2 evaluations
            (10 where there is no patience).
        clip: Largest norm of the gradient; 0 is off.
        accumulate: Batches per step; what is left at the end of an epoch is one more step.
        patience: Evaluations without improvement before the stop; 0 is off.
        stop: What patience means: `best` waits that many evaluations for a better one; `mean`
            stops, in the second half of `epochs`, at an evaluation that is worse than the mean of
            the `patience` before it.
        eval_every: Epochs between evaluations.
        eval_from: First epoch that is evaluated.

    Raises:
        ValueError: if a value lies outside its range.
    """

    epochs: int = 100
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    lr_of: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.0
    decay_of: Mapping[str, float] = field(default_factory=dict)
    warmup: int = 0
    decay: Decay = "constant"
    clip: float = 0.0
    accumulate: int = 1
    patience: int = 0
    stop: Stop = "best"
    eval_every: int = 1
    eval_from: int = 1

    def __post_init__(self) -> None:
        least = dict.fromkeys(("epochs", "lr", "weight_decay", "warmup", "clip", "patience"), 0)
        least |= dict.fromkeys(("accumulate", "eval_every", "eval_from"), 1)
        for name, bound in least.items():
            value = getattr(self, name)
            if not bound <= value < math.inf:
                raise ValueError(f"{name} must be at least {bound} and finite, got {value}")
        for name, rates in (("lr_of", self.lr_of), ("decay_of", self.decay_of)):
            for prefix, value in rates.items():
                if not 0 <= value < math.inf:
                    raise ValueError(
                        f"{name}[{prefix!r}] must be at least 0 and finite, got {value}"
                    )
        kinds = {"optimizer": Optimizer, "decay": Decay, "stop": Stop}
        for name, choices in ((name, get_args(kind)) for name, kind in kinds.items()):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")

    def factor(self, epoch: int) -> float:
        """Share of the full rate in an epoch, plateaus aside.

        Args:
            epoch: The first one is 1.
        """
        if epoch <= self.warmup:
            return epoch / (self.warmup + 1)
        done = (epoch - self.warmup - 1) / max(self.epochs - self.warmup, 1)
        if self.decay == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        if self.decay == "step":
            return 0.01 if done >= 0.75 else 0.1 if done >= 0.5 else 1.0
        return 1.0

    def evaluates(self, epoch: int) -> bool:
        """Whether the epoch ends with an evaluation."""
        return epoch >= self.eval_from and (epoch - self.eval_from) % self.eval_every == 0

    @property
    def stall(self) -> int:
        """Evaluations without improvement before `plateau` halves the rate."""
        return max(self.patience // 2, 1) if self.patience else 10


class Task(nn.Module):
    """One learning problem: a model on a data set.

    Whoever builds a task sets its `seed`; the trainer sets `device`, `shard`, `stage` and `epoch`,
    and re-seeds torch, numpy and random before every pass. What `batches` shuffles or draws must
    derive from `(seed, stage, epoch)`, so that all processes agree and a resumed run equals an
    uninterrupted one. State that outlives a batch is a buffer: it moves with the task, is saved
    with it, and comes back with the best weights.

    Args:
        model: What is trained.
        schedule: How it is optimised.
    """

    monitor: str = ""
    """Metric that selects the best epoch; higher is better, `-loss` means lower.

    Without one nothing is evaluated during training and the last weights are kept.
    """
    shares: ClassVar[Literal["batches", "seeds"]] = "batches"
    """What several processes divide among them."""

    def __init__(self, model: nn.Module, *, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.model = model
        self.schedule = schedule or Schedule()
        self.device = torch.device("cpu")
        self.shard = Shard()
        self.seed = 0
        self.stage = 0
        self.epoch = 0

    def stages(self) -> Iterator["Task"]:
        """The tasks to fit, in order; the last one gives the result.

        A later stage finds the best weights of the earlier ones in place. On resuming, finished
        stages are loaded and the code between them runs again.
        """
        yield self

    def start(self, split: Split) -> None:
        """Called before each pass: put the graph on the device, reset or carry state."""

    def batches(self, split: Split) -> Iterable[Any]:
        """The batches of one pass that belong to this shard.

        Every process must yield equally many training batches.
        """
        raise NotImplementedError

    def forward(self, batch: Any) -> dict[str, Tensor]:  # noqa: ANN401
        """Losses of one training batch; must hold `loss`, other scalars are logged.

        Gradients are averaged over the processes, so the losses of the shards must average to the
        loss of the whole batch.
        """
        raise NotImplementedError

    def score(self, batch: Any) -> dict[str, Tensor]:  # noqa: ANN401
        """Rows of one evaluation batch; the trainer concatenates them along axis 0."""
        raise NotImplementedError

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        """Metrics of a whole pass from its rows."""
        raise NotImplementedError

    def param_groups(self) -> list[dict[str, Any]]:
        """What the optimizer is given: the trainable parameters by rate and penalty.

        Parameters with rate 0 are left out; the trainer freezes them during its stage. Names are
        those within the model; parameters of the task itself go by their own name.

        Raises:
            ValueError: if `lr_of` or `decay_of` names a part that has no parameter.
        """
        named = {name.removeprefix("model."): value for name, value in self.named_parameters()}
        schedule = self.schedule
        for key, rates in (("lr_of", schedule.lr_of), ("decay_of", schedule.decay_of)):
            for prefix in rates:
                self._check(key, prefix, named)
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, value in named.items():
            rate = _longest(name, schedule.lr_of, schedule.lr)
            if value.requires_grad and rate > 0:
                penalty = _longest(name, schedule.decay_of, schedule.weight_decay)
                groups.setdefault((rate, penalty), []).append(value)
        return [
            {"params": values, "lr": rate, "weight_decay": penalty}
            for (rate, penalty), values in groups.items()
        ]

    def _check(self, key: str, prefix: str, named: Iterable[str]) -> None:
        parts = {part for name in named for part in _parts(name)}
        if prefix not in parts:
            hint = nearest(prefix, parts) or f"; its parts: {', '.join(_tops(parts))}"
            model = type(self.model).__name__
            raise ValueError(f"{key} names {prefix!r}, but {model} has no such parameter{hint}")


def _parts(name: str) -> list[str]:
    """All dotted prefixes of a name, itself included."""
    return list(accumulate(name.split("."), lambda left, right: f"{left}.{right}"))


def _tops(parts: Iterable[str]) -> list[str]:
    return sorted(part for part in parts if "." not in part)


def _longest(name: str, rates: Mapping[str, float], default: float) -> float:
    for part in reversed(_parts(name)):
        if part in rates:
            return rates[part]
    return default

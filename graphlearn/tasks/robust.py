"""Node classification on a graph that was attacked: several classifiers on one refinement."""

import copy
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from graphlearn.data.dataset import Dataset
from graphlearn.ops.csr import CSR
from graphlearn.sampling.batches import fold
from graphlearn.tasks.classify import NodeBatch
from graphlearn.tasks.node import NodeClassification, NodeModel
from graphlearn.train import Trainer
from graphlearn.train.task import Schedule, Split, Task

__all__ = ["Pretrained", "RobustClassification", "Trial", "tune"]

_log = logging.getLogger(__name__)
_RESTART = 3  # purpose tag of the random numbers of new weights
_METRICS = ("accuracy", "f1", "loss")
_MONITOR = {"accuracy": "accuracy", "loss": "-loss", "either": "improvements"}


class Pretraining(Protocol):
    """What a task that trains an encoder offers besides."""

    def settle(self) -> None:
        """Put the weights in place that the stage has found."""


@runtime_checkable
class Pretrained(NodeModel, Protocol):
    """A node model whose encoder is trained without labels before its classifier."""

    encoder: nn.Module

    def pretraining(self, x: Tensor | CSR, graph: CSR) -> Task:
        """The task that trains the encoder; it is a `Pretraining` too."""

    def choose(self, *, alpha: float, t2: float, k: int) -> None:
        """Replace settings that need no new encoder."""


class Trial(NamedTuple):
    """Settings, and how a classifier with them did on the validation nodes."""

    alpha: float
    t2: float
    k: int
    accuracy: float
    loss: float


class RobustClassification(NodeClassification):
    r"""Node classification with a stage without labels, and several runs of the classifier.

    A model with a `pretraining` gets a first stage of its own; what it prepares of the graph is
    then shared by all runs of the classifier, whose weights are drawn anew. The test reports the
    mean over these runs, and the standard deviation of the accuracy as `accuracy/std`: it is that
    of the classifier alone, so that a comparison needs several seeds as well. Other metrics are
    those of the last run, which is also the one that predicts.

    New weights are the first ones in another order, tensor by tensor: whatever law a model draws
    its weights from, independently within each tensor, they keep it.

    Args:
        model: A `NodeModel`, perhaps a `Pretrained` one.
        dataset: A data set of kind "node".
        runs: Classifiers that are trained.
        select: Which epoch is the best: of the highest accuracy, of the least loss, or the last one
            in which either improved (published code of STABLE). All on the validation nodes.
        tune: Choose settings by the validation nodes after the first stage, see `tune`.
        pretraining_epochs: Epochs of the first stage at most; 0 is what the model wants.
        row_normalize: Divide the features of each node by their sum.
        schedule: How the classifier is optimised.

    Raises:
        ValueError: if `runs` is below 1, or there is nothing to tune.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        runs: int = 1,
        select: Literal["accuracy", "loss", "either"] = "accuracy",
        tune: bool = False,
        pretraining_epochs: int = 0,
        row_normalize: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        if runs < 1:
            raise ValueError(f"runs must be at least 1, got {runs}")
        if pretraining_epochs < 0:
            raise ValueError(f"pretraining_epochs must be at least 0, got {pretraining_epochs}")
        pretrained = isinstance(model, Pretrained)
        if tune and not pretrained:
            raise ValueError(f"{type(model).__name__} has no settings to tune; pass tune=False")
        schedule = schedule or Schedule(epochs=200, lr=0.01, weight_decay=5e-4)
        if pretrained:
            schedule = replace(schedule, lr_of={"encoder": 0.0, **schedule.lr_of})
        super().__init__(
            model,
            dataset,
            row_normalize=row_normalize,
            monitor=_MONITOR[select],
            schedule=schedule,
        )
        self.pretrained, self.runs, self.tune, self.select = pretrained, runs, tune, select
        self.pretraining_epochs = pretraining_epochs
        self.register_buffer("outcomes", torch.full((runs, len(_METRICS)), torch.nan))
        self.register_buffer("judged", torch.zeros(4))
        self._first = copy.deepcopy(model.state_dict())

    def stages(self) -> Iterator[Task]:
        """The encoder, then the classifier as often as there are runs."""
        if self.pretrained:
            yield from self._pretrain()
        for run in range(self.runs):
            if run:
                self._restart(run)
            self._begin()
            yield self
            if run + 1 < self.runs:
                self._note(run)

    def _pretrain(self) -> Iterator[Task]:
        model = cast(Pretrained, self.model)
        stage = model.pretraining(self.x(), self.graph())
        if self.pretraining_epochs:
            stage.schedule = replace(stage.schedule, epochs=self.pretraining_epochs)
        yield stage
        cast(Pretraining, stage).settle()
        self.device = stage.device
        self.to(stage.device)
        self._prepared = None
        if self.tune:
            best = max(tune(self), key=_merit)
            model.choose(alpha=best.alpha, t2=best.t2, k=best.k)

    @torch.no_grad()
    def _restart(self, run: int) -> None:
        """Draw the weights of the classifier anew, and put its buffers back."""
        made = torch.Generator().manual_seed(fold(self.seed, _RESTART, run))
        weights = {name for name, _ in self.model.named_parameters()}
        for name, value in self.model.state_dict().items():
            if self.pretrained and name.partition(".")[0] in ("encoder", "chosen"):
                continue
            first = self._first[name]
            if name in weights:
                order = torch.randperm(first.numel(), generator=made)
                first = first.flatten()[order.to(first.device)].view_as(first)
            value.copy_(first)

    def _begin(self) -> None:
        """Nothing was judged yet."""
        cast(Tensor, self.judged).copy_(torch.tensor([-1.0, torch.inf, 0.0, 0.0]))

    def _note(self, run: int) -> None:
        """Keep the test of a run that is over."""
        self.eval()
        self.start("test")
        nodes = self.dataset.splits["test"].to(self.device)
        found = super().metrics("test", self.score(NodeBatch(nodes, len(nodes))))
        row = torch.tensor([found[name] for name in _METRICS])
        cast(Tensor, self.outcomes)[run] = row.to(self.device)

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        """Accuracy, macro F1 and mean loss; of the test over all runs.

        Args:
            split: What the pass was for.
            rows: All rows of `score`.
        """
        found = super().metrics(split, rows)
        if split == "valid" and self.select == "either":
            found["improvements"] = self._improvements(found["accuracy"], found["loss"])
        if split == "test" and self.runs > 1:
            earlier = cast(Tensor, self.outcomes)[: self.runs - 1]
            earlier = earlier[~earlier.isnan().any(1)].double().cpu()
            columns = zip(*earlier.tolist(), [found[name] for name in _METRICS], strict=True)
            values = dict(zip(_METRICS, columns, strict=True))
            found |= {name: fmean(column) for name, column in values.items()}
            found["accuracy/std"] = pstdev(values["accuracy"])
        return found

    def _improvements(self, accuracy: float, loss: float) -> float:
        """How often either was better than ever; grows in the epochs that the rule selects."""
        judged = cast(Tensor, self.judged)
        now = torch.tensor([accuracy, loss]).tolist()  # rounded as the best ones are
        best_accuracy, best_loss, count, epoch = judged.tolist()
        if self.epoch > epoch:
            count += now[0] > best_accuracy or now[1] < best_loss
            best = [max(now[0], best_accuracy), min(now[1], best_loss), count, float(self.epoch)]
            judged.copy_(torch.tensor(best))
        return float(count)


def tune(
    task: RobustClassification,
    *,
    alpha: Sequence[float] = (-0.5, 0.3, 1.0, 2.0, 4.0),
    t2: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    k: Sequence[int] = (0, 3, 5, 7),
) -> list[Trial]:
    """Classifiers for a grid of settings, all with the encoder as it is.

    First all pairs of `t2` and `k`, which edges go and which come, with the `alpha` of the model;
    then, from the best trial so far, all values of `alpha`, of `t2` and of `k` in turn, until a
    round brings nothing better. The attack rate plays no part, and test nodes none. The best trial
    has the highest accuracy, among equals the least loss. The model of the task is left as it was.

    Args:
        task: Its model has been pretrained.
        alpha: Powers of the degree.
        t2: Cosines at or below which an edge is removed.
        k: Neighbours that each node gains.

    Returns:
        The trials in the order they were made.
    """
    own = float(getattr(task.model, "alpha"))  # noqa: B009
    trials = {(own, t, n): _trial(task, own, t, n) for t, n in itertools.product(t2, k)}
    lines: Mapping[str, Sequence[Any]] = {"alpha": alpha, "t2": t2, "k": k}
    before, best = None, max(trials.values(), key=_merit)
    while best != before:
        _log.info(
            "tuning: alpha %g, t2 %g and k %d have %.1f %% of the validation nodes right, the best "
            "of %d classifiers",
            *(best.alpha, best.t2, best.k, 100 * best.accuracy, len(trials)),
        )
        before = best
        for name, values in lines.items():
            for value in values:
                settings = best._replace(**{name: value})[:3]
                if settings not in trials:
                    trials[settings] = _trial(task, *settings)
            best = max(trials.values(), key=_merit)
    return list(trials.values())


def _trial(task: RobustClassification, alpha: float, t2: float, k: int) -> Trial:
    model = copy.deepcopy(task.model)
    cast(Pretrained, model).choose(alpha=alpha, t2=t2, k=k)
    trial = NodeClassification(
        model, task.dataset, row_normalize=task.row_normalize, schedule=task.schedule
    )
    trial.seed = task.seed
    result = Trainer(device=str(task.device), progress=False).fit(trial)
    if result.stopped == "interrupted":  # the run around it has to know
        raise KeyboardInterrupt
    return Trial(alpha, t2, k, result.valid["accuracy"], result.valid["loss"])


def _merit(trial: Trial) -> tuple[float, float]:
    return trial.accuracy, -trial.loss

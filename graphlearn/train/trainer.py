"""The loop: stages, epochs, best weights, checkpoints. The only one of the package."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from graphlearn.extras import nearest
from graphlearn.train import checkpoint, distributed, optim, passes
from graphlearn.train.memory import keep_memory, settled
from graphlearn.train.progress import Progress
from graphlearn.train.task import Shard, Split, Task
from graphlearn.train.tracking import Bar, History, Result, Row, peak_memory, trackers

__all__ = ["Trainer"]

Content = dict[str, Any]


class Trainer:
    """What the machine decides about training: device, precision, processes, files.

    Args:
        out: Folder of this one run; without it nothing is written.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `32`, or operators in `bf16` or `fp16`; evaluation is always in 32 bits.
        strategy: How further processes are launched; `torchrun` needs no choice.
        processes: Processes on this machine that share one run.
        compile: Compile the model, in place.
        resume: Continue what is in `out`, to the same numbers as without the break; a finished
            run returns its result, an empty folder starts anew.
        overwrite: Replace what is in `out`.
        track: Besides `metrics.csv`, which is always written: `tensorboard`, `wandb`.
        progress: Show progress if standard error is a terminal.
        save_seconds: Seconds between checkpoints; 0 saves after every epoch.
        deterministic: Refuse operators that have no deterministic form.

    Raises:
        ValueError: if arguments contradict each other.
    """

    def __init__(
        self,
        *,
        out: Path | str | None = None,
        device: str = "auto",
        precision: Literal["32", "bf16", "fp16"] = "32",
        strategy: distributed.Strategy = "auto",
        processes: int = 1,
        compile: bool = False,
        resume: bool = False,
        overwrite: bool = False,
        track: tuple[str, ...] = ("csv",),
        progress: bool = True,
        save_seconds: float = 60.0,
        deterministic: bool = False,
    ) -> None:
        if resume and overwrite:
            raise ValueError("resume and overwrite exclude each other, got both; choose one")
        if resume and out is None:
            raise ValueError("resume=True needs the folder of the run, got none; pass out=FOLDER")
        self.out = Path(out) if out is not None else None
        self.device = device
        self.precision = precision
        self.strategy = strategy
        self.processes = processes
        self.compile = compile
        self.resume = resume
        self.overwrite = overwrite
        self.track = track
        self.progress = progress
        self.save_seconds = save_seconds
        self.deterministic = deterministic

    def fit(self, task: Task, *, recipe: Mapping[str, Any] | None = None) -> Result:
        """Train a task and test its best weights, which it holds afterwards.

        `task.seed` is the seed of the run. Ctrl-C ends it early, with `stopped="interrupted"`.

        Args:
            task: What to train. Without a trainable parameter it is only evaluated.
            recipe: What the task was made from; kept in the checkpoints.

        Raises:
            FileExistsError: if `out` holds a run, and neither `resume` nor `overwrite` is set.
            FloatingPointError: if the loss or the monitor is not finite.
            OSError: if `out` cannot be written.
            ValueError: if a checkpoint belongs to another run, or a split has no batches.
        """
        if task.seed < 0:
            raise ValueError(f"seed must be at least 0, got {task.seed}")
        text = json.dumps(dict(recipe or {}), default=str)
        values = self._launch(partial(_fit, self, text), task)
        return Result(**values, folder=self.out)

    def evaluate(self, task: Task, split: Split) -> dict[str, float]:
        """Metrics of a task on one split, with the weights that it holds.

        Args:
            task: What to evaluate.
            split: The split.

        Raises:
            ValueError: if the split has no batches.
        """
        return self._launch(partial(_evaluate, self, split), task)

    def _launch(self, work: distributed.Work, task: Task) -> dict[str, Any]:
        fabric = distributed.start(
            device=self.device,
            precision=self.precision,
            strategy=self.strategy,
            processes=self.processes,
            shares=task.shares,
        )
        with distributed.deterministic(self.deterministic):
            return distributed.launch(fabric, work, task)


def _fit(trainer: Trainer, recipe: str, fabric: Fabric, task: nn.Module) -> dict[str, Any]:
    keep_memory()
    assert isinstance(task, Task)
    with settled():
        values = vars(_Run(trainer, fabric, task, recipe).fit())
    return {key: value for key, value in values.items() if key != "folder"}


def _evaluate(trainer: Trainer, split: Split, fabric: Fabric, task: nn.Module) -> dict[str, Any]:
    assert isinstance(task, Task)
    _place(task, fabric)
    return passes.evaluate(fabric, task, split, _bar(trainer, fabric))


class _Run:
    """One call of `fit`.

    `best` is the checkpoint of the best epoch, `kept` the one a resumed run continues from; both
    lie in main memory and are written when it is time.
    """

    def __init__(self, trainer: Trainer, fabric: Fabric, task: Task, recipe: str) -> None:
        self.trainer, self.fabric, self.root, self.recipe = trainer, fabric, task, recipe
        if trainer.out:
            ways = {"resume": trainer.resume, "overwrite": trainer.overwrite}
            distributed.on_first(fabric, partial(checkpoint.claim, trainer.out, **ways))
        self.last = checkpoint.unfinished(trainer.out, task.seed) if trainer.out else None
        self.out = trainer.out if fabric.is_global_zero else None  # one process writes
        self.task, self.now = task, Progress()
        self.best: Content = {}
        self.kept: Content = {}
        self.trained = False
        start = Progress(**self.last["progress"]) if self.last else Progress()
        self.began = perf_counter() - start.seconds
        self.written, self.copied, self.cost = perf_counter(), 0.0, 0.0
        self.bar = _bar(trainer, fabric)
        self.history = History(self.out, until=(start.stage, start.epoch))
        names, config = trainer.track if fabric.is_global_zero else (), json.loads(recipe)
        self.trackers = trackers(names, self.out, config=config, first=start.epoch + 1)

    def fit(self) -> Result:
        """All stages, then the test."""
        if self.fabric.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.fabric.device)
        try:
            for stage in self._stages():
                self._fit_stage(stage)
            return self._finish()
        except KeyboardInterrupt:
            return self._rescue()
        finally:
            self.bar.close()
            self.history.close()
            for tracker in self.trackers:
                tracker.close()

    def _stages(self) -> Iterator[Task]:
        stages = self.root.stages()
        for number in count():
            passes.reseed(self.root, "stages", stage=number, epoch=0)
            stage = next(stages, None)
            if stage is None:
                return
            if number and self.out:  # the stage before was not the last: it gets its own file
                checkpoint.save(self.out / f"stage{number - 1}.pt", self.best)
            stage.seed, stage.stage = self.root.seed, number
            _place(stage, self.fabric)
            yield stage

    def _fit_stage(self, task: Task) -> None:
        self.task, self.now = task, Progress(stage=task.stage)
        self.best, self.kept = {}, {}
        reached = self.last["progress"]["stage"] if self.last else -1
        if task.stage < reached:
            assert self.trainer.out is not None
            path = self.trainer.out / f"stage{task.stage}.pt"
            self.best = checkpoint.load(path)
            checkpoint.restore(task, self.best, path)
            return
        groups = task.param_groups()
        with optim.only(task, groups):
            run, optimizer = self._setup(task, groups)
            if task.stage == reached:
                self._continue(task, optimizer)
            self._keep(optimizer)
            if optimizer is not None:
                self._train(task, run, optimizer)
            self.now.stopped = self.now.stopped or ("epochs" if groups else "no parameters")
            self.best = self.best or self._content(self.now.epoch)
            self._keep(optimizer, write=self.trained or task.stage != reached)
        checkpoint.restore(task, self.best, "the best epoch")

    def _train(self, task: Task, run: nn.Module, optimizer: Optimizer) -> None:
        schedule, now = task.schedule, self.now
        rates = [group.get("lr", schedule.lr) for group in task.param_groups()]
        self.bar.stage(checkpoint.label(task), epochs=schedule.epochs, done=now.epoch)
        for epoch in range(now.epoch + 1, schedule.epochs + 1):
            if now.stopped:
                return
            self.trained, began = True, perf_counter()
            task.epoch = epoch
            optim.set_rates(optimizer, rates, schedule, epoch=epoch, scale=now.scale)
            row: Row = {"stage": now.stage, "epoch": epoch}
            row |= passes.train(self.fabric, task, run, optimizer, self.bar)
            if task.monitor and schedule.evaluates(epoch):
                valid = passes.evaluate(self.fabric, task, "valid", self.bar)
                row |= {f"valid/{name}": value for name, value in valid.items()}
                self._judge(task, valid)
            row["seconds"] = perf_counter() - began
            now.epoch, now.seconds = epoch, perf_counter() - self.began
            for place in (self.history, *self.trackers):
                place.add(row)
            self.bar.add(row, task.monitor)
            self._keep(optimizer)

    def _judge(self, task: Task, valid: dict[str, float]) -> None:
        """Compare an evaluation with the best one so far, and decide whether to go on."""
        name = task.monitor.removeprefix("-")
        if name not in valid:
            hint = nearest(name, valid) or f"; there are {', '.join(valid)}"
            raise ValueError(f"the monitor {name!r} is not among the metrics{hint}")
        if math.isnan(valid[name]):
            raise FloatingPointError(f"the monitor {name!r} is nan in epoch {task.epoch}")
        score = -valid[name] if task.monitor.startswith("-") else valid[name]
        if self.now.judge(task.schedule, score, task.epoch):
            self.now.valid = valid
            self.best = self._content(task.epoch)

    def _setup(self, task: Task, groups: optim.Groups) -> tuple[nn.Module, Optimizer | None]:
        if not groups:
            return task, None
        if self.trainer.compile:
            task.model.compile(dynamic=True)
        run = self.fabric.setup_module(task)
        fused = self.trainer.precision != "fp16"  # those kernels unscale gradients too late to clip
        made = optim.make(task.schedule, groups, fused=fused)
        optimizer = self.fabric.setup_optimizers(made)
        assert isinstance(optimizer, Optimizer)
        optimizer.zero_grad()
        return run, optimizer

    def _continue(self, task: Task, optimizer: Optimizer | None) -> None:
        last, schedule = self.last, task.schedule
        assert last and self.trainer.out
        source = self.trainer.out / "last.pt"
        checkpoint.restore(task, last, source)
        self.best, self.now = last["best"], Progress(**last["progress"])
        if optimizer is not None:
            if len(last["optimizer"]["param_groups"]) != len(optimizer.param_groups):
                raise ValueError(f"{source} has other parameters frozen or with rates of their own")
            optimizer.load_state_dict(last["optimizer"])
            self.fabric.strategy.precision.load_state_dict(last["scaler"])
        self.now.stopped = self.now.verdict(schedule)  # more epochs may be wanted now

    def _keep(self, optimizer: Optimizer | None, *, write: bool = False) -> None:
        """Copy the state after an epoch if that costs little, write it if it is time.

        What an interrupt destroys is the epoch it falls into, which a resumed run repeats from the
        copy; copies take at most a twentieth of the time.
        """
        began = perf_counter()
        write = write or began - self.written >= self.trainer.save_seconds
        if self.kept and not write and began - self.copied < 20 * self.cost:
            return
        kept = self._content(self.now.epoch)
        kept["best"] = self.best if self.now.best is not None else {}
        kept["optimizer"] = checkpoint.on_cpu(optimizer.state_dict()) if optimizer else {}
        kept["scaler"] = self.fabric.strategy.precision.state_dict()
        self.kept = kept
        self.copied = perf_counter()
        self.cost = self.copied - began
        if write:
            self._write()

    def _write(self) -> None:
        if self.out:
            if self.best:
                checkpoint.save(self.out / "best.pt", self.best)
            checkpoint.save(self.out / "last.pt", self.kept)
        self.written = perf_counter()

    def _content(self, epoch: int) -> Content:
        return {
            "task": checkpoint.label(self.task),
            "seed": self.root.seed,
            "recipe": self.recipe,
            "progress": {**asdict(self.now), "epoch": epoch},
            "state": checkpoint.on_cpu(self.task.state_dict()),
        }

    def _finish(self) -> Result:
        """The test of the best weights, or the result of a run that was finished before."""
        task, now, out = self.task, self.now, self.trainer.out
        done = out and distributed.on_first(self.fabric, (out / "result.json").is_file)
        if out and done and not self.trained:
            return Result.read(out)
        if not now.valid:  # nothing was evaluated in training
            now.valid = passes.evaluate(self.fabric, task, "valid", self.bar)
            self.best = self._content(now.epoch)
            self._write()
        test = passes.evaluate(self.fabric, task, "test", self.bar)
        checkpoint.restore(task, self.best, "the best epoch")
        result = self._result(test, now.stopped)
        if self.out:
            result.write(self.out)
        return result

    def _rescue(self) -> Result:
        if self.kept:
            self._write()
        if self.best or self.kept:
            checkpoint.restore(self.task, self.best or self.kept, "the best epoch")
        return self._result({}, "interrupted")

    def _result(self, test: dict[str, float], stopped: str) -> Result:
        now = self.now
        return Result(
            seed=self.root.seed,
            monitor=self.task.monitor,
            best_epoch=now.best_epoch or now.epoch,
            epochs=now.epoch,
            valid=now.valid,
            test=test,
            stopped=stopped,
            seconds=perf_counter() - self.began,
            memory=peak_memory(self.fabric.device),
            parameters=sum(p.numel() for g in self.task.param_groups() for p in g["params"]),
            history=self.history.rows,
            folder=self.trainer.out,
        )


def _bar(trainer: Trainer, fabric: Fabric) -> Bar:
    first = fabric.is_global_zero and distributed.this_process().rank == 0
    return Bar(enabled=trainer.progress and first)


def _place(task: Task, fabric: Fabric) -> None:
    task.to(fabric.device)
    task.device, task.shard = fabric.device, Shard(fabric.global_rank, fabric.world_size)

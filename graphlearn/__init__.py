"""Research graph models on PyTorch Geometric: exact, fast and easy to use on your own data.

Importing the package costs milliseconds; every public name is loaded at its first use.
"""

from typing import TYPE_CHECKING

from graphlearn.extras import lazy

if TYPE_CHECKING:
    from graphlearn import (
        attacks,
        bench,
        data,
        metrics,
        models,
        ops,
        outcome,
        poison,
        predict,
        ranking,
        report,
        runs,
        sampling,
        tasks,
        train,
    )
    from graphlearn.data import load
    from graphlearn.data.dataset import Dataset, LinkSplit
    from graphlearn.knobs import build
    from graphlearn.recipe import Recipe, find
    from graphlearn.runs import run
    from graphlearn.train.task import Schedule, Task
    from graphlearn.train.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "LinkSplit",
    "Recipe",
    "Schedule",
    "Task",
    "Trainer",
    "attacks",
    "bench",
    "build",
    "data",
    "find",
    "load",
    "metrics",
    "models",
    "ops",
    "outcome",
    "poison",
    "predict",
    "ranking",
    "report",
    "run",
    "runs",
    "sampling",
    "tasks",
    "train",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Dataset": "graphlearn.data.dataset:Dataset",
        "LinkSplit": "graphlearn.data.dataset:LinkSplit",
        "Recipe": "graphlearn.recipe:Recipe",
        "Schedule": "graphlearn.train.task:Schedule",
        "Task": "graphlearn.train.task:Task",
        "Trainer": "graphlearn.train.trainer:Trainer",
        "attacks": "graphlearn.attacks",
        "bench": "graphlearn.bench",
        "build": "graphlearn.knobs:build",
        "data": "graphlearn.data",
        "find": "graphlearn.recipe:find",
        "load": "graphlearn.data:load",
        "metrics": "graphlearn.metrics",
        "models": "graphlearn.models",
        "ops": "graphlearn.ops",
        "outcome": "graphlearn.outcome",
        "poison": "graphlearn.poison",
        "predict": "graphlearn.predict",
        "ranking": "graphlearn.ranking",
        "report": "graphlearn.report",
        "run": "graphlearn.runs:run",
        "runs": "graphlearn.runs",
        "sampling": "graphlearn.sampling",
        "tasks": "graphlearn.tasks",
        "train": "graphlearn.train",
    },
)

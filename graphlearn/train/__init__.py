"""The contract of a learning problem, and the loop that solves it."""

from typing import TYPE_CHECKING

from graphlearn.extras import lazy

if TYPE_CHECKING:
    from graphlearn.train.task import Schedule, Shard, Split, Task
    from graphlearn.train.tracking import Result
    from graphlearn.train.trainer import Trainer

__all__ = ["Result", "Schedule", "Shard", "Split", "Task", "Trainer"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Result": "graphlearn.train.tracking:Result",
        "Schedule": "graphlearn.train.task:Schedule",
        "Shard": "graphlearn.train.task:Shard",
        "Split": "graphlearn.train.task:Split",
        "Task": "graphlearn.train.task:Task",
        "Trainer": "graphlearn.train.trainer:Trainer",
    },
)

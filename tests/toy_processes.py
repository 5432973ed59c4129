"""What the tests start in several processes."""

import json
import sys
from pathlib import Path

import torch
from toy_tasks import Regression, Streaming

from graphlearn.train import Trainer, distributed


def uneven(fabric, task):
    """Every rank brings another number of rows, one of them none; an error reaches all."""
    rank = fabric.global_rank
    rows = {"x": torch.full((rank, 2), rank), "y": torch.arange(rank) > 0} if rank else {}
    found = distributed.gather(fabric, rows)

    def fail():
        raise OSError("the disk is full")

    try:
        distributed.on_first(fabric, fail)
        failed = ""
    except OSError as error:
        failed = str(error)
    failures = [None] * fabric.world_size
    torch.distributed.all_gather_object(failures, failed)
    return {
        "x": found["x"].tolist(),
        "y": found["y"].tolist(),
        "value": distributed.on_first(fabric, lambda: rank + 10),
        "failures": failures,
        "long": "x" * 200_000,
    }


def children(strategy):
    fabric = distributed.start(device="cpu", strategy=strategy, processes=3)
    done = distributed.launch(fabric, uneven, Regression())
    return {**done, "long": len(done["long"])}


def train(strategy, accumulate, out):
    task = Regression(size=4, accumulate=int(accumulate), clip=1.0)
    trainer = Trainer(device="cpu", strategy=strategy, processes=2, out=Path(out))
    result = trainer.fit(task)
    return {
        "loss": [row["loss"] for row in result.history],
        "test": result.test,
        "weights": {name: value.tolist() for name, value in task.state_dict().items()},
    }


def seeds(out):
    for seed in distributed.seeds_of(distributed.this_process(), range(3)):
        task = Streaming(epochs=2)
        task.seed = seed
        Trainer(device="cpu", out=Path(out) / str(seed)).fit(task)


if __name__ == "__main__":
    torch.set_num_threads(1)
    done = globals()[sys.argv[1]](*sys.argv[2:])
    first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    if done and first:
        sys.stdout.write(json.dumps(done))

"""What the tests start in several processes."""

import json
import sys
from pathlib import Path

import torch
from toy_tasks import Regression, Streaming

from graphlearn.train import Trainer, distributed


def children(strategy):
    from test_distributed import uneven

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
    if done and not distributed.this_process().rank and not torch.distributed.is_initialized():
        sys.stdout.write(json.dumps(done))
    elif done and torch.distributed.get_rank() == 0:
        sys.stdout.write(json.dumps(done))

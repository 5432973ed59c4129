import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only
from toy_tasks import Regression, Streaming, weights

from graphlearn.train import Trainer, distributed
from graphlearn.train.task import Shard

TESTS = Path(__file__).parent.parent
SCRIPT = str(TESTS / "toy_processes.py")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "bf15"}, "precision must be one of 32, bf16, fp16, got 'bf15'; did you m"),
        ({"strategy": "dpp"}, "strategy must be one of auto, ddp, .*, got 'dpp'; did you mean"),
        ({"processes": 0}, "processes must be at least 1, got 0"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ({"device": "cpu:1"}, "device must be auto, cpu, cuda, cuda:N or mps, got 'cpu:1'"),
        ({"device": "cuda:x"}, "device must be .*, got 'cuda:x'"),
        ({"device": "cuda:99"}, "device 'cuda:99' with 1 processes needs 100 GPUs, but torch sees"),
        ({"device": "cpu", "precision": "fp16"}, "precision 'fp16' needs a GPU; pass precision="),
        (
            {"shares": "seeds", "processes": 2},
            "this task cannot be split, .*: start it with torchrun --nproc-per-node 2",
        ),
    ],
)
def test_what_the_machine_cannot_serve_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        distributed.start(**arguments)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="has such a device")
def test_mps_where_there_is_none():
    with pytest.raises(ValueError, match="device 'mps' was asked for, but torch sees none"):
        distributed.start(device="mps")


def test_one_process_has_no_group():
    fabric = distributed.start(device="cpu")
    assert (fabric.world_size, fabric.device.type) == (1, "cpu")
    assert not torch.distributed.is_initialized()
    assert distributed.this_process() == Shard(0, 1)


def test_torchrun_decides_the_number_of_processes(monkeypatch):
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "5",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "4",
        "GROUP_RANK": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # what Fabric sets, to be undone
    assert distributed.this_process() == Shard(5, 8)
    fabric = distributed.start(device="cpu")
    assert (fabric.world_size, fabric.global_rank, fabric.local_rank) == (8, 5, 1)
    alone = distributed.start(device="cpu", shares="seeds")
    assert (alone.world_size, alone.global_rank) == (1, 0)


def test_seeds_are_dealt_out():
    dealt = [distributed.seeds_of(Shard(rank, 3), range(7)) for rank in range(3)]
    assert dealt == [[0, 3, 6], [1, 4], [2, 5]]
    assert distributed.seeds_of(Shard(), (4, 2)) == [4, 2]


def test_one_process_gathers_its_own_rows():
    fabric = Fabric(accelerator="cpu", devices=1)
    rows = {"x": torch.ones(2)}
    assert distributed.gather(fabric, rows) is rows
    assert distributed.on_first(fabric, lambda: 3) == 3


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_fork", "ddp_spawn"])
def test_children_bring_back_values_and_weights(strategy):
    done = run_script("children", strategy)
    assert done == {
        "x": [[1, 1], [2, 2], [2, 2]],
        "y": [False, False, True],
        "value": 10,
        "failures": ["the disk is full"] * 3,
        "long": 200_000,
    }


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "accumulate"), [("ddp_fork", 3), ("ddp", 1)])
def test_two_processes_are_one(strategy, accumulate, tmp_path):
    two = run_script("train", strategy, str(accumulate), str(tmp_path / "run"))
    task = Regression(size=4, accumulate=accumulate, clip=1.0)
    one = Trainer(device="cpu").fit(task)
    assert two["loss"] == pytest.approx([row["loss"] for row in one.history], abs=1e-5)
    assert two["test"] == pytest.approx(one.test, abs=1e-5)
    for name, value in weights(task).items():
        torch.testing.assert_close(torch.tensor(two["weights"][name]), value)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 9


@pytest.mark.slow
def test_tasks_that_share_seeds_run_side_by_side(tmp_path):
    code = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    run([*code, "--master-port", "0", SCRIPT, "seeds", str(tmp_path)])
    for seed in (0, 1, 2):
        task = Streaming(epochs=2)
        task.seed = seed
        found = json.loads((tmp_path / str(seed) / "result.json").read_text())
        assert found["test"] == Trainer(device="cpu").fit(task).test


def run_script(*arguments):
    return json.loads(run([sys.executable, SCRIPT, *arguments]))


def run(command):
    root = str(TESTS.parent)
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=root, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

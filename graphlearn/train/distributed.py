"""Processes and devices: start them, divide the work among them, bring the parts together."""

import inspect
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from graphlearn.extras import nearest
from graphlearn.train.task import Shard

__all__ = [
    "Strategy",
    "Work",
    "deterministic",
    "gather",
    "launch",
    "on_first",
    "seeds_of",
    "start",
    "this_process",
]

Strategy = Literal["auto", "ddp", "ddp_spawn", "ddp_fork"]
METHODS: dict[str, Literal["popen", "spawn", "fork"]] = {
    "auto": "popen",
    "ddp": "popen",
    "ddp_spawn": "spawn",
    "ddp_fork": "fork",
}
PRECISIONS = ("32", "bf16", "fp16")
T = TypeVar("T")
Work = Callable[[Fabric, nn.Module], dict[str, Any]]


def start(
    *,
    device: str = "auto",
    precision: str = "32",
    strategy: str = "auto",
    processes: int = 1,
    shares: Literal["batches", "seeds"] = "batches",
) -> Fabric:
    """Device, precision and process group of one run.

    Under `torchrun` its processes are used and `processes` is ignored; else as many are launched,
    by starting the script again (`ddp`), or as children of this process (`ddp_spawn`, `ddp_fork`).
    A task that shares seeds gets one process of its own and no process group.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `32`, or operators in `bf16` or `fp16` with weights in 32 bits.
        strategy: How further processes are launched.
        processes: Processes on this machine.
        shares: What the processes divide.

    Raises:
        ValueError: if an argument is unknown or the machine cannot serve it.
    """
    # its notices on devices and process groups are no news to anyone
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for name, value, choices in (
        ("precision", precision, PRECISIONS),
        ("strategy", strategy, tuple(METHODS)),
    ):
        if value not in choices:
            hint = nearest(value, choices)
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}")
    torchrun = torch.distributed.is_torchelastic_launched()
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    if shares == "seeds" and processes > 1 and not torchrun:
        raise ValueError(
            "this task cannot be split, its processes divide the seeds: "
            f"start it with torchrun --nproc-per-node {processes}, not processes={processes}"
        )
    kind, index = _device(device, processes)
    plugin = _precision(precision, kind)
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if torchrun else processes
    world = this_process().world if torchrun else processes
    if shares == "seeds" or world == 1:
        place: list[int] | int = 1
        if kind == "cuda":
            place = [this_process().rank % local if torchrun else index]
        return Fabric(accelerator=kind, devices=place, plugins=plugin)
    method = "popen" if torchrun else METHODS[strategy]
    # buffers may be streaming state, which each process keeps for itself
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    apart: dict[str, Any] = {name: False}
    ddp = DDPStrategy(start_method=method, **apart)
    return Fabric(
        accelerator=kind, devices=local, num_nodes=world // local, strategy=ddp, plugins=plugin
    )


def launch(fabric: Fabric, work: Work, module: nn.Module) -> dict[str, Any]:
    """Run the work in every process; what the first one returns, and its weights, come back.

    Args:
        fabric: What `start` returned.
        work: Takes the fabric and the module, returns plain values.
        module: What the work changes.
    """
    spread: Callable[..., Any] = fabric.launch
    values: dict[str, Any]
    if getattr(fabric.strategy, "_start_method", "popen") == "popen":
        values = spread(work, module)
        return values
    # Children end before this process reads their pipe, which holds 64 kB: a file holds more.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcome.pt"
        spread(_child, work, module, path)
        outcome = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(outcome["state"])
    values = outcome["values"]
    return values


def this_process() -> Shard:
    """Which of the processes of `torchrun` this is; the only one without it."""
    if not torch.distributed.is_torchelastic_launched():
        return Shard()
    return Shard(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def seeds_of(shard: Shard, seeds: Sequence[int]) -> list[int]:
    """The seeds that one process runs, for tasks that divide seeds.

    Example:
        >>> seeds_of(Shard(1, 3), range(7))
        [1, 4]
    """
    return list(seeds)[shard.rank :: shard.world]


def on_first(fabric: Fabric, work: Callable[[], T]) -> T:
    """Do something in the first process only; all return its value, or raise its error.

    Args:
        fabric: What `start` returned.
        work: Returns plain values.
    """
    if fabric.world_size == 1:
        return work()
    outcome: tuple[T | None, Exception | None] = (None, None)
    if fabric.is_global_zero:
        try:
            outcome = (work(), None)
        except Exception as error:
            outcome = (None, error)
    value, failure = fabric.broadcast(outcome)
    if failure is not None:
        raise failure
    return value  # type: ignore[return-value]


def gather(fabric: Fabric, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rows of all processes, one process after the other.

    Args:
        fabric: What `start` returned.
        rows: Rows of this process by name; processes may have different numbers of rows, or none.
    """
    if fabric.world_size == 1:
        return rows
    kinds: list[Any] = [None] * fabric.world_size
    own = [(name, value.dtype, value.shape[1:]) for name, value in rows.items()]
    torch.distributed.all_gather_object(kinds, own)
    found: dict[str, Tensor] = {}
    for name, dtype, shape in next(filter(None, kinds), []):
        part = rows[name] if name in rows else torch.empty(0, *shape, dtype=dtype)
        found[name] = _gather(fabric, part.to(fabric.device))
    return found


@contextmanager
def deterministic(enabled: bool) -> Iterator[None]:
    """Refuse operators without a deterministic form, for a time.

    Args:
        enabled: Whether to do anything.
    """
    before = torch.are_deterministic_algorithms_enabled()
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _gather(fabric: Fabric, part: Tensor) -> Tensor:
    counts = _all(fabric, torch.tensor([len(part)], device=part.device)).flatten().tolist()
    padded = part.new_zeros(max(counts), *part.shape[1:])
    padded[: len(part)] = part
    whole = padded.to(torch.uint8) if part.dtype == torch.bool else padded  # gloo knows no bool
    pieces = [piece[:count] for piece, count in zip(_all(fabric, whole), counts, strict=True)]
    return torch.cat(pieces).to(part.dtype)


def _all(fabric: Fabric, part: Tensor) -> Tensor:
    """The parts of all processes, stacked along a new first axis."""
    pieces = [torch.empty_like(part) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(pieces, part.contiguous())
    return torch.stack(pieces)


def _device(device: str, processes: int) -> tuple[str, int]:
    """Kind of device and its number."""
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, got {device!r}")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' was asked for, but torch sees none; pass device='cpu'")
    needed = int(index or 0) + 1 if processes == 1 else processes
    if kind == "cuda" and torch.cuda.device_count() < needed:
        raise ValueError(
            f"device {device!r} with {processes} processes needs {needed} GPUs, but torch sees "
            f"{torch.cuda.device_count()}; pass device='cpu' or fewer processes"
        )
    return kind, int(index or 0)


def _precision(precision: str, kind: str) -> Precision:
    if precision == "32":
        return Precision()
    if precision == "fp16" and kind == "cpu":
        raise ValueError("precision 'fp16' needs a GPU; pass precision='bf16' on the CPU")
    return _Autocast("bf16-mixed" if precision == "bf16" else "16-mixed", device=kind)


class _Autocast(MixedPrecision):
    """Mixed precision that rounds in operators only: times and labels of a batch stay exact."""

    def convert_input(self, data: Any) -> Any:  # noqa: ANN401
        return data


def _child(fabric: Fabric, work: Work, module: nn.Module, path: Path) -> None:
    values = work(fabric, module)
    if fabric.is_global_zero:
        state = {name: value.cpu() for name, value in module.state_dict().items()}
        torch.save({"state": state, "values": values}, path)

"""Where the time of a training step of NAT goes, and how fast one is told from many.

The stages are those of consecutive training steps, timed while the model runs: what a stage calls
that is a stage itself is not counted twice. Shares and rates are in the notes.
"""

import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

import graphlearn as gl
from graphlearn.bench import Limit, Value
from graphlearn.cli import main
from graphlearn.models import NAT, nat
from graphlearn.ops.cache import NCache
from graphlearn.sampling.stream import Events, Features, windows
from graphlearn.train import optim
from graphlearn.train.memory import keep_memory
from graphlearn.train.task import Schedule

__all__ = ["cases", "peak_of_one_against_many"]

BATCH, SEEN = 100, 30_000
MANY = 200  # events that are told from all other destinations
PUBLISHED = {
    "time_dim": 1, "alpha": 0.7, "counts": "plain", "time": "absolute", "clock": "time",
    "scale": "decades", "train_time": True, "recency_dim": 0, "hash": "quadratic", "cache_seed": 7,
}  # fmt: skip
PRESETS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("default settings, no features", 0, {}),
    ("published settings, features of width 172", 172, {"pair_dim": 172, **PUBLISHED}),
)
STAGES = (
    (NAT, "read", "distinct nodes"), (nat, "refreshed_sums", "refresh"), (nat, "absorb", "absorb"),
    (NAT, "score", "rows and sums"), (NCache, "join", "join"), (nat, "pair_scores", "scorer"),
    (Tensor, "backward", "backward"), (Adam, "step", "Adam"), (NAT, "update", "commit"),
)  # fmt: skip


class _State(NamedTuple):
    """A model that has taken in the first events of a stream."""

    model: NAT
    stream: Events
    features: Features
    seen: int


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Limit | Value | str]:
    """Stages of a step for two presets, by our kernels and by the reference; one against many.

    Args:
        smoke: A synthetic stream.
        data: Folder of the data sets; those that are absent are left out.
    """
    if smoke:
        dataset = gl.load("synthetic-events")
        yield from _presets(dataset, seen=500, steps=(2, 2))
        yield from _many_limits(dataset.name, None, events=20)
        return
    for name in ("collegemsg", "jodie-wikipedia"):
        try:
            dataset = gl.load(name, root=data)
        except (FileNotFoundError, ImportError, OSError, ValueError) as error:
            yield f"{name} is left out: {error}"
            continue
        if name == "collegemsg":
            yield from _presets(dataset, seen=SEEN, steps=(100, 20))
        else:
            yield from _many_limits(name, data, events=MANY)


def peak_of_one_against_many(name: str, data: Path | None, events: int) -> float:
    """Largest memory of this process after one scoring, in GB.

    Args:
        name: The data set.
        data: Folder of the data sets.
        events: How many events are told from all other destinations.
    """
    torch.set_num_threads(1)
    keep_memory()
    _against_many(name, data, events)()
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:")) * 1024 / 1e9


@torch.no_grad()
def _after(dataset: gl.Dataset, seen: int, width: int = 0, **settings: Any) -> _State:  # noqa: ANN401
    """The state after so many events, with features of zeros."""
    torch.manual_seed(0)
    data, facts = dataset.data, dataset.facts
    count, size = int(facts["num_nodes"]), len(data.t)
    scales = facts["time_gap"], facts["time_span"]
    model = NAT(count, width, width, *scales, **settings)
    stream = Events(data.src.long(), data.dst.long(), data.t - data.t[0], torch.arange(size))
    features = Features(torch.zeros(count, width), torch.zeros(size, width))
    for ids in windows(torch.arange(seen), BATCH):
        events = _at(stream, ids)
        ends = torch.cat([events.src, events.dst])
        model.update(model.read(ends, events.t[0], features), events)
    return _State(model, stream, features, seen)


def _at(stream: Events, ids: Tensor) -> Events:
    return Events(*(part[ids] for part in stream))


def _presets(dataset: gl.Dataset, seen: int, steps: tuple[int, int]) -> Iterator[Value]:
    for preset, width, settings in PRESETS:
        state = _after(dataset, seen, width, **settings)
        for backend, count in zip(("graphlearn", "torch reference"), steps, strict=True):
            chosen = "reference" if backend == "torch reference" else ""
            with patch.dict(os.environ, GRAPHLEARN_OPS=chosen):
                rows = list(_stages(state, f"{dataset.name}, {preset}, {backend}", count))
            yield from rows


def _stages(state: _State, on: str, count: int) -> Iterator[Value]:
    """CPU time of each stage in consecutive training steps."""
    step, clock = _step(state), _Clock()
    for _ in range(2):
        step()
    with ExitStack() as stack:
        stack.enter_context(patch.dict(globals(), _loss=clock("loss", _loss)))
        for owner, attribute, stage in STAGES:
            timed = clock(stage, getattr(owner, attribute))
            stack.enter_context(patch.object(owner, attribute, timed))
        timed = clock("all else", step)
        for _ in range(count):
            timed()
    total = sum(clock.spent.values())
    for stage, spent in [*clock.spent.items(), ("whole step", total)]:
        rate = f"{count * BATCH / spent:,.0f} events per second"
        value = 1e6 * spent / count / BATCH
        yield Value(stage, on, value, "CPU us per event", None, f"{spent / total:.1%}; {rate}")


class _Clock:
    """CPU seconds of each stage, without those of the stages within it."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inner = 0.0

    def __call__(self, stage: str, way: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            outer, self._inner = self._inner, 0.0
            began = time.process_time()
            found = way(*args, **kwargs)
            whole = time.process_time() - began
            self.spent[stage] = self.spent.get(stage, 0.0) + whole - self._inner
            self._inner = outer + whole
            return found

        return timed


def _step(state: _State) -> Callable[[], None]:
    """One training step on the next batch, as trainer and task do it, of a copy of the model."""
    model, stream, features, seen = copy.deepcopy(state.model), *state[1:]
    optimizer = optim.make(Schedule(lr=1e-4), [{"params": list(model.parameters())}])
    made, others = torch.Generator().manual_seed(1), torch.unique(stream.dst)
    batches = cycle(list(windows(torch.arange(seen, len(stream.t) - BATCH), BATCH)))
    model.train()

    def step() -> None:
        events = _at(stream, next(batches))
        false = others[torch.randint(len(others), events.dst.shape, generator=made)]
        optimizer.zero_grad()
        view = model.read(torch.cat([events.src, events.dst, false]), events.t[0], features)
        pairs = torch.stack([events.src.repeat(2), torch.cat([events.dst, false])])
        z = model.score(view, pairs, events.t.repeat(2))
        _loss(*z.chunk(2)).backward()
        optimizer.step()
        model.update(view, events)

    return step


def _loss(true: Tensor, false: Tensor) -> Tensor:
    return F.softplus(-true).mean() + F.softplus(false).mean()


def _many_limits(name: str, data: Path | None, events: int) -> Iterator[Limit]:
    """How fast events are told from all other destinations, and in which memory."""
    on = f"{name}, {events} events, all other destinations"

    def rate() -> float:
        score = _against_many(name, data, events)
        score()  # kernels are compiled at their first call
        began = time.process_time()
        count = len(score())
        return count / (time.process_time() - began)

    yield Limit("one against many", on, rate, "pairs per CPU s", None, note="reading included")
    peak = partial(_in_new_process, name, data, events)
    note = "whole process, stream and replay included"
    yield Limit("peak memory of one against many", on, peak, "GB", 4.0, note=note)


def _against_many(name: str, data: Path | None, events: int) -> Callable[[], Tensor]:
    """Scores the first events of the test against all other destinations."""
    dataset = gl.load(name, root=data)
    model, stream, none, first = _after(dataset, int(dataset.splits["test"].events[0]))
    model.eval()
    ahead, others = _at(stream, torch.arange(first, first + events)), torch.unique(stream.dst)

    @torch.no_grad()
    def score() -> Tensor:
        view = model.read(torch.cat([ahead.src, ahead.dst, others]), ahead.t[0], none)
        keep = (others != ahead.dst[:, None]).flatten()
        pairs = torch.cartesian_prod(ahead.src, others)[keep].t()
        return model.score(view, pairs, ahead.t.repeat_interleave(len(others))[keep])

    return score


def _in_new_process(name: str, data: Path | None, events: int) -> float:
    code = (
        "import pathlib, runpy, sys; file, name, data, events = sys.argv[1:]; "
        "peak = runpy.run_path(file)['peak_of_one_against_many']; "
        "print(peak(name, pathlib.Path(data) if data else None, int(events)))"
    )
    words = [sys.executable, "-c", code, __file__, name, str(data or ""), str(events)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

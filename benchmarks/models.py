"""One training step of NCN and NCNC with their published settings, and what surrounds it.

The alternative is the published formulation written plainly in torch: dense features, the graph
rebuilt from the edge list in every step, rows gathered and searched in one another, f_x of all
nodes in every call of the predictor, one call for true and one for false pairs, every nested pair
scored. It has the same weights; with dropout off, losses and gradients of both must agree.
"""

import copy
import gc
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

import graphlearn as gl
from graphlearn.bench import Case, Limit
from graphlearn.cli import main
from graphlearn.data.dataset import LinkSplit
from graphlearn.knobs import build, locate
from graphlearn.models import NCN, NCNC
from graphlearn.ops.dropout import Dropout
from graphlearn.recipe import Recipe, find, settings
from graphlearn.tasks.link import LinkBatch, LinkPrediction
from graphlearn.train import optim, passes
from graphlearn.train.memory import keep_memory
from graphlearn.train.tracking import Bar

__all__ = ["Published", "cases", "peak_of_a_step"]

# Recipe, CPU seconds of the published code in print (one thread, elsewhere), share we may take.
STEPS = (
    ("ncn/Cora", 0.30, 0.5),
    ("ncnc/Cora", 0.51, 0.5),
    ("ncn/Pubmed", 1.21, 0.5),
    ("ncnc/Pubmed", 3.66, 0.25),
    ("ncn/ogbl-ddi", 15.4, 1 / 3),
)
DROPOUTS = (
    *("input_dropout", "output_dropout", "dropout", "edge_dropout"),
    *("predictor_dropout", "predictor_edge_dropout"),
)


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | Limit | str]:
    """Steps on Cora, Pubmed and ogbl-ddi; the share of the loop; the memory of a step.

    Args:
        smoke: A toy graph instead.
        data: Folder of the data sets; those that are absent are left out.
    """
    if smoke:
        for name in ("ncn/Cora", "ncnc/Cora", "ncn/ogbl-ddi"):
            yield _step_case(name, _toy(ids=name.endswith("ddi")), batch_size=128)
        yield _loop_limit(_toy(ids=False), batch_size=128)
        return
    for name, seconds, share in STEPS:
        try:
            dataset = gl.load(name.partition("/")[2], root=data, seed=0)
        except (FileNotFoundError, ImportError, OSError, ValueError) as error:
            yield f"{name} is left out: {error}"
            continue
        case = _step_case(name, dataset)
        # The goal holds against the figure in print and against the plain formulation alike.
        targets = dict.fromkeys(list(case.ways)[1:], 1 / share)
        yield replace(case, printed=1e3 * seconds, printed_target=1 / share, targets=targets)
        if name == "ncn/Cora":
            yield _loop_limit(dataset)
        if name == "ncn/ogbl-ddi":
            value = lambda: _in_new_process(name, data)  # noqa: B023, E731
            note = "whole process, data set included, after two steps"
            yield Limit("peak memory of training", name, value, "GB", 4.0, note=note)
        del case, dataset
        gc.collect()


def peak_of_a_step(name: str, data: Path | None) -> float:
    """Largest memory of this process after two training steps, in GB.

    Args:
        name: The recipe and its data set.
        data: Folder of the data sets.
    """
    torch.set_num_threads(1)
    keep_memory()
    task, batch = _task(_recipe(name), gl.load(name.partition("/")[2], root=data, seed=0))
    step = _stepper(lambda: task(batch)["loss"], _optimizer(task))
    for _ in range(2):
        step()
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:")) * 1024 / 1e9


class Published(nn.Module):
    """The published formulation with the weights of one of our models.

    Args:
        model: Ours, whose parameters are copied.
        features: Dense features of the nodes, or their ids.
        pos: All true training pairs.
    """

    def __init__(self, model: NCN, features: Tensor, pos: Tensor) -> None:
        super().__init__()
        encoder = model.encoder
        self.features, self.pos, self.nodes = features, pos, len(features)
        self.embedding, self.input = copy.deepcopy((encoder.embedding, encoder.input))
        self.jk, self.beta = copy.deepcopy((encoder.jk, model.beta))
        self.f_x, self.f_cn, self.f_ij, self.f_out = (
            _plain(part) for part in (model.f_x, model.f_cn, model.f_ij, model.f_out)
        )
        self.drop_input, self.drop = encoder.input_dropout, encoder.dropout
        self.drop_output, self.drop_graph = encoder.post[0].p, model.edge_dropout
        self.normalised, self.residual = encoder.jk is not None, encoder.residual
        self.depth, self.settings = 0, (0.0, 0.0, 0.0, 0.0)
        if isinstance(model, NCNC):
            self.depth = model.depth
            self.settings = (model.alpha, model.odds, model.scale, model.offset)

    def forward(self, kept: Tensor, pos: Tensor, neg: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the true and of the false pairs.

        Args:
            kept: Which training pairs are not among the targets.
            pos: True pairs.
            neg: False pairs.
        """
        graph = self._rebuild(self.pos[:, kept])
        h = self._encode(graph)
        return tuple(self._score(h, graph, pairs, self.depth) for pairs in (pos, neg))

    def _rebuild(self, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Row pointers and columns of the edges in both directions."""
        keys = torch.cat([edges[0] * self.nodes + edges[1], edges[1] * self.nodes + edges[0]])
        keys = keys.sort().values.unique_consecutive()
        return _pointers(keys // self.nodes, self.nodes), keys % self.nodes

    def _encode(self, graph: tuple[Tensor, Tensor]) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(self.features)
        else:
            x = self.input(F.dropout(self.features, self.drop_input, self.training))
        x = F.dropout(x, self.drop, self.training)
        if self.normalised:
            s = (1 + graph[0].diff()).rsqrt().unsqueeze(1)
            out = s * (_sum(graph, s * x) + s * x)
        else:
            out = _sum(graph, x)
        out = F.dropout(out, self.drop_output, self.training)
        out = x + out if self.residual else out
        return out if self.jk is None else self.jk[0] * out

    def _score(self, x: Tensor, graph: tuple[Tensor, Tensor], pairs: Tensor, depth: int) -> Tensor:
        if self.training and self.drop_graph > 0:
            graph = self._thin(graph)
        product = x[pairs[0]] * x[pairs[1]]
        value = x + self.f_x(x)
        one, other = _rows(graph, pairs[0]), _rows(graph, pairs[1])
        at = torch.searchsorted(other, one).clamp(max=max(len(other) - 1, 0))
        shared = other[at] == one if len(other) else torch.zeros_like(one, dtype=torch.bool)
        count = pairs.shape[1]
        total = _pool(one[shared], None, value, count)
        if depth > 0:
            back = torch.searchsorted(one, other).clamp(max=max(len(one) - 1, 0))
            only = one[back] != other if len(one) else torch.ones_like(other, dtype=torch.bool)
            for keys, far in ((one[~shared], pairs[1]), (other[only], pairs[0])):
                with torch.no_grad():
                    nested = torch.stack([far[keys >> 32], keys & 0xFFFFFFFF])
                    chance = self._chance(self._score(value, graph, nested, depth - 1))
                total = total + _pool(keys, chance, value, count)
        return self.f_out(self.beta * self.f_cn(total) + self.f_ij(product)).flatten()

    def _thin(self, graph: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        keep = torch.rand(len(graph[1])) >= self.drop_graph
        row = torch.repeat_interleave(torch.arange(self.nodes), graph[0].diff())
        return _pointers(row[keep], self.nodes), graph[1][keep]

    def _chance(self, z: Tensor) -> Tensor:
        alpha, odds, scale, offset = self.settings
        q = torch.sigmoid(scale * (z - offset))
        return alpha * odds * q / (odds * q + 1 - q)


def _plain(part: nn.Module) -> nn.Sequential:
    """A copy with torch's own dropout and rectifier."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(part):
        own = isinstance(layer, Dropout)
        layers += [nn.Dropout(layer.p), nn.ReLU()] if own else [layer]
    return nn.Sequential(*layers)


def _pointers(rows: Tensor, size: int) -> Tensor:
    return F.pad(torch.bincount(rows, minlength=size).cumsum(0), (1, 0))


def _rows(graph: tuple[Tensor, Tensor], nodes: Tensor) -> Tensor:
    """All neighbours of the nodes, each packed with its place in `nodes`; ascending."""
    ptr, col = graph
    size = ptr[nodes + 1] - ptr[nodes]
    place = torch.repeat_interleave(torch.arange(len(nodes)), size)
    entry = torch.arange(len(place)) + (ptr[nodes] - size.cumsum(0) + size)[place]
    return (place << 32) + col[entry]


def _pool(keys: Tensor, weight: Tensor | None, x: Tensor, count: int) -> Tensor:
    return _sum((_pointers(keys >> 32, count), keys & 0xFFFFFFFF), x, weight)


def _sum(graph: tuple[Tensor, Tensor], x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Torch's product of a sparse matrix and a dense one."""
    ptr, col = graph
    weight = torch.ones(len(col)) if weight is None else weight
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this layout a beta
        return torch.sparse_csr_tensor(ptr, col, weight, (len(ptr) - 1, len(x))) @ x


def _step_case(name: str, dataset: gl.Dataset, batch_size: int = 0) -> Case:
    recipe = _recipe(name, batch_size=batch_size)
    still = _recipe(name, batch_size=batch_size, **dict.fromkeys(DROPOUTS, 0.0))
    steps, answers = _both(recipe, dataset), _both(still, dataset)
    return Case(
        "training step",
        name if not batch_size else f"{name}, toy graph",
        {way: step for way, (_, step) in steps.items()},
        {way: answer for way, (answer, _) in answers.items()},
        tolerance=2e-3,
        seconds=40.0,
        note="losses and gradients agree with dropout off",
    )


def _both(recipe: Recipe, dataset: gl.Dataset) -> dict[str, tuple[Callable[[], Any], Callable]]:
    """For ours and theirs: loss and gradients of one batch, and a whole step on it."""
    task, batch = _task(recipe, dataset)
    pos = dataset.splits["train"].pos.long()
    nodes = int(dataset.facts["num_nodes"])
    x = torch.arange(nodes) if dataset.data.x is None else dataset.data.x
    theirs = Published(task.model, x, pos).train()
    targets = batch.targets.amin(0) * nodes + batch.targets.amax(0)
    kept = torch.isin(pos.amin(0) * nodes + pos.amax(0), targets, invert=True)

    def their_loss() -> Tensor:
        true, false = theirs(kept, batch.pos, batch.neg)
        return -F.logsigmoid(true).mean() - F.logsigmoid(-false).mean()

    def our_loss() -> Tensor:
        return task(batch)["loss"]

    # Each updates as it is used: ours as the trainer does it, theirs as torch's default does.
    found = {
        "graphlearn": (task.model, our_loss, _optimizer(task)),
        "published formulation": (theirs, their_loss, Adam(theirs.parameters())),
    }
    return {
        way: (_answer(model, loss), _stepper(loss, optimizer))
        for way, (model, loss, optimizer) in found.items()
    }


def _optimizer(task: LinkPrediction) -> Optimizer:
    return optim.make(task.schedule, task.param_groups())


def _answer(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], Any]:
    def answer() -> list[Tensor]:
        named = dict(model.named_parameters())
        value = loss()
        grads = torch.autograd.grad(value, list(named.values()), allow_unused=True)
        order = sorted(range(len(grads)), key=lambda i: _place(list(named)[i]))
        return [value, *(grads[i] for i in order if grads[i] is not None)]

    return answer


def _place(name: str) -> tuple[int, str]:
    """The same order of parameters for both, whose names differ."""
    parts = ("embedding", "input", "jk", "beta", "f_x", "f_cn", "f_ij", "f_out")
    first, *rest = name.removeprefix("encoder.").split(".")
    return parts.index(first), ".".join(word.zfill(2) for word in rest)


def _stepper(loss: Callable[[], Tensor], optimizer: Optimizer) -> Callable[[], None]:
    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def _recipe(name: str, *, batch_size: int = 0, **model: float) -> Recipe:
    """A published recipe, perhaps with smaller batches or other rates."""
    task = {"batch_size": batch_size} if batch_size else {}
    return gl.runs.changed(find(name), {"model": model, "task": task})


def _task(recipe: Recipe, dataset: gl.Dataset) -> tuple[LinkPrediction, LinkBatch]:
    """A task in training mode and its first batch."""
    knobs = settings(recipe)
    torch.manual_seed(0)
    model = build(locate(recipe.model), dataset, **vars(knobs["model"]))
    task = _Clocked(model, dataset, schedule=knobs["schedule"], **vars(knobs["task"]))
    task.epoch = 1
    task.train()
    task.start("train")
    return task, next(iter(task.batches("train")))


class _Clocked(LinkPrediction):
    """Adds up the CPU seconds of its forward passes."""

    spent = 0.0

    def forward(self, batch: LinkBatch) -> dict[str, Tensor]:
        began = time.process_time()
        losses = super().forward(batch)
        self.spent += time.process_time() - began
        return losses


class _ClockedFabric(Fabric):
    """Adds up the CPU seconds of backward passes."""

    spent = 0.0

    def backward(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        began = time.process_time()
        super().backward(*args, **kwargs)
        self.spent += time.process_time() - began


def _loop_limit(dataset: gl.Dataset, batch_size: int = 0) -> Limit:
    """Share of an epoch outside of forward and backward: batches, negatives, optimizer, loop."""

    def share() -> float:
        task, _ = _task(_recipe("ncn/Cora", batch_size=batch_size), dataset)
        fabric = _ClockedFabric(accelerator="cpu", devices=1)
        optimizer = fabric.setup_optimizers(_optimizer(task))
        module = fabric.setup_module(task)
        bar = Bar(enabled=False)
        passes.train(fabric, task, module, optimizer, bar)
        task.spent = fabric.spent = 0.0
        began = time.process_time()
        for task.epoch in range(2, 7):
            passes.train(fabric, task, module, optimizer, bar)
        whole = time.process_time() - began
        return 100 * (1 - (task.spent + fabric.spent) / whole)

    note = "batches, negatives, Adam and loop of five epochs"
    return Limit("share outside model and ops", "ncn/Cora", share, "%", 10.0, rounds=3, note=note)


def _in_new_process(name: str, data: Path | None) -> float:
    code = (
        "import pathlib, runpy, sys; file, name, data = sys.argv[1:]; "
        "print(runpy.run_path(file)['peak_of_a_step'](name, pathlib.Path(data)))"
    )
    words = [sys.executable, "-c", code, __file__, name, str(data)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _toy(*, ids: bool) -> gl.Dataset:
    """A sparse random graph with features, or with ids only."""
    made = torch.Generator().manual_seed(0)
    pairs = torch.randint(120, (2, 900), generator=made)
    keys = (pairs.amin(0) * 120 + pairs.amax(0))[pairs[0] != pairs[1]].unique()
    keys = keys[torch.randperm(len(keys), generator=made)]
    edges = torch.stack([keys // 120, keys % 120])
    x = None if ids else (torch.rand(120, 64, generator=made) < 0.1).float()
    absent = torch.stack([torch.arange(60), torch.arange(60, 120)])
    parts = {"train": (100, None), "valid": (0, 50), "test": (50, 100)}
    splits = {
        name: LinkSplit(edges[:, first:last], None if name == "train" else absent)
        for name, (first, last) in parts.items()
    }
    return gl.data.link_dataset("toy", splits, 120, x=x, metric="hits@10")


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

"""Recommenders: steps of LightGCN, layers of a sheaf, sampling and full ranking.

LightGCN is compared with PyG's model on the same triples and weights, given a list of edges and
given torch's sparse matrix. A sheaf layer is compared with the published formulation written
plainly in torch: one Linear on the concatenated vectors of each directed edge, the Laplacian
assembled as a sparse matrix whose values need gradients. Triples are compared with drawing again
until no false item is one of the user's, and evaluation with sorting a dense matrix of all scores.
"""

import copy
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer
from torch_geometric.nn.models import LightGCN as PyGLightGCN

import graphlearn as gl
from graphlearn.bench import Case, Value
from graphlearn.bench.measure import peak_memory
from graphlearn.cli import main
from graphlearn.data.tastes import synthetic_interactions
from graphlearn.models import LightGCN, SheafConv
from graphlearn.models.mf import both_ways
from graphlearn.ops import CSR
from graphlearn.sampling.interactions import InteractionSampler
from graphlearn.tasks.recommend import Recommendation, RecommendBatch
from graphlearn.train import optim

__all__ = ["Published", "cases"]

CHANNELS, LAYERS, LAMBDA = 64, 3, 1e-4
METRICS, KS = ("precision", "recall", "ndcg"), (10, 20)
STALKS = ("diagonal", "orthogonal", "general")
# By the name of a case: how many times less than an alternative we want to take.
GOALS = {
    "LightGCN step": {"PyG edge_index": 10.0, "PyG torch.sparse": 3.0},
    "sheaf layer, forward and backward": {"published formulation": 3.0},
}
# CPU milliseconds of the published formulation in print.
PRINTED = {"sheaf layer, forward and backward": 306.0}
_Array = npt.NDArray[Any]


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | Value | str]:
    """All comparisons on MovieLens 100K, and what a step on Gowalla takes.

    Args:
        smoke: Small synthetic interactions.
        data: Folder of the data sets; those that are absent are left out.
    """
    if smoke:
        dataset = _toy()
        yield from _compared(dataset)
        yield from _large(dataset, steps=1)
        return
    for name, values in (("ml-100k", _with_goals), ("gowalla", _large)):
        try:
            dataset = gl.load(name, kind="interactions", root=data)
        except (FileNotFoundError, ImportError, OSError, ValueError) as error:
            yield f"{name} is left out: {error}"
            continue
        yield from values(dataset)


class Published(nn.Module):
    """The published formulation of a layer with scalar maps, with the weights of one of ours.

    Args:
        conv: Ours, whose parameters are copied.
        edge_index: Edges, both directions, sorted by row, then column.
        nodes: Number of nodes.
    """

    def __init__(self, conv: SheafConv, edge_index: Tensor, nodes: int) -> None:
        super().__init__()
        halves = [conv.maps.left.weight.detach(), conv.maps.right.weight.detach()]
        self.maps = nn.Linear(2 * halves[0].shape[1], 1, bias=False)
        self.maps.weight = nn.Parameter(torch.cat(halves, dim=1))
        self.mix = copy.deepcopy(conv.right)
        self.row, self.col = edge_index
        self.reverse = torch.searchsorted(self.row * nodes + self.col, self.col * nodes + self.row)
        loops = torch.arange(nodes).expand(2, -1)
        self.places = torch.cat([edge_index, loops], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """One step of diffusion.

        Args:
            x: Vector of each node.
        """
        maps = self.maps(torch.cat([x[self.row], x[self.col]], dim=1)).tanh().squeeze(1)
        diagonal = torch.zeros(len(x)).scatter_add(0, self.row, maps.square())
        scale = (diagonal + 1) ** -0.5
        off = -scale[self.row] * maps * maps[self.reverse] * scale[self.col]
        values = torch.cat([off, scale * diagonal * scale])
        size = len(x), len(x)
        laplacian = torch.sparse_coo_tensor(self.places, values, size, check_invariants=False)
        out: Tensor = x - torch.sparse.mm(laplacian, self.mix(x))
        return out


def _with_goals(dataset: gl.Dataset) -> Iterator[Case]:
    """The same with what we want to reach, which holds for real data."""
    for case in _compared(dataset):
        printed = PRINTED.get(case.name, 0.0)
        yield replace(case, targets=GOALS.get(case.name, {}), printed=printed)


def _compared(dataset: gl.Dataset) -> Iterator[Case]:
    yield _step_case(dataset)
    yield _sheaf_case(dataset)
    for kind in STALKS:
        yield _stalk_case(dataset, kind)
    yield _sampler_case(dataset)
    yield _evaluation_case(dataset)


def _step_case(dataset: gl.Dataset) -> Case:
    """The same triples in every step."""
    task, batch = _task(dataset, batch_size=1024)
    graph = both_ways(task.interactions("train"))
    edges = torch.stack([graph.rows(), graph.col.long()])
    start = task.model.embedding.detach().clone()
    forms = {"PyG edge_index": edges, "PyG torch.sparse": _sparse(graph)}
    optimizer = optim.make(task.schedule, task.param_groups())
    ways: dict[str, tuple[nn.Parameter, Callable[[], Tensor], Optimizer]] = {
        "graphlearn": (task.model.embedding, lambda: task(batch)["loss"], optimizer)
    }
    for way, form in forms.items():
        model = PyGLightGCN(graph.num_rows, CHANNELS, LAYERS)
        model.embedding.weight = nn.Parameter(start.clone())
        loss = partial(_their_loss, model, form, batch, task.num_users)
        ways[way] = (model.embedding.weight, loss, Adam(model.parameters(), lr=task.schedule.lr))
    # Before a step changes anything.
    found = {way: _answer(table, loss) for way, (table, loss, _) in ways.items()}
    return Case(
        "LightGCN step",
        f"{dataset.name}, {LAYERS} layers, {CHANNELS} channels, {len(batch.users):,} triples",
        {way: partial(_step, loss, optimizer) for way, (_, loss, optimizer) in ways.items()},
        {way: lambda way=way: found[way] for way in ways},
        rounds=15,
        seconds=20.0,
        note="forward, backward and Adam; losses and gradients agree before the first step; "
        "PyG normalises the adjacency in each of its layers",
    )


def _task(dataset: gl.Dataset, *, batch_size: int) -> tuple[Recommendation, RecommendBatch]:
    """A task in training mode and its first batch."""
    torch.manual_seed(0)
    sizes = dataset.facts["num_users"], dataset.facts["num_items"]
    model = LightGCN(*sizes, channels=CHANNELS, layers=LAYERS)
    task = Recommendation(model, dataset, batch_size=batch_size, regularization=LAMBDA, ks=KS)
    task.epoch = 1
    task.train()
    task.start("train")
    return task, next(iter(task.batches("train")))


def _their_loss(model: nn.Module, form: Tensor, batch: RecommendBatch, num_users: int) -> Tensor:
    """Bayesian personalised ranking and the squared embeddings, by PyG's model."""
    pos, neg = batch.pos + num_users, batch.neg.flatten() + num_users
    pairs = torch.stack([batch.users.repeat(2), torch.cat([pos, neg])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its sparse rows a beta
        true, false = model(form, pairs).chunk(2)
    rows = model.embedding(torch.cat([batch.users, pos, neg]))
    penalty = rows.square().sum() / (2 * len(pos))
    return F.softplus(false - true).mean() + LAMBDA * penalty


def _answer(table: nn.Parameter, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    value = loss()
    return {"loss": value.detach(), "gradient": torch.autograd.grad(value, table)[0]}


def _step(loss: Callable[[], Tensor], optimizer: Optimizer) -> None:
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


def _sparse(graph: CSR) -> Tensor:
    """Torch's own matrix of ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this layout a beta
        ones, size = torch.ones(graph.num_entries), (graph.num_rows, graph.num_rows)
        return torch.sparse_csr_tensor(graph.ptr, graph.col.long(), ones, size)


def _sheaf_case(dataset: gl.Dataset) -> Case:
    graph = both_ways(_train(dataset))
    conv, x, seed = _layer(graph.num_rows, maps="scalar")
    edges = torch.stack([graph.rows(), graph.col.long()])
    theirs = Published(conv, edges, graph.num_rows)
    halves = conv.maps.left.weight, conv.maps.right.weight
    ours = [x, *halves, conv.right.weight, conv.right.bias]
    plain = [x, theirs.maps.weight, theirs.mix.weight, theirs.mix.bias]

    def our_way() -> list[Tensor]:
        out, table, left, right, *mixing = _both(conv(x, graph), ours, seed)
        return [out, table, torch.cat([left, right], dim=1), *mixing]

    return Case(
        "sheaf layer, forward and backward",
        f"{dataset.name}, {graph.num_entries:,} directed edges, {CHANNELS} channels, scalar maps",
        {
            "graphlearn": our_way,
            "published formulation": lambda: _both(theirs(x), plain, seed),
        },
        rounds=5,
        note="outputs and all gradients agree; torch's gradient of a sparse matrix is a dense "
        "matrix of nodes by nodes, as it is in the published code",
    )


def _stalk_case(dataset: gl.Dataset, kind: str) -> Case:
    """Ours alone: the released code has scalar maps only."""
    graph = both_ways(_train(dataset))
    conv, x, seed = _layer(graph.num_rows, maps=kind, stalk_dim=2)
    leaves = [x, *conv.parameters()]
    return Case(
        "sheaf layer, forward and backward, stalks of 2",
        f"{dataset.name}, {graph.num_entries:,} directed edges, {CHANNELS} channels, {kind} maps",
        {"graphlearn": lambda: _both(conv(x, graph), leaves, seed)},
    )


def _train(dataset: gl.Dataset) -> CSR:
    """Training interactions, users by items."""
    users, items = dataset.facts["num_users"], dataset.facts["num_items"]
    return CSR.from_edge_index(dataset.splits["train"], users, num_cols=items)


def _layer(nodes: int, **settings: Any) -> tuple[SheafConv, Tensor, Tensor]:  # noqa: ANN401
    """A layer as released but for its maps, its input, and the gradient of its output."""
    torch.manual_seed(0)
    conv = SheafConv(CHANNELS, normalization="augmented", right="linear", init="linear", **settings)
    x = (0.1 * torch.randn(nodes, CHANNELS)).requires_grad_()
    return conv, x, torch.randn(nodes, CHANNELS)


def _both(out: Tensor, leaves: list[Tensor], seed: Tensor) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out, leaves, seed)]


def _sampler_case(dataset: gl.Dataset) -> Case:
    """One epoch of triples: all at once, or batch by batch until no false item is a true one."""
    train = _train(dataset)
    sampler, num, seeds = InteractionSampler(train), train.num_entries, count()
    random, items = np.random.default_rng(0), train.num_cols
    keys = (train.rows() * items + train.col).numpy()

    def by_search(asked: _Array) -> _Array:
        place = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
        found: _Array = keys[place] == asked
        return found

    def ours() -> tuple[_Array, ...]:
        drawn = sampler.draw(num, seed=next(seeds))
        return tuple(part.flatten().numpy() for part in drawn)

    def rejected(seen: Callable[[_Array], _Array]) -> tuple[_Array, ...]:
        sizes = (min(1024, num - first) for first in range(0, num, 1024))
        parts = [_rejected(random, train, size, seen) for size in sizes]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    ways: dict[str, Callable[[], tuple[_Array, ...]]] = {
        "graphlearn": ours,
        "rejection, numpy.isin": lambda: rejected(lambda asked: np.isin(asked, keys)),
        "rejection, one search": lambda: rejected(by_search),
    }
    return Case(
        "triples of an epoch",
        f"{dataset.name}, {num:,} triples, users uniform",
        ways,
        {way: lambda way=way: _proper(ways[way](), keys, items, num) for way in ways},
        rounds=9,
        note="drawn at random: in each way positives are training items and negatives are not; "
        "rejection works in batches of 1,024",
    )


def _rejected(
    random: np.random.Generator, train: CSR, size: int, seen: Callable[[_Array], _Array]
) -> tuple[_Array, _Array, _Array]:
    """A batch of triples; false items that `seen` knows are drawn again."""
    ptr, col = train.ptr.numpy(), train.col.numpy()
    num_users, num_items = train.num_rows, train.num_cols
    users = random.choice(num_users, size, replace=size > num_users)
    pos = col[ptr[users] + (random.random(size) * (ptr[users + 1] - ptr[users])).astype(np.int64)]
    neg = random.integers(num_items, size=size)
    wrong = np.flatnonzero(seen(users * num_items + neg))
    while len(wrong):
        neg[wrong] = random.integers(num_items, size=len(wrong))
        wrong = wrong[seen(users[wrong] * num_items + neg[wrong])]
    return users, pos, neg


def _proper(triples: tuple[_Array, ...], keys: _Array, num_items: int, num: int) -> bool:
    """Whether triples are what they should be, which is an error where they are not."""
    users, pos, neg = triples
    true, false = np.isin(users * num_items + pos, keys), np.isin(users * num_items + neg, keys)
    if len(users) != num or not true.all() or false.any():
        wrong = f"{(~true).sum()} wrong positives, {false.sum()} wrong negatives"
        raise ArithmeticError(f"{len(users)} triples of {num}, {wrong}")
    return True


def _evaluation_case(dataset: gl.Dataset) -> Case:
    """Full ranking of all users with test items, by embeddings that are not trained."""
    task, _ = _task(dataset, batch_size=1024)
    task.eval()
    graph = task.model.prepare(task.interactions("train"))
    hidden = torch.cat([dataset.splits["train"], dataset.splits["valid"]], dim=1).numpy()
    held = dataset.splits["test"].numpy()

    def ours() -> dict[str, float]:
        task.start("test")
        parts = [task.score(batch) for batch in task.batches("test")]
        rows = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        found = task.metrics("test", rows)
        return {f"{name}@{k}": found[f"{name}@{k}"] for name in METRICS for k in KS}

    @torch.no_grad()
    def dense() -> dict[str, float]:
        users, items = task.model.encode(graph)[0].split([task.num_users, task.num_items])
        return _dense_metrics(users.numpy(), items.numpy(), hidden, held)

    users = len(dataset.splits["test"][0].unique())
    return Case(
        "full ranking of the test",
        f"{dataset.name}, {users:,} users, {task.num_items:,} items",
        {"graphlearn": ours, "dense matrix, sorted": dense},
        rounds=9,
        note="precision, recall and NDCG at 10 and 20 agree; both encode with our model, ours also "
        "computes its other metrics",
    )


def _dense_metrics(users: _Array, items: _Array, hidden: _Array, held: _Array) -> dict[str, float]:
    """Metrics from all scores and all interactions as dense matrices."""
    z = users.astype(np.float64) @ items.astype(np.float64).T
    seen, truth = np.zeros(z.shape), np.zeros(z.shape)
    seen[tuple(hidden)] = 1
    truth[tuple(held)] = 1
    z[seen > 0] = -np.inf
    asked = truth.sum(1) > 0
    hits = np.take_along_axis(truth, np.argsort(-z, axis=1), axis=1)[asked, : max(KS)]
    relevant, found = truth.sum(1)[asked], {}
    gain = 1 / np.log2(np.arange(max(KS)) + 2)
    for k in KS:
        right = hits[:, :k].sum(1)
        best = gain.cumsum()[np.minimum(relevant, k).astype(np.int64) - 1]
        found[f"precision@{k}"] = float((right / k).mean())
        found[f"recall@{k}"] = float((right / relevant).mean())
        found[f"ndcg@{k}"] = float(((hits[:, :k] * gain[:k]).sum(1) / best).mean())
    return found


def _large(dataset: gl.Dataset, steps: int = 5) -> Iterator[Value]:
    """Memory and time of steps, from the data set to the updated weights."""
    with peak_memory() as peak:
        task, batch = _task(dataset, batch_size=2048)
        optimizer = optim.make(task.schedule, task.param_groups())
        step = partial(_step, lambda: task(batch)["loss"], optimizer)
        step()
        began = time.process_time()
        for _ in range(steps):
            step()
        spent = (time.process_time() - began) / steps
    where = f"{dataset.name}, {LAYERS} layers, {CHANNELS} channels, {len(batch.users):,} triples"
    grown = peak[0] if peak else math.nan
    note = "growth by model, adjacency, an epoch of triples, Adam and all steps"
    yield Value("peak memory of LightGCN steps", where, grown, "MB", 6000.0, note)
    yield Value("CPU time of a LightGCN step", where, 1e3 * spent, "ms", None)


def _toy() -> gl.Dataset:
    """A random bipartite graph."""
    made = synthetic_interactions(80, 60)
    return gl.data.interactions_from_ratings("toy interactions", made.users, made.items)


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

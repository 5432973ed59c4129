"""What every event model must do, checked in one call."""

import io
from collections.abc import Callable

import torch
from torch import Tensor, nn
from toy import event_dataset

from graphlearn.data.dataset import Dataset
from graphlearn.sampling.stream import Events, Features, windows
from graphlearn.tasks.events import EventModel, EventPrediction

__all__ = ["Replay", "check_event_model"]

Make = Callable[[Dataset], nn.Module]


class Replay:
    """A toy stream, and a model that walks along it."""

    def __init__(self, dataset: Dataset, model: nn.Module) -> None:
        data, nodes = dataset.data, dataset.facts["num_nodes"]
        self.events = Events(data.src, data.dst, data.t, torch.arange(len(data.src)))
        node = data.x if "x" in data else torch.zeros(nodes, 0)
        edge = data.msg if "msg" in data else torch.zeros(len(data.src), 0)
        self.features, self.nodes, self.model = Features(node, edge), nodes, model

    def at(self, ids: Tensor) -> Events:
        return Events(*(part[ids] for part in self.events))

    def scores(self, pairs: Tensor, now: Tensor, extra: Tensor | None = None) -> Tensor:
        """Logits of pairs at one time, where perhaps more nodes than theirs are read."""
        nodes = pairs.flatten() if extra is None else torch.cat([extra, pairs.flatten()])
        view = self.model.read(nodes, now, self.features)
        return self.model.score(view, pairs, now.expand(pairs.shape[1]))

    @torch.no_grad()
    def take(self, events: Events) -> None:
        nodes = torch.cat([events.src, events.dst])
        view = self.model.read(nodes, events.t.amin(), self.features)
        self.model.update(view, events)

    def take_all(self, stop: int, size: int = 20, start: int = 0) -> None:
        for ids in windows(torch.arange(start, stop), size):
            self.take(self.at(ids))

    def all_pairs(self) -> Tensor:
        return torch.cartesian_prod(torch.arange(self.nodes), torch.arange(self.nodes)).T


def check_event_model(make: Make, *, tolerance: float = 1e-5) -> None:
    """Contract, no leakage, batching, reading without writing, reset, gradients, save and load.

    Args:
        make: A model for a data set, all of whose facts it may use; weights may be random, since
            torch is seeded before each call.
        tolerance: By how much equal logits may differ.
    """
    for sizes in ({}, {"edge_dim": 3, "node_dim": 5}):
        dataset = event_dataset(**sizes)
        close = {"rtol": tolerance, "atol": tolerance}
        _check_reading(_walk(make, dataset), close)
        _check_seen_and_reset(_walk(make, dataset), close)
        _check_corners(_walk(make, dataset))
        _check_reload(make, dataset)
        _check_gradients(_walk(make, dataset))
        _check_no_leak(make, dataset, close)
    _check_no_peeking(make, event_dataset(edge_dim=3))


def _walk(make: Make, dataset: Dataset, stop: int = 200) -> Replay:
    torch.manual_seed(0)
    model = make(dataset).eval()
    assert isinstance(model, EventModel)
    walk = Replay(dataset, model)
    model.reset()
    walk.take_all(stop)
    return walk


def _state(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.buffers()]


def _same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@torch.no_grad()
def _check_reading(walk: Replay, close: dict[str, float]) -> None:
    """Scores do not depend on what else is read or scored, and reading and scoring write nothing.

    Candidates (B, Q) that are scored together are thus those of Q calls.
    """
    pairs, now = walk.all_pairs(), walk.events.t[200]
    whole = walk.scores(pairs, now)
    assert whole.shape == (pairs.shape[1],) and whole.isfinite().all()
    saved = {name: value.clone() for name, value in walk.model.state_dict().items()}
    table = whole.view(walk.nodes, walk.nodes)
    for column in range(0, walk.nodes, 7):
        some = torch.stack([torch.arange(walk.nodes), torch.full((walk.nodes,), column)])
        torch.testing.assert_close(walk.scores(some, now), table[:, column], **close)
    order = torch.randperm(pairs.shape[1], generator=torch.Generator().manual_seed(1))
    extra = torch.tensor([4, 4, 0])
    torch.testing.assert_close(walk.scores(pairs[:, order], now, extra), whole[order], **close)
    assert walk.scores(pairs[:, :0], now, extra).shape == (0,)
    for name, value in walk.model.state_dict().items():
        assert torch.equal(value, saved[name]), f"reading has changed {name}"
    assert torch.equal(walk.scores(pairs, now), whole), "evaluation is deterministic"


@torch.no_grad()
def _check_seen_and_reset(walk: Replay, close: dict[str, float]) -> None:
    """`seen` counts, `reset` forgets, and the same stream gives the same state."""
    pairs, now = walk.all_pairs(), walk.events.t[200]
    assert walk.model.seen.dtype == torch.int64
    assert walk.model.seen.tolist() == [200, 200 * 201 // 2]
    before = walk.scores(pairs, now)
    walk.model.reset()
    assert walk.model.seen.tolist() == [0, 0]
    empty = walk.scores(pairs, now)
    assert not torch.equal(before, empty), "the state makes no difference"
    walk.take_all(200)
    torch.testing.assert_close(walk.scores(pairs, now), before, **close)
    walk.model.reset()
    torch.testing.assert_close(walk.scores(pairs, now), empty, **close)


@torch.no_grad()
def _check_corners(walk: Replay) -> None:
    """One event alone, a node with itself, all on one time, one node many times."""
    walk.model.reset()
    walk.take(walk.at(torch.tensor([0])))
    zero = torch.zeros(40, dtype=torch.long)
    walk.take(Events(zero, zero, walk.events.t[zero + 1], torch.arange(1, 41)))
    hub = torch.arange(40) % walk.nodes
    walk.take(Events(zero, hub, walk.events.t[zero + 41], torch.arange(41, 81)))
    scores = walk.scores(walk.all_pairs(), walk.events.t[90])
    assert scores.isfinite().all() and walk.model.seen[0] == 81


@torch.no_grad()
def _check_reload(make: Make, dataset: Dataset) -> None:
    """What is loaded goes on as what was saved; a model that loads no state says so by `seen`."""
    walk = _walk(make, dataset)
    file = io.BytesIO()
    torch.save(walk.model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    other = Replay(dataset, make(dataset).eval())
    other.take_all(30)
    other.model.load_state_dict(torch.load(file, weights_only=True))
    if not torch.equal(other.model.seen, walk.model.seen):
        assert other.model.seen.tolist() == [0, 0]
        other.take_all(200)
    for one in (walk, other):
        one.take_all(260, start=200)
    pairs, now = walk.all_pairs(), walk.events.t[260]
    assert torch.equal(walk.scores(pairs, now), other.scores(pairs, now))
    assert _same(_state(walk.model), _state(other.model))


def _check_gradients(walk: Replay) -> None:
    """Each parameter gets a gradient that is not all zero, and updates come after backward."""
    model = walk.model.train()
    torch.manual_seed(0)
    if not list(model.parameters()):
        return
    for ids in windows(torch.arange(200, 260), 20):
        events = walk.at(ids)
        pairs = torch.stack([events.src, events.dst])
        view = model.read(pairs.flatten(), events.t.amin(), walk.features)
        z = model.score(view, pairs, events.t)
        (z * torch.randn_like(z)).sum().backward()
        model.update(view, events)
    assert not any(value.requires_grad for value in model.buffers())
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent, f"no gradient reaches {silent}"


@torch.no_grad()
def _check_no_leak(make: Make, dataset: Dataset, close: dict[str, float]) -> None:
    """The scores of a batch do not know its events: neither their order nor their ends."""
    found = []
    for change in ("none", "order", "ends"):
        torch.manual_seed(0)
        task = EventPrediction(make(dataset), dataset).eval()
        task.start("valid")
        first, second = list(task.batches("valid"))[:2]
        events = first.events
        if change == "order":
            events = Events(*(part.flip(0) for part in events))
        elif change == "ends":
            events = events._replace(dst=events.src.flip(0))
        rows = task.score(first._replace(events=events))
        found.append((rows["pos"], rows["neg"], task.score(second)["pos"]))
    for other in found[1:]:
        torch.testing.assert_close(other[0], found[0][0], **close)
        torch.testing.assert_close(other[1], found[0][1], **close)
    assert not torch.equal(found[0][2], found[2][2]), "the next batch does not know the events"


@torch.no_grad()
def _check_no_peeking(make: Make, dataset: Dataset) -> None:
    """Features of events that have not happened make no difference."""
    walk = _walk(make, dataset)
    pairs, now = walk.all_pairs(), walk.events.t[200]
    before = walk.scores(pairs, now)
    edge = walk.features.edge.clone()
    edge[200:] = torch.nan
    walk.features = walk.features._replace(edge=edge)
    assert torch.equal(walk.scores(pairs, now), before)

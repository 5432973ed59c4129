"""A training step of NAT on a stream, against the published formulation and against TGN.

The alternative is the published formulation written plainly in torch: every node of a batch read
as often as it occurs, all slots, the empty ones too, through the projection of concatenated inputs
and the recurrent unit, joint neighbourhoods from the distinct rows among (pair, key), all heads on
every key with dropout before and after, tables packed into 32-bit floats. It has the same weights
and the same state; in evaluation both must give the same logits.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

import graphlearn as gl
from graphlearn.bench import Case
from graphlearn.cli import main
from graphlearn.models import NAT, TGN
from graphlearn.ops.hashing import slots_of
from graphlearn.sampling.stream import Events, Features, windows
from graphlearn.tasks.events import EventModel
from graphlearn.train import optim
from graphlearn.train.task import Schedule

__all__ = ["Published", "cases"]

BATCH, SEEN, LAST = 100, 30_000, 41_000
# Width of the features, CPU milliseconds of the authors' code in print (one thread of a busy
# machine elsewhere), and how many times less than the formulation here we want to take.
WIDTHS = ((1, 42.0, 5.0), (32, 60.5, 8.0), (172, 182.0, 12.0))
TGN_MS = 62.0  # CPU milliseconds of a batch of 200 in print, by PyG's example
PUBLISHED = {
    "time_dim": 1, "alpha": 0.7, "counts": "plain", "time": "absolute", "clock": "time",
    "scale": "decades", "train_time": True, "recency_dim": 0, "hash": "quadratic", "cache_seed": 7,
}  # fmt: skip


class _Part(NamedTuple):
    """A piece of a stream, and how much of it has happened."""

    name: str
    num_nodes: int
    stream: Events
    seen: int
    batches: list[tuple[Events, Tensor]]  # each with its false destinations


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | str]:
    """Steps at three widths of features, and a step of TGN on the same events.

    Args:
        smoke: A synthetic stream.
        data: Folder of the data sets; without CollegeMsg nothing is measured.
    """
    if smoke:
        part = _part(gl.load("synthetic-events"), 500, 1_100)
        for width, _, _ in WIDTHS[:2]:
            yield _step_case(part, width)
        yield _tgn_case(part)
        return
    try:
        part = _part(gl.load("collegemsg", root=data), SEEN, LAST)
    except (FileNotFoundError, ImportError, OSError, ValueError) as error:
        yield f"collegemsg is left out: {error}"
        return
    for width, printed, goal in WIDTHS:
        goals = {"published formulation": goal}
        yield replace(_step_case(part, width), targets=goals, printed=printed)
    yield replace(_tgn_case(part), printed=TGN_MS)


class Published(nn.Module):
    """The published formulation, with the weights and the state of one of our models.

    Nodes and events are counted from one, as in the authors' code: row zero stands for none.

    Args:
        model: Ours, whose parameters and caches are copied.
    """

    def __init__(self, model: NAT) -> None:
        super().__init__()
        cache = model.cache
        parts = (model.self_in, model.self_gru, model.slot_in, model.slot_gru)
        self.self_in, self.self_gru, self.slot_in, self.slot_gru = copy.deepcopy(parts)
        self.hidden, self.out = copy.deepcopy((model.hidden, model.out))
        self.code, self.head, self.head_bias, self.omega, self.phi = (
            nn.Parameter(value.detach().clone())
            for value in (model.code, model.head, model.head_bias, model.omega, model.phi)
        )
        self.p, self.alpha = model.pooled_dropout.p, cache.alpha
        self.sizes, self.rule = (1, *cache.slots), {"hash": cache.hash, "seed": cache.seed}
        own = torch.where(cache.eid[:, :1] >= 0, torch.arange(cache.num_nodes)[:, None], -1)
        keys = torch.cat([own, cache.key], 1)
        packed = torch.cat([torch.stack([keys + 1, cache.eid + 1, cache.ts], 2), cache.rep], 2)
        none = (0, 0, 0, 0, 1, 0)
        self.tables = [F.pad(part.float(), none) for part in packed.split(self.sizes, 1)]
        self.wide = F.pad(cache.wide, (0, 0, 1, 0))
        last = torch.stack([cache.opp + 1, cache.eid[:, 0] + 1, cache.ts[:, 0]], 1)
        self.last = F.pad(last.float(), (0, 0, 1, 0))

    def _wave(self, t: Tensor) -> Tensor:
        return torch.cos(t[..., None] * self.omega + self.phi)

    def read(self, nodes: Tensor, features: Features) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Representations of nodes, and rows and refreshed slots of each hop.

        Args:
            nodes: Ids from one, with repeats.
            features: Of nodes and events, from one.
        """
        opp, event = (self.last[nodes, column].long() for column in (0, 1))
        x = torch.cat([self.wide[opp], features.edge[event], self._wave(self.last[nodes, 2])], 1)
        own = self.self_gru(self.self_in(x), self.wide[nodes])
        rows, fresh = [table[nodes] for table in self.tables], []
        for row in rows:
            key, event = row[..., 0].long(), row[..., 1].long()
            parts = [self.wide[key], features.edge[event], self._wave(row[..., 2])]
            inner, z = self.slot_in(torch.cat(parts, 2)), row[..., 3:]
            new = self.slot_gru(inner.flatten(0, 1), z.flatten(0, 1)).view_as(z)
            fresh.append(new * (key > 0)[..., None])
        return own, rows, fresh

    def score(
        self,
        nodes: Tensor,
        view: tuple[Tensor, list[Tensor], list[Tensor]],
        ends: tuple[Tensor, Tensor],
        features: Features,
    ) -> Tensor:
        """Logits of pairs.

        Args:
            nodes: What was read.
            view: What `read` returned.
            ends: Places of sources and destinations in `nodes`.
            features: Of nodes and events, from one.
        """
        own, rows, fresh = view
        count, keys, slots = len(ends[0]), [], []
        for at in ends:
            keys += [nodes[at, None], *(row[at, :, 0].long() for row in rows[1:])]
            slots += [part[at] for part in fresh]
        key = torch.cat(keys, 1)
        held = key > 0
        hops = torch.cat([torch.full((n,), 2**k) for k, n in enumerate(self.sizes)])
        pair, column = held.nonzero().t()
        distinct, place = torch.unique(
            torch.stack([pair, key[held]], 1), dim=0, return_inverse=True
        )
        each = torch.cat([features.node[key[held]], torch.cat(slots, 1)[held]], 1)
        f = each.new_zeros(len(distinct), each.shape[1]).index_add(0, place, each)
        code = place.new_zeros(len(distinct))
        code.index_add_(0, place, torch.cat([hops, 8 * hops])[column])
        f = F.dropout(torch.cat([f, self.code[code]], 1), self.p, self.training)
        pooled = []
        for weight in self.head:
            mapped = F.dropout(F.linear(f, weight), self.p, self.training)
            pooled.append(mapped.new_zeros(count, len(weight)).index_add(0, distinct[:, 0], mapped))
        q = torch.stack(pooled).mean(0) + self.head_bias
        x = torch.cat([q, own[ends[0]], own[ends[1]]], 1)
        logits: Tensor = self.out(F.relu(self.hidden(x))).squeeze(1)
        return logits

    @torch.no_grad()
    def update(
        self, nodes: Tensor, view: tuple[Tensor, list[Tensor], list[Tensor]], events: Events
    ) -> None:
        """Write events, all sources before all destinations.

        Args:
            nodes: What was read: sources, destinations, and perhaps more.
            view: What `read` returned.
            events: The events.
        """
        own, rows, fresh = view
        count = len(events.src)
        here = torch.arange(2 * count)
        there = here.roll(count)
        owner, other = nodes[here], nodes[there]
        event, t = (events.eid + 1).float().repeat(2), events.t.float().repeat(2)
        if len(self.sizes) > 2:
            given = torch.cat([rows[1][there, :, :3], fresh[1][there]], 2).flatten(0, 1)
            self._write(2, owner.repeat_interleave(self.sizes[1]), given)
        if len(self.sizes) > 1:
            place = slots_of(other - 1, self.sizes[1], hop=1, **self.rule)
            known = rows[1][here, place, 0] == other
            z = fresh[1][here, place] * known[:, None]
            self._write(1, owner, torch.cat([torch.stack([other, event, t], 1), z], 1))
        self.tables[0][owner, 0] = torch.cat(
            [torch.stack([owner, event, t], 1), fresh[0][here, 0]], 1
        )
        self.wide[owner] = own[here]
        self.last[owner] = torch.stack([other, event, t], 1)

    def _write(self, hop: int, owner: Tensor, given: Tensor) -> None:
        """Put candidates into the slots of a hop; what is refused goes to the row of no node."""
        wanted, size = given[:, 0].long(), self.sizes[hop]
        place = owner * size + slots_of(wanted - 1, size, hop=hop, **self.rule)
        table = self.tables[hop].flatten(0, 1)
        occupant = table[place, 0]
        taken = (occupant == 0) | (occupant == wanted) | (torch.rand(len(owner)) < self.alpha)
        table[torch.where(taken & (wanted > 0), place, 0)] = given


def _part(dataset: gl.Dataset, seen: int, last: int) -> _Part:
    """Batches between two events, with one false destination for each true one."""
    data = dataset.data
    # Times from zero, since those of the published formulation are 32-bit floats.
    ends = (data.src.long(), data.dst.long())
    stream = Events(*ends, data.t - data.t[0], torch.arange(len(data.t)))
    others, made = torch.unique(stream.dst), torch.Generator().manual_seed(1)
    batches = []
    for ids in windows(torch.arange(seen, last), BATCH):
        drawn = torch.randint(len(others), ids.shape, generator=made)
        batches.append((_at(stream, ids), others[drawn]))
    return _Part(dataset.name, int(dataset.facts["num_nodes"]), stream, seen, batches)


def _at(stream: Events, ids: Tensor) -> Events:
    return Events(*(part[ids] for part in stream))


def _features(part: _Part, width: int, *, drawn: bool = False) -> Features:
    shapes = (part.num_nodes, width), (len(part.stream.t), width)
    return Features(*(torch.randn(shape) if drawn else torch.zeros(shape) for shape in shapes))


def _model(part: _Part, width: int, **settings: Any) -> NAT:  # noqa: ANN401
    torch.manual_seed(0)
    gap = float(part.stream.t[part.seen]) / part.seen
    return NAT(part.num_nodes, width, width, gap, gap * part.seen, **settings)


@torch.no_grad()
def _replay(model: EventModel, part: _Part, features: Features, size: int) -> None:
    """Take in what has happened before."""
    for ids in windows(torch.arange(part.seen), size):
        events = _at(part.stream, ids)
        ends = torch.cat([events.src, events.dst])
        model.update(model.read(ends, events.t[0], features), events)


def _step_case(part: _Part, width: int) -> Case:
    """A step of both on batch after batch; q is as wide as the features, as it is published."""
    model = _model(part, width, pair_dim=width, **PUBLISHED)
    _replay(model, part, _features(part, width), BATCH)
    theirs, drawn = Published(model), _features(part, width, drawn=True)
    events, false = part.batches[0]
    nodes = torch.cat([events.src, events.dst, false])

    def our_answer() -> Tensor:
        model.eval()
        with torch.no_grad():
            view = model.read(nodes, events.t[0], drawn)
            z = model.score(view, _pairs(events, false), events.t.repeat(2))
        model.train()
        return z

    def their_answer() -> Tensor:
        theirs.eval()
        with torch.no_grad():
            z = torch.cat(_their_logits(theirs, nodes + 1, _from_one(drawn))[1:])
        theirs.train()
        return z

    found = our_answer(), their_answer()  # before a step changes either
    features = _features(part, width)
    return Case(
        "training step",
        f"{part.name}, {BATCH} events, features of width {width}",
        {
            "graphlearn": _step(model, part, features, BATCH),
            "published formulation": _their_step(theirs, part, _from_one(features)),
        },
        {"graphlearn": lambda: found[0], "published formulation": lambda: found[1]},
        rounds=15,
        seconds=25.0,
        note="logits agree from the same state with dropout off, on drawn features",
    )


def _pairs(events: Events, false: Tensor) -> Tensor:
    return torch.stack([events.src.repeat(2), torch.cat([events.dst, false])])


def _from_one(features: Features) -> Features:
    """The same with a row of zeros for what is not there."""
    return Features(*(F.pad(part, (0, 0, 1, 0)) for part in features))


def _step(model: Any, part: _Part, features: Features, size: int) -> Callable[[], None]:  # noqa: ANN401
    """One training step on the next batch, as trainer and task do it."""
    optimizer = optim.make(Schedule(lr=1e-4), [{"params": list(model.parameters())}])
    batches = cycle(_wider(part.batches, size // BATCH))
    model.train()

    def step() -> None:
        events, false = next(batches)
        optimizer.zero_grad()
        view = model.read(torch.cat([events.src, events.dst, false]), events.t[0], features)
        z = model.score(view, _pairs(events, false), events.t.repeat(2))
        loss(z[:size], z[size:]).backward()
        optimizer.step()
        model.update(view, events)

    return step


def loss(true: Tensor, false: Tensor) -> Tensor:
    """As in `EventPrediction`."""
    return F.softplus(-true).mean() + F.softplus(false).mean()


def _wider(batches: list[tuple[Events, Tensor]], times: int) -> list[tuple[Events, Tensor]]:
    """Several batches as one."""
    found = []
    for first in range(0, len(batches) - times + 1, times):
        some = batches[first : first + times]
        events = (torch.cat(columns) for columns in zip(*(one for one, _ in some), strict=True))
        found.append((Events(*events), torch.cat([false for _, false in some])))
    return found


def _their_logits(
    model: Published, nodes: Tensor, features: Features
) -> tuple[Any, Tensor, Tensor]:
    """What was read, and logits of true and of false pairs."""
    view = model.read(nodes, features)
    source, target, other = torch.arange(len(nodes)).chunk(3)
    true = model.score(nodes, view, (source, target), features)
    return view, true, model.score(nodes, view, (source, other), features)


def _their_step(model: Published, part: _Part, features: Features) -> Callable[[], None]:
    """One training step on the next batch, with torch's own way to update."""
    optimizer = Adam(model.parameters(), lr=1e-4)
    batches = cycle(part.batches)

    def step() -> None:
        events, false = next(batches)
        nodes = torch.cat([events.src, events.dst, false]) + 1
        optimizer.zero_grad()
        view, true, wrong = _their_logits(model, nodes, features)
        loss(true, wrong).backward()
        optimizer.step()
        model.update(nodes, view, events)

    return step


def _tgn_case(part: _Part) -> Case:
    """The same events by our TGN, whose batches are twice as long."""
    none = _features(part, 0)
    models = {"graphlearn": _model(part, 0), "TGN by PyG": TGN(part.num_nodes, len(part.stream.t))}
    ways = {}
    for (name, model), size in zip(models.items(), (BATCH, 2 * BATCH), strict=True):
        _replay(model, part, none, size)
        step = _step(model, part, none, size)
        ways[name] = partial(_repeat, step, 2 * BATCH // size)

    def taken_in(name: str) -> int:
        before = int(models[name].seen[0])
        ways[name]()
        return int(models[name].seen[0]) - before

    return Case(
        f"training on {2 * BATCH} events",
        f"{part.name}, no features",
        ways,
        {name: partial(taken_in, name) for name in ways},
        note="NAT in two batches, TGN in one; in print: PyG's example of TGN",
    )


def _repeat(step: Callable[[], None], times: int) -> None:
    for _ in range(times):
        step()


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

"""The N-cache op by op: commit, join, refresh, absorb and the scores of pairs.

On the state that a stream has left, against the pure-torch reference of this package; the join also
against its published formulation, which puts all keys of all pairs into rows (pair, key) and looks
for distinct rows. Memory is that of the tables, whose size no degree and no stream length changes.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import graphlearn as gl
from graphlearn.bench import Case, Limit
from graphlearn.bench.measure import peak_memory
from graphlearn.cli import main
from graphlearn.models import NAT
from graphlearn.ops.absorb import absorb
from graphlearn.ops.cache import NCache
from graphlearn.ops.pairscore import Scorer, pair_scores
from graphlearn.ops.refresh import Weights, refresh
from graphlearn.sampling.stream import Events, Features, windows

__all__ = ["cases", "joined_by_rows"]

BATCH, SEEN, MANY = 100, 30_000, 999
BLOCK = 1 << 13  # pairs that the alternatives join at once: more would not fit into memory
RECALLED = 40.0  # CPU milliseconds of a first prototype for all commits of CollegeMsg


class _Setting(NamedTuple):
    """A model with the state of a stream, and the batch that comes next."""

    name: str
    model: NAT
    stream: Events
    batch: Events
    nodes: Tensor
    features: Features


def cases(*, smoke: bool = False, data: Path | None = None) -> Iterator[Case | Limit | str]:
    """Every op on one batch, the commits of a whole stream, and the memory of many nodes.

    Args:
        smoke: A synthetic stream, and fewer nodes.
        data: Folder of the data sets; without CollegeMsg only the memory is measured.
    """
    nodes = 10_000 if smoke else 1_000_000
    if smoke:
        yield from _op_cases(_setting(gl.load("synthetic-events"), seen=500), many=9)
    else:
        try:
            dataset = gl.load("collegemsg", root=data)
        except (FileNotFoundError, ImportError, OSError, ValueError) as error:
            yield f"collegemsg is left out: {error}"
        else:
            yield from _op_cases(_setting(dataset, seen=SEEN), many=MANY)
    yield from _memory_limits(nodes)


def joined_by_rows(cache: NCache, pairs: Tensor) -> Tensor:
    """Counts of presence codes, by the distinct rows among (pair, key).

    Args:
        cache: Holds the keys.
        pairs: Node pairs (2, P).
    """
    count, ones = pairs.shape[1], [1, *cache.slots]
    held = torch.cat([part for end in pairs for part in (end[:, None], cache.key[end].long())], 1)
    hops = torch.cat([torch.full((n,), 2**k) for k, n in enumerate(ones)])
    bits = torch.cat([hops, 8 * hops])
    pair, column = (held >= 0).nonzero().t()
    rows = torch.stack([pair, held[pair, column]], 1)
    distinct, place = torch.unique(rows, dim=0, return_inverse=True)
    code = torch.zeros(len(distinct), dtype=torch.long).index_add_(0, place, bits[column])
    return torch.bincount(distinct[:, 0] * 64 + code, minlength=64 * count).view(count, 64)


def _setting(dataset: gl.Dataset, *, seen: int) -> _Setting:
    """The state after so many events, of a model with its default settings."""
    torch.manual_seed(0)
    facts, data = dataset.facts, dataset.data
    count = int(facts["num_nodes"])
    model = NAT(count, time_gap=facts["time_gap"], time_span=facts["time_span"])
    stream = Events(data.src.long(), data.dst.long(), data.t, torch.arange(len(data.t)))
    features = Features(torch.zeros(count, 0), torch.zeros(len(data.t), 0))
    with torch.no_grad():
        for ids in windows(torch.arange(seen), BATCH):
            events = Events(*(part[ids] for part in stream))
            ends = torch.cat([events.src, events.dst])
            model.update(model.read(ends, events.t[0], features), events)
    batch = Events(*(part[seen : seen + BATCH] for part in stream))
    others = torch.unique(stream.dst)
    false = others[torch.randint(len(others), (BATCH,))]
    nodes = torch.unique(torch.cat([batch.src, batch.dst, false]))
    label = f"{dataset.name} after {seen:,} events"
    return _Setting(label, model, stream, batch, nodes, features)


def _op_cases(setting: _Setting, *, many: int) -> Iterator[Case]:
    yield _commit_case(setting)
    yield _stream_case(setting)
    made, others = torch.Generator().manual_seed(1), torch.unique(setting.stream.dst)
    for times in (1, many):
        src = torch.cat([setting.batch.src] * 2).repeat_interleave(times)
        dst = others[torch.randint(len(others), src.shape, generator=made)]
        yield _join_case(setting, torch.stack([src, dst]))
    for name, way in _differentiable(setting).items():
        note = f"{len(setting.nodes)} distinct nodes of a batch of {BATCH} and its negatives"
        yield _against_reference(name, setting.name, way, note=note)


def _against_reference(name: str, on: str, way: Callable[[], Any], **rest: Any) -> Case:  # noqa: ANN401
    ways = {"graphlearn": way, "torch reference": partial(_reference, way)}
    return Case(name, on, ways, **rest)


def _commit_case(setting: _Setting) -> Case:
    """One batch into a copy of the state, again and again: the same slots are written each time."""
    model, (src, dst, *rest) = setting.model, setting.batch
    with torch.no_grad():
        nodes, fresh, _, own, _ = model.read(
            torch.cat([src, dst]), setting.batch.t[0], setting.features
        )
    at = [torch.searchsorted(nodes, end) for end in (src, dst)]

    def write(cache: NCache) -> None:
        cache.commit((src, dst, *rest), at, fresh, own)

    def answer() -> list[Tensor]:
        cache = _copy(model.cache)
        write(cache)
        return list(cache.tables)

    copies = _copy(model.cache), _copy(model.cache)
    ours, theirs = (partial(write, cache) for cache in copies)
    return Case(
        f"commit of {BATCH} events",
        setting.name,
        {"graphlearn": ours, "torch reference": partial(_reference, theirs)},
        {"graphlearn": answer, "torch reference": partial(_reference, answer)},
        note="the same batch over what it wrote before; equality from the same state",
    )


def _copy(cache: NCache) -> NCache:
    same = NCache(
        cache.num_nodes, slots=cache.slots, dim=cache.rep.shape[2], wide_dim=cache.wide.shape[1],
        alpha=cache.alpha, hash=cache.hash, seed=cache.seed, blocks=cache.blocks,
    )  # fmt: skip
    same.restore(cache.snapshot())
    return same


def _stream_case(setting: _Setting) -> Case:
    """All commits of a stream, with representations of width one in place of real ones."""
    cache = NCache(setting.model.cache.num_nodes, dim=1, wide_dim=1)
    total, rows = 1 + sum(cache.slots), 2 * BATCH
    fresh, own = torch.zeros(rows, total, 1), torch.zeros(rows, 1)
    batches = []
    for ids in windows(torch.arange(len(setting.stream.t)), BATCH):
        events = [part[ids] for part in setting.stream]
        nodes = torch.unique(torch.cat(events[:2]))
        batches.append((events, [torch.searchsorted(nodes, end) for end in events[:2]]))

    def replay() -> list[Tensor]:
        cache.reset()
        for events, at in batches:
            cache.commit(events, at, fresh, own)
        return [cache.key.clone(), cache.eid.clone(), cache.ts.clone()]

    name, _, _ = setting.name.partition(" ")
    long = len(setting.stream.t) > SEEN
    return _against_reference(
        "commits of a whole stream",
        f"{name}, {len(batches)} batches",
        replay,
        printed=RECALLED if long else 0.0,
        seconds=5.0,
        note="keys, events and times; in print: a prototype in numba",
    )


def _join_case(setting: _Setting, pairs: Tensor) -> Case:
    cache, count = setting.model.cache, pairs.shape[1]

    def ours() -> Tensor:
        return cache.join(pairs)[0]

    def blocked(way: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([way(part) for part in pairs.split(BLOCK, 1)])

    def reference() -> Tensor:
        return blocked(lambda part: cache.join(part)[0])

    ways = {
        "graphlearn": ours,
        "torch reference": partial(_reference, reference),
        "published formulation": lambda: blocked(partial(joined_by_rows, cache)),
    }
    note = f"the alternatives in blocks of {BLOCK:,}" if count > BLOCK else ""
    return Case("join", f"{setting.name}, {count:,} pairs", ways, seconds=5.0, note=note)


def _differentiable(setting: _Setting) -> dict[str, Callable[[], Any]]:
    """Calls of the ops that learn: the result, and gradients of all they depend on."""
    model, nodes = setting.model, setting.nodes
    state = (nodes, model.seen[0].double(), model.cache.tables, setting.features.edge)
    slots, wide = _weights(model, "slot"), _weights(model, "self")
    ends = torch.stack([torch.cat([setting.batch.src] * 2), torch.cat([setting.batch.dst] * 2)])
    with torch.no_grad():
        fresh, own = refresh(*state, slots), absorb(*state, wide)
        counts, met = model.cache.join(ends)
    sums, own = fresh.sum(1).requires_grad_(), own.requires_grad_()
    since = torch.where(met < 0, -1.0, model.seen[0] - met)
    at = torch.searchsorted(nodes, ends)
    scorer = Scorer(
        model.code, model.head, model.head_bias, model.hidden.weight, model.hidden.bias,
        model.out.weight, model.out.bias,
    )  # fmt: skip

    def forward() -> Tensor:
        with torch.no_grad():
            return refresh(*state, slots)

    def refreshed() -> list[Tensor]:
        return _with_gradients(refresh(*state, slots), slots[:5])

    def absorbed() -> list[Tensor]:
        return _with_gradients(absorb(*state, wide), wide[:5])

    def scored() -> list[Tensor]:
        z = pair_scores(at, counts, since, model.rates, sums, own, scorer, log=True)
        return _with_gradients(z, (sums, own, *scorer))

    return {
        "refresh": forward,
        "refresh, backward": refreshed,
        "absorb, backward": absorbed,
        f"scores of {ends.shape[1]} pairs, backward": scored,
    }


def _weights(model: NAT, part: str) -> Weights:
    inner, gru = getattr(model, f"{part}_in"), getattr(model, f"{part}_gru")
    return Weights(
        inner.weight, gru.weight_ih, gru.weight_hh, gru.bias_ih, gru.bias_hh,
        model.omega, model.phi,
    )  # fmt: skip


def _with_gradients(out: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    cotangent = torch.linspace(-1, 2, out.numel()).view_as(out)
    return [out.detach(), *torch.autograd.grad(out, leaves, cotangent)]


def _memory_limits(nodes: int) -> Iterator[Limit]:
    """The formula for the state, and what `reset` needs besides."""
    slots, dim, wide = (32, 16), 4, 72

    def size() -> float:
        cache = NCache(nodes, slots=slots, dim=dim, wide_dim=wide)
        return (cache.nbytes - cache.batch_no.nbytes) / nodes

    def growth() -> float:
        cache = NCache(nodes, slots=slots, dim=dim, wide_dim=wide)
        with peak_memory() as peak:
            cache.reset()
        return peak[0] if peak else 0.0

    # Event and time of hop 0 are those of the node's last event too, and are stored once.
    formula = sum(slots) * (4 + 4 + 8 + 4 * dim) + (4 + 8 + 4 * dim) + 4 * wide + 4
    on = f"{nodes:,} nodes, slots {slots}, widths {dim} and {wide}"
    yield Limit("state per node", on, size, "bytes", float(formula))
    yield Limit("growth at its peak during reset", on, growth, "MB", 16.0, note="tables stay")


def _reference(way: Callable[[], Any]) -> Any:  # noqa: ANN401
    """The same call with every op sent to its readable reference."""
    before = os.environ.get("GRAPHLEARN_OPS")
    os.environ["GRAPHLEARN_OPS"] = "reference"
    try:
        return way()
    finally:
        if before is None:
            del os.environ["GRAPHLEARN_OPS"]
        else:
            os.environ["GRAPHLEARN_OPS"] = before


if __name__ == "__main__":
    sys.exit(main(["bench", Path(__file__).stem, *sys.argv[1:]]))

"""Streams and rows of an N-cache, and what they must become: shared by the tests of its ops."""

import hashlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np
import torch
from checks import using
from torch import Tensor

from graphlearn.ops.commit import Tables, commit
from graphlearn.ops.hashing import accept_below, slots_of
from graphlearn.ops.refresh import Weights, refresh

__all__ = [
    "DIGESTS",
    "SMALL",
    "Stream",
    "college_msg",
    "digests",
    "empty_tables",
    "play",
    "random_rows",
    "refresh_case",
    "refreshed",
    "small_stream",
    "streams",
]  # fmt: skip


class Stream(NamedTuple):
    """Events, and the rules by which they are written."""

    src: Tensor
    dst: Tensor
    t: Tensor
    num_nodes: int
    slots: tuple[int, ...]
    hash: str = "mix"
    seed: int = 7
    alpha: float = 0.5
    size: int = 4  # of a batch
    blocks: bool = False
    rand: bool = False
    spare: bool = False  # values of nodes twice, as where ids were only sorted


def empty_tables(num_nodes: int, slots: tuple[int, ...], width: int = 2, wide: int = 3) -> Tables:
    """The state before any event."""
    total, number = sum(slots), {"dtype": torch.int32}
    return Tables(
        torch.full((num_nodes, total), -1, **number),
        torch.full((num_nodes, 1 + total), -1, **number),
        torch.zeros(num_nodes, 1 + total, dtype=torch.float64),
        torch.zeros(num_nodes, 1 + total, width),
        torch.full((num_nodes,), -1, **number),
        torch.zeros(num_nodes, wide),
        torch.zeros((), dtype=torch.int64),
    )


def play(stream: Stream, kernels: ModuleType | None, device: str = "cpu") -> Tables:
    """Commit a stream batch by batch, with values that tell where they come from."""
    tables = Tables(*(x.to(device) for x in empty_tables(stream.num_nodes, stream.slots)))
    below, generator = accept_below(stream.alpha), torch.Generator().manual_seed(1)
    ranks = [1, *stream.slots[:1]]  # of an event and end, in hop 1 and in hop 2
    for first in range(0, len(stream.src), stream.size):
        src, dst, t = (x[first : first + stream.size] for x in stream[:3])
        ends = torch.cat([src, dst])
        nodes = torch.cat([ends, ends]).sort()[0] if stream.spare else ends.unique()
        at = torch.searchsorted(nodes, ends)
        fresh = torch.rand(len(nodes), 1 + sum(stream.slots), 2, generator=generator)
        own = torch.rand(len(nodes), 3, generator=generator)
        draws = [torch.rand(2 * len(src) * n, generator=generator) for n in ranks]
        rand = draws[: len(stream.slots)] if stream.rand else []
        event = torch.arange(first, first + len(src))
        with using(kernels):
            commit(
                tables,
                [x.to(device) for x in (src, dst, t, event)],
                [x.to(device) for x in (at[: len(src)], at[len(src) :])],
                fresh.to(device),
                own.to(device),
                slots=stream.slots,
                hash=stream.hash,
                seed=stream.seed,
                below=below,
                blocks=stream.blocks,
                rand=[x.to(device) for x in rand],
            )
    return Tables(*(x.cpu() for x in tables))


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """A few events among a few nodes: the same pair again, both ends the same, any rules."""
    size = draw(st.integers(1, 12))
    ids = st.integers(0, size - 1)
    pairs = torch.tensor(draw(st.lists(st.tuples(ids, ids), min_size=1, max_size=20)))
    gaps = torch.tensor(draw(st.lists(st.integers(0, 9), min_size=len(pairs), max_size=len(pairs))))
    return Stream(
        *pairs.t(),
        draw(st.sampled_from([0, 2**33])) + gaps.cumsum(0),
        size,
        draw(st.sampled_from([(), (1,), (4,), (5,), (1, 1), (4, 2), (3, 7)])),
        draw(st.sampled_from(["mix", "quadratic"])),
        draw(st.sampled_from([0, 1, 7, 8, 199, -3, 2**33 + 5])),
        draw(st.sampled_from([0.0, 0.5, 1.0])),
        draw(st.sampled_from([1, 2, 5, 20])),
        *(draw(st.booleans()) for _ in range(3)),
    )


def small_stream(hash: str) -> Stream:
    """Eight events among five nodes, in two batches."""
    src = torch.tensor([0, 0, 1, 2, 3, 0, 4, 1])
    dst = torch.tensor([1, 2, 2, 3, 0, 3, 0, 4])
    return Stream(src, dst, torch.arange(10, 18), 5, (4, 2), hash)


_E = -1
SMALL = {  # keys and events of hop 1, then of hop 2, after `small_stream`
    "mix": (
        [[2, 3, 1, 4], [2, 0, _E, 4], [_E, 3, 1, _E], [2, 0, _E, _E], [_E, 0, 1, _E]],
        [[1, 5, 0, 6], [2, 0, _E, 7], [_E, 3, 2, _E], [3, 5, _E, _E], [_E, 6, 7, _E]],
        [[_E, 2], [_E, _E], [_E, _E], [1, 2], [1, 0]],
        [[_E, 3], [_E, _E], [_E, _E], [0, 1], [0, 0]],
    ),
    "quadratic": (
        [[3, 2, 1, 4], [_E, 2, _E, 4], [3, _E, 1, 0], [_E, 2, _E, 0], [_E, _E, 1, 0]],
        [[5, 1, 0, 6], [_E, 2, _E, 7], [3, _E, 2, 1], [_E, 3, _E, 5], [_E, _E, 7, 6]],
        [[_E, 2], [_E, _E], [_E, _E], [1, 2], [1, 0]],
        [[_E, 3], [_E, _E], [_E, _E], [0, 1], [0, 0]],
    ),
}


_COMMON = {"alpha": 0.7, "slots": (32, 16), "size": 100}
DIGESTS = [  # rules, number of events (None: all), and digests: keys of hop 1, 2; events of both
    (
        {"seed": 7, **_COMMON}, None,
        ("8473802c062f1291", "16168024f2935c65", "aeaa2e0c7f65f8ab", "155b845ee0d1ee2c"),
    ),
    (
        {"hash": "quadratic", "seed": 7, **_COMMON}, None,
        ("f95cd92b6679e36e", "f5940b56764ddadc", "84b62d30c374e0e4", "88e2a1a17d765dc7"),
    ),
    (
        {"hash": "quadratic", "seed": 8, **_COMMON}, None,
        ("cfe2e854634d6357", "5e3e5382b0bbae92", "60c68e4df37d3007", "eb02617f0e5f0f49"),
    ),
    (
        {"seed": 0, "alpha": 0.9, "slots": (16,), "size": 200}, None,
        ("02a2e11adb562fe7", None, "debf401cf862c3b9", None),
    ),
    (
        {"seed": 0, "alpha": 1.0, "slots": (32, 16), "size": 1}, 5000,
        ("a7cb3c1846ce9573", "458d860a94902011", "b415c08766910a92", "18c420233870c653"),
    ),
]  # fmt: skip


def college_msg(root: Path, rules: dict[str, object], events: int | None) -> Stream:
    """Messages among students."""
    with np.load(root / "collegemsg" / "events.npz") as arrays:
        ends = [torch.from_numpy(arrays[k].astype(np.int64))[:events] for k in ("src", "dst", "t")]
        return Stream(*ends, int(arrays["num_nodes"]), **rules)


def digests(tables: Tables, slots: tuple[int, ...]) -> tuple[str | None, ...]:
    """Digests of keys of hop 1 and hop 2, and of their events."""
    near = slots[0]
    parts = tables.key[:, :near], tables.key[:, near:]
    parts += tables.eid[:, 1 : 1 + near], tables.eid[:, 1 + near :]
    return tuple(
        hashlib.sha256(x.long().contiguous().numpy().tobytes()).hexdigest()[:16]
        if x.shape[1]
        else None
        for x in parts
    )


def random_rows(
    num_nodes: int, slots: tuple[int, ...], *, hash: str, seed: int, largest: int, draw: int
) -> tuple[Tensor, Tensor]:
    """Keys below `largest`, each in its own slot, and times."""
    generator = torch.Generator().manual_seed(draw)
    key, first = torch.full((num_nodes, sum(slots)), -1, dtype=torch.int32), 0
    for hop, size in enumerate(slots, start=1):
        for row in key:
            ids = torch.randint(largest, (size,), generator=generator)
            if draw % 2:  # neighbours among the rows too, so that two nodes may have met
                ids = torch.cat([ids, torch.arange(min(num_nodes, largest))])
            for w in ids:
                row[first + slots_of(w, size, hop=hop, seed=seed, hash=hash)] = w
        first += size
    ts = torch.rand(num_nodes, 1 + sum(slots), dtype=torch.float64, generator=generator)
    return key, ts * 100 + 2.0**33


def refresh_case(
    width: int = 4, edge_dim: int = 3, *, rows: int = 7, times: int = 3, late: float = 2.0**33,
    held: float = 0.6, wide: int = 6,
) -> tuple[Tensor, Tensor, Tables, Tensor, Weights]:  # fmt: skip
    """Nodes to read, when, half-full tables, event features and weights."""
    generator = torch.Generator().manual_seed(width + 100 * edge_dim + rows)
    nodes, total, events = 9, 6, 11

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    full = torch.rand(nodes, 1 + total, generator=generator) < held
    key = torch.randint(nodes, (nodes, total), generator=generator).where(full[:, 1:], -1)
    eid = torch.randint(events, (nodes, 1 + total), generator=generator).where(full, -1)
    ts = late + torch.randint(50, (nodes, 1 + total), generator=generator).double()
    tables = Tables(
        key.int(), eid.int(), ts.where(full, 0.0), draw(nodes, 1 + total, width),
        torch.full((nodes,), -1).int(), draw(nodes, wide), torch.tensor(0),
    )  # fmt: skip
    shapes = [(width, wide + edge_dim + times), *[(3 * width, width)] * 2, *[(3 * width,)] * 2]
    weights = Weights(*(draw(*shape) / 2 for shape in [*shapes, (times,), (times,)]))
    ids = torch.randint(nodes, (rows,), generator=generator)
    return (
        ids,
        torch.tensor(late + 50, dtype=torch.float64),
        tables,
        draw(events, edge_dim),
        weights,
    )


def refreshed(
    case: tuple[Tensor, Tensor, Tables, Tensor, Weights],
    kernels: ModuleType | None,
    device: str = "cpu",
    *,
    absolute: bool = False,
) -> list[Tensor]:
    """The result of a refresh, and the gradients of the weights."""
    nodes, now, tables, edge, weights = case
    leaves = Weights(*(w.detach().to(device).requires_grad_() for w in weights))
    moved = Tables(*(x.to(device) for x in tables))
    with using(kernels):
        out = refresh(
            nodes.to(device), now.to(device), moved, edge.to(device), leaves, absolute=absolute
        )
        cotangent = torch.linspace(-1, 2, out.numel(), device=device).view_as(out)
        grads = torch.autograd.grad(out, leaves, cotangent)
    return [x.detach().cpu() for x in (out, *grads)]

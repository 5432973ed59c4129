"""Splitting a stream of events by time, and what the protocols of the literature make of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import TemporalData

from graphlearn.data.dataset import Dataset, EventSplit
from graphlearn.train.task import Split

__all__ = ["event_dataset", "split_events"]

_PROTOCOLS = ("auto", "transductive", "inductive", "new-node")
_MASKED = 0.1  # share of the nodes that are kept out of training


def event_dataset(
    name: str,
    data: TemporalData,
    num_nodes: int,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
    names: Sequence[str] | None = None,
) -> Dataset:
    """A data set of events, split by time.

    Args:
        name: As it is written in run folders.
        data: `src`, `dst` and `t` of every event in order of time; optional `msg` (E, F), `y` (E,)
            and node features `x` (N, F). It is kept as it is.
        num_nodes: Number of nodes.
        protocol: See `split_events`.
        seed: Decides which nodes are kept out of training, where the protocol does so.
        valid: Share of validation events.
        test: Share of test events.
        replay: See `split_events`.
        names: Name of each node.

    Raises:
        ValueError: if the events are not valid, or cannot be split.
    """
    _check(name, data, num_nodes)
    splits = split_events(
        data.src,
        data.dst,
        data.t,
        num_nodes,
        protocol=protocol,
        seed=seed,
        valid=valid,
        test=test,
        replay=replay,
    )
    known = data.t[splits["train"].events]
    span = float(known[-1] - known[0])
    facts: dict[str, Any] = {
        "num_nodes": num_nodes,
        "num_events": len(data.t),
        "edge_dim": data.msg.shape[1] if "msg" in data else 0,
        "node_dim": data.x.shape[1] if "x" in data else 0,
        # Models divide by both; where all is at one time, any unit will do.
        "time_gap": span / len(known) or 1.0,
        "time_span": span or 1.0,
    }
    return Dataset(name, "events", "ap", data, splits, facts, names)


def split_events(
    src: Tensor,
    dst: Tensor,
    t: Tensor,
    num_nodes: int,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
) -> dict[Split, EventSplit]:
    r"""Events before, between and after two quantiles :math:`q_1 < q_2` of all times.

    Training has :math:`t \le q_1`, validation :math:`q_1 < t \le q_2` and the test
    :math:`t > q_2`; events at one time stay together. The protocols are

    - `transductive` (and `auto`): just this;
    - `inductive`: a tenth of the nodes, drawn from those with an event after :math:`q_1`, has no
      event in training and validation. The test begins when all events up to :math:`q_2` are
      taken in, and scores those that touch such a node. References: Wang et al., "Inductive
      Representation Learning in Temporal Networks via Causal Anonymous Walks", ICLR 2021; Luo,
      Li, "Neighborhood-Aware Scalable Temporal Network Representation Learning", LoG 2022;
    - `new-node`: such nodes are kept out of training only. Reference: Yu, Sun, Du, Lv, "Towards
      Better Dynamic Graph Learning: New Architecture and Unified Library", NeurIPS 2023.

    Groups of the scored events are reported apart where there are any: `new` has an end without an
    event in training, `new-old` exactly one, `new-new` two. Reference: Huang et al., "BenchTemp",
    ICDE 2024.

    Args:
        src: Source of each event.
        dst: Destination of each event.
        t: Time of each event, ascending.
        num_nodes: Number of nodes.
        protocol: Which of the above.
        seed: Decides which nodes are kept out, alone.
        valid: Share of validation events.
        test: Share of test events.
        replay: Whether an inductive test takes in all later events, or, as in the reference, only
            those that it scores.

    Raises:
        ValueError: if an option is not valid, or a part would be empty.
    """
    _check_options(protocol, valid, test, replay)
    first, second = _quantiles(t, valid, test)
    early, late = t <= first, t > second
    kept = torch.ones_like(early)
    masked = torch.zeros(num_nodes, dtype=torch.bool)
    if protocol in ("inductive", "new-node"):
        masked = _masked(src[~early], dst[~early], num_nodes, protocol, seed)
        kept = ~(masked[src] | masked[dst])
    train, between = _ids(early & kept), ~early & ~late
    if protocol == "inductive":
        between, past, scored = between & kept, _ids(~late), _ids(late & ~kept)
    else:
        past, scored = torch.cat([train, _ids(between)]), _ids(late)
    visited = _ids(late) if replay == "all" else scored
    _check_sizes(t, len(train), int(between.sum()), len(scored))
    known = torch.zeros(num_nodes, dtype=torch.bool)
    known[src[train]] = known[dst[train]] = True
    unknown = (~known[src]).int() + (~known[dst]).int()
    mask = None if len(visited) == len(scored) else ~kept[visited]
    return {
        "train": EventSplit(train[:0], train),
        "valid": _part(train, _ids(between), None, unknown),
        "test": _part(past, visited, mask, unknown),
    }


def _quantiles(t: Tensor, valid: float, test: float) -> Tensor:
    """The last times of training and validation: quantiles, interpolated as numpy does."""
    if not len(t):
        raise ValueError("the stream has no events")
    # Rounded, since 1 - 0.15 - 0.15 need not be the number that is written 0.7.
    shares = [round(1 - valid - test, 12), round(1 - test, 12)]
    if t.is_floating_point():
        return torch.from_numpy(np.quantile(t.numpy(), shares))
    # Whole numbers stay whole, or a comparison would round them to 24 bits.
    since = np.quantile((t - t[0]).numpy(), shares)
    return t[0] + torch.from_numpy(np.floor(since).astype(np.int64))


def _masked(src: Tensor, dst: Tensor, num_nodes: int, protocol: str, seed: int) -> Tensor:
    """A tenth of the nodes, of those that have one of these events."""
    count = int(_MASKED * num_nodes)
    if not count:
        raise ValueError(
            f"protocol {protocol!r} keeps a tenth of the nodes out of training, "
            f"{num_nodes} nodes are too few"
        )
    nodes = torch.unique(torch.cat([src, dst]))
    order = torch.randperm(len(nodes), generator=torch.Generator().manual_seed(seed))
    masked = torch.zeros(num_nodes, dtype=torch.bool)
    masked[nodes[order[:count]]] = True
    return masked


def _part(history: Tensor, events: Tensor, scored: Tensor | None, unknown: Tensor) -> EventSplit:
    ends = unknown[events]
    groups: Mapping[str, Tensor] = {"new": ends > 0, "new-old": ends == 1, "new-new": ends == 2}
    if scored is not None:
        groups = {name: mask & scored for name, mask in groups.items()}
    found = {name: mask for name, mask in groups.items() if bool(mask.any())}
    return EventSplit(history, events, scored, found)


def _ids(mask: Tensor) -> Tensor:
    return mask.nonzero()[:, 0]


def _check_options(protocol: str, valid: float, test: float, replay: str) -> None:
    if protocol not in _PROTOCOLS:
        raise ValueError(
            f"protocol must be auto, transductive, inductive or new-node for events, "
            f"got {protocol!r}"
        )
    if replay not in ("all", "reference"):
        raise ValueError(f"replay must be all or reference, got {replay!r}")
    if replay == "reference" and protocol != "inductive":
        raise ValueError(f"replay='reference' belongs to protocol 'inductive', got {protocol!r}")
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise ValueError(
            f"valid and test must be positive and add up to less than 1, got {valid} and {test}"
        )


def _check_sizes(t: Tensor, train: int, valid: int, test: int) -> None:
    if min(train, valid, test) < 1:
        why = "all of them are at one time" if t[0] == t[-1] else "each must be at least 1"
        raise ValueError(
            f"a stream of {len(t)} events is too short to split by time: it would give {train} "
            f"training, {valid} validation and {test} test events, {why}"
        )


def _check(name: str, data: TemporalData, num_nodes: int) -> None:
    """What a user may get wrong who builds the data set by hand."""
    count = len(data.src)
    for key in ("src", "dst", "t", "msg", "y"):
        if key in data and len(data[key]) != count:
            raise ValueError(f"{name}: {key} has {len(data[key])} rows for {count} events")
    if "msg" in data and (data.msg.dim() != 2 or data.msg.dtype != torch.float32):
        raise ValueError(
            f"{name}: msg must be float32 of shape (events, features), "
            f"got {data.msg.dtype} {tuple(data.msg.shape)}"
        )
    if "x" in data and (data.x.dim() != 2 or len(data.x) != num_nodes):
        raise ValueError(
            f"{name}: x must have shape ({num_nodes}, features), got {tuple(data.x.shape)}"
        )
    for key in ("src", "dst"):
        ids = data[key]
        if ids.dtype != torch.int64:
            raise ValueError(f"{name}: {key} must be int64, got {ids.dtype}")
        if count and not 0 <= int(ids.min()) <= int(ids.max()) < num_nodes:
            bad = ids[(ids < 0) | (ids >= num_nodes)][0]
            raise ValueError(f"{name}: node ids must lie in [0, {num_nodes}), got {int(bad)}")
    if data.t.dtype not in (torch.int64, torch.float64):
        raise ValueError(f"{name}: t must be int64 or float64, got {data.t.dtype}")
    if num_nodes < 2:
        raise ValueError(f"{name}: a stream needs at least 2 nodes, got {num_nodes}")
    if count and not (float(data.t[0]) >= 0 and bool((data.t.diff() >= 0).all())):
        raise ValueError(f"{name}: times must be numbers from 0 in ascending order")

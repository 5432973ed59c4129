"""EdgeBank: what it remembers, for how long, and the numbers it is known for."""

import numpy as np
import pytest
import torch
from event_checks import Replay, check_event_model
from torch_geometric.data import TemporalData
from toy import event_dataset

from graphlearn.data.dataset import Dataset, EventSplit
from graphlearn.knobs import build
from graphlearn.models.edgebank import EdgeBank
from graphlearn.sampling.stream import Events, Features
from graphlearn.tasks.events import EventPrediction
from graphlearn.train.trainer import Trainer


@pytest.mark.parametrize("memory", ["unlimited", "window"])
def test_event_model(memory):
    check_event_model(lambda dataset: build(EdgeBank, dataset, memory=memory, window=0.5))


@pytest.mark.parametrize(("memory", "window"), [("unlimited", 0.1), ("window", 0.05)])
def test_it_knows_what_a_table_knows(memory, window):
    dataset = event_dataset()
    walk = Replay(dataset, build(EdgeBank, dataset, memory=memory, window=window))
    table = {}
    for first in range(0, 300, 10):
        now = walk.events.t[first]
        reach = window * dataset.facts["time_span"] if memory == "window" else float("inf")
        pairs = walk.all_pairs()
        known = [
            float(tuple(pair) in table and float(now) - table[tuple(pair)] <= reach)
            for pair in pairs.T.tolist()
        ]
        assert walk.scores(pairs, now).tolist() == known
        events = walk.at(torch.arange(first, first + 10))
        walk.take(events)
        ends = zip(events.src.tolist(), events.dst.tolist(), strict=True)
        table |= dict(zip(ends, events.t.tolist(), strict=True))
    assert int(walk.model.count) == len(table)


def test_ids_and_times_beyond_32_bits():
    nodes = 2**31
    bank = EdgeBank(nodes, 4, time_span=10.0, memory="window", window=0.1)
    src, dst = torch.tensor([nodes - 1, nodes - 1]), torch.tensor([nodes - 2, nodes - 3])
    t = torch.tensor([2**40, 2**40 + 1])
    bank.update((), Events(src, dst, t, torch.arange(2)))
    pairs, now = torch.stack([src, dst]), torch.tensor(2**40 + 2)
    view = bank.read(src, now, Features(torch.zeros(2, 0), torch.zeros(2, 0)))
    assert bank.score(view, pairs, now.expand(2)).tolist() == [0.0, 1.0]
    assert bank.score(view, pairs.flip(0), now.expand(2)).tolist() == [0.0, 0.0]


def test_a_window_has_a_length():
    with pytest.raises(ValueError, match=r"window must be above 0, got 0.0"):
        EdgeBank(3, 3, window=0.0)


def stream(folder):
    """A real stream, split at 70 and 85 percent of its times."""
    file = np.load(folder / "events.npz")
    src, dst, t = (torch.from_numpy(file[key].astype(np.int64)) for key in ("src", "dst", "t"))
    cuts, row = np.quantile(file["t"], [0.7, 0.85]), torch.arange(len(src))
    parts = row[t <= cuts[0]], row[(t > cuts[0]) & (t <= cuts[1])], row[t > cuts[1]]
    splits = {
        name: EventSplit(row[: int(part[0])], part)
        for name, part in zip(("train", "valid", "test"), parts, strict=True)
    }
    facts = {"num_nodes": int(file["num_nodes"]), "num_events": len(src), "time_span": 1.0}
    return Dataset(folder.name, "events", "ap", TemporalData(src=src, dst=dst, t=t), splits, facts)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "ap", "auc"),
    [
        ("collegemsg", 0.764, 0.776),
        ("jodie-wikipedia", 0.910, 0.915),
        ("bitcoin-alpha", 0.500, 0.492),
    ],
)
def test_known_numbers(data_root, name, ap, auc):
    dataset = stream(data_root / name)
    task = EventPrediction(build(EdgeBank, dataset), dataset, eval_batch_size=200)
    test = Trainer(progress=False, device="cpu").fit(task).test
    assert test["ap"] == pytest.approx(ap, abs=0.01)
    assert test["auc"] == pytest.approx(auc, abs=0.01)

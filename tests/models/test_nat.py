"""NAT: the contract, the histogram against single keys, kernels against references, learning."""

import sys

import pytest
import torch
from checks import using
from event_checks import Replay, check_event_model
from toy import event_dataset

from graphlearn.knobs import build
from graphlearn.models.nat import NAT
from graphlearn.sampling.stream import Events
from graphlearn.tasks.events import EventPrediction
from graphlearn.train.task import Schedule
from graphlearn.train.trainer import Trainer

PLAIN = {"counts": "plain"}
KEYS = {"counts": "plain", "path": "keys"}
REFERENCE = PLAIN | {
    "time": "absolute", "clock": "time", "scale": "decades", "time_dim": 1, "train_time": True,
    "recency_dim": 0, "hash": "quadratic", "cache_seed": 7,
}  # fmt: skip
FORMS = {
    "default": {},
    "reference": REFERENCE,
    "plain": PLAIN,
    "keys": KEYS,
    "attention": KEYS | {"pool": "attn"},
    "seconds": {"clock": "time", "train_time": True},
    "one hop": {"slots": (8,)},
    "no hop": {"slots": ()},
    "blocks": {"blocks": True},
}


def make(dataset, **settings):
    small = {"slots": (8, 4), "self_dim": 12, "pair_dim": 6, "time_dim": 5, "code_dim": 3}
    return build(NAT, dataset, **small | settings)


def walk(stop=200, shift=0, edge_dim=0, node_dim=0, **settings):
    dataset = event_dataset(edge_dim=edge_dim, node_dim=node_dim)
    dataset.data.t += shift
    torch.manual_seed(0)
    replay = Replay(dataset, make(dataset, **settings).eval())
    replay.take_all(stop)
    return replay


def logits(replay, at=200):
    with torch.no_grad():
        return replay.scores(replay.all_pairs(), replay.events.t[at])


@pytest.mark.parametrize("form", ["default", "reference", "keys", "attention", "no hop"])
def test_event_model(form):
    check_event_model(lambda dataset: make(dataset, **FORMS[form]))


@pytest.mark.parametrize("sizes", [{}, {"edge_dim": 3, "node_dim": 5}])
def test_the_histogram_is_the_sum_over_keys(sizes):
    one, other = walk(**PLAIN, **sizes), walk(**KEYS, **sizes)
    other.model.load_state_dict(one.model.state_dict())
    torch.testing.assert_close(logits(one), logits(other), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_kernels_give_the_logits_of_the_references(form):
    fast = walk(edge_dim=3, **FORMS[form])
    with using(None):
        slow = walk(edge_dim=3, **FORMS[form])
        expected = logits(slow)
    torch.testing.assert_close(logits(fast), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(fast.model.cache.key, slow.model.cache.key)


def test_kernels_give_the_gradients_of_the_references():
    found = []
    for kernels in (sys.modules["graphlearn.ops.cpu"], None):
        with using(kernels):
            replay = walk(edge_dim=2, train_time=True)
            model = replay.model.train()
            model.pooled_dropout.p = 0.3
            events = replay.at(torch.arange(200, 220))
            pairs = torch.stack([events.src, events.dst])
            torch.manual_seed(5)
            view = model.read(pairs.flatten(), events.t.amin(), replay.features)
            model.score(view, pairs, events.t).square().sum().backward()
            found.append({name: p.grad for name, p in model.named_parameters()})
    for name, grad in found[0].items():
        torch.testing.assert_close(grad, found[1][name], rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("settings", [{"clock": "time"}, {"clock": "events"}])
def test_only_time_differences_matter(settings):
    torch.testing.assert_close(
        logits(walk(**settings)), logits(walk(shift=2**33, **settings)), rtol=1e-5, atol=1e-5
    )


def test_recency_says_when_two_nodes_met_last():
    replay = walk(clock="time")
    events = Events(*(part[:1] for part in replay.events))
    for gap in (10, 1000):
        replay.model.reset()
        replay.take(events)
        pair = torch.stack([events.src, events.dst])
        view = replay.model.read(pair.flatten(), events.t[0], replay.features)
        later = replay.model.score(view, pair, events.t + gap)
        assert later != replay.model.score(view, pair, events.t)


def test_threads_do_not_change_a_bit():
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            dataset = event_dataset(num_events=900, num_nodes=300)
            model = make(dataset, self_dim=72, pair_dim=32)
            schedule = Schedule(epochs=1, lr=0.01)
            task = EventPrediction(model, dataset, batch_size=200, schedule=schedule)
            Trainer(progress=False).fit(task)
            found.append(task.state_dict())
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


def test_autocast_leaves_the_kernels_alone():
    dataset = event_dataset()
    torch.manual_seed(0)
    task = EventPrediction(make(dataset), dataset, schedule=Schedule(epochs=1))
    result = Trainer(progress=False, precision="bf16").fit(task)
    assert 0 < result.test["ap"] <= 1


@torch.no_grad()
def test_ids_that_would_be_looked_up_outside_are_refused():
    replay = walk(edge_dim=3)
    model, now, features = replay.model, replay.events.t[200], replay.features
    for bad in (30, -1, 10**7):
        with pytest.raises(ValueError, match=r"node ids must lie in \[0, 30\)"):
            model.read(torch.tensor([1, bad]), now, features)
    view = model.read(torch.tensor([1, 2]), now, features)
    for other in (0, 29, 99):
        with pytest.raises(
            ValueError, match=f"node {other} was not among the nodes that were read"
        ):
            model.score(view, torch.tensor([[1], [other]]), now[None])
    with pytest.raises(ValueError, match="node 3 was not among the nodes that were read"):
        model.update(view, replay.at(torch.tensor([0]))._replace(src=torch.tensor([3])))
    with pytest.raises(ValueError, match="expected 3 features of an event and 0 of a node, got 2"):
        model.read(torch.tensor([1]), now, features._replace(edge=features.edge[:, :2]))
    with pytest.raises(ValueError, match=r"event .* was taken in, but there are features of 5"):
        model.read(torch.arange(30), now, features._replace(edge=features.edge[:5]))


def test_gaps_and_spans_must_fit():
    with pytest.raises(ValueError, match=r"time_gap must lie in \(0, time_span\], got 2.0 and 1.0"):
        NAT(5, time_gap=2.0, time_span=1.0, clock="time")
    with pytest.raises(ValueError, match=r"time_gap must lie in \(0, time_span\], got 1.0 and 0.5"):
        NAT(5, time_gap=2.0, time_span=1.0)


def test_the_way_back_through_a_state_that_has_changed_is_refused():
    replay = walk()
    model = replay.model.train()
    events = replay.at(torch.arange(200, 220))
    pairs = torch.stack([events.src, events.dst])
    view = model.read(pairs.flatten(), events.t.amin(), replay.features)
    loss = model.score(view, pairs, events.t).sum()
    model.update(view, events)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_it_learns():
    dataset = event_dataset()
    torch.manual_seed(0)
    model = make(dataset)
    task = EventPrediction(model, dataset, batch_size=20, schedule=Schedule(epochs=6, lr=0.01))
    result = Trainer(progress=False).fit(task)
    assert result.history[-1]["loss"] < 0.9 * result.history[0]["loss"]
    assert result.test["ap"] > 0.75


def test_occupancy_grows_and_is_forgotten():
    replay = walk(stop=100)
    some = replay.model.occupancy()
    replay.take_all(200, start=100)
    more = replay.model.occupancy()
    assert len(some) == 2 and all(0 < a <= b <= 1 for a, b in zip(some, more, strict=True))
    replay.model.reset()
    assert replay.model.occupancy() == [0.0, 0.0]


def test_batches_that_know_each_other_would_score_otherwise():
    """Freshness: the state after 100 events differs by how they were cut."""
    one, other = walk(stop=0), walk(stop=0)
    one.take_all(100, size=100)
    other.take_all(100, size=1)
    assert not torch.equal(logits(one), logits(other))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": "attn"}, "pool='attn' weighs keys: it needs path='keys' and counts='plain'"),
        ({"path": "keys"}, "path='keys' counts single keys: it needs counts='plain'"),
        ({"time_dim": 0}, "time_dim must be at least 1, got 0"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"code_dim": -1}, "code_dim must be at least 0, got -1"),
        ({"recency_dim": -1}, "recency_dim must be at least 0, got -1"),
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\], got 1.5"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make(event_dataset(), **settings)


def test_a_checkpoint_of_other_nodes_is_refused():
    state = make(event_dataset()).state_dict()
    other = NAT(31, slots=(8, 4), self_dim=12, pair_dim=6, time_dim=5, code_dim=3)
    message = r"the state is of another cache: key has shape \(30, 12\), expected \(31, 12\)"
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)

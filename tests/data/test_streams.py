import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import TemporalData

from graphlearn.data.streams import event_dataset, split_events


def stream(events=200, nodes=40, seed=0, **more):
    rng = np.random.default_rng(seed)
    src, dst = (torch.from_numpy(rng.integers(0, nodes, events)) for _ in range(2))
    t = torch.from_numpy(rng.integers(0, 3, events).cumsum())
    return TemporalData(src=src, dst=dst, t=t, **more)


def split(data, nodes=40, **options):
    return split_events(data.src, data.dst, data.t, nodes, **options)


def touches(data, events, nodes):
    return torch.isin(data.src[events], nodes) | torch.isin(data.dst[events], nodes)


def check_no_event_leaks(splits):
    """Nothing that is scored was seen, each pass goes on from the past, all in order."""
    seen = splits["train"].events
    for part in ("valid", "test"):
        found = splits[part]
        assert not torch.isin(found.events, seen).any()
        assert not torch.isin(found.events, found.history).any()
        assert found.events.min() > seen.max()
        assert (found.events.diff() > 0).all() and (found.history.diff() > 0).all()
        for mask in (found.scored, *found.groups.values()):
            assert mask is None or mask.shape == found.events.shape
        seen = torch.cat([seen, found.events])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["auto", "transductive", "inductive", "new-node"]),
    st.sampled_from([0, 10**12, 2**53 + 1, 0.5]),
)
def test_parts_follow_the_quantiles_of_time(seed, protocol, start):
    data = stream(seed=seed)
    data.t = data.t.double() + start if isinstance(start, float) else data.t + start
    splits = split(data, protocol=protocol, seed=seed)
    check_no_event_leaks(splits)
    since = (data.t - data.t[0]).double().numpy()
    q70, q85 = np.quantile(since, [0.7, 0.85])
    ids = np.arange(200)
    late, between = ids[since > q85], ids[(since > q70) & (since <= q85)]
    assert splits["test"].events.tolist() == late.tolist()
    if protocol != "inductive":
        assert splits["valid"].events.tolist() == between.tolist()
    if protocol in ("auto", "transductive"):
        assert splits["train"].events.tolist() == ids[since <= q70].tolist()
        assert len(splits["test"].history) + len(late) == 200


def test_groups_tell_who_is_unknown():
    src, dst = torch.tensor([[0, 0, 1, 2, 0, 0, 2, 0, 3, 3], [1, 1, 0, 0, 3, 1, 1, 4, 4, 3]])
    data = TemporalData(src=src, dst=dst, t=torch.arange(10))
    splits = split(data, 5, valid=0.2, test=0.4)
    assert splits["train"].events.tolist() == [0, 1, 2, 3]
    assert splits["train"].groups == {}
    assert {k: m.tolist() for k, m in splits["valid"].groups.items()} == {
        "new": [True, False],
        "new-old": [True, False],
    }
    assert {k: m.int().tolist() for k, m in splits["test"].groups.items()} == {
        "new": [0, 1, 1, 1],
        "new-old": [0, 1, 0, 0],
        "new-new": [0, 0, 1, 1],
    }


def test_inductive_keeps_nodes_out_of_training_and_validation():
    data = stream(2000)
    splits = split(data, protocol="inductive", seed=5)
    train, valid, test = (splits[part] for part in ("train", "valid", "test"))
    past = torch.arange(int(test.events[0]))
    assert test.history.equal(past)
    hidden = torch.tensor([n for n in range(40) if not touches(data, train.events, n).any()])
    assert len(hidden) == 4
    assert not touches(data, valid.events, hidden).any()
    assert valid.history.equal(train.events)
    assert test.scored.equal(touches(data, test.events, hidden))
    assert test.groups["new"].equal(test.scored)
    # The reference visits only what it scores.
    other = split(data, protocol="inductive", seed=5, replay="reference")["test"]
    assert other.scored is None and other.events.equal(test.events[test.scored])
    assert other.history.equal(past) and other.groups["new"].all()


def test_new_node_keeps_nodes_out_of_training_only():
    data = stream(2000)
    plain = split(data)
    splits = split(data, protocol="new-node", seed=5)
    train = splits["train"].events
    assert torch.isin(train, plain["train"].events).all()
    assert len(train) < len(plain["train"].events)
    for part in ("valid", "test"):
        assert splits[part].events.equal(plain[part].events) and splits[part].scored is None
        assert splits[part].groups["new"].any()
    assert splits["valid"].history.equal(train)
    assert splits["test"].history.equal(torch.cat([train, splits["valid"].events]))


def test_the_seed_decides_who_is_kept_out():
    data = stream(2000)
    first, again, other = (split(data, protocol="inductive", seed=s) for s in (1, 1, 2))
    assert first["train"].events.equal(again["train"].events)
    assert not first["train"].events.equal(other["train"].events)
    assert split(data, seed=1)["train"].events.equal(split(data, seed=2)["train"].events)


def test_facts_and_parts_of_a_data_set():
    data = stream(msg=torch.ones(200, 3), x=torch.ones(40, 2), y=torch.zeros(200))
    found = event_dataset("toy", data, 40, names=[f"n{k}" for k in range(40)])
    train = found.splits["train"].events
    span = float(data.t[train[-1]] - data.t[train[0]])
    assert found.facts == {
        "num_nodes": 40,
        "num_events": 200,
        "edge_dim": 3,
        "node_dim": 2,
        "time_gap": span / len(train),
        "time_span": span,
    }
    assert found.kind == "events" and found.metric == "ap" and found.data is data
    assert found.names[3] == "n3"


def test_a_training_part_at_one_time_has_a_gap_and_a_span():
    data = TemporalData(
        src=torch.arange(6) % 2, dst=torch.arange(6) % 2, t=torch.tensor([0, 0, 0, 0, 1, 2])
    )
    facts = event_dataset("toy", data, 2, valid=0.2, test=0.2).facts
    assert (facts["time_gap"], facts["time_span"], facts["edge_dim"]) == (1.0, 1.0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "ogb"}, r"protocol must be auto, .* or new-node for events, got 'ogb'"),
        ({"replay": "some"}, r"replay must be all or reference, got 'some'"),
        ({"replay": "reference"}, r"replay='reference' belongs to protocol 'inductive', got 'au"),
        ({"valid": 0.0}, r"valid and test must be positive and .*, got 0.0 and 0.15"),
        ({"valid": 0.5, "test": 0.5}, r"add up to less than 1, got 0.5 and 0.5"),
    ],
)
def test_options_that_are_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        split(stream(), **options)


def test_streams_that_cannot_be_split():
    data = stream(2)
    data.t = torch.tensor([3, 4])
    with pytest.raises(
        ValueError,
        match=r"a stream of 2 events is too short to split by time: it would give 1 training, "
        r"0 validation and 1 test events, each must be at least 1",
    ):
        split(data)
    data = stream(50)
    data.t = torch.full((50,), 7)
    with pytest.raises(ValueError, match=r"50 training, 0 .*, all of them are at one time"):
        split(data)
    with pytest.raises(ValueError, match=r"the stream has no events"):
        split(stream(0))
    with pytest.raises(ValueError, match=r"'inductive' keeps a tenth .*, 9 nodes are too few"):
        split(stream(nodes=9), 9, protocol="inductive")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": torch.arange(7)}, r"toy: t has 7 rows for 20 events"),
        ({"msg": torch.ones(19, 2)}, r"toy: msg has 19 rows for 20 events"),
        ({"msg": torch.ones(20)}, r"toy: msg must be float32 of shape \(events, features\), got"),
        ({"x": torch.ones(4, 2)}, r"toy: x must have shape \(5, features\), got \(4, 2\)"),
        ({"src": torch.arange(20).int()}, r"toy: src must be int64, got torch.int32"),
        ({"t": torch.arange(20).float()}, r"toy: t must be int64 or float64, got torch.float32"),
        ({"dst": torch.arange(20)}, r"toy: node ids must lie in \[0, 5\), got 5"),
        ({"src": torch.arange(20) - 1}, r"toy: node ids must lie in \[0, 5\), got -1"),
        ({"t": torch.arange(20).flip(0)}, r"toy: times must be numbers from 0 in ascending order"),
        (
            {"t": torch.full((20,), torch.nan).double()},
            r"toy: times must be numbers from 0 in ascending",
        ),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    data = stream(20, 5)
    for key, value in changes.items():
        data[key] = value
    with pytest.raises(ValueError, match=message):
        event_dataset("toy", data, 5)


def test_a_single_node_has_nobody_to_meet():
    with pytest.raises(ValueError, match=r"toy: a stream needs at least 2 nodes, got 1"):
        event_dataset("toy", stream(nodes=1), 1)


def test_loops_and_times_and_ids_beyond_32_bits():
    data = stream(200, 40)
    data.dst = data.src.clone()
    data.t = data.t * 2**20 + 2**40
    data.src, data.dst = data.src + 2**24, data.dst + 2**24
    found = event_dataset("toy", data, 2**24 + 40)
    check_no_event_leaks(found.splits)
    assert found.facts["time_gap"] > 2**19

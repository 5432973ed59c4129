import hashlib
import time

import pytest
import torch

from graphlearn.data.synthetic import load_synthetic, synthetic_events


def digest(data):
    table = torch.stack([data.src, data.dst, data.t]).numpy().astype("<i8")
    return hashlib.sha256(table.tobytes()).hexdigest()[:16]


def test_the_same_bits_everywhere():
    assert digest(synthetic_events()) == "9e003b51d9d81b8c"
    assert digest(synthetic_events(seed=1)) != digest(synthetic_events())


def test_it_is_made_fast():
    start = time.process_time()
    data = synthetic_events()
    assert time.process_time() - start < 2
    assert data.num_events == 12000 and int(torch.stack([data.src, data.dst]).max()) < 600
    assert (data.t.diff() > 0).all() and (data.src != data.dst).all()


def test_it_has_what_streams_have():
    data = synthetic_events()
    degree = torch.bincount(torch.cat([data.src, data.dst]), minlength=600).sort().values
    assert degree[-60:].sum() > 0.5 * degree.sum()  # a tenth of the nodes, half of the events
    gaps = data.t.diff()
    assert gaps.float().quantile(0.5) < gaps.float().mean() / 5  # bursts
    key = data.src * 600 + data.dst
    old = torch.isin(key[8400:], key[:8400]).float().mean()
    assert 0.2 < old < 0.6  # some pairs meet again, many meet for the first time
    near, adjacent = 0, torch.zeros(600, 600)
    for u, v in zip(data.src.tolist(), data.dst.tolist(), strict=True):
        near += bool(adjacent[u] @ adjacent[v] > 0)
        adjacent[u, v] = adjacent[v, u] = 1
    assert near > 0.6 * 12000  # friends of friends


def test_as_a_data_set():
    data = load_synthetic()
    assert data.name == "synthetic-events" and data.kind == "events"
    assert data.facts["num_nodes"] == 600 and data.facts["num_events"] == 12000
    assert "new" in data.splits["test"].groups
    assert load_synthetic(seed=3).data.src.equal(data.data.src)
    hidden = load_synthetic(seed=3, protocol="inductive").splits["train"].events
    assert len(hidden) < len(data.splits["train"].events)


@pytest.mark.parametrize(("nodes", "events"), [(2, 5), (10, 0)])
def test_sizes_that_make_no_stream(nodes, events):
    with pytest.raises(
        ValueError, match=rf"at least 3 nodes and 1 event, got {nodes} and {events}"
    ):
        synthetic_events(nodes, events)
    assert synthetic_events(3, 50).num_events == 50

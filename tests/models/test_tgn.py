"""TGN: the contract, what the lists of PyG need, learning, resuming."""

import pytest
import torch
from event_checks import Replay, check_event_model
from toy import event_dataset

from graphlearn.knobs import build
from graphlearn.models.tgn import TGN
from graphlearn.sampling.stream import Events
from graphlearn.tasks.events import EventPrediction
from graphlearn.train.task import Schedule
from graphlearn.train.trainer import Trainer

SMALL = {"memory": 16, "time": 8, "embedding": 16, "neighbors": 4}


def make(dataset, **settings):
    return build(TGN, dataset, **SMALL | settings)


def task_for(dataset, epochs=3, lr=0.005, **settings):
    torch.manual_seed(0)
    schedule = Schedule(epochs=epochs, lr=lr)
    return EventPrediction(make(dataset, **settings), dataset, batch_size=20, schedule=schedule)


def test_event_model():
    check_event_model(make)


def test_neighbours_are_the_latest_ones():
    dataset = event_dataset()
    walk = Replay(dataset, make(dataset).eval())
    zero, others = torch.zeros(9, dtype=torch.long), torch.arange(1, 10)
    walk.take(Events(zero, others, walk.events.t[:9], torch.arange(100, 109)))
    ids, edges, order = walk.model._loader(torch.tensor([0]))
    assert sorted(ids[edges[0]].tolist()) == [6, 7, 8, 9]
    assert sorted(walk.model.eids[order].tolist()) == [105, 106, 107, 108]


def test_the_last_of_equal_times_waits():
    dataset = event_dataset()
    walk = Replay(dataset, make(dataset).eval())
    zero, others = torch.zeros(3, dtype=torch.long), torch.tensor([1, 2, 3])
    walk.take(Events(zero, others, walk.events.t[zero], torch.arange(3)))
    assert walk.model.memory.msg_s_store[0][1].tolist() == [3]


def test_times_count_from_the_first_event():
    """Seconds since 1970 and since the first event are the same stream."""
    found = []
    for shift in (0, 10**9):
        dataset = event_dataset()
        dataset.data.t += shift
        torch.manual_seed(0)
        walk = Replay(dataset, make(dataset).eval())
        walk.take_all(100)
        found.append(walk.scores(walk.all_pairs(), walk.events.t[100]))
    assert torch.equal(*found)


def test_fractions_of_time_count():
    dataset = event_dataset()
    walk = Replay(dataset, make(dataset).eval())
    walk.events = walk.events._replace(t=walk.events.t.double() / 16)
    walk.take_all(100)
    assert torch.equal(walk.model.times[:100], walk.events.t[:100] - walk.events.t[0])


def test_loading_weights_forgets_the_stream():
    dataset = event_dataset()
    model = make(dataset)
    walk = Replay(dataset, model)
    walk.take_all(50)
    task = EventPrediction(model, dataset)
    task.load_state_dict(task.state_dict())
    assert model.seen.tolist() == [0, 0] and model._loader.cur_e_id == 0
    assert not any("memory.memory" in name for name in task.state_dict())


def test_learns_from_the_features_of_nodes():
    dataset = event_dataset(node_dim=8, num_events=600)
    task = task_for(dataset, epochs=20, lr=0.01, dropout=0.0)
    result = Trainer(progress=False, device="cpu").fit(task)
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < 0.8 * losses[0] and result.test["ap"] > 0.6


def test_the_seed_fixes_everything():
    dataset = event_dataset(edge_dim=2)
    one, two = (Trainer(progress=False, device="cpu").fit(task_for(dataset)) for _ in range(2))
    strip = lambda rows: [{**row, "seconds": 0} for row in rows]  # noqa: E731
    assert strip(one.history) == strip(two.history) and one.test == two.test


def test_resumed_equals_uninterrupted(tmp_path):
    dataset = event_dataset()

    def fit(epochs, folder, **options):
        trainer = Trainer(out=tmp_path / folder, progress=False, device="cpu", **options)
        task = task_for(dataset, epochs)
        return trainer.fit(task), task.state_dict()

    whole, left = fit(4, "whole")
    fit(2, "parts", save_seconds=0.0)
    resumed, right = fit(4, "parts", resume=True)
    assert resumed.valid == whole.valid and resumed.test == whole.test
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_predicts():
    dataset = event_dataset()
    task = task_for(dataset)
    pairs, scores = task.recommend(5, nodes=torch.tensor([3]))
    assert set(pairs[0].tolist()) == {3}
    torch.testing.assert_close(task.predict(pairs), scores)


@pytest.mark.gpu
def test_another_device_forgets_the_stream():
    dataset = event_dataset()
    walk = Replay(dataset, make(dataset))
    walk.take_all(20)
    model = walk.model.to("cuda")
    assert model.seen.tolist() == [0, 0] and model._loader.e_id.device.type == "cuda"


def test_errors():
    with pytest.raises(ValueError, match="heads must divide embedding=100, got 3"):
        TGN(3, 3, heads=3)
    with pytest.raises(ValueError, match="neighbors must be at least 2, got 1"):
        TGN(3, 3, neighbors=1)

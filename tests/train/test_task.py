import math
import subprocess
import sys

import pytest
from toy_tasks import Net, Regression

from graphlearn.train.task import Schedule, Task


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": -1}, "epochs must be at least 0 and finite, got -1"),
        ({"lr": -0.1}, "lr must be at least 0 and finite, got -0.1"),
        ({"lr": math.nan}, "lr must be at least 0 and finite, got nan"),
        ({"clip": math.inf}, "clip must be at least 0 and finite, got inf"),
        ({"accumulate": 0}, "accumulate must be at least 1 and finite, got 0"),
        ({"eval_every": 0}, "eval_every must be at least 1 and finite, got 0"),
        ({"lr_of": {"head": -1.0}}, r"lr_of\['head'\] must be at least 0 and finite, got -1.0"),
    ],
)
def test_a_schedule_refuses_values_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**values)


@pytest.mark.parametrize("name", ["optimizer", "decay", "stop"])
def test_a_schedule_refuses_unknown_choices(name, monkeypatch):
    fine = Schedule()
    object.__setattr__(fine, name, "adm")  # past the type check, as from a file
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'adm'"):
        fine.__post_init__()


def test_the_rate_grows_in_the_warm_up():
    shares = [Schedule(epochs=10, warmup=3).factor(epoch) for epoch in range(1, 6)]
    assert shares == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_falls_from_one_to_nearly_nothing():
    shares = [Schedule(epochs=10, decay="cosine").factor(epoch) for epoch in range(1, 11)]
    assert shares[0] == 1.0
    assert shares[5] == pytest.approx(0.5)
    assert 0 < shares[-1] < 0.03
    assert shares == sorted(shares, reverse=True)


def test_cosine_begins_after_the_warm_up():
    schedule = Schedule(epochs=12, warmup=2, decay="cosine")
    assert schedule.factor(2) < schedule.factor(3) == 1.0 > schedule.factor(4)


def test_step_divides_by_ten_at_one_half_and_three_quarters():
    shares = [Schedule(epochs=8, decay="step").factor(epoch) for epoch in range(1, 9)]
    assert shares == [1.0] * 4 + [0.1] * 2 + [0.01] * 2


def test_evaluation_follows_eval_from_and_eval_every():
    schedule = Schedule(eval_from=3, eval_every=2)
    assert [epoch for epoch in range(1, 9) if schedule.evaluates(epoch)] == [3, 5, 7]


def test_a_plateau_is_half_the_patience():
    assert [Schedule(patience=patience).stall for patience in (0, 1, 6)] == [10, 1, 3]


def test_rates_go_by_the_longest_part_of_the_name():
    task = Regression(lr=0.1, lr_of={"encoder": 0.2, "encoder.bias": 0.3}, decay_of={"head": 0.5})
    found = {
        (group["lr"], group["weight_decay"]): [tuple(value.shape) for value in group["params"]]
        for group in task.param_groups()
    }
    assert found == {(0.2, 0.0): [(8, 4)], (0.3, 0.0): [(8,)], (0.1, 0.5): [(1, 8), (1,)]}


def test_a_part_is_a_whole_word():
    model = Net()
    model.encoder2 = model.head
    groups = Regression(model=model, lr_of={"encoder": 0.5}).param_groups()
    assert sum(len(group["params"]) for group in groups if group["lr"] == 0.5) == 2


def test_rate_zero_leaves_parameters_out():
    groups = Regression(lr_of={"encoder": 0.0}).param_groups()
    assert [len(group["params"]) for group in groups] == [2]
    assert Regression(lr=0.0).param_groups() == []


def test_parameters_without_gradient_are_left_out():
    task = Regression()
    task.model.head.requires_grad_(False)
    assert [len(group["params"]) for group in task.param_groups()] == [2]


@pytest.mark.parametrize("name", ["lr_of", "decay_of"])
def test_an_unknown_part_is_an_error_with_the_nearest(name):
    task = Regression(**{name: {"encodr": 0.1}})
    message = f"{name} names 'encodr', but Net has no such parameter; did you mean 'encoder'"
    with pytest.raises(ValueError, match=message):
        task.param_groups()
    task = Regression(**{name: {"xyz": 0.1}})
    with pytest.raises(ValueError, match="no such parameter; its parts: encoder, head"):
        task.param_groups()


def test_a_task_is_its_only_stage():
    task = Regression()
    assert list(task.stages()) == [task]


def test_the_contract_has_no_defaults_for_what_every_task_must_say():
    task = Task(Net())
    for call in (
        lambda: task.batches("train"),
        lambda: task(0),
        lambda: task.score(0),
        lambda: task.metrics("valid", {}),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_the_contract_needs_no_fabric():
    code = "import sys, graphlearn.train.task; print('lightning_fabric' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

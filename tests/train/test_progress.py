"""When training stops."""

from graphlearn.train.progress import Progress
from graphlearn.train.task import Schedule


def fed(schedule: Schedule, scores: list[float]) -> Progress:
    """A stage that was shown scores until it stopped."""
    now = Progress()
    for epoch, score in enumerate(scores, start=1):
        now.judge(schedule, score, epoch)
        now.epoch = epoch
        if now.stopped:
            break
    return now


def test_the_best_evaluation_is_kept():
    now = Progress()
    assert [now.judge(Schedule(), score, epoch) for epoch, score in enumerate([1.0, 2.0, 2.0])] == [
        *(True, True, False)
    ]
    assert (now.best, now.best_epoch, now.stalled) == (2.0, 1, 1)


def test_patience_waits_for_a_better_one():
    now = fed(Schedule(patience=2), [0.1, 0.3, 0.2, 0.3, 0.9])
    assert (now.stopped, now.epoch, now.best_epoch) == ("patience", 4, 2)


def test_without_patience_nothing_stops():
    assert fed(Schedule(), [0.3, 0.2, 0.1]).stopped == ""
    assert fed(Schedule(stop="mean"), [0.3, 0.2, 0.1]).stopped == ""


def test_a_mean_stops_in_the_second_half_alone():
    schedule = Schedule(epochs=8, patience=3, stop="mean")
    now = fed(schedule, [5.0, 4.0, 3.0, 2.0, 1.0, 9.0])
    assert (now.stopped, now.epoch) == ("patience", 5)  # worse since epoch 2, but half is 4
    assert now.recent == [4.0, 3.0, 2.0]


def test_a_mean_compares_with_the_evaluations_before():
    schedule = Schedule(epochs=4, patience=2, stop="mean")
    assert fed(schedule, [1.0, 3.0, 2.0]).epoch == 3 and not fed(schedule, [1.0, 3.0, 2.0]).stopped
    assert fed(schedule, [1.0, 3.0, 1.9]).stopped == "patience"


def test_a_resumed_stage_decides_anew():
    schedule = Schedule(patience=2)
    now = fed(schedule, [0.3, 0.2, 0.1])
    assert now.verdict(schedule) == "patience"
    assert now.verdict(Schedule(patience=5)) == ""
    late = fed(Schedule(epochs=4, patience=2, stop="mean"), [1.0, 3.0, 1.9])
    assert late.verdict(Schedule(epochs=40, patience=2, stop="mean")) == ""


def test_plateaus_halve_the_rate():
    now = fed(Schedule(decay="plateau", patience=4), [1.0, 0.5, 0.5, 0.5])
    assert now.scale == 0.5

"""Alternatives are compared, timed in turns and their memory is measured."""

import sys

import pytest
import torch

from graphlearn.bench.measure import Case, Limit, Ratio, Value, measure, peak_memory, run


def case(**changes):
    calls = changes.pop("calls", [])

    def way(name, answer):
        def call():
            calls.append(name)
            return answer

        return call

    ways = {name: way(name, torch.ones(3)) for name in ("ours", "first", "second")}
    return Case("sum", "three ones", ways, **({"rounds": 2} | changes))


def test_ways_take_turns():
    calls = []
    measure(case(calls=calls), smoke=True)
    warm_up, check, timed = calls[:1], calls[1:4], calls[4:]
    assert warm_up == ["ours"]
    assert check == timed == ["ours", "first", "second"]


def test_a_row_for_every_alternative():
    rows = measure(case(targets={"first": 1e9}, printed=1e9, printed_target=1.0, note="why"))
    assert [(row.ours, row.theirs) for row in rows] == [("ours", "first"), ("ours", "second")]
    for row in rows:
        assert row.low <= row.ratio <= row.high
        assert row.rounds == 2 and row.ours_ms > 0 and row.theirs_ms > 0 and row.note == "why"
    assert not rows[0].met and rows[1].met
    assert [row.printed_ms for row in rows] == [1e9, 0.0]


def test_one_way_alone():
    (row,) = measure(Case("sum", "ones", {"ours": lambda: 1}, printed=1e9, printed_target=2.0))
    assert row.theirs == "" and row.ratio == 0 and row.met
    (row,) = measure(Case("sum", "ones", {"ours": lambda: 1}, printed=1e-9, printed_target=2.0))
    assert not row.met


def test_disagreement_is_an_error():
    wrong = Case("sum", "ones", {"ours": lambda: torch.ones(2), "other": lambda: torch.zeros(2)})
    with pytest.raises(ArithmeticError, match="sum on ones: ours and other do not agree"):
        measure(wrong)


def test_answers_stand_in_for_random_ways():
    ways = {"ours": torch.rand, "other": torch.rand}
    ways = {name: lambda: torch.rand(2) for name in ways}
    measure(Case("draw", "two", ways, answers={"ours": lambda: 1, "other": lambda: 1}), smoke=True)
    with pytest.raises(ArithmeticError, match="ours and other"):
        answers = {"ours": lambda: 1, "other": lambda: 2}
        measure(Case("draw", "two", ways, answers=answers), smoke=True)


def test_a_slow_case_ends_after_two_rounds():
    (row, _) = measure(case(rounds=50, seconds=0.0))
    assert row.rounds == 2


def test_run_hands_lines_through_and_takes_the_least():
    values = iter([3.0, 2.0, 5.0])
    limit = Limit("size", "of it", lambda: next(values), "GB", 2.5, rounds=3)
    found = list(run(["left out", case(), limit]))
    assert found[0] == "left out"
    assert isinstance(found[1], Ratio) and isinstance(found[2], Ratio)
    assert found[3] == Value("size", "of it", 2.0, "GB", 2.5) and found[3].met


def test_a_number_without_a_bound():
    value = Value("stage", "step", 3.0, "us", None, "a third")
    found = list(run([value, Limit("size", "of it", lambda: 2.0, "GB", None)]))
    assert found == [value, Value("size", "of it", 2.0, "GB", None)]
    assert all(row.met for row in found)


def test_run_uses_one_thread_and_restores_them():
    threads = torch.get_num_threads()
    seen = Limit("threads", "torch", lambda: float(torch.get_num_threads()), "", 1.0)
    (row,) = run([seen])
    assert row.value == 1 and torch.get_num_threads() == threads


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can reset the peak")
def test_peak_memory_sees_what_was_freed():
    with peak_memory() as peak:
        del_me = torch.ones(20_000_000)
        del del_me
    if not peak:
        pytest.skip("this system does not let a process reset its peak")
    assert 70 < peak[0] < 150

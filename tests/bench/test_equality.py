"""Answers that differ must be found, whatever their form."""

import pytest
import torch

from graphlearn.bench.equality import agree


@pytest.mark.parametrize(
    "answer",
    [
        3,
        2.5,
        torch.arange(4),
        torch.empty(0),
        [torch.ones(2), 1.0],
        {"ptr": torch.tensor([0, 2])},
    ],
)
def test_an_answer_agrees_with_itself(answer):
    agree(answer, answer, "a and b")


def test_widths_of_integers_do_not_matter():
    agree(torch.arange(3), torch.arange(3, dtype=torch.int32), "a and b")


def test_floats_may_differ_by_rounding():
    agree(torch.tensor([1.0, 1e-9]), torch.tensor([1.00001, 0.0]), "a and b")


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (torch.arange(3), torch.tensor([0, 1, 1]), "a and b do not agree: 1 of 3 integers differ"),
        (torch.ones(2), torch.tensor([1.0, 1.5]), "they differ by 0.5, of 1.5"),
        (torch.ones(2), torch.full((2,), torch.nan), "they differ by nan"),
        (torch.ones(2), torch.ones(3), r"do not agree: \[2\] against \[3\]"),
        ([1, 2], [1], "do not agree: list against list"),
        ([1, 2], [1, 3], "a and b, part 1 do not agree"),
        ({"x": 1.0}, {"x": 2.0}, "a and b, x do not agree"),
        ({"x": 1.0}, {"y": 1.0}, "do not agree: dict against dict"),
        (None, None, "do not agree: NoneType against NoneType"),
    ],
)
def test_differences_are_found(ours, theirs, message):
    with pytest.raises(ArithmeticError, match=message):
        agree(ours, theirs, "a and b")

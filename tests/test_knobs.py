import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from graphlearn.knobs import build, fitted, knobs, locate


@dataclasses.dataclass(frozen=True)
class Record:
    width: int = 3


class Toy:
    """A model.

    Args:
        in_channels: Features of a node.
        hidden: Width.
    """

    def __init__(
        self,
        in_channels: int,
        num_ids: int = 0,
        *,
        hidden: int = 8,
        kind: Literal["a", "b"] = "a",
        rates: tuple[float, ...] = (0.5,),
        limit: int | None = None,
    ) -> None:
        self.given = (in_channels, num_ids, hidden, kind, rates, limit)


def test_knobs_are_the_keyword_only_part():
    made = knobs(Toy)
    assert dataclasses.asdict(made()) == {
        "hidden": 8,
        "kind": "a",
        "rates": (0.5,),
        "limit": None,
    }
    assert [item.name for item in dataclasses.fields(knobs(Toy, without=("kind",)))] == [
        "hidden",
        "rates",
        "limit",
    ]
    assert made.__doc__.startswith("A model.\n\nArgs:\n    in_channels")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made().hidden = 3


def test_knobs_need_defaults():
    def bare(x: int, *, width: int) -> "NotHere": ...

    with pytest.raises(TypeError, match="bare must give its keyword 'width' a default"):
        knobs(bare)


def test_knobs_leave_a_dataclass_alone():
    assert knobs(Record) is Record


def test_build_takes_facts_by_name():
    data = SimpleNamespace(name="toy", facts={"in_channels": 3, "num_nodes": 9})
    assert build(Toy, data, hidden=2).given == (3, 0, 2, "a", (0.5,), None)


def test_build_names_the_missing_fact():
    data = SimpleNamespace(name="toy", facts={"num_nodes": 9})
    message = "Toy needs 'in_channels', which toy does not have; it has num_nodes"
    with pytest.raises(ValueError, match=message):
        build(Toy, data)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "graphlearn.recipe",
            "expected 'package.module:Name' in a recipe, got 'graphlearn.recipe'",
        ),
        ("graphlearn.recipes_:X", "there is no module 'graphlearn.recipes_'"),
        ("graphlearn.recipe:Recip", "has no 'Recip'; did you mean 'Recipe'?"),
    ],
)
def test_locate_says_what_is_wrong(path, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        locate(path)


@pytest.mark.parametrize(
    ("value", "hint", "want"),
    [
        (1, float, 1.0),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ([1, "a"], tuple[int, str], (1, "a")),
        (None, int | None, None),
        ("x/y", Path | None, Path("x/y")),
        (Path("x/y"), Path | None, Path("x/y")),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        ("z", Any, "z"),
    ],
)
def test_values_become_what_their_annotation_says(value, hint, want):
    found = fitted(value, hint, "here")
    assert found == want and type(found) is type(want)


def test_a_union_says_what_it_takes():
    with pytest.raises(ValueError, match=r"here must be int \| None, got 'x'"):
        fitted("x", int | None, "here")

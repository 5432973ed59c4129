"""Knobs: the keyword-only part of a signature, which is what may be tuned.

The positional part is what the data dictates. Hence a signature says all that a recipe, the
command line and the documentation need to know.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from graphlearn.extras import nearest

__all__ = ["Facts", "build", "fitted", "knobs", "locate"]

T = TypeVar("T")


@runtime_checkable
class Facts(Protocol):
    """What building a model needs of a data set."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Sizes by name."""


def knobs(target: Callable[..., Any], *, without: Collection[str] = ()) -> type[Any]:
    """The keyword-only part of a signature as a frozen dataclass; a dataclass stays as it is.

    Args:
        target: A class or function.
        without: Keywords that are left out.

    Raises:
        TypeError: if a keyword has no default.
    """
    if isinstance(target, type) and dataclasses.is_dataclass(target):
        return target
    hints = _hints(target)
    fields: list[tuple[str, Any, Any]] = []
    for key, parameter in inspect.signature(target).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or key in without:
            continue
        if parameter.default is parameter.empty:
            raise TypeError(f"{target.__name__} must give its keyword {key!r} a default")
        fields.append((key, hints.get(key, Any), field(default=parameter.default)))
    made = dataclasses.make_dataclass(target.__name__, fields, frozen=True)
    made.__doc__ = _brief(inspect.getdoc(target) or "")
    return made


def build(target: Callable[..., T], dataset: Facts, **values: object) -> T:
    """Make a model for a data set: its positional parameters are facts of the data set, by name.

    Args:
        target: The class.
        dataset: What it is for.
        **values: Its knobs.

    Raises:
        ValueError: if the data set lacks a fact that the class needs.
    """
    given = []
    for key, parameter in inspect.signature(target).parameters.items():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            continue
        if key not in dataset.facts and parameter.default is parameter.empty:
            raise ValueError(
                f"{target.__name__} needs {key!r}, which {dataset.name} does not have; "
                f"it has {', '.join(sorted(dataset.facts))}"
            )
        given.append(dataset.facts.get(key, parameter.default))
    return target(*given, **values)


def locate(path: str) -> Any:  # noqa: ANN401
    """What a dotted path `package.module:Name` leads to.

    Raises:
        ValueError: if it is no such path, or the module has no such name.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"expected 'package.module:Name' in a recipe, got {path!r}")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"a recipe names {path!r}, but there is no module {error.name!r}"
        ) from None
    if not hasattr(found, name):
        raise ValueError(
            f"a recipe names {path!r}, but {module!r} has no {name!r}{nearest(name, vars(found))}"
        )
    return getattr(found, name)


def fitted(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401
    """A value of a recipe as its annotation wants it, since TOML has fewer types than Python.

    Args:
        value: What the recipe says.
        hint: The annotation.
        where: Name of the knob, for the message.

    Raises:
        ValueError: if the value is of another type or none of the choices.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for option in inner:
            try:
                return fitted(value, option, where)
            except ValueError:
                continue
    elif origin is Literal:
        if value in inner:
            return value
        close = nearest(value, [str(item) for item in inner]) if isinstance(value, str) else ""
        listed = ", ".join(map(repr, inner))
        raise ValueError(f"{where} must be one of {listed}, got {value!r}{close}")
    elif origin is tuple and isinstance(value, list | tuple):
        kinds = (inner[0],) * len(value) if inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            return tuple(fitted(one, kind, where) for one, kind in zip(value, kinds, strict=True))
    elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {key: fitted(one, inner[1], f"{where}.{key}") for key, one in value.items()}
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint is Any or (hint in (None, NoneType) and value is None) or type(value) is hint:
        return value
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    wanted = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise ValueError(f"{where} must be {wanted}, got {value!r}")


def _brief(text: str) -> str:
    """The first line of a docstring and its arguments, which is what a help screen can show."""
    first, _, rest = text.partition("\n")
    listed = rest.partition("Args:\n")[2].partition("\n\n")[0]
    return f"{first}\n\nArgs:\n{listed}\n" if listed else first


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of the parameters; that of the result may not be importable."""
    source = inspect.unwrap(target.__init__ if isinstance(target, type) else target)  # type: ignore[misc]
    own = {key: value for key, value in source.__annotations__.items() if key != "return"}
    return get_type_hints(type("", (), {"__annotations__": own}), source.__globals__)

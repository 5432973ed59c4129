"""Recipes: model, task and schedule of one data set as a TOML table, and what is made from it.

Reading, listing and writing recipes needs the standard library only; the classes that a recipe
names are imported when its knobs are asked for.
"""

import dataclasses
import importlib
import inspect
import json
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from graphlearn.extras import nearest

__all__ = [
    "SECTIONS",
    "Published",
    "Recipe",
    "build",
    "dump",
    "find",
    "knobs",
    "locate",
    "names",
    "recipes",
    "settings",
]

Section = Literal["model", "task", "schedule", "data"]
SECTIONS: tuple[Section, ...] = ("model", "task", "schedule", "data")
FOLDER = Path(__file__).parent / "recipes"
HEAD = ("name", "model", "task", "paper", "dataset", "seed")
TABLE = (*SECTIONS, "published", "after")
T = TypeVar("T")


class Facts(Protocol):
    """What building a model needs of a data set."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Sizes by name."""


class Published(NamedTuple):
    """A number in print; `std` and `runs` are 0 where the source states none."""

    metric: str
    mean: float
    std: float = 0.0
    runs: int = 0
    source: str = ""


@dataclass(frozen=True)
class Recipe:
    """How one model is trained on one data set.

    Args:
        name: Name of the recipe, which is also the folder of its runs.
        dataset: What `graphlearn.load` is given.
        model: Dotted path of the model, `package.module:Class`.
        task: Dotted path of the task.
        paper: Where the model is described.
        values: What the recipe sets in each section; all else keeps the default of the code.
        published: The result in print for this model and data set.
        after: Recipe that is run first with the same seed, and whose best weights start this one.
        seed: The only seed of this recipe, where it repeats one run.
        fallback: Whether the table `[default]` stands in for a data set without its own.
    """

    name: str
    dataset: str
    model: str
    task: str
    paper: str = ""
    values: Mapping[Section, Mapping[str, Any]] = field(default_factory=dict)
    published: Published | None = None
    after: str = ""
    seed: int | None = None
    fallback: bool = False


def names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def recipes() -> Iterator[Recipe]:
    """Every table of every recipe that comes with the package."""
    for name in names():
        path = FOLDER / f"{name}.toml"
        content = _read(path)
        for dataset in (key for key in content if key not in HEAD):
            yield _recipe(path, content, dataset)


def find(name: str, dataset: str = "") -> Recipe:
    """The recipe of a model for a data set.

    Args:
        name: Name of a recipe, `name/dataset`, or the path of an own `.toml` file.
        dataset: Name (in any case) or path of the data set. Without it, an own file says which.

    Raises:
        KeyError: if there is no recipe of that name.
        FileNotFoundError: if an own file does not exist.
        ValueError: if the file is not a recipe.
    """
    if name.endswith(".toml"):
        path = Path(name)
    else:
        name, _, after = name.partition("/")
        dataset = dataset or after
        if name not in names():
            raise KeyError(f"no recipe {name!r}{nearest(name, names())} (graphlearn list)")
        path = FOLDER / f"{name}.toml"
    content = _read(path)
    return _recipe(path, content, dataset or str(content.get("dataset") or _only(path, content)))


def settings(recipe: Recipe) -> dict[Section, Any]:
    """Every knob of the four sections: the values of the recipe over the defaults of the code.

    Returns:
        One frozen dataclass for each of `SECTIONS`.

    Raises:
        ValueError: if the recipe sets a knob that does not exist, or to a value of a wrong type.
    """
    found: dict[Section, Any] = {}
    for section, kind in _kinds(recipe).items():
        where = f"recipe {recipe.name!r} [{recipe.dataset}] {section}"
        fields = {item.name: item for item in dataclasses.fields(kind)}
        values = recipe.values.get(section, {})
        for key in values:
            if key not in fields:
                raise ValueError(f"{where} has no knob {key!r}{_choice(key, fields)}")
        hints = get_type_hints(kind)
        found[section] = kind(
            **{key: _fitted(value, hints[key], f"{where}.{key}") for key, value in values.items()}
        )
    return found


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


def dump(recipe: Recipe) -> str:
    """The recipe as TOML; reading it again gives the same recipe."""
    head = {key: getattr(recipe, key) for key in HEAD if getattr(recipe, key) not in ("", None)}
    table: dict[str, Any] = {key: recipe.values[key] for key in SECTIONS if key in recipe.values}
    if recipe.published:
        table["published"] = recipe.published._asdict()
    if recipe.after:
        table["after"] = recipe.after
    lines = [f"{key} = {_toml(value)}" for key, value in head.items()]
    lines += ["", f"[{_key(recipe.dataset)}]"]
    lines += [f"{key} = {_toml(value)}" for key, value in table.items() if not _mapping(value)]
    for key, value in table.items():
        if _mapping(value):
            lines += ["", f"[{_key(recipe.dataset)}.{key}]"]
            lines += [f"{_key(k)} = {_toml(v)}" for k, v in value.items() if v is not None]
    return "\n".join(lines) + "\n"


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


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no recipe file {str(path)!r}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    for key, value in content.items():
        if key not in HEAD and not _mapping(value):
            raise ValueError(f"{path}: unknown key {key!r}{_choice(key, HEAD)}")
    for key in ("model", "task"):
        if not isinstance(content.get(key), str):
            raise ValueError(f"{path} must say {key} = 'package.module:Name' at its top")
    return content


def _only(path: Path, content: Mapping[str, Any]) -> str:
    """The data set where nobody names one: the only table, or the one the package ships."""
    tables = [key for key in content if key not in (*HEAD, "default")]
    if path.parent == FOLDER:
        return "stdlib"
    if len(tables) == 1:
        return tables[0]
    raise ValueError(f"{path} has {len(tables)} data sets; choose one: --dataset NAME")


def _recipe(path: Path, content: Mapping[str, Any], dataset: str) -> Recipe:
    tables = {key: value for key, value in content.items() if key not in HEAD}
    match = [key for key in tables if key.lower() == dataset.lower() and key != "default"]
    key = match[0] if match else "default"
    if key not in tables:
        raise ValueError(
            f"{path} has no table for {dataset!r} and no [default]; it has {', '.join(tables)}"
        )
    table = tables[key]
    for entry in table:
        if entry not in TABLE:
            raise ValueError(f"{path} [{key}] has no entry {entry!r}{_choice(entry, TABLE)}")
    for section in SECTIONS:
        if not _mapping(table.get(section, {})):
            raise ValueError(f"{path} [{key}]: {section} must be a table, got {table[section]!r}")
    published = table.get("published")
    try:
        printed = Published(**published) if published else None
    except TypeError:
        raise ValueError(
            f"{path} [{key}]: published takes {', '.join(Published._fields)}, got {published!r}"
        ) from None
    return Recipe(
        name=str(content.get("name", path.stem)),
        dataset=match[0] if match else dataset,
        model=content["model"],
        task=content["task"],
        paper=content.get("paper", ""),
        values={section: table[section] for section in SECTIONS if section in table},
        published=printed,
        after=table.get("after", ""),
        seed=content.get("seed"),
        fallback=not match,
    )


def _kinds(recipe: Recipe) -> dict[Section, type[Any]]:
    return {
        "model": knobs(locate(recipe.model)),
        "task": knobs(locate(recipe.task), without=("schedule",)),
        "schedule": knobs(locate("graphlearn.train.task:Schedule")),
        "data": knobs(locate("graphlearn.data:load"), without=("seed",)),
    }


def _choice(key: str, options: Collection[str]) -> str:
    return nearest(key, options) or f"; it takes {', '.join(options)}"


def _fitted(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401
    """The value as its annotation wants it, where TOML has fewer types than Python."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for option in inner:
            try:
                return _fitted(value, option, where)
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
            return tuple(_fitted(one, kind, where) for one, kind in zip(value, kinds, strict=True))
    elif isinstance(origin, type) and issubclass(origin, Mapping) and _mapping(value):
        return {key: _fitted(one, inner[1], f"{where}.{key}") for key, one in value.items()}
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint is Any or (hint in (None, NoneType) and value is None) or type(value) is hint:
        return value
    elif hint is Path and isinstance(value, str):
        return Path(value)
    wanted = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise ValueError(f"{where} must be {wanted}, got {value!r}")


def _mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    raise TypeError(f"a recipe cannot hold {value!r} of type {type(value).__name__}")

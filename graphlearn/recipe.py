"""Recipes: model, task and schedule of one data set as a TOML table, and what is made from it.

Reading, listing and writing recipes needs the standard library only; the classes that a recipe
names are imported when its knobs are asked for.
"""

import dataclasses
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

from graphlearn.extras import nearest
from graphlearn.knobs import fitted, knobs, locate

__all__ = [
    "SECTIONS",
    "Published",
    "Recipe",
    "dump",
    "find",
    "names",
    "recipes",
    "settings",
]

Section = Literal["model", "task", "schedule", "data"]
SECTIONS: tuple[Section, ...] = ("model", "task", "schedule", "data")
FOLDER = Path(__file__).parent / "recipes"
HEAD = ("name", "model", "task", "paper", "dataset", "seed")
TABLE = (*SECTIONS, "published", "after", "rates")
RATE = (*SECTIONS, "published")


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

    @property
    def label(self) -> str:
        """Name of the data set in folders and pictures: `robust_cora`, `robust_cora-meta-0.2`."""
        name = Path(self.dataset).name
        name = name.partition(".")[0] or name
        data = self.values.get("data", {})
        rate = data.get("rate") or 0
        attack = data.get("attack", "meta")
        # The test of nettack is its targets, also before it has changed anything.
        return f"{name}-{attack}-{rate:g}" if rate or attack == "nettack" else name

    @property
    def rate(self) -> float:
        """How strongly the data set was attacked; 0 is not at all."""
        return float(self.values.get("data", {}).get("rate") or 0)


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
            for rate in content[dataset].get("rates", {}):
                yield _recipe(path, content, dataset, float(rate))


def find(name: str, dataset: str = "", rate: float = 0.0, attack: str = "meta") -> Recipe:
    """The recipe of a model for a data set.

    Args:
        name: Name of a recipe, `name/dataset`, or the path of an own `.toml` file.
        dataset: Name (in any case) or path of the data set. Without it, an own file says which.
        rate: How strongly the data set is attacked; what the recipe has for this rate goes over
            what it has for the data set.
        attack: By which attack; settings and numbers in print are those of `meta`.

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
    dataset = dataset or str(content.get("dataset") or _only(path, content))
    return _recipe(path, content, dataset, rate, attack)


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
            **{key: fitted(value, hints[key], f"{where}.{key}") for key, value in values.items()}
        )
    return found


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
    raise ValueError(f"{path} has settings for {len(tables)} data sets; choose one: --dataset NAME")


def _recipe(
    path: Path,
    content: Mapping[str, Any],
    dataset: str,
    rate: float = 0.0,
    attack: str = "meta",
) -> Recipe:
    tables = {key: value for key, value in content.items() if key not in HEAD}
    match = [key for key in tables if key.lower() == dataset.lower() and key != "default"]
    key = match[0] if match else "default"
    if key not in tables:
        raise ValueError(
            f"{path} has no table for {dataset!r} and no [default]; it has {', '.join(tables)}"
        )
    table = tables[key]
    _check(table, TABLE, f"{path} [{key}]")
    table = _at(table, rate, attack, f"{path} [{key}]")
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


def _at(table: Mapping[str, Any], rate: float, attack: str, where: str) -> Mapping[str, Any]:
    """A table with what it has for one rate of an attack laid over it."""
    if not rate and attack == "meta":
        return table
    for key, over in table.get("rates", {}).items():
        if float(key) == rate and attack == "meta":
            _check(over, RATE, f"{where} rates.{key}")
            merged: dict[str, Any] = {
                name: {**table.get(name, {}), **over.get(name, {})}
                for name in SECTIONS
                if name in table or name in over
            }
            merged["data"] = {**merged.get("data", {}), "rate": rate}
            return {**table, "published": over.get("published"), **merged}
    # A number in print for the clean graph says nothing about an attacked one.
    return {key: value for key, value in table.items() if key != "published"}


def _check(table: Mapping[str, Any], entries: Collection[str], where: str) -> None:
    for entry in table:
        if entry not in entries:
            raise ValueError(f"{where} has no entry {entry!r}{_choice(entry, entries)}")
    for section in SECTIONS:
        if not _mapping(table.get(section, {})):
            raise ValueError(f"{where}: {section} must be a table, got {table[section]!r}")
    for rate in table.get("rates", {}):
        try:
            float(rate)
        except ValueError:
            raise ValueError(f"{where}: rates has {rate!r}, which is no number") from None


def _kinds(recipe: Recipe) -> dict[Section, type[Any]]:
    return {
        "model": knobs(locate(recipe.model)),
        "task": knobs(locate(recipe.task), without=("schedule",)),
        "schedule": knobs(locate("graphlearn.train.task:Schedule")),
        "data": knobs(locate("graphlearn.data:load"), without=("seed",)),
    }


def _choice(key: str, options: Collection[str]) -> str:
    return nearest(key, options) or f"; it takes {', '.join(options)}"


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

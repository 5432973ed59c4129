"""The options of every command, as dataclasses from which flags, types and help are made."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

import graphlearn as gl
from graphlearn.extras import nearest
from graphlearn.knobs import knobs
from graphlearn.recipe import Recipe, settings

__all__ = [
    "Attack",
    "Bench",
    "Eval",
    "List",
    "Predict",
    "Report",
    "Train",
    "Usage",
    "expand",
    "flags",
    "pairs",
    "parse",
    "seeds",
    "value",
]

T = TypeVar("T")
MACHINE = ("out", "resume", "overwrite")  # keywords of the trainer that are options of the command


class Usage(Exception):
    """A command was typed wrongly."""


@dataclass(frozen=True)
class List:
    """Recipes with the data sets they have settings for, and the published results.

    Args:
        pattern: Show recipes whose name or data set contains this, or matches it (`ncn*`).
        datasets: Show the data sets that have a name instead.
    """

    pattern: tyro.conf.Positional[str] = ""
    datasets: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


@dataclass(frozen=True)
class Train:
    """Train a recipe on a data set and test it, once for each seed.

    What the paper decides is changed by `--model.*`, `--task.*`, `--schedule.*` and `--data.*`:
    `graphlearn train ncn --help` lists those of one recipe with their values for the data set.

    Args:
        name: A recipe (`graphlearn list`), or the path of your own .toml file.
        dataset: A data set (`graphlearn list --datasets`), or the path of your own edge list.
        seeds: How many seeds to run: 0, 1, ...
        seed: One seed to run.
        out: Folder of all runs; files go to `<out>/<recipe>/<data set>/<seed>`.
        resume: Skip finished seeds and continue interrupted ones.
        overwrite: Replace runs that are there.
    """

    name: tyro.conf.Positional[str]
    dataset: str = "stdlib"
    seeds: int = 1
    seed: int | None = None
    out: Path = Path("runs")
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


@dataclass(frozen=True)
class Attack:
    """Change edges of a graph of nodes, and write it as a folder that `train --dataset` reads.

    Args:
        kind: random adds edges; dice removes them within classes and adds them across; meta goes by
            the gradient through training (MetaAttack); prbcd by that of a model (large graphs).
        dataset: A data set of nodes (`graphlearn list --datasets`), or the path of your own.
        labels: Labels of the nodes of an own table.
        features: Features of the nodes of an own table.
        rates: Shares of the edges to change.
        seed: Seed of the attack.
        out: The new folder.
    """

    kind: tyro.conf.Positional[Literal["random", "dice", "meta", "prbcd"]]
    dataset: str = "stdlib"
    labels: Path | None = None
    features: Path | None = None
    rates: tuple[float, ...] = (0.05, 0.1, 0.2)
    seed: int = 0
    out: Path = Path("attacked")


@dataclass(frozen=True)
class Eval:
    """Metrics of the best weights of a run.

    Args:
        run: Folder of one run, such as runs/ncn/Cora/0.
        split: Which split.
        adaptive: Share of the edges that an attack on this very model may flip (PRBCD, node
            classifiers only): shows the accuracy of the test before and after it.
        seed: Seed of that attack.
        device: auto, cpu, cuda, cuda:N or mps.
    """

    run: tyro.conf.Positional[Path]
    split: Literal["valid", "test"] = "test"
    adaptive: float = 0.0
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Predict:
    """Score pairs, find missing links, who meets whom next, what a user will like, or classes.

    Args:
        run: Folder of one run, such as runs/ncnc/stdlib/0.
        input: File of pairs to score: two columns of names or ids; of a classifier, one name or id
            per line.
        output: Write the answer there as CSV instead of showing it.
        top: How many links to find, where no pairs are given; how many nodes to show, the most
            certain first, where none are given.
        node: Names or ids: find links of these nodes only, in a stream their next partners; of a
            classifier, the nodes to classify.
        nodes: File with one name or id per line, to the same end.
        exhaustive: Consider all pairs that are not linked, not only those at distance two; in a
            stream, all nodes as destinations.
        user: Of a recommender: users as they are called in the data, each gets `top` items.
        users: File with one user per line, to the same end.
        embeddings: Write the vectors of all users and items of a recommender there (.npz).
        device: auto, cpu, cuda, cuda:N or mps.
    """

    run: tyro.conf.Positional[Path]
    input: Path | None = None
    output: Path | None = None
    top: int = 20
    node: tuple[str, ...] = ()
    nodes: Path | None = None
    exhaustive: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    user: tuple[str, ...] = ()
    users: Path | None = None
    embeddings: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Report:
    """Tables beside published results, learning curves over seeds, and a bar chart.

    Runs on event streams are also drawn over time: how good they are, and how full their caches.

    Args:
        runs: Run folders, or folders that hold some at any depth.
        out: Folder of the report.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    out: Path = Path("report")


@dataclass(frozen=True)
class Bench:
    """Speed and memory against named alternatives, as ratios in one process (in a clone only).

    Args:
        name: A file of benchmarks/ without its suffix; all of them without a name.
        smoke: Tiny inputs and one round: whether every benchmark runs and its answers agree.
        data: Folder of the data sets; by default GRAPHLEARN_DATA.
        out: Put the results into this .json file, or into one named after the machine in this
            folder.
        table: Measure nothing; write all results into the tables of benchmarks/README.md.
    """

    name: tyro.conf.Positional[str] = ""
    smoke: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    data: Path | None = None
    out: Path | None = None
    table: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


def parse(kind: type[T], words: Sequence[str], command: str) -> T:
    """The options of a command.

    Args:
        kind: The dataclass of its options.
        words: What follows the command.
        command: Its name, for messages.

    Raises:
        Usage: if there is an unknown option; names the nearest.
        SystemExit: after help, or where a value is not valid.
    """
    prog = f"graphlearn {command}"
    found, unknown = tyro.cli(kind, args=list(words), prog=prog, return_unknown_args=True)
    if unknown:
        flag = unknown[0].partition("=")[0]
        known = _known(kind)
        short = [f"--{one.rpartition('.')[2]}" for one in known if "." in one]
        hint = nearest(flag.replace("_", "-"), [*known, *short])
        what = "option" if flag.startswith("-") else "argument"
        raise Usage(f"unknown {what} {flag!r}{hint} ({prog} --help)")
    return found


def _known(kind: Any, prefix: str = "--") -> list[str]:  # noqa: ANN401
    """All flags of a dataclass of options."""
    flags = []
    for item in dataclasses.fields(kind):
        inner = item.default
        if dataclasses.is_dataclass(inner):
            flags += _known(inner, "--" if item.name == "machine" else f"{prefix}{item.name}.")
        elif isinstance(inner, Mapping):
            flags += [f"{prefix}{item.name}.{key}" for key in inner]
        else:
            flags.append(f"{prefix}{item.name}".replace("_", "-"))
    return flags


def expand(words: Sequence[str], kind: type[Any]) -> list[str]:
    """Knobs by their short name, as long as one section alone has it: `--rate` is `--data.rate`.

    Args:
        words: What was typed.
        kind: The dataclass of options.

    Raises:
        Usage: if several sections have the knob.
    """
    known, out = _known(kind), []
    for word in words:
        flag, given, value = word.partition("=")
        name = flag.removeprefix("--").replace("_", "-")
        if flag.startswith("--") and "." not in flag and f"--{name}" not in known:
            bare = name.removeprefix("no-")
            found = [one for one in known if "." in one and one.rpartition(".")[2] in (name, bare)]
            if len(found) > 1:
                raise Usage(f"{flag} is ambiguous: {' or '.join(found)}")
            flag = f"{found[0].rpartition('.')[0]}.{name}" if found else flag
        out.append(flag + given + value)
    return out


def flags(recipe: Recipe) -> type[Any]:
    """The options of `train` with every knob of model, task, schedule, data and trainer.

    Args:
        recipe: Gives the defaults.

    Raises:
        ValueError: if the recipe sets a knob that does not exist, or to a value of a wrong type.
    """
    machine = knobs(gl.Trainer, without=MACHINE)
    fields: list[tuple[str, Any, Any]] = [("dataset", str, field(default=recipe.dataset))]
    for section, value in settings(recipe).items():
        fields.append((section, type(value), field(default=value)))
    fields.append(
        ("machine", Annotated[machine, tyro.conf.OmitArgPrefixes], field(default=machine()))
    )
    made = dataclasses.make_dataclass("Train", fields, bases=(Train,), frozen=True)
    made.__doc__ = Train.__doc__
    return made


def pairs(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """The fields of a dataclass by name, one level deep."""
    return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}


def value(words: Sequence[str], flag: str) -> str:
    """What a flag is set to, before the options can be parsed."""
    for place, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag and place + 1 < len(words):
            return words[place + 1]
    return ""


def seeds(options: Train, recipe: Recipe, words: Sequence[str]) -> Sequence[int]:
    """The seeds to run.

    Args:
        options: Of the command.
        recipe: That of a run says its seed.
        words: What was typed.

    Raises:
        Usage: if the options contradict each other or are negative.
    """
    several = value(words, "--seeds")
    if several and options.seed is not None:
        raise Usage("--seeds runs the first N seeds, --seed runs one; choose one of them")
    if options.seeds < 1 or (options.seed or 0) < 0:
        raise Usage("--seeds must be at least 1 and --seed at least 0")
    if options.seed is not None:
        return [options.seed]
    if recipe.seed is not None and not several:
        return [recipe.seed]
    return range(options.seeds)

"""Runs: a recipe and a seed become a trained model in a folder of its own, and come back from it.

A run lives in `runs/<recipe>/<data set>/<seed>/`: `recipe.toml` (complete: running it again gives
the same run), `metrics.csv`, `best.pt`, `last.pt`, `result.json`. Beside the seeds lies
`summary.json`.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor

from graphlearn.data import load
from graphlearn.data.dataset import Dataset
from graphlearn.knobs import build, locate
from graphlearn.recipe import SECTIONS, Recipe, Section, dump, find, settings
from graphlearn.train import checkpoint, distributed
from graphlearn.train.task import Task
from graphlearn.train.tracking import Result
from graphlearn.train.trainer import Trainer

__all__ = [
    "changed",
    "first_process",
    "folder_of",
    "make",
    "resolved",
    "restore",
    "run",
    "summarise",
    "train",
]

LENGTH = ("epochs", "patience")  # what a run that is resumed may change


def run(
    name: str,
    *,
    dataset: str = "",
    seeds: int | Sequence[int] = 1,
    model: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    schedule: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    out: Path | str = "runs",
    resume: bool = False,
    overwrite: bool = False,
    **machine: Any,  # noqa: ANN401
) -> list[Result]:
    """Train a recipe, once for each seed: `run("ncnc/ogbl-collab", seeds=10)`.

    Args:
        name: `recipe`, `recipe/dataset`, or the path of an own `.toml` file.
        dataset: Name or path of the data set, where the name does not say it.
        seeds: How many seeds (0, 1, ...), or which.
        model: Knobs of the model that differ from the recipe.
        task: Knobs of the task that differ.
        schedule: Knobs of the schedule that differ.
        data: Options of `graphlearn.load` that differ.
        out: Folder of all runs.
        resume: Skip finished seeds and continue interrupted ones.
        overwrite: Replace runs that are there.
        **machine: Keywords of `Trainer` (`device`, `precision`, ...).

    Returns:
        One result per seed; fewer after Ctrl-C, and then the last one says `interrupted`.
    """
    values = {"model": model, "task": task, "schedule": schedule, "data": data}
    rate, attack = float((data or {}).get("rate") or 0), str((data or {}).get("attack", "meta"))
    recipe = changed(
        find(name, dataset, rate, attack), {key: values[key] or {} for key in SECTIONS}
    )
    if isinstance(seeds, int):
        seeds = range(seeds) if recipe.seed is None else [recipe.seed]
    results = []
    for seed in seeds:
        result = train(recipe, seed, out=out, resume=resume, overwrite=overwrite, **machine)
        results.append(result)
        if result.stopped == "interrupted":
            break
    summarise(recipe, results, out)
    return results


def changed(recipe: Recipe, values: Mapping[Section, Mapping[str, Any]]) -> Recipe:
    """The recipe with some knobs set otherwise."""
    merged = {key: {**recipe.values.get(key, {}), **values.get(key, {})} for key in SECTIONS}
    return dataclasses.replace(recipe, values=merged)


def resolved(recipe: Recipe, seed: int) -> Recipe:
    """The recipe of one run: with every knob, its seed, and paths that hold everywhere.

    Raises:
        ValueError: if the recipe sets a knob that does not exist, or to a value of a wrong type.
    """
    values: dict[Section, dict[str, Any]] = {}
    for section, value in settings(recipe).items():
        pairs = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        values[section] = {key: _absolute(item) for key, item in pairs.items() if item is not None}
    path = Path(recipe.dataset).expanduser()
    dataset = str(path.absolute()) if path.suffix and path.is_file() else recipe.dataset
    return dataclasses.replace(recipe, values=values, seed=seed, dataset=dataset, fallback=False)


def make(recipe: Recipe) -> tuple[Task, Dataset]:
    """The task of a resolved recipe with fresh weights, and its data set.

    Raises:
        KeyError: if there is no such data set.
        ValueError: if model and data set do not fit together.
    """
    knobs, seed = settings(recipe), recipe.seed or 0
    dataset = load(recipe.dataset, seed=seed, **vars(knobs["data"]))
    torch.manual_seed(seed)
    model = build(locate(recipe.model), dataset, **vars(knobs["model"]))
    task: Task = locate(recipe.task)(
        model, dataset, schedule=knobs["schedule"], **vars(knobs["task"])
    )
    task.seed = seed
    return task, dataset


def train(
    recipe: Recipe,
    seed: int,
    *,
    out: Path | str = "runs",
    resume: bool = False,
    overwrite: bool = False,
    **machine: Any,  # noqa: ANN401
) -> Result:
    """Train one seed of a recipe, after the recipe that it builds on.

    Args:
        recipe: What to train.
        seed: Seed of the data split, the weights and the batches.
        out: Folder of all runs.
        resume: Continue an interrupted run; a finished one returns its result.
        overwrite: Replace a run that is there.
        **machine: Keywords of `Trainer`.

    Raises:
        FileExistsError: if there is such a run, and neither `resume` nor `overwrite` is set.
        ValueError: if the run to resume was made with other settings.
    """
    recipe = resolved(recipe, seed)
    folder = folder_of(recipe, seed, out)
    if _check(folder, recipe, resume=resume, overwrite=overwrite):
        return Result.read(folder)
    task, _ = make(recipe)
    if recipe.after:
        first = changed(find(recipe.after), {"data": recipe.values["data"]})
        before = train(first, seed, out=out, resume=True, **machine)
        if before.stopped == "interrupted":
            return before
        _inherit(task, folder_of(first, seed, out) / "best.pt")
    if first_process():
        _write(folder / "recipe.toml", dump(recipe))
    trainer = Trainer(out=folder, resume=resume, overwrite=overwrite, **machine)
    return trainer.fit(task, recipe={"name": recipe.name, "toml": dump(recipe)})


def restore(folder: Path) -> tuple[Task, Dataset]:
    """The task of a run with its best weights, and its data set.

    Args:
        folder: The folder of one run.

    Raises:
        FileNotFoundError: if the folder holds no run, or one without weights.
        ValueError: if the weights belong to another model.
    """
    if not (folder / "recipe.toml").is_file():
        raise FileNotFoundError(f"{folder} is no run: it holds no recipe.toml{_inside(folder)}")
    if not (folder / "best.pt").is_file():
        raise FileNotFoundError(f"{folder} holds no best.pt: the run has no weights yet")
    content = checkpoint.load(folder / "best.pt")
    task, dataset = make(find(str(folder / "recipe.toml")))
    checkpoint.restore(task, content, folder / "best.pt")
    task.epoch = int(content.get("progress", {}).get("best_epoch", 0))
    task.eval()
    return task, dataset


def first_process() -> bool:
    """Whether this process speaks and writes for all."""
    return distributed.this_process().rank == 0


def folder_of(recipe: Recipe, seed: int, out: Path | str) -> Path:
    """Folder of the files of one run."""
    return Path(out) / recipe.name / recipe.label / str(seed)


def summarise(recipe: Recipe, results: Iterable[Result], out: Path | str) -> dict[str, Any]:
    """Mean and population standard deviation over seeds; also written to `summary.json`.

    Args:
        recipe: What was trained.
        results: One per seed; interrupted ones are left out.
        out: Folder of all runs; nothing is written where nothing finished.
    """
    done = [result for result in results if result.stopped != "interrupted"]
    summary: dict[str, Any] = {"recipe": recipe.name, "dataset": recipe.dataset}
    summary["seeds"] = [result.seed for result in done]
    if recipe.published:
        summary["published"] = recipe.published._asdict()
    for split in ("valid", "test"):
        rows = [getattr(result, split) for result in done]
        summary[split] = {
            name: {"mean": fmean(values), "std": pstdev(values), "values": values}
            for name, values in _columns(rows)
        }
    if done and first_process():
        path = folder_of(recipe, done[0].seed, out).parent / "summary.json"
        _write(path, json.dumps(summary, indent=2) + "\n")
    return summary


def _columns(rows: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, list[float]]]:
    for name in rows[0] if rows else ():
        yield name, [row[name] for row in rows if name in row]


def _check(folder: Path, recipe: Recipe, *, resume: bool, overwrite: bool) -> bool:
    """Refuse to mix a run with what its folder holds, before anything costs time.

    Returns:
        Whether this very run is finished and need not be continued.
    """
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other: continue or replace, not both")
    if overwrite or not any((folder / name).exists() for name in ("last.pt", "result.json")):
        return False
    if not resume:
        raise FileExistsError(
            f"{folder} holds a run; continue it with --resume, replace it with --overwrite, "
            "or choose another folder with --out"
        )
    there = find(str(folder / "recipe.toml"))
    longer = False
    for section in SECTIONS:
        ours, theirs = recipe.values.get(section, {}), there.values.get(section, {})
        for key in (key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)):
            if _plain(ours.get(key)) == _plain(theirs.get(key)):
                continue
            if key not in LENGTH:
                raise ValueError(
                    f"{folder} was made with {section}.{key} = {theirs.get(key)}, now it is "
                    f"{ours.get(key)}; use the same settings, --overwrite, or another --out"
                )
            longer = True
    return (folder / "result.json").is_file() and not longer


def _inherit(task: Task, path: Path) -> None:
    """Start from the best weights of another run, wherever name and shape agree."""
    own, other = task.state_dict(), checkpoint.load(path)["state"]
    same = {key: other[key] for key, value in own.items() if _fits(value, other.get(key))}
    if not any(key in same for key, _ in task.named_parameters()):
        raise ValueError(f"{path} shares no parameter with {checkpoint.label(task)}")
    task.load_state_dict({**own, **same})


def _fits(value: object, other: object) -> bool:
    return isinstance(value, Tensor) and isinstance(other, Tensor) and value.shape == other.shape


def _inside(folder: Path) -> str:
    runs = sorted(path.parent for path in folder.glob("**/recipe.toml"))
    return f"; it holds {len(runs)} runs, choose one, for example {runs[0]}" if runs else ""


def _write(path: Path, text: str) -> None:
    with checkpoint.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with checkpoint.replacing(path) as file:
        file.write(text.encode())


def _absolute(value: object) -> object:
    return value.expanduser().absolute() if isinstance(value, Path) else value


def _plain(value: object) -> object:
    """A value as it comes back from TOML."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value

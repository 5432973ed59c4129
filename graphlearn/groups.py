"""Finished runs as they lie in their folders, by recipe and data set."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from graphlearn.recipe import Published, Recipe, find

__all__ = ["Group", "collect", "headline"]


@dataclass(frozen=True)
class Group:
    """The finished runs of one recipe on one data set, one per seed.

    Args:
        recipe: What was run.
        results: Contents of each `result.json`, by seed.
        histories: Rows of each `metrics.csv`.
        folders: Where each of them lies.
    """

    recipe: Recipe
    results: Sequence[Mapping[str, Any]]
    histories: Sequence[Sequence[Mapping[str, float]]]
    folders: Sequence[Path] = ()

    @property
    def label(self) -> str:
        """Name of the data set, and of the attack on it."""
        return self.recipe.label

    @property
    def metric(self) -> str:
        """What stands for the runs, see `headline`."""
        found = [name for name in self.results[0]["test"] if self.values(name)]
        return headline(self.recipe, str(self.results[0]["monitor"]), found)

    @property
    def published(self) -> Published | None:
        """The result in print, where these runs have its metric."""
        printed = self.recipe.published
        return printed if printed and printed.metric == self.metric else None

    @property
    def trained(self) -> bool:
        """Whether there was something to train."""
        return any(self.histories)

    def values(self, name: str, split: str = "test") -> list[float]:
        """A metric of a split for every seed that has it."""
        return [result[split][name] for result in self.results if name in result[split]]


def headline(recipe: Recipe, monitor: str, found: Sequence[str]) -> str:
    """The metric that stands for a run.

    Args:
        recipe: What was run.
        monitor: What selected the weights.
        found: Metrics of the run, the one that people ask for first.

    Returns:
        The published one where the run has it; else the one that selected the weights, and where
        that was a loss the first that is none.
    """
    if recipe.published and recipe.published.metric in found:
        return recipe.published.metric
    others = [name for name in found if name != "loss"]
    return others[0] if monitor == "-loss" and others else monitor.removeprefix("-")


def collect(paths: Iterable[Path]) -> list[Group]:
    """The finished runs below some folders, by data set and, best first, by recipe.

    Args:
        paths: Run folders, or folders that hold some at any depth.

    Raises:
        FileNotFoundError: if there is no finished run.
    """
    paths = list(paths)
    folders = {file.parent for path in paths for file in path.glob("**/result.json")}
    found: dict[tuple[str, str], list[tuple[int, Path, Recipe]]] = {}
    for folder in sorted(folders):
        if (folder / "recipe.toml").is_file():
            recipe = find(str(folder / "recipe.toml"))
            key = (f"{recipe.dataset}/{recipe.label}", recipe.name)
            found.setdefault(key, []).append((recipe.seed or 0, folder, recipe))
    if not found:
        searched = ", ".join(map(str, paths))
        raise FileNotFoundError(f"there is no finished run (a result.json) below {searched}")
    groups = []
    for runs in found.values():
        runs.sort(key=lambda run: (run[0], str(run[1])))
        results = [_result(folder) for _, folder, _ in runs]
        histories = [_history(folder / "metrics.csv") for _, folder, _ in runs]
        where = [folder for _, folder, _ in runs]
        groups.append(Group(runs[0][2], results, histories, where))
    place = lambda group: (group.recipe.dataset, group.recipe.rate, -_mean(group))  # noqa: E731
    return sorted(groups, key=place)


def _mean(group: Group) -> float:
    values = group.values(group.metric)
    return fmean(values) if values else 0.0


def _result(folder: Path) -> Mapping[str, Any]:
    path = folder / "result.json"
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not {"monitor", "test", "valid"} <= found.keys():
            raise ValueError("keys are missing")
    except (ValueError, AttributeError):
        raise ValueError(f"{path} is damaged or no result of a run") from None
    return found


def _history(path: Path) -> list[dict[str, float]]:
    """Rows of the last stage; a line that was cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            try:
                rows.append({key: float(value) for key, value in line.items() if value and key})
            except ValueError:
                continue
    last = max((row.get("stage", 0.0) for row in rows), default=0.0)
    return [row for row in rows if "epoch" in row and row.get("stage", 0.0) == last]

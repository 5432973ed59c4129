"""What is said about finished runs: one line for each seed, and all seeds beside the published."""

from collections.abc import Sequence
from statistics import fmean, pstdev

from graphlearn.groups import headline
from graphlearn.recipe import Recipe
from graphlearn.report import natural, number, percent, table
from graphlearn.train.tracking import Result

__all__ = ["one_line", "outcome"]

_MANY = 8  # metrics above which each gets a line instead of a column


def one_line(recipe: Recipe, result: Result) -> str:
    """Metric of validation and test, and how long it took.

    Args:
        recipe: What was trained.
        result: What came of it.
    """
    name = headline(recipe, result.monitor, [*result.test, *result.valid])
    parts = [
        f"{split} {name} {percent(found[name])}"
        for split, found in (("valid", result.valid), ("test", result.test))
        if name in found
    ]
    epochs = f"best epoch {result.best_epoch} of {result.epochs}, " if result.epochs else ""
    return f"{', '.join(parts)} ({epochs}{result.seconds:.0f} s)"


def outcome(recipe: Recipe, results: Sequence[Result]) -> str:
    """The metrics of every seed, and the mean beside the published value.

    Many metrics stand below each other, few side by side.

    Args:
        recipe: What was trained.
        results: One for each seed.
    """
    name = headline(recipe, results[0].monitor, [*results[0].test, *results[0].valid])
    common = set.intersection(*({*one.test} for one in results))  # a seed may lack a group
    names = [name, *sorted(common - {name}, key=natural)]
    spread = {key: [one.test[key] for one in results] for key in names}
    columns = {str(one.seed): {key: one.test[key] for key in names} for one in results}
    if len(results) > 1:
        columns["mean"] = {key: fmean(values) for key, values in spread.items()}
        columns["std"] = {key: pstdev(values) for key, values in spread.items()}
    if len(names) > _MANY:
        heads = [f"seed {seed}" if seed.isdigit() else seed for seed in columns]
        rows = [[key, *(number(key, one[key]) for one in columns.values())] for key in names]
        shown = table(["metric", *heads], rows)
    else:
        rows = [[seed, *(number(key, one[key]) for key in names)] for seed, one in columns.items()]
        shown = table(["seed", *names], rows)
    mean = percent(fmean(spread[name]), pstdev(spread[name]) if len(results) > 1 else None)
    count = f"{len(results)} seeds" if len(results) > 1 else "1 seed"
    where = recipe.label if recipe.rate else recipe.dataset
    text = f"{recipe.name} on {where}: test {name} {mean} ({count})"
    if (printed := recipe.published) and printed.metric == name:
        runs = f", {printed.runs} runs" if printed.runs else ""
        value = percent(printed.mean, printed.std or None, scale=1.0)
        text += f"; published {value} ({printed.source}{runs})"
    return f"\n{shown}\n\n{text}"

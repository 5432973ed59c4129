"""The command line: list, train, eval, predict, attack, report, bench.

Only this file prints. Listing and help read TOML; what computes is imported when it is needed.
"""

import csv
import fnmatch
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

import graphlearn as gl
from graphlearn.extras import nearest
from graphlearn.groups import collect
from graphlearn.options import (
    Attack,
    Bench,
    Eval,
    List,
    Predict,
    Report,
    Train,
    Usage,
    expand,
    flags,
    pairs,
    parse,
    seeds,
    value,
)
from graphlearn.recipe import SECTIONS, Recipe, find, recipes
from graphlearn.report import number, percent, report, table
from graphlearn.settings import data_root

if TYPE_CHECKING:
    from graphlearn.predict import Classified, Recommended, Scored

__all__ = ["main"]

EXPECTED = (ArithmeticError, ImportError, LookupError, OSError, TypeError, ValueError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Its words; by default those of the process.

    Returns:
        0 if done, 1 after an error (one line on standard error), 2 for wrong usage, 130 if
        interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    name = words[0] if words else ""
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"graphlearn {gl.__version__}")
        return 0
    if name not in COMMANDS:
        what = f"no command {name!r}{nearest(name, COMMANDS)}" if name else "which command?"
        return _complain(f"{what} (graphlearn --help)", 2)
    try:
        return COMMANDS[name](words[1:])
    except Usage as error:
        return _complain(str(error), 2)
    except SystemExit as stop:  # how tyro ends after a usage error or help
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:  # the reader has seen enough: `graphlearn list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
            return 1
        return _complain(_line(error), 1)


def _list(words: Sequence[str]) -> int:
    options = parse(List, words, "list")
    if options.datasets:
        print("\n".join(name for name in gl.data.DATASETS if _matches(options.pattern, name)))
        return 0
    rows = []
    for recipe in recipes():
        if _matches(options.pattern, recipe.name, recipe.dataset):
            printed = recipe.published
            other = recipe.dataset == "default"
            rows.append(
                [
                    recipe.name,
                    "any other" if other else recipe.label,
                    printed.metric if printed else "",
                    percent(printed.mean, printed.std or None, scale=1.0) if printed else "",
                ]
            )
    if not rows:
        known = {name for recipe in recipes() for name in (recipe.name, recipe.dataset)}
        raise KeyError(f"no recipe matches {options.pattern!r}{nearest(options.pattern, known)}")
    print(table(["recipe", "data set", "metric", "published"], rows, left=3))
    return 0


def _train(words: Sequence[str]) -> int:
    if not words or words[0].startswith("-"):
        if {"-h", "--help"} & set(words):
            parse(Train, ["--help"], "train")
        raise Usage("put the name of the recipe first: graphlearn train NAME ...")
    recipe = find(words[0], value(words, "--dataset"), *_attacked(words))
    kind = flags(recipe)
    options = parse(kind, expand(words, kind), f"train {words[0]}")
    recipe = gl.runs.changed(recipe, {key: pairs(getattr(options, key)) for key in SECTIONS})
    machine = pairs(options.machine)
    if machine["processes"] > 1 and machine["strategy"] == "auto":
        machine["strategy"] = "ddp_spawn"  # the default would start this command once more
    _announce(recipe)
    results = []
    for seed in seeds(options, recipe, words):
        result = gl.runs.train(
            recipe, seed, out=options.out, resume=options.resume, overwrite=options.overwrite,
            **machine,
        )  # fmt: skip
        if result.stopped == "interrupted":
            again = " ".join([*(word for word in words if word != "--overwrite"), "--resume"])
            return _complain(
                f"interrupted after epoch {result.epochs}; continue with: graphlearn train {again}",
                130,
            )
        results.append(result)
        _show(f"seed {result.seed}: {gl.outcome.one_line(recipe, result)} -> {result.folder}")
    gl.runs.summarise(recipe, results, options.out)
    _show(gl.outcome.outcome(recipe, results))
    return 0


def _attack(words: Sequence[str]) -> int:
    options = parse(Attack, words, "attack")
    more = {"labels": options.labels, "features": options.features}
    found = gl.poison.poison(
        options.dataset, options.kind, options.rates, options.out, seed=options.seed,
        options={key: value for key, value in more.items() if value},
    )  # fmt: skip
    rows = [[f"{one.rate:g}", str(one.added), str(one.removed)] for one in found]
    print(table(["rate", "added", "removed"], rows))
    print(f"\ngraphlearn train stable --dataset {options.out} --rate {options.rates[-1]:g}")
    return 0


def _eval(words: Sequence[str]) -> int:
    options = parse(Eval, words, "eval")
    if options.adaptive:
        clean, attacked, what = gl.poison.against(
            options.run, options.adaptive, seed=options.seed, device=options.device
        )
        print(
            table(
                ["test accuracy", ""], [["clean", percent(clean)], ["attacked", percent(attacked)]]
            )
        )
        print(f"{what.added} edges added, {what.removed} removed, by the gradients of this model")
        return 0
    task, _ = gl.runs.restore(options.run)
    found = gl.Trainer(device=options.device).evaluate(task, options.split)
    print(table(["metric", options.split], [[key, number(key, found[key])] for key in found]))
    return 0


def _predict(words: Sequence[str]) -> int:
    options = parse(Predict, words, "predict")
    if options.top < 1:
        raise ValueError(f"--top must be at least 1, got {options.top}")
    if options.input and (options.node or options.nodes):
        flag = "--node" if options.node else "--nodes"
        raise ValueError(f"--input scores given pairs, {flag} finds new ones; choose one of them")
    if options.embeddings:
        users, items = gl.predict.export(options.run, options.embeddings, device=options.device)
        print(f"{users} users and {items} items -> {options.embeddings}")
        return 0
    rows = gl.predict.answer(
        options.run,
        options.input,
        top=options.top,
        nodes=options.nodes,
        named=options.node,
        exhaustive=options.exhaustive,
        users=options.users,
        people=options.user,
        device=options.device,
    )
    kind = type(rows[0]) if rows else gl.predict.Scored
    what = {gl.predict.Classified: "nodes", gl.predict.Recommended: "items"}.get(kind, "pairs")
    head = ["class" if name == "guess" else name for name in kind._fields]
    if options.output:
        with options.output.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
        print(f"{len(rows)} {what} -> {options.output}")
        return 0
    print(table(head, [_cells(row) for row in rows], left=4 if what == "items" else 3))
    return 0


def _cells(row: "Scored | Classified | Recommended") -> list[str]:
    """One line of an answer as it is shown."""
    if isinstance(row, gl.predict.Recommended):
        return [str(row.rank), row.user, row.item, row.title, f"{row.score:.3f}"]
    chance = "" if row.probability is None else f"{row.probability:.4f}"
    if isinstance(row, gl.predict.Classified):
        return [str(row.rank), row.node, row.guess, chance, row.label]
    return [str(row.rank), row.source, row.target, f"{row.score:.3f}", chance]


def _report(words: Sequence[str]) -> int:
    options = parse(Report, words, "report")
    _log()
    files = report(options.runs, options.out)
    for group in collect(options.runs):
        name, values = group.metric, group.values(group.metric)
        mean = percent(fmean(values), pstdev(values) if len(values) > 1 else None)
        print(f"{group.recipe.name} on {group.recipe.dataset}: test {name} {mean}")
    print("\n".join(f"wrote {path}" for path in files))
    return 0


def _bench(words: Sequence[str]) -> int:
    options = parse(Bench, words, "bench")
    if options.table:
        print(f"wrote {gl.bench.write_table()}")
        return 0
    data = options.data or data_root()
    for name, cases in gl.bench.benchmarks([options.name] if options.name else []).items():
        print(f"{name}\n", flush=True)
        rows = []
        try:
            for row in gl.bench.run(cases(smoke=options.smoke, data=data), smoke=options.smoke):
                if isinstance(row, str):
                    print(row, flush=True)
                    continue
                rows.append(row)
                print(f"measured {row.name} on {row.input}", file=sys.stderr, flush=True)
        finally:  # what was measured before an error or Ctrl-C is not lost
            print(f"{gl.bench.lines(rows)}\n", flush=True)
        if options.out:
            print(f"wrote {gl.bench.save(options.out, name, rows)}\n")
    return 0


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "list": _list,
    "train": _train,
    "eval": _eval,
    "attack": _attack,
    "predict": _predict,
    "report": _report,
    "bench": _bench,
}


def _help() -> str:
    kinds = (
        *(("list", List), ("train", Train), ("eval", Eval), ("predict", Predict)),
        ("attack", Attack),
    )
    rows = [[f"  {name}", (kind.__doc__ or "").partition("\n")[0]] for name, kind in kinds]
    rows += [
        [f"  {name}", (kind.__doc__ or "").partition("\n")[0]]
        for name, kind in (("report", Report), ("bench", Bench))
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    return "\n".join(
        [
            "usage: graphlearn COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "Options of a command: graphlearn COMMAND --help",
            "Every command: --debug shows where an error came from. Also: graphlearn --version",
            "",
            "First steps:",
            "  graphlearn train ncnc --dataset stdlib",
            "  graphlearn predict runs/ncnc/stdlib/0 --top 20",
            "  graphlearn train ncn --dataset my_edges.csv",
            "  graphlearn train nat --dataset my_events.csv",
            "  graphlearn train lightgcn --dataset my_ratings.csv",
        ]
    )


def _matches(pattern: str, *names: str) -> bool:
    wanted = pattern.lower()
    return any(wanted in name.lower() or fnmatch.fnmatch(name.lower(), wanted) for name in names)


def _log() -> None:
    """Show what the library has to say, a line each."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("graphlearn").setLevel(logging.INFO)


def _attacked(words: Sequence[str]) -> tuple[float, str]:
    """Rate and kind of an attack, which decide on settings; nonsense is found out later."""
    text = value(words, "--rate") or value(words, "--data.rate")
    attack = value(words, "--attack") or value(words, "--data.attack") or "meta"
    try:
        return float(text or 0), attack
    except ValueError:
        return 0.0, attack


def _announce(recipe: Recipe) -> None:
    _log()
    text = f"{recipe.name} on {recipe.label if recipe.rate else recipe.dataset}"
    if recipe.fallback:
        text += f": no settings for this data set, [default] of the recipe {recipe.name!r} applies"
    if recipe.after:
        text += f", after {recipe.after}"
    _show(text)


def _show(text: str) -> None:
    """Print, where several processes work only in the first."""
    if gl.runs.first_process():
        print(text, flush=True)


def _complain(text: str, status: int) -> int:
    print(f"graphlearn: {text}", file=sys.stderr)
    return status


def _line(error: Exception) -> str:
    """An error in one line; what nobody foresaw says its type."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    text = text.strip().partition("\n")[0]
    if isinstance(error, EXPECTED) and text:
        return text
    return f"{type(error).__name__}: {text} (--debug shows where it came from)"

"""Attacks on a data set and on a finished run, as the command line offers them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

from graphlearn import attacks
from graphlearn.data import load
from graphlearn.data.robust import save_robust
from graphlearn.runs import restore
from graphlearn.tasks.node import NodeClassification
from graphlearn.train.distributed import start

__all__ = ["Kind", "Outcome", "against", "poison"]

Kind = Literal["random", "dice", "meta", "prbcd"]


@runtime_checkable
class Attacker(Protocol):
    """What all attacks have in common."""

    def attack(self, data: Any, budget: float | int, *, seed: int = 0) -> attacks.AttackResult:  # noqa: ANN401
        """A graph with as many changes as the budget says."""


class Outcome(NamedTuple):
    """What one attack changed, in undirected edges."""

    rate: float
    added: int
    removed: int


def poison(
    source: str,
    kind: Kind,
    rates: Sequence[float],
    out: Path,
    *,
    seed: int = 0,
    options: dict[str, Any] | None = None,
) -> list[Outcome]:
    """Attack the graph of a data set, and write it as a folder that `load` reads.

    Args:
        source: Name or path of a data set of nodes.
        kind: Which attack.
        rates: Shares of the edges to change, each on the clean graph.
        out: The folder; nothing in it is replaced.
        seed: Seed of the attack, and of the split where the data set has none.
        options: Further options of `load`.

    Raises:
        FileExistsError: if the folder holds a data set.
        ValueError: if a rate is not positive, or the graph does not allow for so many changes.
    """
    if (out / "adj_clean.npz").exists():
        raise FileExistsError(f"{out} already holds a data set; choose another folder with --out")
    if not rates or min(rates) <= 0:
        raise ValueError(f"rates must be shares of the edges above 0, got {list(rates)}")
    dataset = load(source, kind="node", seed=seed, **options or {})
    found, graphs = [], {}
    for rate in rates:
        result = _made(kind).attack(dataset.data, float(rate), seed=seed)
        graphs[float(rate)] = result.edge_index
        found.append(Outcome(rate, result.added.shape[1], result.removed.shape[1]))
    save_robust(out, dataset, graphs)
    return found


def _made(kind: Kind) -> Attacker:
    """An attack with its defaults; at random means edges that are added."""
    if kind == "random":
        return attacks.RandomAttack(mode="add")
    kinds = {"dice": attacks.DICEAttack, "meta": attacks.MetaAttack, "prbcd": attacks.PRBCD}
    made: Attacker = kinds[kind]()
    return made


def against(
    run: Path, rate: float, *, seed: int = 0, device: str = "auto"
) -> tuple[float, float, Outcome]:
    """Attack the best weights of a run by their own gradients (PRBCD), on its test nodes.

    Args:
        run: Folder of one run.
        rate: Share of the edges of its graph that may be flipped.
        seed: Seed of the search.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Returns:
        Accuracy on the test nodes before and after the attack, and what it changed.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if the run does not classify nodes, or its model cannot be attacked.
    """
    task, dataset = restore(run)
    if not isinstance(task, NodeClassification):
        kind = type(task).__name__
        raise ValueError(f"{run} is a run of {kind}; only classifiers of nodes can be attacked")
    task.device = start(device=device).device
    task.to(task.device)
    task.eval()
    nodes = dataset.splits["test"].to(task.device)
    model = cast(Any, task.model)
    found = attacks.adaptive(model, task.x(), task.graph(), task.y(), nodes, float(rate), seed=seed)
    added, removed = found.result.added.shape[1], found.result.removed.shape[1]
    return found.clean, found.attacked, Outcome(rate, added, removed)

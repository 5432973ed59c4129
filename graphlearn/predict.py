"""What `graphlearn predict` reads and writes: node names, pairs, scores, classes."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.data.dataset import Dataset
from graphlearn.extras import nearest
from graphlearn.recommendations import Recommended, Recommending, recommended, save_embeddings
from graphlearn.runs import restore
from graphlearn.train.distributed import start
from graphlearn.train.task import Task

__all__ = [
    "Classified",
    "Recommended",
    "Scored",
    "answer",
    "export",
    "read_nodes",
    "read_pairs",
]

HEADER = {
    "source",
    "src",
    "from",
    "u",
    "node1",
    "head",
    "target",
    "dst",
    "to",
    "v",
    "node2",
    "tail",
}
SEARCHED = 100_000  # more names than these are not searched for a near miss


class Scored(NamedTuple):
    """One line of the answer; the probability is the logistic function of the score (a logit).

    The score of a heuristic is no logit, so that it has no probability.
    """

    rank: int
    source: str
    target: str
    score: float
    probability: float | None


class Classified(NamedTuple):
    """One line of the answer of a node classifier; `label` is the true class where it is known."""

    rank: int
    node: str
    guess: str
    probability: float
    label: str


@runtime_checkable
class LinkTask(Protocol):
    """What scoring pairs needs of a task."""

    def predict(self, pairs: Int[Tensor, "2 pair"]) -> Float[Tensor, " pair"]:
        """Logit of each pair."""

    def recommend(
        self, top: int, *, nodes: Int[Tensor, " node"] | None = None, exhaustive: bool = False
    ) -> tuple[Int[Tensor, "2 pair"], Float[Tensor, " pair"]]:
        """The strongest missing links or next events, best first, and their logits."""


@runtime_checkable
class NodeTask(Protocol):
    """What classifying nodes needs of a task."""

    def classify(self, nodes: Int[Tensor, " node"]) -> Float[Tensor, "node class"]:
        """Probability of each class."""

    def y(self) -> Tensor:
        """Label of each node, -1 where there is none."""


def answer(
    run: Path,
    pairs: Path | None = None,
    *,
    top: int = 20,
    nodes: Path | None = None,
    named: Sequence[str] = (),
    exhaustive: bool = False,
    people: Sequence[str] = (),
    users: Path | None = None,
    device: str = "auto",
) -> list[Scored] | list[Classified] | list[Recommended]:
    """Scores of given pairs, the strongest missing links, the likeliest next events, or classes.

    Of a recommender, the best items for some users.

    Args:
        run: Folder of the run whose best weights score.
        pairs: File of the pairs to score, in whose order the answer is; without it, links are
            sought. For a classifier, the same as `nodes`.
        top: How many links are sought at most. Of a classifier, how many nodes outside training
            are shown, the most certain first, where no nodes are given.
        nodes: File of the nodes whose links are sought; without any nodes, those of all. For a
            classifier, the nodes to classify, in whose order the answer is.
        named: Names or ids of further such nodes.
        exhaustive: Consider all pairs that are not linked, not only those at distance two; in a
            stream, all nodes as destinations.
        people: Users of a recommender, as they are called in the data.
        users: File of further users.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        FileNotFoundError: if a file or the run is missing.
        ValueError: if a file is not valid, a name is no node, or the task of the run neither
            scores pairs nor classifies nodes.
    """
    task, dataset = _restored(run, device)
    if hasattr(task, "suggest"):
        if pairs is not None or nodes is not None or named or exhaustive:
            raise ValueError(
                f"{run} is a run of a recommender, which answers --user and --users alone"
            )
        return recommended(cast(Recommending, task), dataset, named=people, path=users, top=top)
    if people or users is not None:
        raise ValueError(f"{run} is no run of a recommender; --user and --users are for those")
    if hasattr(task, "classify"):
        return _classified(cast(NodeTask, task), dataset, nodes or pairs, named, top)
    if not hasattr(task, "recommend"):
        kind = type(task).__name__
        raise ValueError(f"{run} is a run of {kind}, which neither scores pairs nor classifies")
    link = cast(LinkTask, task)
    if pairs is not None:
        ends = read_pairs(pairs, dataset)
        scores = link.predict(ends)
    else:
        chosen = _chosen(nodes, named, dataset)
        ends, scores = link.recommend(top, nodes=chosen, exhaustive=exhaustive)
    order = scores.argsort(descending=True, stable=True)
    ranks = (order.argsort() + 1).tolist()
    chances = scores.double().sigmoid().tolist() if any(True for _ in task.parameters()) else None
    rows = zip(ranks, ends.T.tolist(), scores.tolist(), strict=True)
    return [
        Scored(
            rank, _name(a, dataset), _name(b, dataset), score, chances[place] if chances else None
        )
        for place, (rank, (a, b), score) in enumerate(rows)
    ]


def export(run: Path, path: Path, *, device: str = "auto") -> tuple[int, int]:
    """Write the vectors of a recommender to a file, see `save_embeddings`.

    Args:
        run: Folder of the run.
        path: The file, `.npz`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Returns:
        Numbers of users and items.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if the run is not of a recommender with vectors.
    """
    task, dataset = _restored(run, device)
    if not hasattr(task, "embeddings"):
        raise ValueError(f"{run} is no run of a recommender; --embeddings is for those")
    return save_embeddings(cast(Recommending, task), dataset, path)


def _restored(run: Path, device: str) -> tuple[Task, Dataset]:
    task, dataset = restore(run)
    task.device = start(device=device).device
    task.to(task.device)
    return task, dataset


def _classified(
    task: NodeTask, dataset: Dataset, path: Path | None, named: Sequence[str], top: int
) -> list[Classified]:
    index = _index(dataset)
    given = [torch.tensor([_node(name, index, dataset, "--node") for name in named]).long()]
    given += [read_nodes(path, dataset)] if path is not None else []
    nodes = torch.cat(given)
    if not len(nodes):
        other = torch.ones(int(dataset.facts["num_nodes"]), dtype=torch.bool)
        other[dataset.splits["train"]] = False
        nodes = other.nonzero().squeeze(1)
        sure = task.classify(nodes).max(1).values
        nodes = nodes[sure.argsort(descending=True, stable=True)[:top]]
    chance, guess = task.classify(nodes).max(1)
    label = task.y().cpu()[nodes].tolist()
    rows = zip(nodes.tolist(), guess.tolist(), chance.tolist(), label, strict=True)
    return [
        Classified(rank, _name(node, dataset), _class(g, dataset), p, _class(y, dataset))
        for rank, (node, g, p, y) in enumerate(rows, start=1)
    ]


def read_nodes(path: Path, dataset: Dataset) -> Int[Tensor, " node"]:
    """Node ids of a file with one name or id per line.

    Args:
        path: The file; empty lines do not count.
        dataset: Whose nodes are meant.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, or a line is no node; names the line.
    """
    index = _index(dataset)
    found = [
        _node(line.strip(), index, dataset, f"{path} line {number}")
        for number, line in enumerate(_lines(path), start=1)
        if line.strip()
    ]
    if not found:
        raise ValueError(f"{path} names no node; expected one name or id per line")
    return torch.tensor(found)


def read_pairs(path: Path, dataset: Dataset) -> Int[Tensor, "2 pair"]:
    """Node pairs of a file with two columns of names or ids, separated by comma or tab.

    Args:
        path: The file; a header such as `source,target` is skipped.
        dataset: Whose nodes are meant.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, or a line is no pair of nodes; names the line.
    """
    index, pairs = _index(dataset), []
    lines = _lines(path)
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), start=1):
        row = [cell.strip() for cell in cells]
        if not any(row) or (number == 1 and {cell.lower() for cell in row} <= HEADER):
            continue
        where = f"{path} line {number}"
        if len(row) != 2:
            raise ValueError(f"{where} must hold two nodes, 'source,target', got {len(row)} cells")
        pairs.append([_node(cell, index, dataset, where) for cell in row])
    if not pairs:
        raise ValueError(f"{path} holds no pairs; expected two columns, 'source,target'")
    return torch.tensor(pairs).T.contiguous()


def _chosen(path: Path | None, named: Sequence[str], dataset: Dataset) -> Tensor | None:
    """The nodes of a file and those that were named; None where there are neither."""
    index = _index(dataset)
    parts = [torch.tensor([_node(name, index, dataset, "--node") for name in named])]
    parts += [read_nodes(path, dataset)] if path is not None else []
    found = torch.cat([part.long() for part in parts])
    return torch.unique(found) if len(found) else None


def _index(dataset: Dataset) -> dict[str, int]:
    return {name: node for node, name in enumerate(dataset.names or ())}


def _node(text: str, index: dict[str, int], dataset: Dataset, where: str) -> int:
    if text in index:
        return index[text]
    number = int(dataset.facts["num_nodes"])
    if not text.lstrip("-").isdigit():
        known = f"names or ids below {number}" if index else f"ids below {number}"
        hint = nearest(text, index) if len(index) <= SEARCHED else ""
        raise ValueError(f"{where}: {dataset.name} has no node {text!r}{hint or f'; use {known}'}")
    if not 0 <= int(text) < number:
        raise ValueError(f"{where}: node ids must lie in [0, {number}), got {text}")
    return int(text)


def _name(node: int, dataset: Dataset) -> str:
    return str(node) if dataset.names is None else dataset.names[node]


def _class(number: int, dataset: Dataset) -> str:
    if number < 0:
        return ""
    return str(number) if dataset.classes is None else str(dataset.classes[number])


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text file in UTF-8") from None

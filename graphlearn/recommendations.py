"""What `graphlearn predict` does for a recommender: lists of items, and vectors to take along."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphlearn.data.dataset import Dataset
from graphlearn.extras import nearest
from graphlearn.train.checkpoint import replacing

__all__ = ["Recommended", "Recommending", "recommended", "save_embeddings"]

SEARCHED = 100_000  # more users than these are not searched for a near miss


class Recommended(NamedTuple):
    """One line of the answer; the rank is within the list of the user."""

    rank: int
    user: str
    item: str
    title: str
    score: float


@runtime_checkable
class Recommending(Protocol):
    """What lists of items need of a task."""

    def suggest(
        self, users: Int[Tensor, " batch"], top: int
    ) -> tuple[Int[Tensor, "batch rank"], Float[Tensor, "batch rank"]]:
        """The best new items of some users, -1 where a list is shorter, and their scores."""

    def embeddings(self) -> dict[str, Tensor]:
        """Vectors of `users` and `items` whose inner products are the scores."""


def recommended(
    task: Recommending,
    dataset: Dataset,
    *,
    named: Sequence[str] = (),
    path: Path | None = None,
    top: int = 20,
) -> list[Recommended]:
    """The best items for some users among those that they have in no split.

    Args:
        task: A trained recommender.
        dataset: What it was trained on.
        named: Users as they are called in the file of the data set.
        path: File with more users, one per line.
        top: Length of a list.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if nobody is named, or somebody unknown.
    """
    names = list(dataset.names or map(str, range(int(dataset.facts["num_nodes"]))))
    count = int(dataset.facts["num_users"])
    if dataset.names is None:
        names[count:] = map(str, range(int(dataset.facts["num_items"])))
    index = {name: user for user, name in enumerate(names[:count])}
    users = [_user(name, index, dataset, "--user") for name in named]
    if path is not None:
        users += [_user(name, index, dataset, where) for where, name in _lines(path)]
    if not users:
        raise ValueError("a recommender needs --user NAME or --users FILE: whom to recommend to")
    items, scores = task.suggest(torch.tensor(users), top)
    titles = dataset.titles or [""] * int(dataset.facts["num_items"])
    return [
        Recommended(rank, names[user], names[count + item], titles[item], score)
        for user, row, values in zip(users, items.tolist(), scores.tolist(), strict=True)
        for rank, (item, score) in enumerate(zip(row, values, strict=True), start=1)
        if item >= 0
    ]


def save_embeddings(task: Recommending, dataset: Dataset, path: Path) -> tuple[int, int]:
    """Write the vectors of all users and items to an `.npz` file, without pickle.

    The arrays are `users` (U, F), `items` (I, F), `user_names`, `item_names`, and `item_titles`
    where the data set has titles. The score of a pair is the inner product of its vectors.

    Args:
        task: A trained recommender.
        dataset: What it was trained on.
        path: The file, which is replaced once the new one is complete.

    Returns:
        Numbers of users and items.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if the suffix is not .npz, or the model has no such vectors.
    """
    if path.suffix != ".npz":
        raise ValueError(f"embeddings are written as .npz, got {str(path)!r}")
    found = {key: value.numpy() for key, value in task.embeddings().items()}
    users, items = len(found["users"]), len(found["items"])
    if dataset.names is not None:
        found["user_names"] = np.array(dataset.names[:users], dtype=np.str_)
        found["item_names"] = np.array(dataset.names[users:], dtype=np.str_)
    if dataset.titles is not None:
        found["item_titles"] = np.array(dataset.titles, dtype=np.str_)
    with replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, **found)
    return users, items


def _user(name: str, index: dict[str, int], dataset: Dataset, where: str) -> int:
    if name not in index:
        hint = nearest(name, index) if len(index) <= SEARCHED else ""
        raise ValueError(f"{where}: {dataset.name} has no user {name!r} in training{hint}")
    return index[name]


def _lines(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text file in UTF-8") from None
    return [(f"{path} line {k}", line.strip()) for k, line in enumerate(lines, 1) if line.strip()]

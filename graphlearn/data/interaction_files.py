"""A user's own interactions: a table, an archive, published lists, or a PyG `HeteroData`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor
from torch_geometric.data import HeteroData

from graphlearn.data.archive import open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.interaction_table import read_rows
from graphlearn.data.interactions import from_ratings, given_split, interaction_dataset

__all__ = [
    "from_hetero",
    "from_pairs",
    "read_interaction_archive",
    "read_interactions",
    "read_lightgcn",
    "read_lists",
]

_Array = npt.NDArray[Any]


def read_interactions(
    path: Path,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    min_rating: float | None = None,
    k_core: int = 0,
) -> Dataset:
    """A data set from a table of users and items, with ratings and times where they are known.

    A header may name the columns: `user` (also `user_id`, `u`, ...), `item` (`item_id`,
    `movie_id`, `book_id`, ...), `rating` (`score`, `stars`) and `time` (`timestamp`, `date`, ...),
    which holds numbers or dates such as 2020-01-31; others are ignored. Without one, users and
    items are the first two columns, then numbers are ratings, then times. Ids may be any words.

    Args:
        path: A .csv, .tsv or .txt file, or one of them with .gz; `::` separates columns too.
        protocol: See `from_ratings`.
        seed: Decides a random split, alone.
        valid: Share of validation interactions.
        test: Share of test interactions.
        min_rating: Smallest rating that counts as an interaction; None takes all.
        k_core: Drop users and items with fewer partners than this, repeatedly.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a row is not valid, or the interactions cannot be split.
    """
    _check_drawn(path.name, protocol)
    rows = read_rows(path)
    name = path.name.partition(".")[0] or path.name
    return from_ratings(
        name, rows["user"], rows["item"], rating=rows.get("rating"), time=rows.get("time"),
        protocol=protocol, seed=seed, valid=valid, test=test, min_rating=min_rating, k_core=k_core,
    )  # fmt: skip


def read_interaction_archive(
    path: Path,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    min_rating: float | None = None,
    k_core: int = 0,
) -> Dataset:
    """A data set from an archive of plain arrays.

    Keys: `user` and `item` (E,), and where known `rating` and `time` or `timestamp` (E,); or, if
    the split is given, `train` and `test` (E, 2), counted from 0, and where known `valid` (E, 2),
    `num_users` and `num_items`.

    Args:
        path: The archive (.npz).
        protocol: See `from_ratings`, and for a given split `from_pairs`.
        seed: Decides a random split, or which training interactions are for validation.
        valid: Share of validation interactions.
        test: Share of test interactions.
        min_rating: Smallest rating that counts as an interaction; None takes all.
        k_core: Drop users and items with fewer partners than this, repeatedly.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the archive is damaged or holds no interactions, or they cannot be split.
    """
    arrays = open_npz(path)
    if "train" in arrays and "test" in arrays:
        parts = {
            part: _pairs(arrays[part], f"{path.name}: {part}")
            for part in ("train", "valid", "test")
            if part in arrays
        }
        sizes = tuple(int(arrays.get(f"num_{side}", 0)) for side in ("users", "items"))
        if min_rating is not None:
            raise ValueError(f"{path.name} has no ratings: min_rating does not apply")
        return from_pairs(
            path.stem, parts["train"], parts["test"], (sizes[0], sizes[1]),
            held=parts.get("valid"), protocol=protocol, seed=seed, valid=valid, test_share=test,
            k_core=k_core,
        )  # fmt: skip
    missing = [key for key in ("user", "item") if key not in arrays]
    if missing:
        raise ValueError(
            f"{path.name} has no array {missing[0]!r}, only {sorted(arrays)}; give user and item, "
            "or train and test"
        )
    _check_drawn(path.name, protocol)
    return from_ratings(
        path.stem, arrays["user"], arrays["item"], rating=arrays.get("rating"),
        time=arrays.get("time", arrays.get("timestamp")), protocol=protocol, seed=seed,
        valid=valid, test=test, min_rating=min_rating, k_core=k_core,
    )  # fmt: skip


def read_lightgcn(
    folder: Path,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    k_core: int = 0,
) -> Dataset:
    """A data set from a folder with `train.txt`, `test.txt` and, if there is one, `valid.txt`.

    Each line has a user and the user's items, all counted from 0: `user item item ...`.

    Args:
        folder: Where the files are.
        protocol: See `from_pairs`.
        seed: Decides a random split, or which training interactions are for validation.
        valid: Share of validation interactions.
        test: Share of test interactions, in a random split.
        k_core: Drop users and items with fewer partners, in a random split.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a line is not valid, or a split would be empty.
    """
    held = folder / "valid.txt"
    return from_pairs(
        folder.name, read_lists(folder / "train.txt"), read_lists(folder / "test.txt"),
        held=read_lists(held) if held.is_file() else None, protocol=protocol, seed=seed,
        valid=valid, test_share=test, k_core=k_core,
    )  # fmt: skip


def from_hetero(
    data: HeteroData,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    min_rating: float | None = None,
    k_core: int = 0,
) -> Dataset:
    """A data set from a PyG `HeteroData` with one type of edges that starts at `user`.

    Args:
        data: `edge_index` of that type, and where known `rating` and `time` of its edges.
        protocol: See `from_ratings`.
        seed: Decides a random split, alone.
        valid: Share of validation interactions.
        test: Share of test interactions.
        min_rating: Smallest rating that counts as an interaction; None takes all.
        k_core: Drop users and items with fewer partners than this, repeatedly.

    Raises:
        ValueError: if there is not one such type, or the interactions cannot be split.
    """
    types = [kind for kind in data.edge_types if kind[0] == "user" != kind[2]]
    if len(types) != 1:
        raise ValueError(
            f"interactions need one type of edges that starts at 'user', got {data.edge_types}"
        )
    _check_drawn("HeteroData", protocol)
    edges = data[types[0]]
    rating, time = (edges[key] if key in edges else None for key in ("rating", "time"))
    user, item = edges.edge_index.cpu()
    return from_ratings(
        "pyg", user, item, rating=rating, time=time, protocol=protocol, seed=seed, valid=valid,
        test=test, min_rating=min_rating, k_core=k_core,
    )  # fmt: skip


def from_pairs(
    name: str,
    train: Int[Tensor, "2 _"],
    test: Int[Tensor, "2 _"],
    sizes: tuple[int, int] = (0, 0),
    *,
    held: Int[Tensor, "2 _"] | None = None,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test_share: float = 0.1,
    k_core: int = 0,
    names: Sequence[str] | None = None,
    titles: Mapping[Any, str] | None = None,
    metric: str = "ndcg@10",
) -> Dataset:
    """A data set whose training and test pairs are published, as they are or split anew.

    Args:
        name: As it is written in run folders.
        train: Users and items of training, both counted from 0.
        test: Users and items of the test.
        sizes: Number of users and of items; 0 finds it from the largest id.
        held: Users and items of validation, if these are published too.
        protocol: `auto` and `given`, see `given_split`, or `random`, see `from_ratings`.
        seed: Decides a random split, or which training interactions are for validation.
        valid: Share of validation interactions.
        test_share: Share of test interactions, in a random split.
        k_core: Drop users and items with fewer partners, in a random split.
        names: Name of each user, then of each item; their ids if there are none.
        titles: What items are called, by their id.
        metric: What is reported, higher is better.

    Raises:
        ValueError: if an option does not fit, or the pairs are not valid.
    """
    every = [part for part in (train, held, test) if part is not None]
    found = torch.cat(every, dim=1)
    if not found.shape[1]:
        raise ValueError(f"{name} holds no interactions")
    users, items = (size or int(found[side].max()) + 1 for side, size in enumerate(sizes))
    named = list(names or [str(k) for count in (users, items) for k in range(count)])
    own = [(titles or {}).get(key, key) for key in named[users:]]
    if protocol == "random":
        called = dict(zip(named[users:], own, strict=True)) if titles else None
        return from_ratings(
            name, np.array(named[:users])[found[0].numpy()],
            np.array(named[users:])[found[1].numpy()], protocol=protocol, seed=seed, valid=valid,
            test=test_share, k_core=k_core, titles=called, metric=metric,
        )  # fmt: skip
    if protocol not in ("auto", "given"):
        raise ValueError(
            f"{name} has a given split and no times: protocol must be auto, given or random, "
            f"got {protocol!r}"
        )
    if test_share != 0.1 or k_core or (held is not None and valid != 0.1):
        raise ValueError(
            f"{name} has a given split, the share of test interactions, k_core and, with given "
            "validation, valid do not apply; use protocol 'random' to draw your own"
        )
    shown = own if titles else None
    if held is None:
        return given_split(
            name, train, test, users, items, valid=valid, seed=seed, names=named, titles=shown,
            metric=metric,
        )  # fmt: skip
    return interaction_dataset(
        name, {"train": train, "valid": held, "test": test}, users, items, names=named,
        titles=shown, metric=metric,
    )  # fmt: skip


def read_lists(path: Path) -> Int[Tensor, "2 edge"]:
    """Users and items from lines `user item item ...`; a user may have none, or several lines.

    Args:
        path: A text file of ids from 0.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no data, or an id is not valid; names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from error
    sizes = np.array([len(line.split()) for line in lines], dtype=np.int64)
    tokens = " ".join(lines).split()
    if not tokens:
        raise ValueError(f"{path} holds no data")
    valid = [token.isdecimal() and token.isascii() and len(token) < 19 for token in tokens]
    if not all(valid):
        bad = valid.index(False)
        line = int(np.searchsorted(np.cumsum(sizes), bad, side="right")) + 1
        raise ValueError(f"{path}, line {line}: {tokens[bad]!r} is no id, a whole number from 0")
    ids = np.array(tokens, dtype=np.int64)
    sizes = sizes[sizes > 0]
    heads = np.cumsum(sizes) - sizes
    items = np.delete(ids, heads)
    return torch.from_numpy(np.stack([np.repeat(ids[heads], sizes - 1), items]))


def _check_drawn(name: str, protocol: str) -> None:
    if protocol == "given":
        raise ValueError(
            f"{name} has no given split; choose protocol random, leave-one-out or temporal"
        )


def _pairs(array: _Array, where: str) -> Tensor:
    """Pairs (2, E) from an array of that shape, or of its transpose."""
    if array.ndim != 2 or 2 not in array.shape or array.dtype.kind not in "iu":
        raise ValueError(
            f"{where} must hold whole numbers of shape (E, 2), got {array.dtype} {array.shape}"
        )
    return torch.from_numpy(np.array(array.T if array.shape[1] == 2 else array, dtype=np.int64))

"""Interactions that the literature on recommendation reports on.

References: Harper, Konstan, "The MovieLens Datasets: History and Context", 2015; He et al.,
"LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020;
Purificato et al., "Sheaf4Rec: Sheaf Neural Networks for Graph-based Recommender Systems", 2023.
"""

import importlib
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlearn.data.archive import open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.fetch import fetch
from graphlearn.data.interaction_files import from_pairs, read_lists
from graphlearn.data.interaction_table import read_rows
from graphlearn.data.interactions import from_ratings

__all__ = ["load_books", "load_lists", "load_movielens"]

_log = logging.getLogger(__name__)
_SEED = 42  # of the published splits, whatever the seed of a run
_LIKED = 3.0  # smallest rating of MovieLens that counts
_BOOKS = "https://github.com/antoniopurificato/Sheaf4Rec"


class _Movies(NamedTuple):
    """Files of a MovieLens set: PyG's class that knows the archive, and what is needed of it."""

    pyg: str
    ratings: str
    titles: str
    mark: str
    members: tuple[str, ...]


class _Lists(NamedTuple):
    """Files of a set with a given split, its sizes, and the smallest id of the text files."""

    train: str
    test: str
    sizes: tuple[int, int]
    metric: str
    start: int = 0


_MOVIES = {
    "ml-100k": _Movies(
        "MovieLens100K",
        "u.data",
        "u.item",
        "|",
        ("u.data", "u.item", "u.user", "u1.base", "u1.test"),
    ),
    "ml-1m": _Movies(
        "MovieLens1M",
        "ratings.dat",
        "movies.dat",
        "::",
        ("ratings.dat", "movies.dat", "users.dat"),
    ),
}
_LISTS = {
    "gowalla": _Lists("train.txt", "test.txt", (29858, 40981), "recall@20"),
    "yelp2018": _Lists("train.txt", "test.txt", (31668, 38048), "recall@20"),
    "amazon-book": _Lists("train.txt", "test.txt", (52643, 91599), "recall@20"),
    "lastfm": _Lists("data1.txt", "test1.txt", (1892, 4489), "ndcg@10", start=1),
}


def load_movielens(
    name: str,
    root: Path,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    min_rating: float | None = None,
    k_core: int = 0,
) -> Dataset:
    """Ratings of movies, of which 3 and more count; research use only, by the licence.

    The usual split is that of Sheaf4Rec, drawn with the seed 42 whatever the seed of the run.

    Args:
        name: `ml-100k` or `ml-1m`.
        root: Folder of the data sets; it is only written to for a download.
        protocol: `auto`; `random`, `leave-one-out` or `temporal`, see `split_interactions`; or,
            for ml-100k, `given`, which is `u1.base` and `u1.test`.
        seed: Seed of a random split.
        valid: Share of validation interactions.
        test: Share of test interactions.
        min_rating: Smallest rating that counts; None is 3.
        k_core: Drop users and movies with fewer partners than this, repeatedly.

    Raises:
        FileNotFoundError: if a file is missing and cannot be fetched.
        ValueError: if a file is damaged, or an option does not fit.
    """
    least = _LIKED if min_rating is None else min_rating
    if protocol == "given":
        if name != "ml-100k":
            raise ValueError(f"{name} has no given split; choose protocol random or leave-one-out")
        return _given_movies(name, root, least, valid, test, k_core)
    stored = root / name / f"{name}.npz"
    if stored.is_file():
        rows = open_npz(stored)
        missing = [key for key in ("user", "item", "rating") if key not in rows]
        if missing:
            raise ValueError(f"{stored} has no array {missing[0]!r}, only {sorted(rows)}")
        rows["time"] = rows["timestamp"] if "timestamp" in rows else rows["time"]
    else:
        rows = read_rows(_movie_file(name, root, _MOVIES[name].ratings))
    auto = protocol == "auto"
    return from_ratings(
        name, rows["user"], rows["item"], rating=rows["rating"], time=rows["time"],
        protocol="random" if auto else protocol, seed=_SEED if auto else seed, valid=valid,
        test=test, min_rating=least, k_core=k_core, titles=_movie_titles(name, root),
    )  # fmt: skip


def load_books(
    name: str,
    root: Path,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    k_core: int = 0,
) -> Dataset:
    """Books that users of Facebook like, from the files of Sheaf4Rec.

    The usual split is that of Sheaf4Rec, drawn with the seed 42 whatever the seed of the run.

    Args:
        name: `facebook-books`.
        root: Folder of the data sets.
        protocol: `auto`, `random` or `leave-one-out`, see `split_interactions`.
        seed: Seed of a random split.
        valid: Share of validation interactions.
        test: Share of test interactions.
        k_core: Drop users and books with fewer partners than this, repeatedly.

    Raises:
        FileNotFoundError: if there is no such file; says where it is published.
        ValueError: if it is damaged, or an option does not fit.
    """
    folder = root / name.replace("-", "_")
    stored, text = folder / f"{folder.name}.npz", folder / "dataset_facebook.tsv"
    if not stored.is_file() and not text.is_file():
        raise FileNotFoundError(
            f"no file {stored} or {text}; set GRAPHLEARN_DATA to the folder that has it, or copy "
            f"data/dataset_facebook.tsv of {_BOOKS} there"
        )
    rows = open_npz(stored) if stored.is_file() else read_rows(text)
    missing = [key for key in ("user", "item") if key not in rows]
    if missing:
        raise ValueError(f"{stored} has no array {missing[0]!r}, only {sorted(rows)}")
    if protocol == "given":
        raise ValueError(f"{name} has no given split; choose protocol random or leave-one-out")
    auto = protocol == "auto"
    return from_ratings(
        name, rows["user"], rows["item"], protocol="random" if auto else protocol,
        seed=_SEED if auto else seed, valid=valid, test=test, k_core=k_core,
    )  # fmt: skip


def load_lists(
    name: str,
    root: Path,
    *,
    protocol: str = "auto",
    seed: int = 0,
    valid: float = 0.1,
    test: float = 0.1,
    k_core: int = 0,
) -> Dataset:
    """Interactions with the given split of LightGCN: `<root>/<name>/<name>.npz` or its text files.

    Validation is drawn from training, with the seed 42 whatever the seed of the run.

    Args:
        name: `gowalla`, `yelp2018`, `amazon-book` or `lastfm`.
        root: Folder of the data sets; it is only written to for a download.
        protocol: `auto` and `given`, or `random`, see `split_interactions`.
        seed: Seed of a random split.
        valid: Share of validation interactions.
        test: Share of test interactions, in a random split.
        k_core: Drop users and items with fewer partners, in a random split.

    Raises:
        FileNotFoundError: if a file is missing and cannot be fetched.
        ValueError: if a file is damaged, or an option does not fit.
    """
    lists = _LISTS[name]
    stored = root / name / f"{name}.npz"
    if stored.is_file():
        arrays = open_npz(stored)
        missing = [key for key in ("train", "test") if key not in arrays]
        if missing:
            raise ValueError(f"{stored} has no array {missing[0]!r}, only {sorted(arrays)}")
        train, test_pairs = (_columns(arrays[part], stored, part) for part in ("train", "test"))
    else:
        train, test_pairs = (_listed(path, lists.start) for path in _located(name, root))
    names = [str(k + lists.start) for count in lists.sizes for k in range(count)]
    return from_pairs(
        name, train, test_pairs, lists.sizes, protocol=protocol,
        seed=seed if protocol == "random" else _SEED, valid=valid, test_share=test, k_core=k_core,
        names=names, metric=lists.metric,
    )  # fmt: skip


def _columns(array: npt.NDArray[Any], path: Path, part: str) -> Tensor:
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: {part} must hold whole numbers of shape (E, 2), got {array.dtype} "
            f"{array.shape}"
        )
    return torch.from_numpy(array.T.astype(np.int64))


def _listed(path: Path, start: int) -> Tensor:
    """Pairs from lists that count from 0, or from rows of user, item and 1 that count from 1."""
    if not start:
        return read_lists(path)
    rows = read_rows(path)
    return torch.from_numpy(np.stack([rows["user"], rows["item"]])) - start


def _located(name: str, root: Path) -> tuple[Path, Path]:
    """The two text files, after fetching them if they are nowhere."""
    lists = _LISTS[name]
    folder = root / name
    if not all((folder / file).is_file() for file in (lists.train, lists.test)):
        place = _address("AmazonBook").rpartition("/")[0]
        _fetch(folder, {file: f"{place}/{name}/{file}" for file in (lists.train, lists.test)})
    return folder / lists.train, folder / lists.test


def _movie_file(name: str, root: Path, file: str) -> Path:
    """A file of MovieLens, after fetching all of them if it is nowhere."""
    movies = _MOVIES[name]
    raw = root / name / "raw"
    for place in (raw, root / name, root / name / name):
        if (place / file).is_file():
            return place / file
    packed = f"{name}.zip"
    _fetch(raw, {packed: _address(movies.pyg)})
    try:
        with zipfile.ZipFile(raw / packed) as archive:
            for member in movies.members:
                (raw / member).write_bytes(archive.read(f"{name}/{member}"))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{raw / packed} is damaged ({error}); delete it and try again") from error
    (raw / packed).unlink()
    return raw / file


def _address(pyg: str) -> str:
    """Where PyG fetches a data set from; its data sets take a second to import, so only here."""
    found: str = getattr(importlib.import_module("torch_geometric.datasets"), pyg).url
    return found


def _fetch(folder: Path, files: Mapping[str, str]) -> None:
    try:
        fetch(folder, files)
    except OSError as error:
        raise FileNotFoundError(
            f"no files {', '.join(files)} in {folder}, and fetching failed ({error}); get "
            f"{', '.join(files.values())}, or set GRAPHLEARN_DATA to the folder that has them"
        ) from error


def _movie_titles(name: str, root: Path) -> dict[str, str] | None:
    """The title of each movie by its id, if the file is there."""
    try:
        path = _movie_file(name, root, _MOVIES[name].titles)
    except FileNotFoundError:
        _log.warning("%s: no titles of the movies, %s is missing", name, _MOVIES[name].titles)
        return None
    lines = path.read_text(encoding="latin-1").splitlines()
    cells = (line.split(_MOVIES[name].mark) for line in lines if line.strip())
    return {row[0]: row[1] for row in cells if len(row) > 1}


def _given_movies(
    name: str, root: Path, least: float, valid: float, test: float, k_core: int
) -> Dataset:
    pairs = []
    for file in ("u1.base", "u1.test"):
        rows = read_rows(_movie_file(name, root, file))
        kept = rows["rating"] >= least
        pairs.append(np.stack([rows["user"][kept], rows["item"][kept]]).astype(np.int64) - 1)
    titles = _movie_titles(name, root)
    sizes = [max(int(part[side].max(initial=0)) for part in pairs) + 1 for side in (0, 1)]
    if titles:
        sizes[1] = len(titles)
    return from_pairs(
        name, torch.from_numpy(pairs[0]), torch.from_numpy(pairs[1]), (sizes[0], sizes[1]),
        protocol="given", seed=_SEED, valid=valid, test_share=test, k_core=k_core,
        names=[str(k + 1) for count in sizes for k in range(count)], titles=titles,
    )  # fmt: skip

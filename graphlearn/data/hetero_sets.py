"""Published graphs of several types whose nodes have classes: ACM, DBLP, IMDB and ogbn-mag.

References: Yun et al., Graph Transformer Networks, NeurIPS 2019 (the `-gtn` sets); Fu et al.,
MAGNN, WWW 2020 (`dblp`, `imdb`); Lv et al., Are we really making much progress?, KDD 2021 (the
`hgb-` sets); Hu et al., Open Graph Benchmark, NeurIPS 2020 (`ogbn-mag`).
"""

import contextlib
import io
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.datasets import DBLP, IMDB, HGBDataset

from graphlearn.data.archive import open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.hetero import hetero_dataset
from graphlearn.data.hetero_files import archive_parts, given_ids
from graphlearn.data.node_splits import masked_split, split_nodes
from graphlearn.data.nodes import sparse_rows
from graphlearn.data.ogb_files import read_raw
from graphlearn.data.ogbn import read_column
from graphlearn.train.task import Split

__all__ = ["load_gtn", "load_hgb", "load_mag", "load_magnn"]

_log = logging.getLogger(__name__)
_SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_HELD = 0.2  # share of the training nodes that becomes validation where there is none
_DENSE = 0.1  # share of non-zero features above which rows are dense
_AREAS = ("database", "data mining", "artificial intelligence", "information retrieval")
_CLASSES: Mapping[str, Sequence[str]] = {
    "dblp": _AREAS,
    "dblp-gtn": _AREAS,
    "imdb": ("action", "comedy", "drama"),
}
_PARTS: Mapping[str, tuple[str, ...]] = {
    "dblp": ("adjM.npz", "features_0.npz", "features_1.npz", "features_2.npy", "labels.npy",
             "node_types.npy", "train_val_test_idx.npz"),
    "imdb": ("adjM.npz", "features_0.npz", "features_1.npz", "features_2.npz", "labels.npy",
             "train_val_test_idx.npz"),
}  # fmt: skip
_HGB_PARTS = ("info.dat", "node.dat", "link.dat", "label.dat", "label.dat.test")
_NODES: Mapping[str, Mapping[str, int]] = {
    "acm-gtn": {"paper": 3025, "author": 5912, "subject": 57},
    "dblp-gtn": {"author": 4057, "paper": 14328, "conference": 20},
    "dblp": {"author": 4057, "paper": 14328, "term": 7723, "conference": 20},
    "imdb": {"movie": 4278, "director": 2081, "actor": 5257},
}
_EDGES: Mapping[str, Mapping[tuple[str, str], int]] = {
    "acm-gtn": {("author", "paper"): 9936, ("subject", "paper"): 3025},
    "dblp-gtn": {("author", "paper"): 19645, ("conference", "paper"): 14328},
    "dblp": {("author", "paper"): 19645, ("term", "paper"): 85810, ("conference", "paper"): 14328},
    "imdb": {("director", "movie"): 4278, ("actor", "movie"): 12828},
}
"""Edges of each direction."""

_MAG = "https://ogb.stanford.edu/docs/nodeprop/#ogbn-mag"


def load_gtn(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """ACM or DBLP as the paper on Graph Transformer Networks has them, from an archive.

    Every type has words as features; those of authors, subjects and conferences are the union of
    the words of their papers, test papers included.

    Args:
        name: `acm-gtn` or `dblp-gtn`.
        root: Folder that holds `acm_gtn/acm.npz` or `dblp_gtn/dblp.npz`, in the layout of
            `graphlearn.data.hetero_files.read_hetero_archive`.
        seed: Seed of a split at random.
        protocol: `auto` and `public` are the published split; also `random` and `stratified`.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if the archive is missing.
        ValueError: if it is damaged, or of another graph.
    """
    path = root / name.replace("-", "_") / f"{name.partition('-')[0]}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"no {name} in {path}; convert the files of the repository "
            "seongjunyun/Graph_Transformer_Networks, or set GRAPHLEARN_DATA to the folder that "
            "has it"
        )
    arrays = open_npz(path)
    data, target = archive_parts(arrays, path.name)
    _check_counts(name, data)
    y = data[target].y
    splits = split_nodes(
        y, protocol=protocol, source=name, seed=seed, given=given_ids(arrays, path.name),
        shares=(valid, test),
    )  # fmt: skip
    return hetero_dataset(name, data, target, splits, classes=_CLASSES.get(name))


def load_magnn(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """DBLP with terms, or IMDB, as the paper on MAGNN has them, read through PyG.

    Looks for PyG's raw files in `pyg_dblp/raw`, `dblp/raw` or `DBLP/raw` below `root` (`imdb`
    alike), and fetches them into the second where PyG has them if they are nowhere. Files that
    PyG has processed are never read.

    Args:
        name: `dblp` or `imdb`.
        root: Folder of the data sets; it is only written to for a download.
        seed: Seed of a split at random.
        protocol: `auto` and `public` are the published split; also `random` and `stratified`.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if files are missing and cannot be fetched.
        ValueError: if they are damaged, or of another graph.
    """
    made = DBLP if name == "dblp" else IMDB
    places = [root / folder / "raw" for folder in (f"pyg_{name}", name, name.upper())]
    data = _read(name, lambda folder: made(folder)[0], "raw", _PARTS[name], places, places[1])
    _check_counts(name, data)
    for kind in data.node_types:
        if "x" in data[kind]:
            data[kind].x = _thin(data[kind].x)
    target = "author" if name == "dblp" else "movie"
    stored = data[target]
    splits = split_nodes(
        stored.y, protocol=protocol, source=name, seed=seed,
        given=masked_split(stored, len(stored.y), 0, source=name), shares=(valid, test),
    )  # fmt: skip
    return hetero_dataset(name, data, target, splits, classes=_CLASSES[name])


def load_hgb(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """ACM or DBLP of the heterogeneous graph benchmark, read through PyG.

    The benchmark keeps its test labels: the public ones are random for some sets, so that test
    figures mean nothing there, and a warning says so. A fifth of its training nodes is for
    validation, drawn by the seed. IMDB has several labels for one movie there, which is not
    supported.

    Args:
        name: `hgb-acm` or `hgb-dblp`.
        root: Folder of the data sets; files are looked for in `hgb/acm/raw/ACM/` (`hgb/dblp/...`),
            and fetched there if they are not.
        seed: Decides the validation nodes, or a split at random.
        protocol: `auto` and `public` are the split of the benchmark; also `random` and
            `stratified`.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if files are missing and cannot be fetched.
        ValueError: if they are damaged, or of another form.
    """
    short = name.removeprefix("hgb-")
    inner = f"{short}/raw/{short.upper()}"
    place = root / "hgb" / inner
    data = _read(
        name, lambda folder: HGBDataset(folder, short)[0], inner, _HGB_PARTS, [place], place
    )
    target = next(kind for kind in data.node_types if "y" in data[kind])
    stored = data[target]
    if stored.y.dim() != 1:
        raise ValueError(
            f"{name}: a {target} has several labels, expected one; choose another data set"
        )
    _log.warning("%s: the public test labels of this benchmark may be random", name)
    train = stored.train_mask.nonzero().flatten()
    train = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
    held = max(round(_HELD * len(train)), 1)
    given: dict[Split, Tensor] = {
        "train": train[held:],
        "valid": train[:held],
        "test": stored.test_mask.nonzero().flatten(),
    }
    splits = split_nodes(
        stored.y, protocol=protocol, source=name, seed=seed, given=given, shares=(valid, test)
    )
    return hetero_dataset(name, data, target, splits, undirected=True)


def load_mag(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """Papers, authors, institutions and fields of study; the class of a paper is its venue.

    Only papers have features. Reverse edge types are added, their names begin with `rev_`. The
    official split is by year. Nothing is downloaded or written.

    Args:
        name: `ogbn-mag`.
        root: Folder that holds OGB's unpacked archive `ogbn_mag/`.
        seed: Seed of a split at random.
        protocol: `auto` and `public` are the official split; also `random` and `stratified`.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is broken, or the files do not fit together.
    """
    folder = root / name.replace("-", "_")
    if not (folder / "raw").is_dir():
        raise FileNotFoundError(
            f"no {name} in {folder}: expected OGB's folders raw/ and split/ there; get it from "
            f"{_MAG}"
        )
    graph = read_raw(folder / "raw", "triples")
    data = HeteroData()
    for kind, count in graph["num_nodes_dict"].items():
        data[kind].num_nodes = int(count)
    for kind, x in (graph["node_feat_dict"] or {}).items():
        data[kind].x = torch.from_numpy(x).float()
    for edge_type, ends in graph["edge_index_dict"].items():
        data[edge_type].edge_index = torch.from_numpy(ends).long()
    y = read_column(folder / "raw" / "node-label" / "paper" / "node-label.csv.gz")
    data["paper"].y = y
    times = folder / "split" / "time" / "paper"
    given = {split: read_column(times / f"{split}.csv.gz") for split in _SPLITS}
    splits = split_nodes(
        y, protocol=protocol, source=name, seed=seed, given=given, shares=(valid, test)
    )
    return hetero_dataset(name, data, "paper", splits, undirected=True)


def _read(
    name: str,
    read: Callable[[str], HeteroData],
    inner: str,
    parts: Sequence[str],
    places: Sequence[Path],
    keep: Path,
) -> HeteroData:
    """What PyG makes of raw files, in a temporary folder, so that it trusts no processed file.

    Args:
        name: What messages call the set.
        read: Reads a folder through PyG, fetching what is missing.
        inner: Where PyG wants the raw files, inside that folder.
        parts: Their names.
        places: Where they may lie.
        keep: Where to put them if they had to be fetched.
    """
    found = next((p for p in places if all((p / part).is_file() for part in parts)), None)
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary) / inner
        raw.parent.mkdir(parents=True, exist_ok=True)
        if found is not None:
            raw.symlink_to(found.resolve(), target_is_directory=True)
        nowhere = io.StringIO()
        try:
            with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
                data = read(temporary)
        except Exception as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            if all((raw / part).is_file() for part in parts):
                where = found or f"what was fetched for {name}"
                raise ValueError(
                    f"{where}: not the raw files of {name} ({why}); fetch them again"
                ) from error
            raise FileNotFoundError(
                f"no raw files of {name} in {keep}, and fetching them failed ({why}); copy "
                f"{', '.join(parts)} there, or set GRAPHLEARN_DATA to the folder that has them"
            ) from error
        if found is None:
            _keep(raw, parts, keep)
        return data


def _keep(raw: Path, parts: Sequence[str], keep: Path) -> None:
    """Store fetched files for the next time, if the folder can be written to."""
    try:
        keep.mkdir(parents=True, exist_ok=True)
        for part in parts:
            shutil.copyfile(raw / part, keep / f"{part}.part")
            (keep / f"{part}.part").replace(keep / part)
    except OSError as error:
        _log.warning("cannot keep the fetched files in %s (%s)", keep, error)


def _check_counts(name: str, data: HeteroData) -> None:
    """A folder of the same name circulates with another graph inside; sizes tell."""
    advice = (
        "these are the files of another graph (a copy of DBLP that circulates holds Yelp's "
        "businesses); fetch them again"
    )
    for kind, count in _NODES[name].items():
        got = data[kind].num_nodes if kind in data.node_types else "none"
        if got != count:
            raise ValueError(f"{name} must have {count} {kind}s, got {got}; {advice}")
    for ends, count in _EDGES[name].items():
        for source, destination in (ends, ends[::-1]):
            sizes = [
                data[kind].edge_index.shape[1]
                for kind in data.edge_types
                if (kind[0], kind[2]) == (source, destination)
            ]
            if sizes != [count]:
                raise ValueError(
                    f"{name} must have {count} edges from {source} to {destination}, got "
                    f"{sum(sizes)}; {advice}"
                )


def _thin(x: Tensor) -> Tensor:
    """Features as sparse rows where most of them are zero."""
    if x.count_nonzero() > _DENSE * x.numel():
        return x
    row, column = x.nonzero(as_tuple=True)
    ptr = torch.bincount(row, minlength=len(x)).cumsum(0)
    return sparse_rows(
        np.concatenate([[0], ptr.numpy()]),
        column.numpy(),
        x[row, column].numpy(),
        (x.shape[0], x.shape[1]),
        source="x",
    )

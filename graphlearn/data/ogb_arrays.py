"""What each of OGB's link data sets holds, and its official files as one set of arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from graphlearn.data.ogb_files import Arrays, fingerprint, read_raw, read_split
from graphlearn.train.task import Split

__all__ = ["OGB_LINKS", "SPLITS", "LinkFiles", "Published", "check", "official"]

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Published(NamedTuple):
    """Counts that the authors of a set report; None where they give the sum only."""

    nodes: int
    edges: int
    train: int | None = None
    valid: int | None = None
    test: int | None = None


class LinkFiles(NamedTuple):
    """What OGB's files of one set hold.

    Args:
        metric: The official metric.
        folder: Name of the folder below `split/`.
        layout: How the raw graph is stored.
        published: Counts to compare with.
        nodes: Keys of the nodes in the npz form.
        rows: Columns of every split, beside `edge`.
        negatives: Columns of the validation and test split only.
    """

    metric: str
    folder: str
    layout: Literal["csv", "npz", "triples"]
    published: Published
    nodes: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ("edge_neg",)

    def columns(self, split: Split) -> tuple[str, ...]:
        """Columns of one split in the npz form."""
        return ("edge", *self.rows, *(() if split == "train" else self.negatives))

    def required(self) -> list[str]:
        """Keys of the npz form."""
        columns = [f"{split}_{column}" for split in SPLITS for column in self.columns(split)]
        return ["num_nodes", *self.nodes, *columns]


OGB_LINKS: Mapping[str, LinkFiles] = {
    "ogbl-biokg": LinkFiles(
        metric="mrr",
        folder="random",
        layout="triples",
        published=Published(93_773, 5_088_434),
        nodes=("node_type", "type_names"),
        rows=("relation",),
        negatives=("head_neg", "tail_neg"),
    ),
    "ogbl-citation2": LinkFiles(
        metric="mrr",
        folder="time",
        layout="csv",
        published=Published(2_927_963, 30_561_187, 30_387_995, 86_596, 86_596),
        nodes=("x", "node_year"),
        negatives=("target_neg",),
    ),
    "ogbl-collab": LinkFiles(
        metric="hits@50",
        folder="time",
        layout="csv",
        published=Published(235_868, 1_285_465, 1_179_052, 60_084, 46_329),
        nodes=("x",),
        rows=("weight", "year"),
    ),
    "ogbl-ddi": LinkFiles(
        metric="hits@20",
        folder="target",
        layout="csv",
        published=Published(4_267, 1_334_889, 1_067_911, 133_489, 133_489),
    ),
    "ogbl-ppa": LinkFiles(
        metric="hits@100",
        folder="throughput",
        layout="csv",
        published=Published(576_289, 30_326_273, 21_231_931, 6_062_562, 3_031_780),
        nodes=("x", "num_ids"),
    ),
    "ogbl-vessel": LinkFiles(
        metric="rocauc",
        folder="spatial",
        layout="npz",
        published=Published(3_538_495, 5_345_897),
        nodes=("x",),
        rows=("edge_neg",),
        negatives=(),
    ),
    "ogbl-wikikg2": LinkFiles(
        metric="mrr",
        folder="time",
        layout="csv",
        published=Published(2_500_604, 17_137_181),
        rows=("relation",),
        negatives=("head_neg", "tail_neg"),
    ),
}


def official(name: str, folder: Path, *, trust_pickle: bool = False) -> Arrays:
    """The npz form of a set, from OGB's `raw` and `split` folders.

    Args:
        name: One of `OGB_LINKS`.
        folder: The folder that holds `raw` and `split`.
        trust_pickle: Read split files that only full unpickling can read.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is broken, unsafe or inconsistent.
    """
    files = OGB_LINKS[name]
    arrays, first = _nodes(files, folder / "raw")
    for split, part in _parts(folder / "split" / files.folder, trust_pickle).items():
        for column, values in _columns(part, first).items():
            if column in files.columns(split):
                arrays[f"{split}_{column}"] = values
    arrays = {key: _narrow(values) for key, values in arrays.items()}
    check(name, arrays)
    return arrays | {"source": np.array(fingerprint(folder))}


def check(name: str, arrays: Arrays) -> None:
    """Check the npz form of a set: keys, shapes, kinds, ids, finite values.

    Args:
        name: One of `OGB_LINKS`.
        arrays: What `official` returns, or an npz holds.

    Raises:
        ValueError: if something is wrong; the message names the key.
    """
    files = OGB_LINKS[name]
    missing = [key for key in files.required() if key not in arrays]
    if missing:
        raise ValueError(f"{name} lacks {missing[0]!r}; expected {', '.join(files.required())}")
    num_nodes = int(arrays["num_nodes"])
    for key in files.nodes:
        rows = num_nodes if key in ("x", "node_year", "node_type") else None
        _check_values(name, key, arrays[key], rows)
    if "num_ids" in files.nodes and (arrays["x"] >= arrays["num_ids"]).any():
        raise ValueError(f"{name}: x must hold ids below num_ids={int(arrays['num_ids'])}")
    for split in SPLITS:
        pairs = len(arrays[f"{split}_edge"])
        if not pairs:
            raise ValueError(f"{name}: {split}_edge must hold at least one edge, got none")
        for column in files.columns(split):
            key, rows = f"{split}_{column}", None if column == "edge_neg" else pairs
            _check_values(name, key, arrays[key], rows)
            if column.endswith(("edge", "_neg")):
                _check_ids(name, key, arrays[key], num_nodes)


def _nodes(files: LinkFiles, raw: Path) -> tuple[Arrays, dict[str, int]]:
    """What the raw folder says of the nodes, and the first id of each node type."""
    tables = tuple(key for key in files.nodes if key == "node_year")
    graph = read_raw(raw, files.layout, features="x" in files.nodes, node_files=tables)
    if files.layout == "triples":
        names, sizes = zip(*sorted(graph["num_nodes_dict"].items()), strict=True)
        starts = np.cumsum([0, *sizes])
        kinds = np.repeat(np.arange(len(names)), sizes)
        arrays = {"num_nodes": starts[-1:].reshape(()), "node_type": kinds}
        arrays["type_names"] = np.array(names, dtype=str)
        return arrays, dict(zip(names, starts[:-1].tolist(), strict=True))
    arrays = {"num_nodes": np.array(graph["num_nodes"])}
    arrays |= {key: graph[key].reshape(-1) for key in tables}
    if "x" in files.nodes:
        arrays |= _features(graph["node_feat"], raw, one_hot="num_ids" in files.nodes)
    return arrays, {}


def _features(x: np.ndarray | None, raw: Path, *, one_hot: bool) -> Arrays:
    if x is None:
        raise ValueError(f"{raw} holds no node features, but this set has some")
    if not one_hot:
        return {"x": x.astype(np.float32)}
    if not ((x == 1).sum(1) == 1).all() or np.count_nonzero(x) != len(x):
        raise ValueError(f"{raw / 'node-feat.csv.gz'} must be one-hot: a single 1 in each row")
    return {"x": x.argmax(1), "num_ids": np.array(x.shape[1])}


def _parts(folder: Path, trust_pickle: bool) -> Mapping[Split, Mapping[str, Any]]:
    whole = folder / "split_dict.pt"
    if not whole.is_file():
        return {s: read_split(folder / f"{s}.pt", trust_pickle=trust_pickle) for s in SPLITS}
    parts = read_split(whole, trust_pickle=trust_pickle)
    if not all(isinstance(parts.get(split), Mapping) for split in SPLITS):
        raise ValueError(f"{whole} must hold train, valid and test, got {', '.join(parts)}")
    return {split: parts[split] for split in SPLITS}


def _columns(part: Mapping[str, Any], first: Mapping[str, int]) -> Arrays:
    """One split of OGB under the names of the npz form; `first` is where each type's ids begin."""
    ends = {key: _shift(part.get(f"{key}_type"), first) for key in ("head", "tail")}
    columns: Arrays = {}
    for key, values in part.items():
        if key.endswith("_type"):
            continue
        values = np.asarray(values)
        shift = ends.get(key.partition("_")[0])
        if shift is not None:
            values = values + shift.reshape(-1, *[1] * (values.ndim - 1))
        columns[{"target_node_neg": "target_neg"}.get(key, key)] = values
    for one, other in (("source_node", "target_node"), ("head", "tail")):
        if one in columns and other in columns:
            columns["edge"] = np.stack([columns.pop(one), columns.pop(other)], axis=1)
    return columns


def _shift(types: Sequence[str] | None, first: Mapping[str, int]) -> np.ndarray | None:
    if types is None:
        return None
    unknown = set(types) - set(first)
    if unknown:
        raise ValueError(f"no node type {min(unknown)!r} in raw/num-node-dict.csv.gz")
    return np.array([first[kind] for kind in types], dtype=np.int64)


def _narrow(values: np.ndarray) -> np.ndarray:
    """The smallest unsigned type that holds an array of ids."""
    if values.dtype.kind not in "iu" or not values.size or values.min() < 0:
        return values
    return values.astype(np.min_scalar_type(values.max()))


def _check_values(name: str, key: str, values: np.ndarray, rows: int | None) -> None:
    if rows is not None and len(values) != rows:
        raise ValueError(f"{name}: {key} must have {rows} rows, got {len(values)}")
    if values.dtype.kind not in ("U" if key == "type_names" else "iuf"):
        raise ValueError(f"{name}: {key} must hold numbers, got {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name}: {key} must be finite, got NaN or infinity")


def _check_ids(name: str, key: str, ids: np.ndarray, num_nodes: int) -> None:
    pairs = key.endswith(("_edge", "_edge_neg"))
    if ids.ndim != 2 or (pairs and ids.shape[1] != 2):
        shape = "(P, 2)" if pairs else "(P, K)"
        raise ValueError(f"{name}: {key} must have shape {shape}, got {ids.shape}")
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{name}: {key} must hold integer node ids, got {ids.dtype}")
    for end in (ids.min(initial=0), ids.max(initial=0)):
        if not 0 <= end < num_nodes:
            raise ValueError(
                f"{name}: {key} holds node {end}, expected ids from 0 to {num_nodes - 1}"
            )

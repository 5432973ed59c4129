"""The link data sets of the Open Graph Benchmark, from their official files or one npz each.

A set lives in `<root>/ogbl_<name>/`: either OGB's unpacked archive (`raw/` and `split/`), or
`ogbl_<name>.npz`, or both. The npz is a plain archive without pickles; it is written at the first
reading of a raw folder and used from then on, as long as the raw files stay as they were (`source`
is their digest). An npz without `source` is yours: it is used as it is and never replaced. Its
keys, `{s}` being each of `train`, `valid` and `test`:

- `num_nodes` (): all sets;
- `{s}_edge` (P, 2): all; head and tail for the knowledge graphs;
- `{s}_edge_neg` (M, 2): valid and test of ddi, collab, ppa; every split of vessel;
- `{s}_target_neg` (P, K): valid and test of citation2, candidates for the second node;
- `{s}_weight`, `{s}_year` (P,): collab;
- `{s}_relation` (P,): wikikg2, biokg;
- `{s}_head_neg`, `{s}_tail_neg` (P, K): valid and test of wikikg2, biokg;
- `x` (N, F): collab, citation2, vessel; ids (N,) for ppa;
- `num_ids` (): ppa, number of species;
- `node_year` (N,): citation2;
- `node_type` (N,), `type_names` (T,): biokg; node ids count through the types in this order.

Reference: Hu et al., Open Graph Benchmark: Datasets for Machine Learning on Graphs, NeurIPS 2020.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlearn.data.dataset import Dataset, LinkSplit
from graphlearn.data.ogb_arrays import OGB_LINKS, SPLITS, check, official
from graphlearn.data.ogb_files import Arrays, fingerprint, read_npz, write_npz
from graphlearn.extras import nearest
from graphlearn.train.task import Split

__all__ = ["convert_ogb", "load_ogb"]

_LOG = logging.getLogger(__name__)


def load_ogb(
    name: str, root: Path | str, *, trust_pickle: bool = False, min_year: int = 0
) -> Dataset:
    """Read one of OGB's link data sets, with its official split and metric.

    `data.edge_index` holds every training edge in both directions, first all as given, then all
    reversed, repeats included. `splits[...].pos` keeps order, direction and repeats of OGB.
    Nothing is downloaded, asked or deleted.

    Args:
        name: `ogbl-ppa`, `-collab`, `-ddi`, `-citation2`, `-vessel`, `-wikikg2` or `-biokg`.
        root: Folder that holds `ogbl_<name>/`.
        trust_pickle: Read split files that only full unpickling can read; that runs whatever code
            they hold.
        min_year: First year of the training edges that are kept (ogbl-collab only).

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the name is unknown, or a file is broken, unsafe or inconsistent.
    """
    folder = _locate(name, Path(root))
    stored = folder / f"{folder.name}.npz"
    arrays = read_npz(stored) if stored.is_file() else None
    if arrays is None or _outdated(arrays, folder):
        arrays = official(name, folder, trust_pickle=trust_pickle)
        try:
            write_npz(stored, arrays)
        except OSError as error:
            _LOG.info("%s is not kept: %s", stored, error)
    else:
        check(name, arrays)
    return _dataset(name, arrays, min_year)


def convert_ogb(
    name: str, root: Path | str, *, out: Path | str | None = None, trust_pickle: bool = False
) -> Path:
    """Write the npz form of a set from OGB's official files, and return where it is.

    Args:
        name: One of the names that `load_ogb` knows.
        root: Folder that holds `ogbl_<name>/raw` and `ogbl_<name>/split`.
        out: Root of the npz form, `root` itself if not given.
        trust_pickle: As for `load_ogb`.

    Raises:
        FileNotFoundError: if a file is missing.
        FileExistsError: if there is an npz that was not made by this package.
        OSError: if the npz cannot be written.
        ValueError: if the name is unknown, or a file is broken, unsafe or inconsistent.
    """
    folder = _locate(name, Path(root))
    stored = Path(out or root) / folder.name / f"{folder.name}.npz"
    if stored.exists() and "source" not in read_npz(stored):
        raise FileExistsError(f"{stored} was not made from raw files; move it away to replace it")
    arrays = official(name, folder, trust_pickle=trust_pickle)
    stored.parent.mkdir(parents=True, exist_ok=True)
    write_npz(stored, arrays)
    return stored


def _locate(name: str, root: Path) -> Path:
    if name not in OGB_LINKS:
        hint = nearest(name, OGB_LINKS)
        raise ValueError(f"no OGB link data set {name!r}; known are {', '.join(OGB_LINKS)}{hint}")
    folder = root / name.replace("-", "_")
    if not (folder / f"{folder.name}.npz").is_file() and not (folder / "raw").is_dir():
        raise FileNotFoundError(
            f"no {name} in {folder}: expected OGB's folders raw/ and split/ there, or "
            f"{folder.name}.npz; get it from https://ogb.stanford.edu/docs/linkprop/#{name}"
        )
    return folder


def _outdated(arrays: Arrays, folder: Path) -> bool:
    """Whether an npz came from raw files that are there and have changed since."""
    made_here = "source" in arrays and (folder / "raw").is_dir()
    return made_here and str(arrays["source"]) != fingerprint(folder)


def _dataset(name: str, arrays: Arrays, min_year: int) -> Dataset:
    from torch_geometric.data import Data

    files = OGB_LINKS[name]
    splits = {split: _link_split(arrays, split, files.columns(split)) for split in SPLITS}
    if min_year:
        splits["train"] = _since(name, splits["train"], min_year)
    num_nodes = int(arrays["num_nodes"])
    pos = splits["train"].pos
    data = Data(edge_index=torch.cat([pos, pos.flip(0)], dim=1), num_nodes=num_nodes)
    for key in ("x", "node_year", "node_type"):
        if key in files.nodes:
            data[key] = _tensor(arrays[key])
    floats = "x" in files.nodes and arrays["x"].ndim == 2
    facts: dict[str, Any] = {
        "num_nodes": num_nodes,
        "in_channels": arrays["x"].shape[1] if floats else 0,
        "num_ids": 0 if floats else int(arrays.get("num_ids", num_nodes)),
    }
    if "relation" in files.rows:
        last = max(arrays[f"{split}_relation"].max() for split in SPLITS)
        facts["num_relations"] = int(last) + 1
    if "type_names" in files.nodes:
        facts["node_types"] = tuple(arrays["type_names"].tolist())
    return Dataset(name, "link", files.metric, data, splits, facts)


def _link_split(arrays: Arrays, split: Split, columns: tuple[str, ...]) -> LinkSplit:
    part = {column: _tensor(arrays[f"{split}_{column}"]) for column in columns}
    pos = part.pop("edge").T.contiguous()
    neg = None
    if "edge_neg" in part:
        neg = part.pop("edge_neg").T.contiguous()
    elif "target_neg" in part:
        targets = part.pop("target_neg")
        neg = torch.stack([pos[0, :, None].expand_as(targets), targets])
    return LinkSplit(pos, neg, part)


def _since(name: str, split: LinkSplit, min_year: int) -> LinkSplit:
    if "year" not in split.attributes:
        raise ValueError(f"min_year needs edges with years, which {name} does not have")
    keep = split.attributes["year"] >= min_year
    if not keep.any():
        last = int(split.attributes["year"].max())
        raise ValueError(f"min_year={min_year} leaves no training edge; the last year is {last}")
    kept = {key: values[keep] for key, values in split.attributes.items()}
    return LinkSplit(split.pos[:, keep], split.neg, kept)


def _tensor(values: np.ndarray) -> Tensor:
    kind = np.float32 if values.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.ascontiguousarray(values, dtype=kind))

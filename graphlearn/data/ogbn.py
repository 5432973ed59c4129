"""ogbn-arxiv, the citation graph of the Open Graph Benchmark, from its official files.

The files are OGB's unpacked archive in `<root>/ogbn_arxiv/`: `raw/` with edges, features, labels,
`split/time/` with the official split. Nothing is downloaded or written.

Reference: Hu et al., Open Graph Benchmark: Datasets for Machine Learning on Graphs, NeurIPS 2020.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphlearn.data.dataset import Dataset
from graphlearn.data.node_splits import split_nodes
from graphlearn.data.nodes import node_dataset
from graphlearn.data.ogb_files import read_raw
from graphlearn.data.table import cells, line_of, numbers, read_table
from graphlearn.train.task import Split

__all__ = ["load_ogbn", "read_column"]

_SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def load_ogbn(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """The papers of arXiv with their subject areas; citations are made undirected.

    The official split is by time: papers until 2017, of 2018, and from 2019 on.

    Args:
        name: `ogbn-arxiv`.
        root: Folder that holds `ogbn_arxiv/`.
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
            f"https://ogb.stanford.edu/docs/nodeprop/#{name}"
        )
    graph = read_raw(folder / "raw", "csv", features=True)
    num_nodes = int(graph["num_nodes"])
    y = read_column(folder / "raw" / "node-label.csv.gz")
    if len(y) != num_nodes:
        raise ValueError(f"{folder}: expected the labels of {num_nodes} nodes, got {len(y)}")
    given = {split: read_column(folder / "split" / "time" / f"{split}.csv.gz") for split in _SPLITS}
    splits = split_nodes(
        y, protocol=protocol, source=name, seed=seed, given=given, shares=(valid, test)
    )
    edge_index = torch.from_numpy(np.asarray(graph["edge_index"], dtype=np.int64))
    x = torch.from_numpy(np.asarray(graph["node_feat"], dtype=np.float32))
    return node_dataset(name, edge_index, y, splits, num_nodes, x=x)


def read_column(path: Path) -> Tensor:
    """A column of whole numbers.

    Args:
        path: A table of one column.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if a cell is no whole number; names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; unpack OGB's archive of the set again")
    table = read_table(path)
    values = numbers(table, [0], np.int64)
    if values is None:
        for row, (cell, *_) in enumerate(cells(table)):
            if not cell.removeprefix("-").isdecimal():
                raise ValueError(f"{line_of(table, row)}: expected a whole number, got {cell!r}")
        raise ValueError(f"{path} is no column of whole numbers; unpack OGB's archive again")
    return torch.from_numpy(values[:, 0].copy())

"""Cora, Citeseer and Pubmed for node classification, with the public split of the Planetoid paper.

Reference: Yang, Cohen, Salakhutdinov, "Revisiting Semi-Supervised Learning with Graph Embeddings",
ICML 2016.
"""

from pathlib import Path

from graphlearn.data.dataset import Dataset
from graphlearn.data.node_splits import split_nodes
from graphlearn.data.nodes import node_dataset
from graphlearn.data.pyg import read_named
from graphlearn.train.task import Split

__all__ = ["load_citation"]


def load_citation(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """A Planetoid graph with the classes of its nodes; features are left as they are.

    The public split has 20 training nodes for each class, 500 validation and 1000 test nodes; the
    random one draws as many.

    Args:
        name: `cora`, `citeseer` or `pubmed`.
        root: Folder of the data sets; it is only written to for a download.
        seed: Seed of the split; the public one does not depend on it.
        protocol: `auto` and `public`, `random`, or `stratified`.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if files are missing and cannot be fetched.
        ValueError: if a file is damaged or refused, or the options do not fit.
    """
    data = read_named(name, root)
    masks: dict[Split, str] = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}
    splits = split_nodes(
        data.y,
        protocol=protocol,
        source=name,
        seed=seed,
        given={split: data[mask].nonzero().flatten() for split, mask in masks.items()},
        val=500,
        test=1000,
        shares=(valid, test),
    )
    return node_dataset(name, data.edge_index, data.y, splits, data.num_nodes, x=data.x)

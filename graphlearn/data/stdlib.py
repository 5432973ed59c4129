"""The embedded data set: definitions of Python's standard library and their references.

A node is a top-level function or class (`json.decoder.JSONDecoder`), an edge joins two of which one
refers to the other, features tell which words occur in a definition's name and docstring. The
snapshot is built by `scripts/build_stdlib.py` and shipped with the package.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from graphlearn.data.archive import all_pairs, features, open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.node_splits import split_nodes
from graphlearn.data.nodes import node_dataset
from graphlearn.data.splits import link_dataset, split_links

__all__ = ["SNAPSHOT", "load_stdlib", "load_stdlib_nodes", "read_snapshot", "telling_words"]

SNAPSHOT = Path(__file__).with_name("stdlib.npz")
_LEAST = 60  # definitions of a package that is a class


def load_stdlib(
    name: str = "stdlib",
    path: Path = SNAPSHOT,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.1,
    test: float = 0.2,
) -> Dataset:
    """The references of the standard library; `names` and 0/1 word features are present.

    Args:
        name: Name of the data set.
        path: The snapshot.
        seed: Seed of the split.
        protocol: `auto`, `random`, `planetoid` or `heart`.
        valid: Share of validation edges.
        test: Share of test edges.

    Raises:
        FileNotFoundError: if the snapshot is missing.
        ValueError: if it is damaged.
    """
    names, pairs, x, _ = read_snapshot(open_npz(path), path)
    num_nodes = len(names)
    splits = split_links(pairs, num_nodes, protocol=protocol, seed=seed, valid=valid, test=test)
    metric = "hits@100" if protocol == "planetoid" else "hits@50"
    return link_dataset(name, splits, num_nodes, x=x, names=names, metric=metric)


def load_stdlib_nodes(
    name: str = "stdlib",
    path: Path = SNAPSHOT,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """The definitions of the standard library; the class of one is the package that it is from.

    Packages with fewer than 60 definitions are no class, and theirs have no label. Words that are
    part of a module's name are left out of the features, since the names of definitions would give
    their package away.

    Args:
        name: Name of the data set.
        path: The snapshot.
        seed: Seed of the split.
        protocol: `auto` and `random` have 20 training and 30 validation nodes for each class, and
            all others in the test; or `stratified`.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if the snapshot is missing.
        ValueError: if it is damaged.
    """
    names, pairs, x, words = read_snapshot(open_npz(path), path)
    packages = [definition.partition(".")[0] for definition in names]
    count = Counter(packages)
    classes = sorted(package for package in count if count[package] >= _LEAST)
    number = {package: k for k, package in enumerate(classes)}
    y = torch.tensor([number.get(package, -1) for package in packages])
    telling = telling_words(names)
    x = x[:, torch.tensor([word not in telling for word in words])]
    splits = split_nodes(
        y, protocol=protocol, source=name, seed=seed, usual="random", shares=(valid, test)
    )
    return node_dataset(name, pairs, y, splits, len(names), x=x, names=names, classes=classes)


def read_snapshot(
    arrays: Mapping[str, npt.NDArray[Any]], path: Path
) -> tuple[list[str], Tensor, Tensor, list[str]]:
    """Names of the definitions, every edge once, features, and which word each feature is.

    Args:
        arrays: The arrays of a snapshot.
        path: Where they come from, for messages.

    Raises:
        ValueError: if one is missing, or they do not fit together.
    """
    missing = {"edge", "num_nodes", "x_indptr", "names", "words", "python"} - set(arrays)
    if missing:
        raise ValueError(f"{path} is no snapshot of the standard library, no {min(missing)!r}")
    names, num_nodes = arrays["names"].tolist(), int(arrays["num_nodes"])
    if len(set(names)) != num_nodes:
        raise ValueError(f"{path} must name {num_nodes} definitions, it names {len(set(names))}")
    pairs = all_pairs(arrays, num_nodes, source=path.name)
    x = features(arrays, num_nodes, source=path.name)
    assert x is not None
    return names, pairs, x, arrays["words"].tolist()


def telling_words(names: Iterable[str]) -> set[str]:
    """Words that are part of the name of a module of some definition.

    Args:
        names: Dotted names of definitions.
    """
    modules = {name.rpartition(".")[0] for name in names}
    return {word for module in modules for word in re.findall("[a-z]+", module.lower())}

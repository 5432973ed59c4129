"""The embedded data set as a graph of three types: modules, classes and functions.

A module contains classes and functions, a class inherits from classes, and classes and functions
refer to each other; every relation has its reverse. What is predicted is the package that a
function or a class is from. Most functions of a package share few modules, so that their module
tells much; of classes whole modules are held out, and only words, bases and references can tell.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graphlearn.data.archive import open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.hetero import hetero_dataset
from graphlearn.data.node_splits import split_nodes
from graphlearn.data.stdlib import SNAPSHOT, read_snapshot, telling_words
from graphlearn.train.task import Split

__all__ = ["load_stdlib_hetero"]

_LEAST = 30  # definitions of a package that is a class
_MODULES = 5  # modules that they must come from, where whole modules are held out
_PER_CLASS = (10, 10)  # training and validation nodes of each class in a random split
_TARGETS = ("function", "class")
_SHARES: Mapping[Split, float] = {"test": 0.5, "train": 0.3, "valid": 0.2}
"""Shares of a package's definitions, about, since modules stay whole."""
_KEYS = ("direction", "is_class", "inherits", "module_indptr", "module_indices")


def load_stdlib_hetero(
    name: str = "stdlib",
    path: Path = SNAPSHOT,
    *,
    target: str = "",
    seed: int = 0,
    protocol: str = "auto",
    valid: float | None = None,
    test: float | None = None,
) -> Dataset:
    """Modules, classes and functions of the standard library; which package is one of them from?

    Packages with fewer than 30 functions are no class, and theirs have no label; of classes also
    those with fewer than 5 modules that define any. Words that are part of a module's name are left
    out of the features, as in `graphlearn.data.stdlib.load_stdlib_nodes`.

    Args:
        name: Name of the data set.
        path: The snapshot.
        target: `function`, which is also the default, or `class`.
        seed: Seed of the split.
        protocol: `random` has 10 training and 10 validation nodes for each class, and all others
            in the test; `stratified` divides each class. For functions `auto` is `random`. For
            classes `auto` and `public` hold out whole modules: of each package modules with about
            30 % of its classes are for training, with 20 % for validation, the others for the
            test.
        valid: Share of validation nodes, only with `stratified`.
        test: Share of test nodes, only with `stratified`.

    Raises:
        FileNotFoundError: if the snapshot is missing.
        ValueError: if it is damaged, or the target is another one.
    """
    if target not in ("", *_TARGETS):
        raise ValueError(f"the target of {name} must be function or class, got {target!r}")
    target = target or _TARGETS[0]
    arrays = open_npz(path)
    names, pairs, x, words = read_snapshot(arrays, path)
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise ValueError(f"{path} is an older snapshot of the standard library, no {missing[0]!r}")
    told = torch.tensor([word not in telling_words(names) for word in words])
    homes = [definition.rpartition(".")[0] for definition in names]
    modules = sorted(set(homes))
    is_class = torch.from_numpy(arrays["is_class"].astype(bool))
    data = HeteroData()
    data["module"].x = _module_words(arrays, len(modules), len(words), path)[:, told]
    data["class"].x, data["function"].x = x[is_class][:, told], x[~is_class][:, told]
    number = {module: k for k, module in enumerate(modules)}
    home = torch.tensor([number[module] for module in homes])
    _add_edges(data, arrays, pairs, is_class, home)
    own = (is_class == (target == "class")).nonzero().flatten().tolist()
    held = target == "class"  # whole modules are
    y, classes = _packages([homes[k] for k in own], _MODULES if held else 1)
    data[target].y = y
    splits = split_nodes(
        y,
        protocol=protocol,
        source=name,
        seed=seed,
        given=_by_module(y, [homes[k] for k in own], seed) if held else None,
        usual="random",
        per_class=_PER_CLASS,
        shares=(valid, test),
    )
    return hetero_dataset(
        name, data, target, splits, names=[names[k] for k in own], classes=classes
    )


def _module_words(
    arrays: Mapping[str, npt.NDArray[Any]], num_modules: int, num_words: int, path: Path
) -> Tensor:
    ptr, word = (arrays[key].astype(np.int64) for key in ("module_indptr", "module_indices"))
    if len(ptr) != num_modules + 1 or ptr[-1] != len(word) or (word >= num_words).any():
        raise ValueError(f"{path} must hold words of {num_modules} modules, got {len(ptr) - 1}")
    x = torch.zeros(num_modules, num_words)
    x[torch.from_numpy(np.repeat(np.arange(num_modules), np.diff(ptr))), torch.from_numpy(word)] = 1
    return x


def _add_edges(
    data: HeteroData,
    arrays: Mapping[str, npt.NDArray[Any]],
    pairs: Tensor,
    is_class: Tensor,
    home: Tensor,
) -> None:
    """All relations and their reverse; an inherited class is not referred to besides."""
    row = torch.where(is_class, is_class.cumsum(0), (~is_class).cumsum(0)) - 1
    ends = torch.from_numpy(arrays["edge"].astype(np.int64)).T
    says = torch.from_numpy(arrays["direction"].astype(np.int64))
    refers = torch.cat([ends[:, says & 1 > 0], ends[:, says & 2 > 0].flip(0)], 1)
    inherits = torch.from_numpy(arrays["inherits"].astype(np.int64)).T
    size = len(is_class)
    plain = ~torch.isin(refers[0] * size + refers[1], inherits[0] * size + inherits[1])
    refers = refers[:, plain]
    assert pairs.shape[1] == ends.shape[1]
    kinds = {"class": is_class, "function": ~is_class}
    for kind, of_kind in kinds.items():
        inside = torch.stack([home[of_kind], row[of_kind]])
        data["module", "contains", kind].edge_index = inside
        data[kind, "contained_in", "module"].edge_index = inside.flip(0)
    data["class", "inherits", "class"].edge_index = row[inherits]
    data["class", "inherited_by", "class"].edge_index = row[inherits.flip(0)]
    for first, of_first in kinds.items():
        for second, of_second in kinds.items():
            found = row[refers[:, of_first[refers[0]] & of_second[refers[1]]]]
            data[first, "references", second].edge_index = found
            data[second, "referenced_by", first].edge_index = found.flip(0)


def _packages(homes: Sequence[str], modules: int) -> tuple[Tensor, list[str]]:
    """The package of each node, given its module, and the names of those with enough of them."""
    packages = [module.partition(".")[0] for module in homes]
    count = Counter(packages)
    spread = Counter(module.partition(".")[0] for module in set(homes))
    classes = sorted(p for p in count if count[p] >= _LEAST and spread[p] >= modules)
    number = {package: k for k, package in enumerate(classes)}
    return torch.tensor([number.get(package, -1) for package in packages]), classes


def _by_module(y: Tensor, homes: Sequence[str], seed: int) -> dict[Split, Tensor]:
    """Whole modules of each package for training, validation and test."""
    generator = torch.Generator().manual_seed(seed)
    members: dict[str, list[int]] = {}
    for node, module in enumerate(homes):
        if y[node] >= 0:
            members.setdefault(module, []).append(node)
    parts: dict[Split, list[int]] = {"train": [], "valid": [], "test": []}
    for label in range(int(y.max()) + 1):
        modules = sorted(module for module in members if int(y[members[module][0]]) == label)
        order = torch.randperm(len(modules), generator=generator).tolist()
        have: dict[Split, int] = dict.fromkeys(_SHARES, 0)
        for k in order:  # to the part that has least of its share, of equals to the first
            part = min(_SHARES, key=lambda split: have[split] / _SHARES[split])
            have[part] += len(members[modules[k]])
            parts[part] += members[modules[k]]
    return {split: torch.tensor(ids) for split, ids in parts.items()}

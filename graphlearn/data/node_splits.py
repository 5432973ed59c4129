"""Splitting the nodes of a graph into training, validation and test.

All draws come from one seeded generator, so a seed gives the same split on every machine.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from graphlearn.train.task import Split

__all__ = [
    "MASKS",
    "largest_component",
    "masked_split",
    "random_per_class_split",
    "split_nodes",
    "stratified_split",
]

MASKS: Mapping[Split, str] = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}
"""What PyG calls the nodes of each split."""

SHARES = {"valid": 0.1, "test": 0.8}


def random_per_class_split(
    y: Int[Tensor, " node"],
    train: int = 20,
    *,
    val: int = 0,
    val_per_class: int = 0,
    test: int | None = None,
    nodes: Int[Tensor, " hit"] | None = None,
    generator: torch.Generator | None = None,
) -> dict[Split, Tensor]:
    """The same number of training nodes for each class, drawn at random.

    Validation takes as many of each class, or a number in all; the test takes what is left.
    `train=20, val=500, test=1000` is the random split of the Planetoid literature, `train=20,
    val_per_class=30` that of the co-purchase and co-author graphs.

    Reference: Shchur et al., "Pitfalls of Graph Neural Network Evaluation", 2018. Where nodes are
    restricted, to a component for example, `nodes` holds their ids and the split holds ids too.

    Args:
        y: Class of each node; -1 has no label and is never drawn.
        train: Training nodes of each class.
        val: Validation nodes in all.
        val_per_class: Validation nodes of each class, instead.
        test: Test nodes in all; None takes every other node.
        nodes: Ids of the nodes that may be drawn; None is all of them.
        generator: Source of randomness; None is torch's own.

    Raises:
        ValueError: if sizes are not valid, or there are too few nodes.
    """
    if train < 1 or (val > 0) == (val_per_class > 0) or min(val, val_per_class) < 0:
        raise ValueError(
            "train and one of val and val_per_class must be positive, the other 0, "
            f"got train={train}, val={val}, val_per_class={val_per_class}"
        )
    if test is not None and test < 1:
        raise ValueError(f"test must be positive, or None for all that is left, got {test}")
    by_class = _drawn_by_class(y, nodes, generator)
    need = train + val_per_class
    for label, ids in by_class.items():
        if len(ids) < need:
            raise ValueError(
                f"class {label} has {len(ids)} nodes to draw from, {need} are needed "
                f"(train={train}, val_per_class={val_per_class}); use protocol 'stratified'"
            )
    drawn = torch.cat([ids[:train] for ids in by_class.values()])
    if val_per_class:
        held = torch.cat([ids[train:need] for ids in by_class.values()])
        rest = _shuffled(torch.cat([ids[need:] for ids in by_class.values()]), generator)
    else:
        rest = _shuffled(torch.cat([ids[train:] for ids in by_class.values()]), generator)
        held, rest = rest[:val], rest[val:]
    size = len(rest) if test is None else test
    if len(held) < max(val, 1) or len(rest) < max(size, 1):
        raise ValueError(
            f"{sum(map(len, by_class.values()))} labelled nodes are too few for {len(drawn)} "
            f"training, {max(val, len(held))} validation and {max(size, 1)} test nodes"
        )
    return _sorted(drawn, held, rest[:size])


def stratified_split(
    y: Int[Tensor, " node"],
    *,
    valid: float = 0.1,
    test: float = 0.8,
    nodes: Int[Tensor, " hit"] | None = None,
    generator: torch.Generator | None = None,
) -> dict[Split, Tensor]:
    """Every class divided in the same proportions, 10/10/80 unless told otherwise.

    Shares of a class are rounded to whole nodes; each part gets one node of a class that has three
    or more, and a smaller class goes first to training.

    Args:
        y: Class of each node; -1 has no label and is never drawn.
        valid: Share of the validation nodes.
        test: Share of the test nodes.
        nodes: Ids of the nodes that may be drawn; None is all of them.
        generator: Source of randomness; None is torch's own.

    Raises:
        ValueError: if a share is not in (0, 1), or there are too few nodes.
    """
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise ValueError(
            f"valid and test must be positive and add up to less than 1, got {valid} and {test}"
        )
    parts: dict[Split, list[Tensor]] = {"train": [], "valid": [], "test": []}
    for ids in _drawn_by_class(y, nodes, generator).values():
        num_train = max(_rounded((1 - valid - test) * len(ids)), 1)
        num_valid = max(min(_rounded(valid * len(ids)), len(ids) - 2), 1)
        num_train = max(min(num_train, len(ids) - num_valid - 1), 1)
        parts["train"].append(ids[:num_train])
        parts["valid"].append(ids[num_train : num_train + num_valid])
        parts["test"].append(ids[num_train + num_valid :])
    joined = {split: torch.cat(pieces) for split, pieces in parts.items()}
    for split, ids in joined.items():
        if not len(ids):
            count = sum(map(len, joined.values()))
            raise ValueError(
                f"{count} labelled nodes are too few to split, nothing is left: {split}"
            )
    return _sorted(joined["train"], joined["valid"], joined["test"])


def split_nodes(
    y: Int[Tensor, " node"],
    *,
    protocol: str,
    source: str,
    seed: int = 0,
    given: Mapping[Split, Tensor] | None = None,
    usual: str = "stratified",
    nodes: Int[Tensor, " hit"] | None = None,
    val: int = 0,
    test: int | None = None,
    per_class: tuple[int, int] = (20, 30),
    shares: tuple[float | None, float | None] = (None, None),
) -> dict[Split, Tensor]:
    """The split that a protocol names.

    Args:
        y: Class of each node; -1 has no label.
        protocol: `public` is the split that comes with the source, `random` so many nodes of each
            class, `stratified` shares of each class, `auto` the split that comes with the source
            or else the usual one.
        source: What is split, for messages.
        seed: Seed of the draw.
        given: The split that comes with the source.
        usual: What `auto` is where there is none.
        nodes: Ids of the nodes that may be drawn; None is all of them.
        val: Validation nodes of a random split in all; 0 takes so many of each class.
        test: Test nodes of a random split; None takes every node that is left.
        per_class: Training and validation nodes of each class in a random split.
        shares: Shares of validation and test in a stratified split; None is 10 and 80 percent.

    Raises:
        ValueError: if the protocol does not fit the source, or there are too few nodes.
    """
    known = ["auto", *(["public"] if given is not None else []), "random", "stratified"]
    if protocol not in known:
        raise ValueError(
            f"protocol must be {', '.join(known[:-1])} or {known[-1]} for the nodes of {source}, "
            f"got {protocol!r}"
        )
    if protocol == "auto":
        protocol = "public" if given is not None else usual
    valid_share, test_share = shares
    if protocol != "stratified" and shares != (None, None):
        raise ValueError(
            f"protocol {protocol!r} of {source} fixes the sizes, got valid={valid_share} and "
            f"test={test_share}; use protocol 'stratified' for your own"
        )
    generator = torch.Generator().manual_seed(seed)
    if protocol == "public" and given is not None:
        return dict(given)
    if protocol == "stratified":
        return stratified_split(
            y,
            valid=SHARES["valid"] if valid_share is None else valid_share,
            test=SHARES["test"] if test_share is None else test_share,
            nodes=nodes,
            generator=generator,
        )
    train, held = per_class
    return random_per_class_split(
        y, train, val=val, val_per_class=0 if val else held, test=test, nodes=nodes,
        generator=generator,
    )  # fmt: skip


def masked_split(
    stored: Mapping[str, Any], num_nodes: int, seed: int, *, source: str = "Data"
) -> dict[Split, Tensor] | None:
    """The split that the masks of an object say, None where there are no masks.

    Args:
        stored: The attributes; all three masks or none, (N,) or (N, S) for S splits.
        num_nodes: Number of nodes N.
        seed: Which of the S splits.
        source: What messages call the object.

    Raises:
        ValueError: if a mask is missing, or is none of so many nodes.
    """
    there = [mask for mask in MASKS.values() if stored.get(mask) is not None]
    if not there:
        return None
    for mask in MASKS.values():
        found = stored.get(mask)
        if found is None or found.dtype != torch.bool or found.shape[:1] != (num_nodes,):
            got = "none" if found is None else f"{found.dtype} {tuple(found.shape)}"
            raise ValueError(f"{source}.{mask} must hold {num_nodes} truth values, got {got}")
    masks = {split: stored[mask].cpu().reshape(num_nodes, -1) for split, mask in MASKS.items()}
    return {
        split: mask[:, seed % mask.shape[1]].nonzero().flatten() for split, mask in masks.items()
    }


def largest_component(edge_index: Int[Tensor, "2 edge"], num_nodes: int) -> Int[Tensor, " hit"]:
    """Ids of the nodes of the largest connected component, ascending; of equals the first.

    Args:
        edge_index: Edges in any order and direction.
        num_nodes: Number of nodes.
    """
    row, col = edge_index.cpu().numpy()
    ones = np.ones(len(row), dtype=np.int8)
    graph = coo_array((ones, (row, col)), shape=(num_nodes, num_nodes))
    _, member = connected_components(graph, directed=False)
    return torch.from_numpy(np.flatnonzero(member == np.bincount(member).argmax()))


def _drawn_by_class(
    y: Tensor, nodes: Tensor | None, generator: torch.Generator | None
) -> dict[int, Tensor]:
    """Ids of each class in random order."""
    ids = torch.arange(len(y)) if nodes is None else nodes.long()
    ids = _shuffled(ids[y[ids] >= 0], generator)
    if not len(ids):
        raise ValueError("no node that may be drawn has a label")
    return {int(label): ids[y[ids] == label] for label in torch.unique(y[ids])}


def _rounded(size: float) -> int:
    """The nearest whole number; half goes up, whatever the last bit of a share."""
    return int(size + 0.5 + 1e-9)


def _shuffled(ids: Tensor, generator: torch.Generator | None) -> Tensor:
    return ids[torch.randperm(len(ids), generator=generator)]


def _sorted(train: Tensor, valid: Tensor, test: Tensor) -> dict[Split, Tensor]:
    parts: dict[Split, Tensor] = {"train": train, "valid": valid, "test": test}
    return {split: ids.sort().values for split, ids in parts.items()}

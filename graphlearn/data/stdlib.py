"""The embedded data set: definitions of Python's standard library and their references.

A node is a top-level function or class (`json.decoder.JSONDecoder`), an edge joins two of which one
refers to the other, features tell which words occur in a definition's name and docstring. The
snapshot is built by `scripts/build_stdlib.py` and shipped with the package.
"""

from pathlib import Path

from graphlearn.data.archive import all_pairs, features, open_npz
from graphlearn.data.dataset import Dataset
from graphlearn.data.splits import link_dataset, split_links

__all__ = ["SNAPSHOT", "load_stdlib"]

SNAPSHOT = Path(__file__).with_name("stdlib.npz")


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
    arrays = open_npz(path)
    missing = {"edge", "num_nodes", "x_indptr", "names", "words", "python"} - set(arrays)
    if missing:
        raise ValueError(f"{path} is no snapshot of the standard library, no {min(missing)!r}")
    names, num_nodes = arrays["names"].tolist(), int(arrays["num_nodes"])
    if len(set(names)) != num_nodes:
        raise ValueError(f"{path} must name {num_nodes} definitions, it names {len(set(names))}")
    pairs = all_pairs(arrays, num_nodes, source=path.name)
    splits = split_links(pairs, num_nodes, protocol=protocol, seed=seed, valid=valid, test=test)
    x = features(arrays, num_nodes, source=path.name)
    metric = "hits@100" if protocol == "planetoid" else "hits@50"
    return link_dataset(name, splits, num_nodes, x=x, names=names, metric=metric)

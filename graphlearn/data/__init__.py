"""Data sets: `load` finds one by name, by path or in an object you already have.

Importing this package loads neither torch nor PyG; the readers are imported when they are used.
"""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graphlearn.data.sources import DATASETS, find, resolve, used_options
from graphlearn.extras import lazy

if TYPE_CHECKING:
    from graphlearn.data.dataset import Dataset, EventSplit, LinkSplit
    from graphlearn.data.hetero import hetero_dataset
    from graphlearn.data.interactions import from_ratings as interactions_from_ratings
    from graphlearn.data.interactions import interaction_dataset
    from graphlearn.data.node_splits import random_per_class_split, stratified_split
    from graphlearn.data.nodes import node_dataset
    from graphlearn.data.robust import save_robust
    from graphlearn.data.splits import check_no_leak, link_dataset, planetoid_links, random_links
    from graphlearn.data.streams import event_dataset
    from graphlearn.data.synthetic import synthetic_events
    from graphlearn.data.tastes import synthetic_interactions

__all__ = [
    "DATASETS",
    "Dataset",
    "EventSplit",
    "LinkSplit",
    "check_no_leak",
    "event_dataset",
    "hetero_dataset",
    "interaction_dataset",
    "interactions_from_ratings",
    "link_dataset",
    "load",
    "node_dataset",
    "planetoid_links",
    "random_links",
    "random_per_class_split",
    "save_robust",
    "stratified_split",
    "synthetic_events",
    "synthetic_interactions",
]

_DRAWN = ("random", "dice")  # attacks that are made on the spot

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Dataset": "graphlearn.data.dataset:Dataset",
        "EventSplit": "graphlearn.data.dataset:EventSplit",
        "LinkSplit": "graphlearn.data.dataset:LinkSplit",
        "check_no_leak": "graphlearn.data.splits:check_no_leak",
        "event_dataset": "graphlearn.data.streams:event_dataset",
        "hetero_dataset": "graphlearn.data.hetero:hetero_dataset",
        "interaction_dataset": "graphlearn.data.interactions:interaction_dataset",
        "interactions_from_ratings": "graphlearn.data.interactions:from_ratings",
        "link_dataset": "graphlearn.data.splits:link_dataset",
        "node_dataset": "graphlearn.data.nodes:node_dataset",
        "planetoid_links": "graphlearn.data.splits:planetoid_links",
        "random_links": "graphlearn.data.splits:random_links",
        "random_per_class_split": "graphlearn.data.node_splits:random_per_class_split",
        "save_robust": "graphlearn.data.robust:save_robust",
        "stratified_split": "graphlearn.data.node_splits:stratified_split",
        "synthetic_events": "graphlearn.data.synthetic:synthetic_events",
        "synthetic_interactions": "graphlearn.data.tastes:synthetic_interactions",
    },
)


def load(
    source: object,
    *,
    root: Path | None = None,
    kind: Literal["auto", "link", "node", "hetero", "events", "interactions"] = "auto",
    seed: int = 0,
    protocol: Literal[
        "auto",
        "ogb",
        "planetoid",
        "random",
        "heart",
        "public",
        "stratified",
        "transductive",
        "inductive",
        "new-node",
        "leave-one-out",
        "temporal",
        "given",
    ] = "auto",
    valid: float | None = None,
    test: float | None = None,
    features: Path | None = None,
    labels: Path | None = None,
    num_nodes: int = 0,
    trust_pickle: bool = False,
    min_year: int = 0,
    replay: Literal["all", "reference"] = "all",
    strict: bool = False,
    attack: Literal["meta", "nettack", "random", "dice"] = "meta",
    rate: float = 0.0,
    min_rating: float | None = None,
    k_core: int = 0,
    target: str = "",
    undirected: bool = False,
) -> "Dataset":
    """A data set for links or nodes of a graph, a stream of events, or users and items.

    Graphs are undirected and simple: self loops are dropped, repeated edges and both directions of
    an edge are merged, a directed list is taken as undirected (all of this is logged). Nodes
    without features get their number as id. For links, `data.edge_index` holds the training edges
    only; for nodes, all of them.

    Events keep their direction, and are sorted by time; nothing is dropped. Of interactions a
    repeated pair is kept once, users and items are those of training, and the graph has the
    training pairs only. Edges of a graph of several types keep their direction and their loops.

    Args:
        source: A name (`graphlearn list --datasets`; case does not matter), the path of a table
            (.csv, .tsv, .txt, also .gz), archive (.npz), folder of attacked graphs, of the lists
            of LightGCN (`train.txt`, `test.txt`), or of tables of typed nodes and edges
            (`paper.csv`, `author-writes-paper.csv`), a networkx graph, a PyG `Data`,
            `TemporalData` or `HeteroData`.
        root: Folder of the named sets; by default `GRAPHLEARN_DATA` or the cache folder.
        kind: What the data set is for: its links, the classes of its nodes, those of one of
            several types of nodes (hetero), events, or interactions of users and items, which a
            file must be asked for; `auto` takes a file for events if a header names a time, or an
            archive has the arrays `src`, `dst` and `t`, for hetero if an archive has `node_types`
            or a `HeteroData` has `y`, for nodes if there are `labels`, and for links else. A named
            set that serves several is for the first of links, events and others unless you say so.
        seed: Seed of the split, and of an attack; official splits do not depend on it.
        protocol: How edges are split: as the source prescribes (auto), the official OGB split, the
            70/10/20 of the Planetoid literature, at random, or with hard negatives (heart). How
            nodes are split: as the source prescribes (auto), its public split, so many of each
            class at random (random), or shares of each class (stratified). How events are split:
            by time (auto, transductive), or by time with some nodes kept out of training
            (inductive, new-node). How interactions are split: as the source prescribes (auto),
            at random, with the last of each user held out (leave-one-out), by time (temporal), or
            as published (given).
        valid: Share of validation edges in a random split, by default 0.1, of nodes in a
            stratified one, 0.1, of events, 0.15, or of interactions, 0.1.
        test: Share of test edges in a random split, by default 0.2, of nodes in a stratified one,
            0.8, of events, 0.15, or of interactions, 0.1.
        features: Node features that go with a table or networkx graph (.npy, .csv, .tsv, .txt,
            also .gz).
        labels: Classes of the nodes of a table: a table of node, label and, if the split is fixed,
            split (train, valid or test).
        num_nodes: Number of nodes of a table or stream; 0 finds it from the largest id.
        trust_pickle: Read files that only an unprotected unpickler can; they may run code.
        min_year: Drop earlier training edges of ogbl-collab.
        replay: Whether an inductive test of events takes in all later events, or, as in the
            reference, only those that it scores.
        strict: Refuse events that are not in order of time, instead of sorting them.
        attack: How the graph of nodes was changed: `meta` and `nettack` are stored beside the
            `robust_*` sets, `random` adds edges, `dice` goes by the classes; under `nettack` the
            attacked nodes are the test.
        rate: Share of the edges that is changed, or changes for each target of `nettack`.
        min_rating: Smallest rating that counts as an interaction; None is 3 for MovieLens, and
            takes all else.
        k_core: Drop users and items with fewer partners than this, repeatedly.
        target: Which type of nodes has the classes, if several types have labels.
        undirected: Add the reverse of every edge type that has none, so that messages go both ways
            (hetero only, every other graph is undirected anyway).

    Raises:
        KeyError: if there is no data set of that name.
        FileNotFoundError: if a file is missing.
        ValueError: if a file or an option is not valid; the message names file and line.
    """
    options = {
        "root": root, "seed": seed, "protocol": protocol, "valid": valid, "test": test,
        "features": features, "labels": labels, "num_nodes": num_nodes,
        "trust_pickle": trust_pickle, "min_year": min_year, "replay": replay, "strict": strict,
        "attack": attack, "rate": rate, "min_rating": min_rating, "k_core": k_core,
        "target": target, "undirected": undirected,
    }  # fmt: skip
    found = find(source, "node" if kind == "auto" and labels is not None else kind)
    drawn = found.kind == "node" and attack in _DRAWN
    if drawn:
        options |= {"attack": "meta", "rate": 0.0}
    defaults = inspect.signature(load).parameters
    used = used_options(found, options, {name: defaults[name].default for name in options})
    dataset: Dataset = found.loader(found.what, **used)
    if drawn:
        return _attacked(dataset, attack, float(rate), seed)
    return _hardened(dataset, source, seed) if protocol == "heart" else dataset


def _attacked(dataset: "Dataset", attack: str, rate: float, seed: int) -> "Dataset":
    """The data set after an attack that is made on the spot."""
    after: Dataset = resolve("graphlearn.data.robust:attacked")(dataset, attack, rate, seed=seed)
    return after


def _hardened(dataset: "Dataset", source: object, seed: int) -> "Dataset":
    """The data set with hard negatives."""
    # Planetoid has one fixed split under this protocol, and so one fixed set of negatives.
    fixed = str(source).lower() in ("cora", "citeseer", "pubmed")
    heart_split = resolve("graphlearn.data.heart:heart_split")
    hard: Dataset = heart_split(dataset, seed=0 if fixed else seed)
    return hard

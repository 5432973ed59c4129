"""Data sets: `load` finds one by name, by path or in an object you already have.

Importing this package loads neither torch nor PyG; the readers are imported when they are used.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from graphlearn.extras import lazy, nearest
from graphlearn.settings import data_root

if TYPE_CHECKING:
    from graphlearn.data.dataset import Dataset, EventSplit, LinkSplit
    from graphlearn.data.node_splits import random_per_class_split, stratified_split
    from graphlearn.data.nodes import node_dataset
    from graphlearn.data.robust import save_robust
    from graphlearn.data.splits import check_no_leak, link_dataset, planetoid_links, random_links
    from graphlearn.data.streams import event_dataset
    from graphlearn.data.synthetic import synthetic_events

__all__ = [
    "DATASETS",
    "Dataset",
    "EventSplit",
    "LinkSplit",
    "check_no_leak",
    "event_dataset",
    "link_dataset",
    "load",
    "node_dataset",
    "planetoid_links",
    "random_links",
    "random_per_class_split",
    "save_robust",
    "stratified_split",
    "synthetic_events",
]

_PLANETOID = {
    "link": "graphlearn.data.pyg:load_planetoid",
    "node": "graphlearn.data.citation:load_citation",
}
_OGB_LINK = {"link": "graphlearn.data.ogb:load_ogb"}
_SHCHUR = {"node": "graphlearn.data.shchur:load_shchur"}
_ROBUST = {"node": "graphlearn.data.robust:load_robust"}
_SNAP = {"events": "graphlearn.data.snap:load_events"}
_JODIE = {"events": "graphlearn.data.snap:load_jodie"}

DATASETS: Mapping[str, Mapping[str, str]] = {
    "stdlib": {
        "link": "graphlearn.data.stdlib:load_stdlib",
        "node": "graphlearn.data.stdlib:load_stdlib_nodes",
    },
    "cora": _PLANETOID,
    "citeseer": _PLANETOID,
    "pubmed": _PLANETOID,
    "ogbl-biokg": _OGB_LINK,
    "ogbl-citation2": _OGB_LINK,
    "ogbl-collab": _OGB_LINK,
    "ogbl-ddi": _OGB_LINK,
    "ogbl-ppa": _OGB_LINK,
    "ogbl-vessel": _OGB_LINK,
    "ogbl-wikikg2": _OGB_LINK,
    "amazon-computers": _SHCHUR,
    "amazon-photo": _SHCHUR,
    "coauthor-cs": _SHCHUR,
    "coauthor-physics": _SHCHUR,
    "ogbn-arxiv": {"node": "graphlearn.data.ogbn:load_ogbn"},
    "robust_cora": _ROBUST,
    "robust_polblogs": _ROBUST,
    "synthetic-events": {"events": "graphlearn.data.synthetic:load_synthetic"},
    "bitcoin-alpha": _SNAP,
    "collegemsg": _SNAP,
    "jodie-wikipedia": _SNAP,
    "lastfm": _JODIE,
    "mooc": _JODIE,
    "reddit": _JODIE,
    "wikipedia": _JODIE,
}
"""Every data set that has a name: for each kind that it serves, the function that loads it.

The first kind is what `load` takes if nobody says which.
"""

_TABLE = {
    "link": "graphlearn.data.edges:read_edges",
    "node": "graphlearn.data.labels:read_labelled_edges",
    "events": "graphlearn.data.events:read_events",
}
_READERS: Mapping[str, Mapping[str, str]] = {
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".txt": _TABLE,
    ".npz": {
        "link": "graphlearn.data.archive:read_npz",
        "node": "graphlearn.data.labels:read_labelled_archive",
        "events": "graphlearn.data.events:read_event_archive",
    },
}
_OBJECTS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        "networkx",
        "Graph",
        {
            "link": "graphlearn.data.objects:from_networkx",
            "node": "graphlearn.data.objects:nodes_from_networkx",
        },
    ),
    (
        "torch_geometric.data",
        "Data",
        {
            "link": "graphlearn.data.objects:from_data",
            "node": "graphlearn.data.objects:nodes_from_data",
        },
    ),
    (
        "torch_geometric.data",
        "TemporalData",
        {"events": "graphlearn.data.events:from_temporal_data"},
    ),
)
_KINDS = ("auto", "link", "node", "events")
_WHAT = {
    "link": "a graph without classes",
    "node": "a graph for node classification",
    "events": "a stream of events",
}
_DRAWN = ("random", "dice")  # attacks that are made on the spot
_SHARES = ("valid", "test")
_PICKLES = (".pt", ".pth", ".pkl", ".pickle")

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Dataset": "graphlearn.data.dataset:Dataset",
        "EventSplit": "graphlearn.data.dataset:EventSplit",
        "LinkSplit": "graphlearn.data.dataset:LinkSplit",
        "check_no_leak": "graphlearn.data.splits:check_no_leak",
        "event_dataset": "graphlearn.data.streams:event_dataset",
        "link_dataset": "graphlearn.data.splits:link_dataset",
        "node_dataset": "graphlearn.data.nodes:node_dataset",
        "planetoid_links": "graphlearn.data.splits:planetoid_links",
        "random_links": "graphlearn.data.splits:random_links",
        "random_per_class_split": "graphlearn.data.node_splits:random_per_class_split",
        "save_robust": "graphlearn.data.robust:save_robust",
        "stratified_split": "graphlearn.data.node_splits:stratified_split",
        "synthetic_events": "graphlearn.data.synthetic:synthetic_events",
    },
)


def load(
    source: object,
    *,
    root: Path | None = None,
    kind: Literal["auto", "link", "node", "events"] = "auto",
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
) -> "Dataset":
    """A data set for links or nodes of a graph, or for a stream of events.

    Graphs are undirected and simple: self loops are dropped, repeated edges and both directions of
    an edge are merged, a directed list is taken as undirected (all of this is logged). Nodes
    without features get their number as id. For links, `data.edge_index` holds the training edges
    only; for nodes, all of them.

    Events keep their direction, and are sorted by time; nothing is dropped.

    Args:
        source: A name (`graphlearn list --datasets`; case does not matter), the path of a table
            (.csv, .tsv, .txt, also .gz), archive (.npz) or folder of attacked graphs, a networkx
            graph, a PyG `Data` or `TemporalData`.
        root: Folder of the named sets; by default `GRAPHLEARN_DATA` or the cache folder.
        kind: What the data set is for: its links, the classes of its nodes, or events; `auto`
            takes a file for events if a header names a time, or an archive has the arrays `src`,
            `dst` and `t`, for nodes if there are `labels`, and for links else. A named set that
            serves several is for links unless you say so.
        seed: Seed of the split, and of an attack; official splits do not depend on it.
        protocol: How edges are split: as the source prescribes (auto), the official OGB split, the
            70/10/20 of the Planetoid literature, at random, or with hard negatives (heart). How
            nodes are split: as the source prescribes (auto), its public split, so many of each
            class at random (random), or shares of each class (stratified). How events are split:
            by time (auto, transductive), or by time with some nodes kept out of training
            (inductive, new-node).
        valid: Share of validation edges in a random split, by default 0.1, of nodes in a
            stratified one, 0.1, or of events, 0.15.
        test: Share of test edges in a random split, by default 0.2, of nodes in a stratified one,
            0.8, or of events, 0.15.
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

    Raises:
        KeyError: if there is no data set of that name.
        FileNotFoundError: if a file is missing.
        ValueError: if a file or an option is not valid; the message names file and line.
    """
    options = {
        "root": root,
        "seed": seed,
        "protocol": protocol,
        "valid": valid,
        "test": test,
        "features": features,
        "labels": labels,
        "num_nodes": num_nodes,
        "trust_pickle": trust_pickle,
        "min_year": min_year,
        "replay": replay,
        "strict": strict,
        "attack": attack,
        "rate": rate,
    }
    found = _find(source, "node" if kind == "auto" and labels is not None else kind)
    drawn = found.kind == "node" and attack in _DRAWN
    if drawn:
        options |= {"attack": "meta", "rate": 0.0}
    used = _used(found, options)
    dataset: Dataset = found.loader(found.what, **used)
    if drawn:
        return _attacked(dataset, attack, float(rate), seed)
    return _hardened(dataset, source, seed) if protocol == "heart" else dataset


class _Found(NamedTuple):
    """The function that reads a source, what to give it, its kind, and how messages call it."""

    loader: Callable[..., Any]
    what: object
    kind: str
    where: str


def _find(source: object, kind: str) -> _Found:
    if kind not in _KINDS:
        raise ValueError(f"kind must be auto, link, node or events, got {kind!r}")
    for module, class_, readers in _OBJECTS:
        # An object of a package that was never imported cannot exist.
        if module in sys.modules and isinstance(source, getattr(sys.modules[module], class_)):
            return _of_kind(kind, readers, source, class_, type(source).__name__)
    if not isinstance(source, str | Path):
        raise TypeError(
            "source must be a name, a path, a networkx graph or a PyG Data or TemporalData object, "
            f"got {type(source).__name__}"
        )
    name = str(source).lower()
    if name in DATASETS:
        return _of_kind(kind, DATASETS[name], name, name, name)
    path = Path(source).expanduser()
    if path.is_dir() and (path / "adj_clean.npz").is_file():
        readers = {"node": "graphlearn.data.robust:read_robust"}
        return _of_kind(kind, readers, path, path.name, path.name)
    kind, reader = _reader(path, str(source), kind)
    return _Found(_resolve(reader), path, kind, path.name)


def _of_kind(
    kind: str, readers: Mapping[str, str], what: object, called: str, where: str
) -> _Found:
    """The reader for a kind of problem that a source serves."""
    kind = next(iter(readers)) if kind == "auto" else kind
    if kind not in readers:
        own = "a graph" if kind == "events" else _WHAT[next(iter(readers))]
        own = _WHAT["events"] if "events" in readers else own
        raise ValueError(f"{called} is {own}, kind={kind!r} does not apply; leave it out")
    return _Found(_resolve(readers[kind]), what, kind, where)


def _reader(path: Path, given: str, kind: str) -> tuple[str, str]:
    """The kind of a file and who reads it, by its suffix and, for `auto`, its first line."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = (suffixes[-2:-1] if zipped else suffixes[-1:]) or [""]
    if suffix[0] in _PICKLES:
        raise ValueError(
            f"{path} is refused, since reading a {suffix[0]} file can run code; "
            "save the edges as .npz or .csv, or pass the object itself"
        )
    if suffix[0] in _READERS and not (zipped and suffix[0] == ".npz"):
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        if kind == "auto":
            events = _resolve("graphlearn.data.events:holds_events")(path)
            kind = "events" if events else "link"
        return kind, _READERS[suffix[0]][kind]
    if suffix[0] or path.exists() or len(path.parts) > 1:
        what = "is a folder" if path.is_dir() else f"has the suffix {''.join(suffixes)!r}"
        raise ValueError(
            f"{path} {what}; expected a file that ends in .csv, .tsv, .txt (or one of them with "
            ".gz) or .npz"
        )
    raise KeyError(
        f"no data set {given!r}{nearest(given.lower(), DATASETS)} (graphlearn list --datasets)"
    )


def _used(found: _Found, options: dict[str, Any]) -> dict[str, Any]:
    """The options that a reader takes; one it does not take must be at its default."""
    defaults = inspect.signature(load).parameters
    takes = inspect.signature(found.loader).parameters
    for name, value in options.items():
        if found.kind == "node" and name in ("attack", "rate") and name not in takes:
            if value == defaults[name].default:
                continue
            raise ValueError(
                f"{found.where} has no stored graphs of the attack {options['attack']!r}; choose "
                "attack='random' or 'dice', or leave attack and rate out"
            )
        official = name == "protocol" and value in ("ogb", "heart") and "trust_pickle" in takes
        # Runs over several seeds are the same for every data set, whatever its split.
        if name in takes or name == "seed" or official or value == defaults[name].default:
            continue
        raise ValueError(f"{found.where} has no use for {name}={value!s}; leave it out")
    used = {name: value for name, value in options.items() if name in takes}
    if "root" in used:
        used["root"] = Path(used["root"] or data_root()).expanduser()
    # Readers know better which share is usual for them.
    return {name: value for name, value in used.items() if name not in _SHARES or value is not None}


def _resolve(dotted: str) -> Callable[..., Any]:
    module, _, function = dotted.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _attacked(dataset: "Dataset", attack: str, rate: float, seed: int) -> "Dataset":
    """The data set after an attack that is made on the spot."""
    after: Dataset = _resolve("graphlearn.data.robust:attacked")(dataset, attack, rate, seed=seed)
    return after


def _hardened(dataset: "Dataset", source: object, seed: int) -> "Dataset":
    """The data set with hard negatives."""
    # Planetoid has one fixed split under this protocol, and so one fixed set of negatives.
    fixed = str(source).lower() in ("cora", "citeseer", "pubmed")
    heart_split = _resolve("graphlearn.data.heart:heart_split")
    hard: Dataset = heart_split(dataset, seed=0 if fixed else seed)
    return hard

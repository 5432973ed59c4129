"""Data sets: `load` finds one by name, by path or in an object you already have.

Importing this package loads neither torch nor PyG; the readers are imported when they are used.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graphlearn.extras import lazy, nearest
from graphlearn.settings import data_root

if TYPE_CHECKING:
    from graphlearn.data.dataset import Dataset, EventSplit, LinkSplit
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
    "planetoid_links",
    "random_links",
    "synthetic_events",
]

DATASETS: Mapping[str, str] = {
    "stdlib": "graphlearn.data.stdlib:load_stdlib",
    "cora": "graphlearn.data.pyg:load_planetoid",
    "citeseer": "graphlearn.data.pyg:load_planetoid",
    "pubmed": "graphlearn.data.pyg:load_planetoid",
    "ogbl-biokg": "graphlearn.data.ogb:load_ogb",
    "ogbl-citation2": "graphlearn.data.ogb:load_ogb",
    "ogbl-collab": "graphlearn.data.ogb:load_ogb",
    "ogbl-ddi": "graphlearn.data.ogb:load_ogb",
    "ogbl-ppa": "graphlearn.data.ogb:load_ogb",
    "ogbl-vessel": "graphlearn.data.ogb:load_ogb",
    "ogbl-wikikg2": "graphlearn.data.ogb:load_ogb",
    "synthetic-events": "graphlearn.data.synthetic:load_synthetic",
    "bitcoin-alpha": "graphlearn.data.snap:load_events",
    "collegemsg": "graphlearn.data.snap:load_events",
    "jodie-wikipedia": "graphlearn.data.snap:load_events",
    "lastfm": "graphlearn.data.snap:load_jodie",
    "mooc": "graphlearn.data.snap:load_jodie",
    "reddit": "graphlearn.data.snap:load_jodie",
    "wikipedia": "graphlearn.data.snap:load_jodie",
}
"""Every data set that has a name, and the function that loads it."""

_READERS: Mapping[str, str] = {
    ".csv": "graphlearn.data.edges:read_edges",
    ".tsv": "graphlearn.data.edges:read_edges",
    ".txt": "graphlearn.data.edges:read_edges",
    ".npz": "graphlearn.data.archive:read_npz",
}
_EVENT_READERS: Mapping[str, str] = {
    ".csv": "graphlearn.data.events:read_events",
    ".tsv": "graphlearn.data.events:read_events",
    ".txt": "graphlearn.data.events:read_events",
    ".npz": "graphlearn.data.events:read_event_archive",
}
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
        "planetoid_links": "graphlearn.data.splits:planetoid_links",
        "random_links": "graphlearn.data.splits:random_links",
        "synthetic_events": "graphlearn.data.synthetic:synthetic_events",
    },
)


def load(
    source: object,
    *,
    root: Path | None = None,
    kind: Literal["auto", "link", "events"] = "auto",
    seed: int = 0,
    protocol: Literal[
        "auto", "ogb", "planetoid", "random", "heart", "transductive", "inductive", "new-node"
    ] = "auto",
    valid: float | None = None,
    test: float | None = None,
    features: Path | None = None,
    num_nodes: int = 0,
    trust_pickle: bool = False,
    min_year: int = 0,
    replay: Literal["all", "reference"] = "all",
    strict: bool = False,
) -> "Dataset":
    """A data set for link prediction in a graph, or in a stream of events.

    Graphs are undirected and simple: self loops are dropped, repeated edges and both directions of
    an edge are merged, a directed list is taken as undirected (all of this is logged). Nodes
    without features get their number as id. `data.edge_index` holds the training edges only.

    Events keep their direction, and are sorted by time; nothing is dropped.

    Args:
        source: A name (`graphlearn list --datasets`; case does not matter), the path of a table
            (.csv, .tsv, .txt, also .gz) or archive (.npz), a networkx graph, a PyG `Data` or
            `TemporalData`.
        root: Folder of the named sets; by default `GRAPHLEARN_DATA` or the cache folder.
        kind: Whether a file holds edges or events; `auto` takes it for events if a header names a
            time, or an archive has the arrays `src`, `dst` and `t`.
        seed: Seed of the split; official splits do not depend on it.
        protocol: How edges are split: as the source prescribes (auto), the official OGB split, the
            70/10/20 of the Planetoid literature, at random, or with hard negatives (heart). How
            events are split: by time (auto, transductive), or by time with some nodes kept out of
            training (inductive, new-node).
        valid: Share of validation edges in a random split, by default 0.1, or of events, 0.15.
        test: Share of test edges in a random split, by default 0.2, or of events, 0.15.
        features: Node features that go with a table or networkx graph (.npy, .csv, .tsv, .txt,
            also .gz).
        num_nodes: Number of nodes of a table or stream; 0 finds it from the largest id.
        trust_pickle: Read files that only an unprotected unpickler can; they may run code.
        min_year: Drop earlier training edges of ogbl-collab.
        replay: Whether an inductive test of events takes in all later events, or, as in the
            reference, only those that it scores.
        strict: Refuse events that are not in order of time, instead of sorting them.

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
        "num_nodes": num_nodes,
        "trust_pickle": trust_pickle,
        "min_year": min_year,
        "replay": replay,
        "strict": strict,
    }
    loader, what, where = _find(source, kind)
    used = _used(loader, where, options)
    dataset: Dataset = loader(what, **used)
    if protocol != "heart":
        return dataset
    heart_split = _resolve("graphlearn.data.heart:heart_split")
    # Planetoid has one fixed split under this protocol, and so one fixed set of negatives.
    fixed = str(source).lower() in ("cora", "citeseer", "pubmed")
    hard: Dataset = heart_split(dataset, seed=0 if fixed else seed)
    return hard


def _find(source: object, kind: str) -> tuple[Callable[..., Any], object, str]:
    """The function that reads a source, what to give it, and how messages call the source."""
    if kind not in ("auto", "link", "events"):
        raise ValueError(f"kind must be auto, link or events, got {kind!r}")
    for module, class_, reader in (
        ("networkx", "Graph", "graphlearn.data.objects:from_networkx"),
        ("torch_geometric.data", "Data", "graphlearn.data.objects:from_data"),
        ("torch_geometric.data", "TemporalData", "graphlearn.data.events:from_temporal_data"),
    ):
        # An object of a package that was never imported cannot exist.
        if module in sys.modules and isinstance(source, getattr(sys.modules[module], class_)):
            return _of_kind(kind, _resolve(reader), class_), source, type(source).__name__
    if not isinstance(source, str | Path):
        raise TypeError(
            "source must be a name, a path, a networkx graph or a PyG Data or TemporalData object, "
            f"got {type(source).__name__}"
        )
    if str(source).lower() in DATASETS:
        name = str(source).lower()
        return _of_kind(kind, _resolve(DATASETS[name]), name), name, name
    path = Path(source).expanduser()
    return _resolve(_reader(path, str(source), kind)), path, path.name


def _of_kind(kind: str, loader: Callable[..., Any], where: str) -> Callable[..., Any]:
    """A loader whose kind is what it is, not what was asked for."""
    own = "events" if "replay" in inspect.signature(loader).parameters else "link"
    if kind not in ("auto", own):
        what = "a stream of events" if own == "events" else "a graph"
        raise ValueError(f"{where} is {what}, kind={kind!r} does not apply; leave it out")
    return loader


def _reader(path: Path, given: str, kind: str) -> str:
    """Which function reads a file, by its suffix and, for `auto`, its first line."""
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
        if kind == "auto" and _resolve("graphlearn.data.events:holds_events")(path):
            kind = "events"
        return (_EVENT_READERS if kind == "events" else _READERS)[suffix[0]]
    if suffix[0] or path.exists() or len(path.parts) > 1:
        what = "is a folder" if path.is_dir() else f"has the suffix {''.join(suffixes)!r}"
        raise ValueError(
            f"{path} {what}; expected a file that ends in .csv, .tsv, .txt (or one of them with "
            ".gz) or .npz"
        )
    raise KeyError(
        f"no data set {given!r}{nearest(given.lower(), DATASETS)} (graphlearn list --datasets)"
    )


def _used(loader: Callable[..., Any], where: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that a reader takes; one it does not take must be at its default."""
    defaults = inspect.signature(load).parameters
    takes = inspect.signature(loader).parameters
    for name, value in options.items():
        official = name == "protocol" and value in ("ogb", "heart") and "trust_pickle" in takes
        # Runs over several seeds are the same for every data set, whatever its split.
        if name in takes or name == "seed" or official or value == defaults[name].default:
            continue
        raise ValueError(f"{where} has no use for {name}={value!s}; leave it out")
    used = {name: value for name, value in options.items() if name in takes}
    if "root" in used:
        used["root"] = Path(used["root"] or data_root()).expanduser()
    # Readers know better which share is usual for them.
    return {name: value for name, value in used.items() if name not in _SHARES or value is not None}


def _resolve(dotted: str) -> Callable[..., Any]:
    module, _, function = dotted.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found

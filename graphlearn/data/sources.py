"""Where data sets come from: names, paths and objects, and the function that reads each."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from graphlearn.extras import nearest
from graphlearn.settings import data_root

__all__ = ["DATASETS", "Found", "find", "resolve", "used_options"]

_PLANETOID = {
    "link": "graphlearn.data.pyg:load_planetoid",
    "node": "graphlearn.data.citation:load_citation",
}
_OGB_LINK = {"link": "graphlearn.data.ogb:load_ogb"}
_SHCHUR = {"node": "graphlearn.data.shchur:load_shchur"}
_ROBUST = {"node": "graphlearn.data.robust:load_robust"}
_SNAP = {"events": "graphlearn.data.snap:load_events"}
_JODIE = {"events": "graphlearn.data.snap:load_jodie"}
_MOVIES = {"interactions": "graphlearn.data.recommender_sets:load_movielens"}
_LISTS = {"interactions": "graphlearn.data.recommender_sets:load_lists"}
_GTN = {"hetero": "graphlearn.data.hetero_sets:load_gtn"}
_MAGNN = {"hetero": "graphlearn.data.hetero_sets:load_magnn"}
_HGB = {"hetero": "graphlearn.data.hetero_sets:load_hgb"}

DATASETS: Mapping[str, Mapping[str, str]] = {
    "stdlib": {
        "link": "graphlearn.data.stdlib:load_stdlib",
        "node": "graphlearn.data.stdlib:load_stdlib_nodes",
        "hetero": "graphlearn.data.stdlib_hetero:load_stdlib_hetero",
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
    "acm-gtn": _GTN,
    "dblp": _MAGNN,
    "dblp-gtn": _GTN,
    "hgb-acm": _HGB,
    "hgb-dblp": _HGB,
    "imdb": _MAGNN,
    "ogbn-mag": {"hetero": "graphlearn.data.hetero_sets:load_mag"},
    "synthetic-events": {"events": "graphlearn.data.synthetic:load_synthetic"},
    "bitcoin-alpha": _SNAP,
    "collegemsg": _SNAP,
    "jodie-wikipedia": _SNAP,
    "lastfm": _JODIE | _LISTS,
    "mooc": _JODIE,
    "reddit": _JODIE,
    "wikipedia": _JODIE,
    "synthetic-interactions": {
        "interactions": "graphlearn.data.tastes:load_synthetic_interactions"
    },
    "amazon-book": _LISTS,
    "facebook-books": {"interactions": "graphlearn.data.recommender_sets:load_books"},
    "gowalla": _LISTS,
    "ml-100k": _MOVIES,
    "ml-1m": _MOVIES,
    "yelp2018": _LISTS,
}
"""For every data set that has a name and each kind that it serves, the function that loads it.

The first kind is what `load` takes if nobody says which.
"""

_TABLE = {
    "link": "graphlearn.data.edges:read_edges",
    "node": "graphlearn.data.labels:read_labelled_edges",
    "events": "graphlearn.data.events:read_events",
    "interactions": "graphlearn.data.interaction_files:read_interactions",
}
_READERS: Mapping[str, Mapping[str, str]] = {
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".txt": _TABLE,
    ".npz": {
        "link": "graphlearn.data.archive:read_npz",
        "node": "graphlearn.data.labels:read_labelled_archive",
        "events": "graphlearn.data.events:read_event_archive",
        "interactions": "graphlearn.data.interaction_files:read_interaction_archive",
        "hetero": "graphlearn.data.hetero_files:read_hetero_archive",
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
    (
        "torch_geometric.data",
        "HeteroData",
        {
            "interactions": "graphlearn.data.interaction_files:from_hetero",
            "hetero": "graphlearn.data.hetero_files:from_hetero_nodes",
        },
    ),
)
_KINDS = ("auto", "link", "node", "hetero", "events", "interactions")
_WHAT = {
    "link": "a graph without classes",
    "node": "a graph for node classification",
    "hetero": "a graph of several types of nodes",
    "events": "a stream of events",
    "interactions": "a set of users and items",
}
_SHARES = ("valid", "test")
_PICKLES = (".pt", ".pth", ".pkl", ".pickle")


class Found(NamedTuple):
    """The function that reads a source, what to give it, its kind, and how messages call it."""

    loader: Callable[..., Any]
    what: object
    kind: str
    where: str


def find(source: object, kind: str) -> Found:
    """What reads a source.

    Args:
        source: A name, a path, or an object of networkx or PyG.
        kind: What it is for, or `auto`.

    Raises:
        KeyError: if there is no data set of that name.
        FileNotFoundError: if a file is missing.
        TypeError: if the source is of no known type.
        ValueError: if the source is not of that kind.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind must be {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, got {kind!r}")
    for module, class_, readers in _OBJECTS:
        # An object of a package that was never imported cannot exist.
        if module in sys.modules and isinstance(source, getattr(sys.modules[module], class_)):
            if kind == "auto" and class_ == "HeteroData":
                labelled = resolve("graphlearn.data.hetero_files:holds_labels")(source)
                kind = "hetero" if labelled else "interactions"
            return _of_kind(kind, readers, source, class_, type(source).__name__)
    if not isinstance(source, str | Path):
        raise TypeError(
            "source must be a name, a path, a networkx graph or a PyG Data, TemporalData or "
            f"HeteroData object, got {type(source).__name__}"
        )
    name = str(source).lower()
    if name in DATASETS:
        return _of_kind(kind, DATASETS[name], name, name, name)
    path = Path(source).expanduser()
    if path.is_dir() and (path / "adj_clean.npz").is_file():
        readers = {"node": "graphlearn.data.robust:read_robust"}
        return _of_kind(kind, readers, path, path.name, path.name)
    if path.is_dir() and (path / "train.txt").is_file():
        readers = {"interactions": "graphlearn.data.interaction_files:read_lightgcn"}
        return _of_kind(kind, readers, path, path.name, path.name)
    if path.is_dir() and (
        kind == "hetero" or resolve("graphlearn.data.hetero_tables:holds_tables")(path)
    ):
        readers = {"hetero": "graphlearn.data.hetero_tables:read_hetero_folder"}
        return _of_kind(kind, readers, path, path.name, path.name)
    kind, reader = _reader(path, str(source), kind)
    return Found(resolve(reader), path, kind, path.name)


def _of_kind(kind: str, readers: Mapping[str, str], what: object, called: str, where: str) -> Found:
    """The reader for a kind of problem that a source serves."""
    kind = next(iter(readers)) if kind == "auto" else kind
    if kind not in readers:
        first = next(iter(readers))
        graph = kind in ("events", "interactions") and first in ("link", "node")
        own = "a graph" if graph else _WHAT[first]
        raise ValueError(f"{called} is {own}, kind={kind!r} does not apply; leave it out")
    return Found(resolve(readers[kind]), what, kind, where)


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
            events = resolve("graphlearn.data.events:holds_events")(path)
            typed = resolve("graphlearn.data.hetero_files:holds_types")(path)
            kind = "events" if events else "hetero" if typed else "link"
        if kind not in _READERS[suffix[0]]:
            raise ValueError(
                f"{path} is one table, kind={kind!r} needs a folder of tables or an .npz archive"
            )
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


def used_options(
    found: Found, options: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that a reader takes; one it does not take must be at its default.

    Args:
        found: What was found.
        options: The options of `load`.
        defaults: What each of them is if nobody says anything.

    Raises:
        ValueError: if an option is given that the reader has no use for.
    """
    takes = inspect.signature(found.loader).parameters
    for name, value in options.items():
        if found.kind == "node" and name in ("attack", "rate") and name not in takes:
            if value == defaults[name]:
                continue
            raise ValueError(
                f"{found.where} has no stored graphs of the attack {options['attack']!r}; choose "
                "attack='random' or 'dice', or leave attack and rate out"
            )
        official = name == "protocol" and value in ("ogb", "heart") and "trust_pickle" in takes
        # Runs over several seeds are the same for every data set, whatever its split.
        if name in takes or name == "seed" or official or value == defaults[name]:
            continue
        raise ValueError(f"{found.where} has no use for {name}={value!s}; leave it out")
    used = {name: value for name, value in options.items() if name in takes}
    if "root" in used:
        used["root"] = Path(used["root"] or data_root()).expanduser()
    # Readers know better which share is usual for them.
    return {name: value for name, value in used.items() if name not in _SHARES or value is not None}


def resolve(dotted: str) -> Callable[..., Any]:
    """The function that `module:function` names.

    Args:
        dotted: Where it is.
    """
    module, _, function = dotted.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found

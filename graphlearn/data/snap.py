"""Streams that the literature reports on, from the files that SNAP publishes."""

from dataclasses import replace
from pathlib import Path

from graphlearn.data.dataset import Dataset
from graphlearn.data.events import read_event_archive, read_events

__all__ = ["load_events", "load_jodie"]

_PAGES = {
    "bitcoin-alpha": "https://snap.stanford.edu/data/soc-sign-bitcoin-alpha.html",
    "collegemsg": "https://snap.stanford.edu/data/CollegeMsg.html",
    "jodie-wikipedia": "http://snap.stanford.edu/jodie/wikipedia.csv",
}


def load_events(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
) -> Dataset:
    """A stream in the layout `<root>/<name>/events.npz`, see `read_event_archive`.

    Args:
        name: `bitcoin-alpha`, `collegemsg` or `jodie-wikipedia` (which has ids and times only).
        root: Folder of the data sets.
        seed: Seed of the split, where nodes are drawn.
        protocol: `auto`, `transductive`, `inductive` or `new-node`, see `split_events`.
        valid: Share of validation events.
        test: Share of test events.
        replay: `all` or `reference`, see `split_events`.

    Raises:
        FileNotFoundError: if there is no such file; says where the events are published.
        ValueError: if it is damaged, or an option is not valid.
    """
    path = root / name / "events.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"no such file: {path}; set GRAPHLEARN_DATA to the folder that has {name}, or get the "
            f"events from {_PAGES[name]} and load that file"
        )
    dataset = read_event_archive(
        path, seed=seed, protocol=protocol, valid=valid, test=test, replay=replay
    )
    return replace(dataset, name=name)


def load_jodie(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    protocol: str = "auto",
    valid: float = 0.15,
    test: float = 0.15,
    replay: str = "all",
) -> Dataset:
    """Users and the items they turn to: `<name>.csv` below `root`, or where PyG keeps it.

    Reference: Kumar, Zhang, Leskovec, "Predicting Dynamic Embedding Trajectory in Temporal
    Interaction Networks", KDD 2019.

    Args:
        name: `lastfm`, `mooc`, `reddit` or `wikipedia`.
        root: Folder of the data sets.
        seed: Seed of the split, where nodes are drawn.
        protocol: `auto`, `transductive`, `inductive` or `new-node`, see `split_events`.
        valid: Share of validation events.
        test: Share of test events.
        replay: `all` or `reference`, see `split_events`.

    Raises:
        FileNotFoundError: if there is no such file; says where it is published.
        ValueError: if it is damaged, or an option is not valid.
    """
    file = f"{name}.csv"
    places = [root / file, root / name / file, root / name / "raw" / file]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"no {file} in {root}, {root / name} or {root / name / 'raw'}; "
            f"download http://snap.stanford.edu/jodie/{file} to one of them"
        )
    return read_events(path, seed=seed, protocol=protocol, valid=valid, test=test, replay=replay)

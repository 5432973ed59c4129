"""Check the raw files of an OGB link data set, and convert them to one npz.

    python scripts/prepare_data.py ogbl-ddi --root data

reads `data/ogbl_ddi/raw` and `data/ogbl_ddi/split`, writes `data/ogbl_ddi/ogbl_ddi.npz`, and
compares the counts with the published ones. Where only the npz is there, it is checked. The exit
status is 1 if a file is broken or a count differs.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from graphlearn.data.dataset import Dataset
from graphlearn.data.ogb import convert_ogb, load_ogb
from graphlearn.data.ogb_arrays import OGB_LINKS, SPLITS
from graphlearn.settings import data_root


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        root = options.root
        if (root / options.name.replace("-", "_") / "raw").is_dir():
            written = convert_ogb(
                options.name, root, out=options.out, trust_pickle=options.trust_pickle
            )
            root = options.out or root
            print(f"wrote {written}")
        dataset = load_ogb(options.name, root)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return report(dataset)


def parser() -> argparse.ArgumentParser:
    build = argparse.ArgumentParser(description="Check and convert an OGB link data set.")
    build.add_argument("name", choices=sorted(OGB_LINKS))
    build.add_argument("--root", type=Path, default=data_root(), help="folder of the data sets")
    build.add_argument("--out", type=Path, help="write the npz form below this folder instead")
    build.add_argument(
        "--trust-pickle",
        action="store_true",
        help="read split files that can only be read by running what they hold",
    )
    return build


def report(dataset: Dataset) -> int:
    """Print the counts beside the published ones; 1 if one differs."""
    print(f"{dataset.name:16}{'found':>14}{'published':>14}")
    status = 0
    for label, found, published in counts(dataset):
        differs = published is not None and found != published
        shown = "-" if published is None else f"{published:,}"
        print(f"{label:16}{found:>14,}{shown:>14}{'  differs' if differs else ''}")
        status = 1 if differs else status
    return status


def counts(dataset: Dataset) -> Iterator[tuple[str, int, int | None]]:
    published = OGB_LINKS[dataset.name].published
    sizes = {split: dataset.splits[split].pos.shape[1] for split in SPLITS}
    yield "nodes", dataset.facts["num_nodes"], published.nodes
    yield "edges", sum(sizes.values()), published.edges
    for split, size in sizes.items():
        yield f"  {split}", size, getattr(published, split)


if __name__ == "__main__":
    sys.exit(main())

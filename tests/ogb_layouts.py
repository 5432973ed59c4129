"""Small sets in the exact layouts in which OGB ships its link data, made on disk by the tests."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import torch

NODES, TRAIN, EVAL, NEG, CANDIDATES = 30, 40, 8, 12, 5
KINDS = {"disease": 6, "drug": 9, "protein": 15}


def write_ogb(name: str, root: Path) -> dict[str, dict[str, object]]:
    """Write `<root>/ogbl_<name>/{raw,split}` and return the splits as they were saved."""
    folder = root / name.replace("-", "_")
    (folder / "raw").mkdir(parents=True)
    (folder / "RELEASE_v1.txt").write_text("")
    rng = np.random.default_rng(0)
    layouts = {
        "ogbl-biokg": biokg,
        "ogbl-citation2": citation2,
        "ogbl-collab": collab,
        "ogbl-ddi": ddi,
        "ogbl-ppa": ppa,
        "ogbl-vessel": vessel,
        "ogbl-wikikg2": wikikg2,
    }
    return layouts[name](folder, rng)


def ddi(folder, rng):
    splits = plain_splits(rng)
    write_graph(folder / "raw", splits["train"]["edge"])
    # The way of torch before 1.6, with NumPy's old name of its private package.
    return write_splits(folder / "split" / "target", splits, legacy=True)


def ppa(folder, rng):
    splits = plain_splits(rng)
    write_graph(folder / "raw", splits["train"]["edge"])
    write_csv(
        folder / "raw" / "node-feat.csv.gz", np.eye(58, dtype=int)[rng.integers(58, size=NODES)]
    )
    return write_splits(folder / "split" / "throughput", splits)


def collab(folder, rng):
    splits = plain_splits(rng)
    for number, part in enumerate(splits.values()):
        part["weight"] = rng.integers(1, 5, len(part["edge"]))
        part["year"] = (
            rng.integers(2000, 2018, len(part["edge"]))
            if not number
            else np.full(len(part["edge"]), 2017 + number)
        )
    train = splits["train"]
    write_graph(folder / "raw", train["edge"])
    write_csv(folder / "raw" / "node-feat.csv.gz", rng.normal(size=(NODES, 4)), "%.6f")
    write_csv(folder / "raw" / "edge_weight.csv.gz", train["weight"])
    write_csv(folder / "raw" / "edge_year.csv.gz", train["year"])
    return write_splits(folder / "split" / "time", splits)


def citation2(folder, rng):
    splits = {}
    for split, size in sizes():
        part = {key: rng.integers(NODES, size=size) for key in ("source_node", "target_node")}
        if split != "train":
            part["target_node_neg"] = rng.integers(NODES, size=(size, CANDIDATES))
        splits[split] = part
    train = splits["train"]
    write_graph(folder / "raw", np.stack([train["source_node"], train["target_node"]], 1))
    write_csv(folder / "raw" / "node-feat.csv.gz", rng.normal(size=(NODES, 4)), "%.6f")
    write_csv(folder / "raw" / "node_year.csv.gz", rng.integers(1990, 2020, NODES))
    return write_splits(folder / "split" / "time", splits)


def vessel(folder, rng):
    splits = plain_splits(rng)
    splits["train"]["edge_neg"] = rng.integers(NODES, size=(TRAIN, 2))
    tensors = {
        split: {key: torch.from_numpy(values) for key, values in part.items()}
        for split, part in splits.items()
    }
    np.savez_compressed(
        folder / "raw" / "data.npz",
        edge_index=splits["train"]["edge"].T,
        num_nodes_list=np.array([NODES]),
        num_edges_list=np.array([TRAIN]),
        node_feat=rng.normal(size=(NODES, 3)).astype(np.float32),
        edge_feat=rng.normal(size=(TRAIN, 3)).astype(np.float32),
    )
    (folder / "split" / "spatial").mkdir(parents=True)
    torch.save(tensors, folder / "split" / "spatial" / "split_dict.pt")
    return splits


def wikikg2(folder, rng):
    splits = triples(rng, lambda size: (np.full(size, NODES), np.full(size, NODES)))
    train = splits["train"]
    write_graph(folder / "raw", np.stack([train["head"], train["tail"]], 1))
    write_csv(folder / "raw" / "edge_reltype.csv.gz", train["relation"])
    return write_splits(folder / "split" / "time", splits)


def biokg(folder, rng):
    names = np.array(list(KINDS))
    chosen = {split: (rng.choice(names, size), rng.choice(names, size)) for split, size in sizes()}
    counts = [
        tuple(np.array([KINDS[k] for k in side]) for side in pair) for pair in chosen.values()
    ]
    order = iter(counts)
    splits = triples(rng, lambda size: next(order))
    for split, (head, tail) in chosen.items():
        splits[split] |= {"head_type": head.tolist(), "tail_type": tail.tolist()}
    raw = folder / "raw"
    write_text(
        raw / "num-node-dict.csv.gz",
        ",".join(reversed(KINDS)) + "\n" + ",".join(str(KINDS[k]) for k in reversed(KINDS)) + "\n",
    )
    write_text(raw / "triplet-type-list.csv.gz", "drug,drug-protein,protein\n")
    relation = raw / "relations" / "drug___drug-protein___protein"
    relation.mkdir(parents=True)
    write_csv(relation / "edge.csv.gz", np.array([[0, 1], [8, 14]]))
    write_csv(relation / "num-edge-list.csv.gz", np.array([2]))
    write_csv(relation / "edge_reltype.csv.gz", np.array([0, 0]))
    return write_splits(folder / "split" / "random", splits)


def sizes():
    return ("train", TRAIN), ("valid", EVAL), ("test", EVAL)


def plain_splits(rng):
    splits = {split: {"edge": rng.integers(NODES, size=(size, 2))} for split, size in sizes()}
    for split in ("valid", "test"):
        splits[split]["edge_neg"] = rng.integers(NODES, size=(NEG, 2))
    return splits


def triples(rng, limits):
    splits = {}
    for split, size in sizes():
        heads, tails = limits(size)
        part = {
            "head": rng.integers(heads),
            "relation": rng.integers(7, size=size),
            "tail": rng.integers(tails),
        }
        if split != "train":
            part["head_neg"] = rng.integers(heads[:, None], size=(size, CANDIDATES))
            part["tail_neg"] = rng.integers(tails[:, None], size=(size, CANDIDATES))
        splits[split] = part
    return splits


def write_graph(raw, edge):
    write_csv(raw / "edge.csv.gz", edge)
    write_csv(raw / "num-node-list.csv.gz", np.array([NODES]))
    write_csv(raw / "num-edge-list.csv.gz", np.array([len(edge)]))


def write_csv(path, values, form="%d"):
    buffer = io.StringIO()
    np.savetxt(buffer, values, fmt=form, delimiter=",")
    write_text(path, buffer.getvalue())


def write_text(path, text):
    with gzip.open(path, "wt") as file:
        file.write(text)


def write_splits(folder, splits, *, legacy=False):
    folder.mkdir(parents=True)
    for split, part in splits.items():
        save_like_numpy_1(part, folder / f"{split}.pt", legacy=legacy)
    return splits


def save_like_numpy_1(content, path, *, legacy=False):
    """`torch.save` as NumPy 1 did it: pickles refer to `numpy.core`, not to `numpy._core`."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    new, old = b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"
    if legacy:
        path.write_bytes(path.read_bytes().replace(new, old))
        return
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data.replace(new, old) if name.endswith("data.pkl") else data)

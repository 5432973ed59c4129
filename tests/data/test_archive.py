import numpy as np
import pytest
import torch

from graphlearn.data.archive import features, open_npz, read_npz
from graphlearn.data.pairs import pair_keys, sort_pairs

NODES = 30
EDGE = np.array([(k, (k + step) % NODES) for k in range(NODES) for step in (1, 2)], dtype=np.uint16)
ABSENT = np.array([(k, k + 10) for k in range(18)], dtype=np.uint16)


def permuted(**changes):
    order = np.random.default_rng(0).permutation(len(EDGE)).astype(np.int32)
    fixed = {
        "num_nodes": np.array(NODES),
        "edge": EDGE,
        "seed0_perm": order,
        "n_test": np.array(12),
        "n_valid": np.array(6),
        "seed0_valid_neg": ABSENT[:6],
        "seed0_test_neg": ABSENT[6:],
    }
    return {**fixed, **changes}


def write(tmp_path, arrays, name="toy.npz"):
    path = tmp_path / name
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def same(pos, array):
    return torch.equal(sort_pairs(pos), sort_pairs(torch.from_numpy(array.astype(np.int64)).T))


def test_permutation_splits(tmp_path):
    arrays = permuted()
    dataset = read_npz(write(tmp_path, arrays))
    edge = EDGE[arrays["seed0_perm"]]
    assert same(dataset.splits["test"].pos, edge[:12])
    assert same(dataset.splits["valid"].pos, edge[12:18])
    assert same(dataset.splits["train"].pos, edge[18:])
    assert same(dataset.splits["valid"].neg, ABSENT[:6])
    assert dataset.name == "toy" and dataset.facts["num_nodes"] == NODES


@pytest.mark.parametrize("official", [True, False])
def test_named_splits(tmp_path, official):
    form = "{}_edge{}" if official else "seed1_{}{}"
    parts = {("train", ""): EDGE[:40], ("valid", ""): EDGE[40:50], ("test", ""): EDGE[50:]}
    parts |= {("valid", "_neg"): ABSENT[:9], ("test", "_neg"): ABSENT[9:]}
    arrays = {form.format(*key): part for key, part in parts.items()}
    arrays["num_nodes" if official else "edge_index"] = np.array(NODES) if official else EDGE.T
    dataset = read_npz(write(tmp_path, arrays), seed=1)
    assert same(dataset.splits["train"].pos, EDGE[:40])
    assert same(dataset.splits["test"].neg, ABSENT[9:])
    if official:
        again = read_npz(write(tmp_path, arrays), protocol="random")
        assert sum(part.pos.shape[1] for part in again.splits.values()) == len(EDGE)


def test_a_seed_without_fixed_split_is_drawn(tmp_path, caplog):
    dataset = read_npz(write(tmp_path, permuted()), seed=9)
    assert "toy.npz: no fixed split for seed 9, one is drawn" in caplog.text
    assert dataset.splits["test"].pos.shape[1] == 12


def test_protocols_and_shares(tmp_path):
    path = write(tmp_path, permuted())
    assert read_npz(path, protocol="planetoid").metric == "hits@100"
    assert read_npz(path, protocol="random", valid=0.2).splits["valid"].pos.shape[1] == 12
    with pytest.raises(
        ValueError, match=r"toy.npz has fixed splits, valid=0.2 and test=0.2 do not"
    ):
        read_npz(path, valid=0.2)


def test_features_labels_and_names(tmp_path):
    x = np.eye(NODES, 4, dtype=np.float32)
    names = np.array([f"n{k}" for k in range(NODES)])
    edge_index = np.concatenate([EDGE, EDGE[:, ::-1]]).T
    dense = read_npz(
        write(tmp_path, {"edge_index": edge_index, "x": x, "y": np.arange(NODES), "names": names})
    )
    sparse = {
        "edge": EDGE,
        "x_indptr": np.minimum(np.arange(NODES + 1), 4),
        "x_indices": np.arange(4),
        "x_shape": np.array([NODES, 4]),
    }
    assert np.array_equal(dense.data.x, x) and dense.data.y.tolist() == list(range(NODES))
    assert dense.names == names.tolist() and dense.facts["in_channels"] == 4
    assert np.array_equal(read_npz(write(tmp_path, sparse)).data.x, x)
    assert features({}, 3, source="toy") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge": EDGE.astype(float)}, r"train must hold whole numbers of shape \(P, 2\)"),
        ({"num_nodes": np.array(29)}, r"node ids must lie in \[0, 29\), got 29"),
        ({"seed0_perm": np.zeros(60, int)}, r"seed0_perm is no permutation of 60 edges"),
        ({"n_test": None}, r"toy.npz has no array 'n_test'"),
        ({"seed0_test_neg": None}, r"toy.npz has no array 'seed0_test_neg'"),
        ({"edge": None, "seed0_perm": None}, r"toy.npz has no array 'edge' or 'edge_index'"),
        ({"x": np.ones((3, 2))}, r"features must have shape \(30, F\), got \(3, 2\)"),
        ({"x": np.full((30, 2), np.nan)}, r"the features of node 0 are not finite"),
        (
            {"x_indptr": np.arange(31), "x_indices": np.arange(9), "x_shape": np.array([30, 9])},
            r"x_indptr, x_indices and x_shape do not fit",
        ),
    ],
)
def test_bad_archives(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_npz(write(tmp_path, permuted(**change)))


def test_a_leaking_split_is_refused(tmp_path):
    edge = EDGE.copy()
    order = permuted()["seed0_perm"]
    edge[order[0]] = edge[order[-1]][::-1]
    with pytest.raises(ValueError, match="toy: 1 test pairs are among the training pairs"):
        read_npz(write(tmp_path, permuted(edge=edge)))


def test_damaged_archives(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.npz"):
        open_npz(tmp_path / "none.npz")
    path = write(tmp_path, permuted())
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[:200], b"", b"PK\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"toy.npz is damaged or no archive of plain arrays"):
            open_npz(path)
    with pytest.raises(ValueError, match="no archive of plain arrays"):
        open_npz(write(tmp_path, {"edge": np.array([{"a": 1}])}))


@pytest.mark.data
@pytest.mark.parametrize("name", ["USAir", "NS", "Router"])
def test_small_benchmarks(data_root, name):
    dataset = read_npz(data_root / "seal_small" / name / f"{name}.npz", seed=2)
    with np.load(data_root / "seal_small" / name / f"{name}.npz") as arrays:
        assert dataset.splits["test"].pos.shape[1] == int(0.2 * len(arrays["edge"]))
    keys = [pair_keys(part.pos, dataset.facts["num_nodes"]) for part in dataset.splits.values()]
    assert len(torch.cat(keys).unique()) == sum(map(len, keys))

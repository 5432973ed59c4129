import numpy as np
import pytest
import torch
from ogb_layouts import NODES, save_like_numpy_1, write_csv, write_ogb

from graphlearn.data.ogb_arrays import OGB_LINKS, check, official


@pytest.fixture
def arrays(tmp_path):
    write_ogb("ogbl-citation2", tmp_path)
    return official("ogbl-citation2", tmp_path / "ogbl_citation2")


def test_published_counts_add_up():
    for name, files in OGB_LINKS.items():
        counts = files.published
        if counts.train is not None:
            assert counts.train + counts.valid + counts.test == counts.edges, name


@pytest.mark.parametrize("name", sorted(OGB_LINKS))
def test_arrays_have_the_documented_keys_and_small_types(name, tmp_path):
    write_ogb(name, tmp_path)
    found = official(name, tmp_path / name.replace("-", "_"))
    assert set(found) == {*OGB_LINKS[name].required(), "source"}
    assert found["train_edge"].dtype == np.uint8
    assert not any(values.dtype.hasobject for values in found.values())


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        (
            "train_edge",
            np.array([[0, NODES]]),
            "train_edge holds node 30, expected ids from 0 to 29",
        ),
        ("train_edge", np.array([[-1, 0]]), "train_edge holds node -1, expected ids from 0 to 29"),
        ("train_edge", np.array([[0, 1, 2]]), r"train_edge must have shape \(P, 2\), got \(1, 3\)"),
        (
            "train_edge",
            np.array([[0.0, 1.0]]),
            "train_edge must hold integer node ids, got float64",
        ),
        ("train_edge", np.array([["a", "b"]]), "train_edge must hold numbers, got <U1"),
        ("train_edge", np.zeros((0, 2), int), "train_edge must hold at least one edge, got none"),
        ("valid_target_neg", np.zeros((3, 5), int), "valid_target_neg must have 8 rows, got 3"),
        ("valid_target_neg", np.zeros(8, int), r"must have shape \(P, K\), got \(8,\)"),
        ("x", np.full((NODES, 2), np.nan), "x must be finite, got NaN or infinity"),
        ("x", np.zeros((3, 2)), "x must have 30 rows, got 3"),
        ("node_year", np.zeros(31), "node_year must have 30 rows, got 31"),
    ],
)
def test_inconsistent_arrays(arrays, key, values, message):
    check("ogbl-citation2", arrays)
    with pytest.raises(ValueError, match=f"ogbl-citation2: .*{message}"):
        check("ogbl-citation2", arrays | {key: values})


def test_missing_key(arrays):
    del arrays["test_edge"]
    with pytest.raises(ValueError, match="ogbl-citation2 lacks 'test_edge'; expected num_nodes, x"):
        check("ogbl-citation2", arrays)


def test_species_must_be_one_hot(tmp_path):
    write_ogb("ogbl-ppa", tmp_path)
    folder = tmp_path / "ogbl_ppa"
    write_csv(folder / "raw" / "node-feat.csv.gz", np.ones((NODES, 58), int))
    with pytest.raises(ValueError, match=r"node-feat.csv.gz must be one-hot: a single 1 in each"):
        official("ogbl-ppa", folder)


def test_species_beyond_their_number(tmp_path):
    write_ogb("ogbl-ppa", tmp_path)
    found = official("ogbl-ppa", tmp_path / "ogbl_ppa")
    with pytest.raises(ValueError, match="ogbl-ppa: x must hold ids below num_ids=1"):
        check("ogbl-ppa", found | {"x": found["x"] * 0 + 1, "num_ids": np.array(1)})


def test_vessel_without_coordinates(tmp_path):
    write_ogb("ogbl-vessel", tmp_path)
    raw = tmp_path / "ogbl_vessel" / "raw" / "data.npz"
    with np.load(raw) as archive:
        kept = {key: archive[key] for key in archive.files if key != "node_feat"}
    np.savez(raw, **kept)
    with pytest.raises(ValueError, match="raw holds no node features, but this set has some"):
        official("ogbl-vessel", tmp_path / "ogbl_vessel")


def test_vessel_without_a_split(tmp_path):
    write_ogb("ogbl-vessel", tmp_path)
    path = tmp_path / "ogbl_vessel" / "split" / "spatial" / "split_dict.pt"
    torch.save({"train": {}, "valid": {}}, path)
    with pytest.raises(ValueError, match=r"must hold train, valid and test, got train, valid$"):
        official("ogbl-vessel", tmp_path / "ogbl_vessel")


def test_unknown_node_type(tmp_path):
    truth = write_ogb("ogbl-biokg", tmp_path)
    part = truth["train"] | {"head_type": ["planet"] * len(truth["train"]["head"])}
    save_like_numpy_1(part, tmp_path / "ogbl_biokg" / "split" / "random" / "train.pt")
    with pytest.raises(ValueError, match=r"no node type 'planet' in raw/num-node-dict.csv.gz"):
        official("ogbl-biokg", tmp_path / "ogbl_biokg")

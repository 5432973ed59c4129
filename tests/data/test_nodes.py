import logging

import numpy as np
import pytest
import torch
from toy import node_dataset as toy

from graphlearn.data.nodes import checked_features, node_dataset, sparse_rows, undirected

EDGES = torch.tensor([[0, 1, 1, 2, 3, 3], [1, 0, 2, 1, 3, 4]])
Y = torch.tensor([0, 1, 0, 1, 1, -1])
SPLITS = {"train": torch.tensor([1, 0]), "valid": torch.tensor([2]), "test": torch.tensor([4, 3])}


def made(**changed):
    parts = {"edge_index": EDGES, "y": Y, "splits": SPLITS, "num_nodes": 6} | changed
    return node_dataset("six", **parts)


def test_the_parts_of_a_data_set():
    dataset = made(classes=["a", "b"], names=list("uvwxyz"))
    assert dataset.kind == "node" and dataset.metric == "accuracy"
    assert dataset.data.edge_index.tolist() == [[0, 1, 1, 2, 3, 4], [1, 0, 2, 1, 4, 3]]
    assert dataset.facts == {"num_nodes": 6, "in_channels": 6, "out_channels": 2}
    assert dataset.data.x.tolist() == list(range(6)) and dataset.classes == ["a", "b"]
    assert {key: ids.tolist() for key, ids in dataset.splits.items()} == {
        "train": [0, 1],
        "valid": [2],
        "test": [3, 4],
    }
    masks = torch.stack([dataset.data[f"{key}_mask"] for key in ("train", "val", "test")])
    assert masks.long().argmax(0)[:5].tolist() == [0, 0, 1, 2, 2]
    assert masks.sum(0).tolist() == [1, 1, 1, 1, 1, 0]
    assert "clean_edge_index" not in dataset.data and "target_nodes" not in dataset.data


def test_the_toy_passes_every_check():
    for features in ("dense", "sparse", "ids"):
        given = toy(features=features, unlabelled=2)
        found = node_dataset(
            *("toy", given.data.edge_index, given.data.y, given.splits, given.data.num_nodes),
            x=given.data.x,
            classes=given.classes,
        )
        assert found.facts == given.facts and found.splits.keys() == given.splits.keys()
        assert torch.equal(found.data.edge_index, given.data.edge_index)
        for key in ("train_mask", "val_mask", "test_mask"):
            assert torch.equal(found.data[key], given.data[key])


def test_what_an_attack_leaves_behind():
    clean = torch.tensor([[5], [0]])
    dataset = made(clean_edge_index=clean, target_nodes=torch.tensor([4]))
    assert dataset.data.clean_edge_index.tolist() == [[0, 5], [5, 0]]
    assert dataset.data.target_nodes.tolist() == [4]
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 6\), got 6 to 6"):
        made(target_nodes=torch.tensor([6]))


def test_features_of_every_form():
    assert made(x=torch.ones(6, 3, dtype=torch.float64)).data.x.dtype == torch.float32
    ids = made(x=torch.tensor([0, 4, 4, 1, 0, 0]))
    assert ids.facts["in_channels"] == 5
    sparse = sparse_rows(np.arange(7), np.zeros(6), None, (6, 9), source="x")
    assert made(x=sparse).facts["in_channels"] == 9
    assert made(x=sparse).data.x.layout == torch.sparse_csr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": Y[:5]}, r"six: y must hold 6 whole numbers, got int64 of shape \(5,\)"),
        ({"y": Y.float()}, r"six: y must hold 6 whole numbers, got float32 of shape \(6,\)"),
        (
            {"y": Y.where(Y != 0, -2)},
            r"six: labels must lie in \[0, C\), or be -1 .* got -2 at node 0",
        ),
        ({"classes": ["a"]}, r"six: labels must lie in \[0, 1\), or be -1 .* got 1 at node 1"),
        ({"splits": SPLITS | {"test": torch.tensor([5])}}, "node 5 is in test but has no label"),
        ({"splits": SPLITS | {"test": torch.tensor([3, 2])}}, "node 2 is in both valid and test"),
        ({"splits": SPLITS | {"test": torch.tensor([3, 3])}}, "six: node 3 is in test twice"),
        (
            {"splits": SPLITS | {"valid": torch.tensor([7])}},
            r"six: node ids of valid must lie in \[0, 6\), got 7",
        ),
        ({"splits": SPLITS | {"valid": Y[:0]}}, "six: the split 'valid' is empty, it must hold"),
        ({"splits": {"train": Y[:1]}}, "six: the split 'valid' is empty, it must hold"),
        ({"num_nodes": 4, "y": Y[:4]}, r"must lie in \[0, 4\), got 4"),
        ({"x": torch.ones(5, 2)}, r"six: x must have shape \(6, F\) or \(6,\), got \(5, 2\)"),
        ({"x": torch.ones(6)}, r"six: x of shape \(6,\) must hold ids from 0"),
        ({"x": torch.full((6, 2), torch.nan)}, "six: x: the features of node 0 are not finite"),
        ({"edge_index": EDGES + 2}, r"node ids must lie in \[0, 6\), got 2 to 6"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        made(**changed)


def test_a_class_without_training_node_is_only_said(caplog):
    with caplog.at_level(logging.WARNING):
        made()
        assert not caplog.text
        made(splits=SPLITS | {"train": torch.tensor([0])}, classes=["a", "b", "c"])
    assert "six: 2 of 3 classes have no training node, the first is 'b'" in caplog.text


def test_undirected_merges_repeats_and_drops_loops():
    edges = torch.tensor([[2, 0, 2, 1, 1], [0, 2, 0, 1, 0]])
    assert undirected(edges, 3).tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]
    assert undirected(edges[:, :0], 0).shape == (2, 0)


def test_the_node_with_a_feature_that_is_not_finite_is_named():
    x = sparse_rows(np.array([0, 2, 2, 3]), np.arange(3), np.ones(3), (3, 4), source="x")
    assert checked_features(x, 3, "x") is not None
    x.values()[2] = torch.inf
    for form in (x, x.to_dense()):
        with pytest.raises(ValueError, match="x: the features of node 2 are not finite"):
            checked_features(form, 3, "x")


def test_sparse_rows_sort_their_columns():
    col, value = np.array([3, 1, 0], dtype=np.int16), np.array([1, 2, 5])
    rows = sparse_rows(np.array([0, 2, 2, 3]), col, value, (3, 4), source="x")
    assert rows.to_dense().tolist() == [[0, 2, 0, 1], [0, 0, 0, 0], [5, 0, 0, 0]]
    assert rows.col_indices().tolist() == [1, 3, 0] and rows.dtype == torch.float32


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([0, 2], [0, 1], [1.0]), "x: its arrays are not the sparse rows of a 1 x 3"),
        (([0, 2], [0, 3], [1.0, 1.0]), "x: its arrays are not the sparse rows of a 1 x 3"),
        (([0, 1, 2], [0, 1], [1.0, 1.0]), "x: its arrays are not the sparse rows of a 1 x 3"),
        (([0, 2], [1, 1], [1.0, 1.0]), "x: row 0 holds column 1 twice"),
        (([0, 2], [0, 1], [1.0, np.inf]), "x: row 0 is not finite"),
    ],
)
def test_arrays_that_do_not_fit_together(arrays, message):
    with pytest.raises(ValueError, match=message):
        sparse_rows(*map(np.array, arrays), (1, 3), source="x")

"""Features in the forms that models take."""

import numpy as np
import torch
from torch_geometric.data import Data

from graphlearn.data.dataset import Dataset
from graphlearn.data.nodes import sparse_rows
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows
from graphlearn.tasks.features import features, row_normalized, taken

X = torch.tensor([[0.0, 2, 0], [0, 0, 0], [1, 0, 3]])


def dense(x: CSR) -> torch.Tensor:
    out = torch.zeros(x.num_rows, x.num_cols)
    out[x.rows(), x.col.long()] = x.weight
    return out


def dataset(x):
    return Dataset("toy", "node", "accuracy", Data(x=x, num_nodes=3), {}, {"num_nodes": 3})


def test_few_values_are_stored_as_rows():
    cpu = torch.device("cpu")
    assert isinstance(features(dataset(X), cpu), torch.Tensor)
    found = features(dataset(X), cpu, sparse=0.5)
    assert isinstance(found, CSR) and torch.equal(dense(found), X)
    arrays = map(np.array, ([0, 1, 1, 3], [1, 0, 2], [2.0, 1, 3]))
    sparse = sparse_rows(*arrays, (3, 3), source="x")
    found = features(dataset(sparse), cpu)
    assert isinstance(found, CSR) and torch.equal(dense(found), X)


def test_ids_stay_or_become_rows():
    cpu, ids = torch.device("cpu"), torch.tensor([2, 0, 2])
    assert torch.equal(features(dataset(ids), cpu), ids)
    assert torch.equal(features(dataset(None), cpu), torch.arange(3))
    found = features(dataset(ids), cpu, ids="rows")
    assert torch.equal(dense(found), torch.eye(3)[ids])


def test_rows_are_divided_by_their_sum():
    expected = X / X.sum(1, keepdim=True).clamp(min=1)
    assert torch.equal(row_normalized(X), expected)
    torch.testing.assert_close(dense(row_normalized(feature_rows(X))), expected)


def test_some_rows():
    which = torch.tensor([2, 1, 2])
    assert torch.equal(taken(X, which), X[which])
    assert torch.equal(dense(taken(feature_rows(X), which)), X[which])

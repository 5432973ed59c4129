"""Features of every form as sparse rows."""

import warnings

import pytest
import torch

from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows, one_hot

X = torch.tensor([[0.0, 2, 0], [0, 0, 0], [1, 0, 3]])


def sparse_tensor(ptr, col, value, size):
    with warnings.catch_warnings():  # torch says once that this layout is in beta
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(ptr, col, value, size=size, check_invariants=False)


def dense(x: CSR) -> torch.Tensor:
    out = torch.zeros(x.num_rows, x.num_cols)
    out[x.rows(), x.col.long()] = x.weight
    return out


@pytest.mark.parametrize(
    "form",
    [X, X.double(), X.to_sparse(), sparse_tensor([0, 1, 1, 3], [1, 0, 2], [2.0, 1, 3], (3, 3))],
    ids=["dense", "double", "coo", "csr"],
)
def test_numbers_of_every_form(form):
    found = feature_rows(form)
    assert torch.equal(dense(found), X) and found.weight.dtype == torch.float32
    assert feature_rows(found) is found


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_ids_are_rows_with_a_single_one(shape):
    found = feature_rows(torch.tensor([2, 0]).view(shape))
    assert dense(found).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert torch.equal(dense(one_hot(torch.tensor([2, 0]))), dense(found))
    assert one_hot(torch.tensor([], dtype=torch.long)).num_cols == 0


def test_stored_zeros_go_and_columns_ascend():
    found = feature_rows(sparse_tensor([0, 3, 3], [2, 0, 1], [5.0, 1.0, 0.0], (2, 3)))
    assert found.col.tolist() == [0, 2] and found.weight.tolist() == [1, 5]
    at = torch.tensor([[1, 0, 1, 0], [0, 2, 0, 0]])
    repeated = torch.sparse_coo_tensor(
        at, torch.tensor([1.0, 5, 1, 0]), (2, 3), check_invariants=False
    )
    found = feature_rows(repeated)
    assert found.col.tolist() == [2, 0] and found.weight.tolist() == [5, 2]


def test_whole_numbers_of_several_columns_are_no_ids():
    with pytest.raises(
        ValueError, match=r"are ids of shape \(N,\), got \(3, 3\); convert them with"
    ):
        feature_rows(X.long())

"""CPU kernels of joins: every way in which a row is filled gives the bits of the reference."""

import pytest
import torch
from checks import using

from graphlearn.ops import CSR, cpu
from graphlearn.ops.compose import compose


def random(rows, columns, entries, seed):
    generator = torch.Generator().manual_seed(seed)
    edges = [torch.randint(side, (entries,), generator=generator) for side in (rows, columns)]
    weight = torch.rand(entries, generator=generator)
    return CSR.from_edge_index(torch.stack(edges), rows, num_cols=columns, weight=weight)


@pytest.mark.parametrize("most", [0, 1, 7, 1000])
@pytest.mark.parametrize(
    ("columns", "entries"),
    [
        (40, 400),  # rows so full that all columns are looked at
        (4000, 400),  # rows so thin that columns are sorted
        (300, 4000),
    ],
)
def test_full_and_thin_rows(columns, entries, most):
    left, right = random(50, 30, 200, 0), random(30, columns, entries, 1)
    found = []
    for kernels in (None, cpu):
        with using(kernels):
            found.append(compose(left, right, most=most))
    for name in ("ptr", "col", "weight"):
        assert torch.equal(*(getattr(one, name) for one in found)), name


@pytest.mark.parametrize("sides", [(0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_sides_without_nodes(sides):
    none = torch.empty(2, 0).long()
    left = CSR.from_edge_index(none, sides[0], num_cols=sides[1])
    right = CSR.from_edge_index(none, sides[1], num_cols=sides[2])
    for kernels in (None, cpu):
        with using(kernels):
            found = compose(left, right, most=2)
            assert (found.num_rows, found.num_cols, found.num_entries) == (sides[0], sides[2], 0)


def test_a_row_with_one_entry_counts_its_columns_once():
    left = CSR.from_edge_index(torch.tensor([[0, 1], [0, 0]]), 2, num_cols=1)
    right = CSR.from_edge_index(torch.tensor([[0, 0, 0], [4, 1, 2]]), 1, num_cols=6)
    found = compose(left, right)
    assert found.col.tolist() == [1, 2, 4, 1, 2, 4]
    assert found.weight.tolist() == pytest.approx([0.2] * 6)

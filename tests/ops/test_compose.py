"""Joins of two relations: against dense products, the strongest entries, threads, messages."""

import pytest
import torch
from checks import using
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.ops import CSR, cpu
from graphlearn.ops.compose import compose


def relation(rows, columns, entries, seed, weighted=False):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.stack(
        [torch.randint(size, (entries,), generator=generator) for size in (rows, columns)]
    )
    weight = torch.rand(entries, generator=generator) + 0.1 if weighted else None
    return CSR.from_edge_index(edges, rows, num_cols=columns, weight=weight)


def matrix(graph):
    out = torch.zeros(graph.num_rows, graph.num_cols, dtype=torch.float64)
    value = torch.ones(graph.num_entries) if graph.weight is None else graph.weight
    out[graph.rows(), graph.col.long()] = value.double()
    return out


def product_of(left, right):
    a, b = matrix(left), matrix(right)
    total = a.sum(0) + b.sum(1)
    return a @ torch.diag(torch.where(total > 0, 1 / total, 0.0)) @ b


@pytest.mark.parametrize("kernels", [None, cpu])
@settings(max_examples=80, deadline=None)
@given(
    sides=st.tuples(*[st.integers(1, 12)] * 3),
    entries=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    weighted=st.booleans(),
    most=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_equals_the_dense_product(sides, entries, weighted, most, seed, kernels):
    left = relation(sides[0], sides[1], entries[0], seed, weighted)
    right = relation(sides[1], sides[2], entries[1], seed + 1)
    with using(kernels):
        found = compose(left, right, most=most, seed=seed)
    full = product_of(left, right)
    assert (found.num_rows, found.num_cols) == full.shape
    there = full > 0
    kept = matrix(found)
    if most == 0:
        assert torch.equal(kept > 0, there)
    else:
        assert torch.equal((kept > 0).sum(1), there.sum(1).clamp(max=most))
        for got, want in zip(kept, full, strict=True):
            # The weakest that stayed is no weaker than the strongest that went.
            gone = want[(got == 0) & (want > 0)]
            if len(gone):
                assert got[got > 0].min() >= gone.max() - 1e-6
    torch.testing.assert_close(kept[kept > 0], full[kept > 0], rtol=1e-6, atol=0)
    assert all((row.diff() > 0).all() for row in found.col.split(found.ptr.diff().tolist()))


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(*[st.integers(1, 60)] * 3),
    entries=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    weighted=st.booleans(),
    most=st.integers(0, 9),
    seed=st.integers(0, 9),
)
def test_the_kernel_gives_the_bits_of_the_reference(sides, entries, weighted, most, seed):
    left = relation(sides[0], sides[1], entries[0], seed, weighted)
    right = relation(sides[1], sides[2], entries[1], seed + 1)
    found = []
    for kernels in (None, cpu):
        with using(kernels):
            found.append(compose(left, right, most=most, seed=seed))
    for name in ("ptr", "col", "weight"):
        assert torch.equal(getattr(found[0], name), getattr(found[1], name)), name


def test_threads_give_the_same_bits():
    left, right = relation(3000, 200, 20_000, 0), relation(200, 3000, 20_000, 1)
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(compose(left, right, most=20))
    torch.set_num_threads(threads)
    for name in ("ptr", "col", "weight"):
        assert torch.equal(getattr(found[0], name), getattr(found[1], name)), name


def test_chance_decides_among_equals():
    star = CSR.from_edge_index(torch.stack([torch.arange(200), torch.zeros(200).long()]), 200)
    count = torch.zeros(200)
    for seed in range(50):
        found = compose(star, star.transpose(), most=20, seed=seed)
        assert torch.equal(found.ptr.diff(), torch.full((200,), 20))
        count += torch.bincount(found.col, minlength=200)
    # 50 * 200 * 20 draws over 200 columns: 1000 each, with a standard deviation of 30.
    assert (count - 1000).abs().max() < 5 * 30
    again = compose(star, star.transpose(), most=20, seed=49)
    assert torch.equal(found.col, again.col)


def test_messages():
    left, right = relation(3, 4, 6, 0), relation(5, 2, 6, 0)
    with pytest.raises(ValueError, match="first relation has 4 columns, the second 5 rows"):
        compose(left, right)
    with pytest.raises(ValueError, match="most must be at least 0, got -1"):
        compose(left, left.transpose(), most=-1)
    with pytest.raises(ValueError, match="without entries that are switched off"):
        compose(left.without(torch.tensor([[0], [0]])), left.transpose())

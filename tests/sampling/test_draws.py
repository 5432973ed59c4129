import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlearn.sampling.batches import _scramble
from graphlearn.sampling.draws import distinct, row_keys, skip

ROWS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6)


def drawn(rows, seed=0, ids=None):
    ids = torch.arange(len(rows)) if ids is None else ids
    sizes, counts = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T
    return distinct(row_keys(ids, seed), sizes, counts)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 2**62))
def test_rows_hold_different_numbers_below_their_size(rows, seed):
    found = drawn(rows, seed).tolist()
    for (size, count), row in zip(rows, found, strict=True):
        numbers = [number for number in row if number >= 0]
        assert len(numbers) == len(set(numbers)) == min(size, count)
        assert all(number < size for number in numbers)
        assert row == numbers + [-1] * (len(row) - len(numbers))


@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(0, 5))
def test_a_row_does_not_depend_on_its_batch(rows, seed):
    together = drawn(rows, seed)
    for k, row in enumerate(rows):
        alone = drawn([row], seed, torch.tensor([k]))[0]
        assert alone.tolist() == together[k, : len(alone)].tolist()


def test_every_number_is_equally_likely_at_every_position():
    repeats = 4000
    for size, count in ((6, 6), (7, 3), (40, 5)):  # shuffled, shuffled, drawn
        found = drawn([(size, count)] * repeats)
        for position in (0, count - 1):
            got = torch.bincount(found[:, position], minlength=size)
            chi = float(((got - repeats / size) ** 2 / (repeats / size)).sum())
            assert chi < size - 1 + 4 * (2 * (size - 1)) ** 0.5  # four standard deviations


def test_pairs_of_numbers_are_independent():
    found = drawn([(12, 2)] * 8000)
    got = torch.bincount(found[:, 0] * 12 + found[:, 1], minlength=144).view(12, 12)
    assert got.diagonal().sum() == 0
    free = got[~torch.eye(12, dtype=torch.bool)]
    chi = float(((free - 8000 / 132) ** 2 / (8000 / 132)).sum())
    assert chi < 131 + 4 * (2 * 131) ** 0.5


def test_sizes_beyond_any_table():
    found = drawn([(2**61, 100)] * 3)
    assert len(found.unique()) == 300 and int(found.max()) > 2**60


def test_the_words_are_those_of_splitmix64():
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    ids = torch.tensor([5, -1])
    keys, found = row_keys(ids, 0), drawn([(2**61, 1)] * 2, ids=ids)
    for key, row in zip(keys.tolist(), found, strict=True):
        assert int(row[0]) == _scramble(key & mask) % 2**61
    found = distinct(keys[:1], torch.tensor([2**61]), torch.tensor([2]))
    assert int(found[0, 1]) == _scramble((int(keys[0]) + golden) & mask) % 2**61


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 20), max_size=10), min_size=1, max_size=4))
def test_skip_counts_what_is_free(taken):
    table = torch.full((len(taken), 10), -1)
    for k, row in enumerate(taken):
        table[k, -len(row) or 10 :] = torch.tensor(sorted(row, reverse=True))
    found = skip(torch.arange(-1, 12).repeat(len(taken), 1), table).tolist()
    for row, got in zip(taken, found, strict=True):
        assert got == [-1, *np.setdiff1d(np.arange(40), list(row))[:12].tolist()]


def test_no_rows_and_nothing_wanted():
    none = torch.empty(0, dtype=torch.int64)
    assert distinct(none, none, none).shape == (0, 0)
    assert drawn([(3, 0), (0, 3)]).shape == (2, 0)

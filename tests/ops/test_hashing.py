"""Where keys go: exact values, on the host and in tensors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphlearn.ops.hashing import accept_below, key_of, lowbias32, mixed, slots_of, words

VALUES = {
    0: 0,
    1: 0x688990C0,
    2: 0xD1132181,
    7: 0x948BA1E6,
    123456789: 0xA8F1DB88,
    0xFFFFFFFF: 0x6768824A,
}
PLACES = {
    "mix": ([1, 2, 0, 1, 3], [1, 0, 1, 0, 0]),
    "quadratic": ([3, 2, 1, 0, 3], [1, 0, 1, 0, 1]),
}


def test_the_mixer_has_its_published_values():
    assert [lowbias32(x) for x in VALUES] == list(VALUES.values())
    assert words(torch.tensor(list(VALUES))).tolist() == list(VALUES.values())


def test_higher_bits_of_a_word_are_cut_off():
    assert lowbias32(2**32 + 7) == lowbias32(7)
    assert lowbias32(-1) == lowbias32(0xFFFFFFFF)
    assert key_of(2**32 + 5, 1) == key_of(5, 1) != key_of(5, 2)


@given(st.integers(0, 2**32 - 1))
def test_host_and_tensors_agree(x):
    assert int(words(torch.tensor(x))) == lowbias32(x)


@pytest.mark.parametrize("hash", PLACES)
def test_slots_of_five_nodes(hash):
    for hop, (size, places) in enumerate(zip((4, 2), PLACES[hash], strict=True), start=1):
        found = slots_of(torch.arange(5), size, hop=hop, seed=7, hash=hash)
        assert found.tolist() == places


@pytest.mark.parametrize("hash", PLACES)
@given(ids=st.lists(st.integers(-1, 2**32), max_size=9), size=st.integers(1, 100))
def test_slots_lie_in_the_row(hash, ids, size):
    place = slots_of(torch.tensor(ids, dtype=torch.int64), size, hop=2, seed=99, hash=hash)
    assert ((place >= 0) & (place < size)).all()


@pytest.mark.parametrize("node", [2**24 + 1, 2**31 - 2])
def test_far_ids_keep_all_their_bits(node):
    word = (lowbias32((node + 1) ^ key_of(3, 1)) * 1000) >> 32
    assert int(slots_of(torch.tensor(node), 1000, hop=1, seed=3)) == word
    square = (node + 1) * 3 + (node + 1) ** 2 * 4
    square = ((square + 2**63) % 2**64 - 2**63) % 1000  # 64 bits, signed
    found = slots_of(torch.tensor(node), 1000, hop=1, seed=3, hash="quadratic")
    assert int(found) == square


@pytest.mark.parametrize(("seed", "hash", "used"), [(7, "quadratic", 32), (8, "quadratic", 7)])
def test_an_even_seed_spoils_the_quadratic_form(seed, hash, used):
    assert slots_of(torch.arange(4000), 32, hop=1, seed=seed, hash=hash).unique().numel() == used


def test_the_mixer_fills_rows_evenly():
    counts = slots_of(torch.arange(32000), 32, hop=1, seed=8).bincount()
    assert counts.min() > 900
    assert counts.max() < 1100


@pytest.mark.parametrize("batch", [0, 5, 2**32 + 5])
def test_random_words_depend_on_rank_batch_hop_and_seed(batch):
    found = mixed(torch.tensor([0, 1, 77]), torch.tensor(batch), hop=2, seed=9)
    stream = lowbias32(lowbias32(lowbias32(9) ^ (batch % 2**32)) ^ 2)
    assert found.tolist() == [lowbias32(p ^ stream) for p in (0, 1, 77)]


def test_acceptance_is_a_bound_on_words():
    assert [accept_below(a) for a in (0.0, 0.5, 1.0)] == [0, 2**31, 2**32]
    assert accept_below(0.7) == int(0.7 * 2**32 + 0.5)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_is_a_probability(alpha):
    with pytest.raises(ValueError, match=rf"alpha must lie in \[0, 1\], got {alpha}"):
        accept_below(alpha)

"""The CPU kernel that writes a batch has the bits of the reference."""

import numpy as np
import torch
from cache_cases import play, streams
from hypothesis import given, settings

from graphlearn.ops import cpu
from graphlearn.ops.cpu.commit import lowbias, slot
from graphlearn.ops.hashing import key_of, lowbias32, slots_of


@settings(max_examples=80, deadline=None)
@given(streams())
def test_bits_of_the_reference(stream):
    for one, two in zip(play(stream, cpu), play(stream, None), strict=True):
        assert torch.equal(one, two)


def test_the_mixer_is_that_of_the_reference():
    for x in (0, 1, 7, 123456789, 0xFFFFFFFF):
        assert lowbias(np.uint32(x)) == lowbias32(x)


def test_slots_of_far_ids():
    ids = [0, 2**24 + 1, 2**31 - 2]
    for hash, modulus in (("mix", -1), ("quadratic", 99)):
        found = [slot(node, 1000, np.uint32(key_of(99, 2)), modulus) for node in ids]
        assert found == slots_of(torch.tensor(ids), 1000, hop=2, seed=99, hash=hash).tolist()

"""The GPU kernels that write a batch have the bits of the reference."""

import pytest
import torch
from cache_cases import DIGESTS, SMALL, college_msg, play, small_stream, streams
from hypothesis import given, settings


def test_salts_are_signed_words(gpu):
    from graphlearn.ops.gpu.commit import salt_of
    from graphlearn.ops.hashing import key_of

    for seed in range(20):
        salt = salt_of(seed, 1, False)
        assert -(2**31) <= salt < 2**31
        assert salt % 2**32 == key_of(seed, 1)
    assert salt_of(207, 2, True) == 7


@pytest.mark.parametrize("hash", SMALL)
def test_conformance_of_a_small_stream(hash, gpu, device):
    tables = play(small_stream(hash), gpu, device)
    found = tables.key[:, :4], tables.eid[:, 1:5], tables.key[:, 4:], tables.eid[:, 5:]
    assert [x.tolist() for x in found] == list(SMALL[hash])


@settings(max_examples=12, deadline=None)
@given(stream=streams())
def test_bits_of_the_reference(stream, gpu, device):
    for one, two in zip(play(stream, gpu, device), play(stream, None), strict=True):
        assert torch.equal(one, two)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("rules", [case[0] for case in DIGESTS])
def test_a_real_stream_has_the_bits_of_the_reference(rules, gpu, device, data_root):
    stream = college_msg(data_root, {**rules, "size": 100}, 700)
    for one, two in zip(play(stream, gpu, device), play(stream, None), strict=True):
        assert torch.equal(one, two)


def test_wide_vectors_need_several_blocks(gpu, device):
    from graphlearn.ops.commit import commit_reference

    found = []
    for run, where in ((commit_reference, "cpu"), (gpu.commit, device)):
        torch.manual_seed(0)
        key, eid = torch.full((4, 3), -1), torch.full((4, 4), -1)
        ts, rep = torch.zeros(4, 4).double(), torch.rand(4, 4, 20)
        opp, wide, number = torch.full((4,), -1), torch.rand(4, 72), torch.tensor(0)
        state = [x.to(where) for x in (key.int(), eid.int(), ts, rep, opp.int(), wide, number)]
        rows = torch.tensor([[0, 1, 0], [2, 0, 2], [5, 6, 7], [0, 1, 2], [0, 1, 0], [2, 0, 2]])
        fresh, own = torch.rand(4, 4, 20), torch.rand(4, 72)
        given = [x.to(where) for x in (*rows, fresh, own)]
        run(*state, *given, [2, 1], False, 3, 2**31, False, None, None)
        found.append([x.cpu() for x in state])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

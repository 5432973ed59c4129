import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphlearn.sampling
from graphlearn.ops.csr import CSR
from graphlearn.sampling.interactions import InteractionSampler, seen_mask


def matrix(dense):
    dense = torch.as_tensor(dense, dtype=torch.bool)
    return CSR.from_edge_index(dense.nonzero().T, dense.shape[0], num_cols=dense.shape[1])


def dense_of(train):
    dense = torch.zeros(train.num_rows, train.num_cols, dtype=torch.bool)
    dense[train.rows(), train.col.long()] = True
    return dense


def random_matrix(users=12, items=9, share=0.4, seed=0):
    return matrix(torch.rand(users, items, generator=torch.Generator().manual_seed(seed)) < share)


def check_even(count):
    """Chi-square within four standard deviations."""
    expected = count.double().mean()
    chi, freedom = float(((count - expected) ** 2 / expected).sum()), len(count) - 1
    assert chi <= freedom + 4 * (2 * freedom) ** 0.5


@st.composite
def matrices(draw):
    users, items = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    row = st.lists(st.booleans(), min_size=items, max_size=items)
    return torch.tensor(draw(st.lists(row, min_size=users, max_size=users)))


@settings(max_examples=60, deadline=None)
@given(matrices())
def test_every_rank_is_the_item_of_brute_force(dense):
    degree = dense.sum(1)
    assume(bool(((degree > 0) & (degree < dense.shape[1])).any()))
    sampler = InteractionSampler(matrix(dense))
    assert (sampler._keys.diff() >= 0).all()
    for user in (degree < dense.shape[1]).nonzero().squeeze(1).tolist():
        free = (~dense[user]).nonzero().squeeze(1)
        drawn = sampler.unseen(torch.full((400,), user), 2, 0)
        assert drawn.unique().equal(free)  # 800 draws of at most 8
        rank = torch.arange(len(free))
        keys = user * dense.shape[1] + rank
        found = torch.searchsorted(sampler._keys, keys, right=True) - sampler._ptr[user]
        assert (rank + found).equal(free)


@settings(max_examples=60, deadline=None)
@given(matrices(), st.sampled_from(["user", "edge"]), st.integers(0, 40), st.integers(0, 3))
def test_positives_are_seen_and_negatives_are_not(dense, by, num, negatives):
    degree = dense.sum(1)
    fit = (degree > 0) & (degree < dense.shape[1])
    assume(bool(fit.any()))
    users, pos, neg = InteractionSampler(matrix(dense)).draw(
        num, seed=1, by=by, negatives=negatives
    )
    assert users.shape == pos.shape == (num,)
    assert neg.shape == (num, negatives)
    assert users.dtype == pos.dtype == neg.dtype == torch.int64
    assert fit[users].all()
    assert dense[users, pos].all()
    assert not dense[users[:, None], neg].any()


def test_users_take_turns():
    sampler = InteractionSampler(random_matrix())
    users = sampler.draw(12 * 20 + 5, seed=0).users
    rounds = users[: 12 * 20].view(20, 12)
    assert (rounds.sort(1).values == torch.arange(12)).all()
    assert len(rounds.unique(dim=0)) == 20
    assert len(users[-5:].unique()) == 5


def test_every_interaction_once():
    train = random_matrix()
    users, pos, _ = InteractionSampler(train).draw(train.num_entries, seed=0, by="edge")
    assert not users.equal(train.rows())
    key = (users * train.num_cols + pos).sort().values
    assert key.equal(train.rows() * train.num_cols + train.col)


@pytest.mark.parametrize("by", ["user", "edge"])
def test_items_are_uniform(by):
    train = random_matrix()
    users, pos, neg = InteractionSampler(train).draw(24_000, seed=3, by=by, negatives=2)
    for user in range(train.num_rows):
        own = dense_of(train)[user]
        mine = users == user
        check_even(torch.bincount(pos[mine], minlength=9)[own])
        check_even(torch.bincount(neg[mine].flatten(), minlength=9)[~own])


def test_users_without_items_or_with_all_are_left_out():
    dense = torch.tensor([[1, 1, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    sampler = InteractionSampler(matrix(dense))
    for by in ("user", "edge"):
        users, pos, neg = sampler.draw(50, seed=0, by=by)
        assert (users == 2).all()
        assert (pos == 1).all()
        assert set(neg.flatten().tolist()) == {0, 2}
    assert sampler.unseen(torch.tensor([1] * 50), 1, 0).unique().tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="user 3 has all 3 items in training, so there is no oth"):
        sampler.unseen(torch.tensor([2, 3]), 1, 0)


def test_nobody_to_draw():
    message = "no user has both .*: of 3 users 1 have no item, the others have all 2"
    with pytest.raises(ValueError, match=message):
        InteractionSampler(matrix([[1, 1], [0, 0], [1, 1]]))


@pytest.mark.parametrize("by", ["user", "edge"])
def test_the_seed_alone_decides(by):
    train = random_matrix(300, 200)
    threads, sampler = torch.get_num_threads(), InteractionSampler(train)
    first = sampler.draw(40_000, seed=5, by=by)
    try:
        torch.set_num_threads(1 if threads > 1 else 3)
        torch.manual_seed(1)
        again = InteractionSampler(train).draw(40_000, seed=5, by=by)
    finally:
        torch.set_num_threads(threads)
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    other = sampler.draw(40_000, seed=6, by=by)
    assert not any(a.equal(b) for a, b in zip(first, other, strict=True))
    many = sampler.draw(40_000, seed=5, by=by, negatives=3)
    assert many.users.equal(first.users)
    assert many.pos.equal(first.pos)
    assert many.neg.equal(sampler.unseen(first.users, 3, seed=5))


def test_shared_items_differ():
    sampler = InteractionSampler(random_matrix())
    assert sampler.shared(9, seed=0).sort().values.equal(torch.arange(9))
    assert not sampler.shared(9, seed=0).equal(sampler.shared(9, seed=1))
    first = torch.cat([sampler.shared(3, seed=seed) for seed in range(2000)])
    check_even(torch.bincount(first, minlength=9))
    for num in (10, -1):
        with pytest.raises(ValueError, match=rf"items must lie in \[0, 9\], got {num}"):
            sampler.shared(num, seed=0)


@settings(max_examples=60, deadline=None)
@given(matrices(), st.randoms(use_true_random=False))
def test_mask_equals_the_dense_matrix(dense, chance):
    users = torch.tensor([chance.randrange(len(dense)) for _ in range(chance.randrange(9))]).long()
    order = torch.tensor(chance.sample(range(dense.shape[1]), dense.shape[1]))
    items = order[: chance.randrange(dense.shape[1] + 1)]
    assert seen_mask(matrix(dense), users, items).equal(dense[users][:, items])


def test_what_is_refused(unchecked):
    train = random_matrix()
    sampler = InteractionSampler(train)
    with pytest.raises(ValueError, match="by must be 'user' or 'edge', got 'item'"):
        sampler.draw(1, seed=0, by="item")
    with pytest.raises(ValueError, match="must be at least 0, got num=-1, negatives=1"):
        sampler.draw(-1, seed=0)
    with pytest.raises(ValueError, match=r"must lie in \[0, 12\), got -1 to 3"):
        sampler.unseen(torch.tensor([-1, 3]), 1, 0)
    with pytest.raises(ValueError, match="must all take part, got a matrix with `keep`; build it"):
        InteractionSampler(train.without(torch.tensor([[0], [0]])))
    with pytest.raises(ValueError, match="items must differ, got 1 repeats"):
        seen_mask(train, torch.tensor([0]), torch.tensor([2, 1, 2]))
    with pytest.raises(ValueError, match=r"must lie in \[0, 9\), got 2 to 9"):
        seen_mask(train, torch.tensor([0]), torch.tensor([2, 9]))


def test_exported():
    assert graphlearn.sampling.InteractionSampler is InteractionSampler
    assert graphlearn.sampling.seen_mask is seen_mask

import hashlib

import pytest
import torch

import graphlearn as gl
from graphlearn.data.tastes import load_synthetic_interactions, synthetic_interactions


def digest(made):
    table = torch.stack([made.users, made.items, made.time]).numpy().astype("<i8")
    return hashlib.sha256(table.tobytes()).hexdigest()[:16]


def test_a_seed_decides_the_bits():
    assert digest(synthetic_interactions()) == digest(synthetic_interactions(seed=0))
    assert digest(synthetic_interactions()) == "62adb39427e58dd1"
    assert digest(synthetic_interactions(seed=1)) != digest(synthetic_interactions())


def test_the_name_stays_a_function():
    for _ in range(2):  # the first access imports the module
        assert callable(gl.data.synthetic_interactions)


def test_it_has_what_interactions_have():
    made = synthetic_interactions()
    assert len(made.titles) == 400 and int(made.users.max()) == 599
    assert (made.time.diff() > 0).all()
    key = made.users * 400 + made.items
    assert len(key.unique()) == len(key)
    each = torch.bincount(made.items, minlength=400).sort().values
    assert each[-40:].sum() > 0.25 * each.sum()  # a tenth of the items, a quarter of the choices
    assert torch.bincount(made.users).min() >= 1
    tastes = [title.split()[0] for title in made.titles]
    numbers = torch.tensor([sorted(set(tastes)).index(taste) for taste in tastes])
    chosen = torch.zeros(600, 8).index_put_(
        (made.users, numbers[made.items]), torch.ones(()), accumulate=True
    )
    assert chosen.sort(1).values[:, -2:].sum() > 0.7 * chosen.sum()  # two tastes each


def test_the_usual_split_is_fixed_and_others_follow_the_seed():
    first, second = (load_synthetic_interactions(seed=seed) for seed in (0, 1))
    assert all(torch.equal(first.splits[part], second.splits[part]) for part in first.splits)
    first, second = (load_synthetic_interactions(seed=k, protocol="random") for k in (0, 1))
    assert not torch.equal(first.splits["test"], second.splits["test"])
    assert len(first.titles) == first.facts["num_items"]


def test_bad_options():
    with pytest.raises(ValueError, match="at least 2 users and 16 items, got 1 and 400"):
        synthetic_interactions(1)
    with pytest.raises(ValueError, match="at least 2 users and 16 items, got 600 and 15"):
        synthetic_interactions(600, 15)
    with pytest.raises(ValueError, match="has no given split; choose protocol random or temporal"):
        load_synthetic_interactions(protocol="given")
    with pytest.raises(ValueError, match=r"has no ratings: min_rating=3.0 does not apply"):
        load_synthetic_interactions(min_rating=3.0)

"""Similarity of rows: against dense formulas, ties, exclusions, memory, messages."""

import subprocess
import sys

import pytest
import torch
from checks import using, vectors

from graphlearn.ops import CSR, cpu
from graphlearn.ops.similar import cosine, jaccard, nearest_rows

KERNELS = pytest.mark.parametrize("kernels", [None, cpu])


def sparse(x: torch.Tensor, keep: torch.Tensor | None = None) -> CSR:
    row, col = x.nonzero().T
    made = CSR.from_edge_index(
        torch.stack([row, col]), x.shape[0], num_cols=x.shape[1], weight=x[row, col]
    )
    return made if keep is None else CSR(made.ptr, made.col, made.num_cols, keep, made.weight)


def some_rows(rows: int = 40, chan: int = 12) -> torch.Tensor:
    x = vectors(rows, chan).detach()
    x[x.abs() < 0.8] = 0
    x[3] = x[7] = 0
    return x


def some_pairs(rows: int, count: int) -> torch.Tensor:
    return torch.randint(rows, (2, count), generator=torch.Generator().manual_seed(1))


@KERNELS
def test_jaccard_counts_positions(kernels):
    x, pairs = some_rows(), some_pairs(40, 300)
    pairs[:, 0] = torch.tensor([3, 7])
    one, two = x[pairs[0]] != 0, x[pairs[1]] != 0
    union = (one | two).sum(1)
    expected = torch.where(union > 0, (one & two).sum(1) / union.clamp(min=1).double(), 0.0)
    with using(kernels):
        assert torch.equal(jaccard(sparse(x), pairs), expected)
    assert expected[0] == 0 and expected.max() == 1


def test_jaccard_overlooks_stored_zeros_and_entries_switched_off():
    x = CSR(
        torch.tensor([0, 2, 4, 6]),
        torch.tensor([0, 1, 0, 1, 0, 2], dtype=torch.int32),
        3,
        keep=torch.tensor([True, True, True, True, True, False]),
        weight=torch.tensor([1.0, 2.0, 3.0, 0.0, 1.0, 1.0]),
    )
    pairs = torch.tensor([[0, 0, 1], [1, 2, 2]])
    assert jaccard(x, pairs).tolist() == [0.5, 0.5, 1.0]


@KERNELS
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_cosine_is_that_of_the_vectors(form, kernels):
    x, pairs = some_rows(), some_pairs(40, 300)
    pairs[:, 0] = torch.tensor([3, 5])
    expected = torch.nn.functional.cosine_similarity(x[pairs[0]], x[pairs[1]])
    with using(kernels):
        found = cosine(x if form == "dense" else sparse(x), pairs)
        flipped = cosine(x if form == "dense" else sparse(x), pairs.flip(0))
    torch.testing.assert_close(found, expected)
    assert found[0] == 0
    torch.testing.assert_close(flipped, found)


def test_cosine_of_no_pairs():
    none = torch.empty(2, 0, dtype=torch.int64)
    assert cosine(some_rows(), none).shape == cosine(sparse(some_rows()), none).shape == (0,)
    assert jaccard(sparse(some_rows()), none).shape == (0,)


@KERNELS
def test_many_pairs_are_scored_in_blocks(kernels, monkeypatch):
    x, pairs = some_rows(), some_pairs(40, 300)
    whole = cosine(x, pairs), cosine(sparse(x), pairs)
    monkeypatch.setattr("graphlearn.ops.similar._PAIRS", 7)
    with using(kernels):
        torch.testing.assert_close((cosine(x, pairs), cosine(sparse(x), pairs)), whole)


def dense_nearest(x, k, allowed):
    """All scores, those that are not allowed at minus infinity, sorted."""
    unit = torch.nn.functional.normalize(x, dim=1)
    return (unit @ unit.T).masked_fill(~allowed, -torch.inf).topk(k).values


@pytest.mark.parametrize("block", [0, 1, 7, 40, 100])
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_blocks_find_what_all_scores_give(some, exclude_self, block):
    x = vectors(40, 6).detach()
    x[3] = 0
    candidates = torch.arange(40) % 3 != 0 if some else torch.ones(40, dtype=torch.bool)
    banned = CSR.from_edge_index(some_pairs(40, 90), 40, undirected=True)
    allowed = candidates.expand(40, 40).clone()
    allowed[banned.rows(), banned.col.long()] = False
    if exclude_self:
        allowed.fill_diagonal_(False)
    index, score = nearest_rows(
        x,
        5,
        candidates=candidates if some else None,
        exclude_self=exclude_self,
        without=banned,
        block=block,
    )
    torch.testing.assert_close(score, dense_nearest(x, 5, allowed))
    assert allowed.gather(1, index).all()  # ties may be broken either way: scores decide
    row = torch.arange(40).repeat_interleave(5)
    torch.testing.assert_close(cosine(x, torch.stack([row, index.flatten()])), score.flatten())
    assert all(len(set(found)) == 5 for found in index.tolist())


def test_entries_switched_off_are_not_left_out():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    banned = CSR.from_edge_index(torch.tensor([[0], [1]]), 3, undirected=True)
    kept = banned.without(torch.tensor([[0], [1]]))
    assert nearest_rows(x, 1, without=banned)[0].flatten().tolist() == [2, 2, 1]
    assert nearest_rows(x, 1, without=kept)[0].flatten().tolist() == [1, 0, 1]


def test_too_few_candidates_leave_places():
    x, only = vectors(4).detach(), torch.tensor([False, True, False, True])
    index, score = nearest_rows(x, 3, candidates=only)
    assert (index[:, 2:] == -1).all() and (score[:, 2:] == -torch.inf).all()
    assert index[[1, 3], :2].tolist() == [[3, -1], [1, -1]]
    index, score = nearest_rows(x, 3, candidates=torch.zeros(4, dtype=torch.bool))
    assert (index == -1).all() and (score == -torch.inf).all()


def test_any_number_of_threads_gives_the_same(with_threads):
    x, pairs, found = vectors(999, 64).detach(), some_pairs(999, 5000), []
    for threads in range(1, 5):
        with_threads(threads)
        found.append((cosine(x, pairs), cosine(sparse(x), pairs), *nearest_rows(x, 4)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_messages():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        nearest_rows(vectors(4).detach(), 0)
    with pytest.raises(ValueError, match="block must be at least 0, got -1"):
        nearest_rows(vectors(4).detach(), 1, block=-1)


MEMORY = """
import resource, torch
from graphlearn.ops import CSR
from graphlearn.ops.similar import cosine, jaccard, nearest_rows

torch.set_num_threads(1)
x, pairs = torch.randn(20_000, 16), torch.randint(20_000, (2, 1_000_000))
few = torch.stack([torch.arange(20_000).repeat_interleave(10), torch.randint(2000, (200_000,))])
rows = CSR.from_edge_index(few, 20_000, num_cols=2000)
small = nearest_rows(x[:100], 3), cosine(x, pairs[:, :9]), jaccard(rows, pairs[:, :9])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nearest_rows(x, 3)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
cosine(x.repeat(1, 32), pairs), jaccard(rows, pairs), cosine(rows, pairs)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_memory_is_that_of_a_block():
    """All scores would take 1600 MiB, and vectors copied to the pairs 2000."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    first, second = map(int, done.stdout.split())
    assert first < 400, done.stdout
    assert second < 700, done.stdout


@pytest.mark.parametrize("bad", [-1, 3])
def test_rows_that_are_not_there_are_refused(bad):
    x = torch.eye(3)
    sparse = CSR.from_edge_index(torch.arange(3).expand(2, 3), 3)
    pairs = torch.tensor([[0], [bad]])
    for call in (lambda: jaccard(sparse, pairs), lambda: cosine(x, pairs)):
        with pytest.raises(ValueError, match=r"node ids must lie in \[0, 3\)"):
            call()

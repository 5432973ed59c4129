"""Scores of pairs: the kernels against the reference, and the scorer written out."""

import pytest
import torch
from checks import using

import graphlearn.ops.cpu
from graphlearn.ops.pairscore import Scorer, pair_scores, recency


def score_case(pairs=30, rows=7, sums=3, chan=5, code=4, first=6, decay=2, seed=0):
    """Rows, histograms with empty and large counts, meetings and none, parameters."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, requires_grad=True)

    at = torch.randint(rows, (2, pairs), generator=generator)
    counts = torch.randint(90, (pairs, 64), generator=generator).clamp(min=70) - 70
    since = 40 * torch.rand(pairs, generator=generator, dtype=torch.float64) - 10
    rates = torch.rand(decay, generator=generator, dtype=torch.float64)
    width = first + 2 * chan
    scorer = Scorer(
        draw(64, code), draw(2, first, sums + code), draw(first), draw(width, width + decay),
        draw(width), draw(1, width), draw(1),
    )  # fmt: skip
    return at, counts.int(), since, rates, draw(rows, sums), draw(rows, chan), scorer


def scored(case, kernels, **options):
    with using(kernels):
        torch.manual_seed(3)
        out = pair_scores(*case, **options)
        leaves = [case[4], case[5], *case[6]]
        return [out, *torch.autograd.grad(out, leaves, torch.linspace(-1, 2, len(out)))]


@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"pairs": 1}, {"decay": 0}, {"sums": 1, "first": 1}])
def test_kernels_give_what_the_reference_gives(sizes, log, p):
    case = score_case(**sizes)
    expected = scored(case, None, log=log, p=p)
    actual = scored(case, graphlearn.ops.cpu, log=log, p=p)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


def test_no_pairs():
    assert pair_scores(*score_case(pairs=0), log=True).shape == (0,)


@torch.no_grad()
def test_the_scorer_written_out():
    at, counts, since, rates, sums, own, w = score_case()
    got = pair_scores(at, counts, since, rates, sums, own, w, log=True)
    for p, (u, v) in enumerate(at.T.tolist()):
        pooled = torch.cat([sums[u] + sums[v], torch.log(1 + counts[p].float()) @ w.code])
        met = torch.exp(-since[p] * rates).float() if since[p] >= 0 else torch.zeros(2)
        x = torch.cat([w.head.mean(0) @ pooled + w.head_bias, own[u], own[v], met])
        z = w.out @ torch.relu(w.hidden @ x + w.hidden_bias) + w.out_bias
        torch.testing.assert_close(got[p], z[0], rtol=1e-4, atol=1e-4)


def test_recency_falls_from_one_and_is_zero_without_a_meeting():
    since, rates = torch.tensor([0.0, 2.0, -1.0]).double(), torch.tensor([0.5, 1e9]).double()
    expected = torch.tensor([[1.0, 1.0], [0.36787944, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(recency(since, rates), expected)


def test_threads_do_not_change_a_bit():
    case = score_case(pairs=3000, rows=100, chan=40)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            found.append(scored(case, graphlearn.ops.cpu, log=True, p=0.2)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])

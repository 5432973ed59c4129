"""NCNC: the published numbers at every depth, the equation by hand, and its options."""

import pytest
import torch
from link_checks import check_link_model, random_graph
from models.golden import Golden
from models.test_ncn import FLAGS

from graphlearn.models.ncn import NCN
from graphlearn.models.ncnc import NCNC

SETTINGS = {"alpha": 0.9, "odds": 0.75, "scale": 4.3, "offset": 0.2}


@pytest.mark.parametrize("parity", ["clean", "reference"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_contract(parity, depth):
    check_link_model(lambda: NCNC(7, hidden=8, depth=depth, parity=parity, **SETTINGS))


def test_contract_with_learned_odds():
    check_link_model(lambda: NCNC(7, hidden=8, learn_odds=True, scale=1.0, offset=0.0))


@pytest.mark.data
@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(
    ("depth", "parity"), [(0, "reference"), (1, "reference"), (2, "reference"), (1, "clean")]
)
def test_predictor_equals_the_published_one(data_root, name, depth, parity):
    golden = Golden(data_root)
    scale, offset, odds, alpha = golden["hyper_scale_offset_pt_alpha"].tolist()
    model = NCNC(
        12,
        hidden=16,
        depth=depth,
        parity=parity,
        alpha=alpha,
        odds=odds,
        scale=scale,
        offset=offset,
        **FLAGS[name],
    ).eval()
    golden.check_predictor(model, name, f"depth{depth}_{parity}")


def test_completion_follows_the_equation_pair_by_pair():
    torch.manual_seed(0)
    model, graph = NCNC(5, hidden=6, **SETTINGS).eval(), random_graph(12, 20)
    inner = NCN(5, hidden=6).eval()
    inner.load_state_dict(model.state_dict())
    x = torch.randn(12, 5)
    near = [set(graph.col[a:b].tolist()) for a, b in zip(graph.ptr, graph.ptr[1:], strict=False)]
    with torch.no_grad():
        h, v = inner.encode(x, graph)

        def chance(a: int, u: int) -> torch.Tensor:
            z = inner.score((h, v), graph, torch.tensor([[a], [u]]))
            q = torch.sigmoid(4.3 * (z - 0.2))
            return 0.9 * 0.75 * q / (0.75 * q + 1 - q)

        for i, j in [(0, 1), (2, 7), (3, 3), (4, 11)]:
            total = sum((v[u] for u in near[i] & near[j]), torch.zeros(6))
            total = total + sum(chance(j, u) * v[u] for u in near[i] - near[j])
            total = total + sum(chance(i, u) * v[u] for u in near[j] - near[i])
            common = model.beta * model.f_cn(total.unsqueeze(0))
            z = model.f_out(common + model.f_ij((h[i] * h[j]).unsqueeze(0)))
            out = model.score(model.encode(x, graph), graph, torch.tensor([[i], [j]]))
            torch.testing.assert_close(out, z.flatten(), rtol=1e-4, atol=1e-5)


def test_blocks_of_nested_pairs_do_not_change_the_score():
    torch.manual_seed(0)
    model, graph = NCNC(5, hidden=6, **SETTINGS).eval(), random_graph()
    x, pairs = torch.randn(30, 5), torch.randint(30, (2, 25))
    whole = model.score(model.encode(x, graph), graph, pairs)
    model.block = 7
    torch.testing.assert_close(whole, model.score(model.encode(x, graph), graph, pairs))


def test_training_without_dropout_equals_evaluation():
    torch.manual_seed(0)
    for parity in ("clean", "reference"):
        model, graph = NCNC(5, hidden=6, parity=parity, **SETTINGS), random_graph()
        x, pairs = torch.randn(30, 5), torch.randint(30, (2, 4))
        trained = model.score(model.encode(x, graph), graph, pairs)
        model.eval()
        torch.testing.assert_close(trained, model.score(model.encode(x, graph), graph, pairs))


def test_sampling_of_residual_neighbours_is_unbiased():
    torch.manual_seed(0)
    model, graph = NCNC(5, hidden=6, eval_degree=2).eval(), random_graph(20, 120)
    side = graph
    total = torch.zeros(20, 20)
    for _ in range(3000):
        sample, weight = model._sample(side)
        assert int(sample.ptr.diff().max()) <= max(2, int(side.ptr.diff().clamp(max=2).max()))
        dense = torch.zeros(20, 20)
        dense[sample.rows(), sample.col.long()] = weight
        total += dense / 3000
    expected = torch.zeros(20, 20)
    expected[side.rows(), side.col.long()] = 1
    torch.testing.assert_close(total, expected, rtol=0, atol=0.25)
    torch.testing.assert_close(total.sum(1), expected.sum(1), rtol=1e-4, atol=1e-4)


def test_rows_within_the_limit_are_kept_whole():
    model = NCNC(5, hidden=6, eval_degree=50).eval()
    side = random_graph()
    assert model._sample(side) == (side, None)


def test_ramp_of_alpha():
    model, graph = NCNC(5, hidden=6, ramp_alpha=True, alpha=0.9).eval(), random_graph()
    plain = NCN(5, hidden=6).eval()
    plain.load_state_dict(model.state_dict())
    x, pairs = torch.randn(30, 5), torch.randint(30, (2, 9))
    model.start_epoch(5)
    out = model.score(model.encode(x, graph), graph, pairs)
    torch.testing.assert_close(out, plain.score(plain.encode(x, graph), graph, pairs))
    for epoch, factor in ((1, 0.0), (10, 0.5), (15, 1.0), (40, 1.0)):
        model.start_epoch(epoch)
        assert model.ramp == pytest.approx(factor)

"""Node representations: the kernels against the reference, and what the formula says."""

import pytest
import torch
from cache_cases import refresh_case
from checks import using

import graphlearn.ops.cpu
from graphlearn.ops.absorb import absorb
from graphlearn.ops.refresh import Weights, phases


def absorb_case(rows=9, wide=6, edge_dim=3, times=4):
    """Nodes of half-full tables, some of them without an event."""
    nodes, now, tables, edge, _ = refresh_case(rows=rows, edge_dim=edge_dim, wide=wide)
    partner = torch.where(tables.eid[:, 0] >= 0, torch.arange(9).flip(0), -1)
    generator = torch.Generator().manual_seed(rows)
    shapes = [(wide, wide + edge_dim + times), *[(3 * wide, wide)] * 2, *[(3 * wide,)] * 2]
    draws = [torch.randn(shape, generator=generator) / 2 for shape in [*shapes, (times,), (times,)]]
    return nodes, now, tables._replace(opp=partner.int()), edge, Weights(*draws)


def absorbed(case, kernels, absolute=False, timed=True):
    nodes, now, tables, edge, weights = case
    leaves = Weights(*(w.clone().requires_grad_(timed or k < 5) for k, w in enumerate(weights)))
    with using(kernels):
        out = absorb(nodes, now, tables, edge, leaves, absolute=absolute)
        wanted = [w for w in leaves if w.requires_grad]
        return [
            out,
            *torch.autograd.grad(out, wanted, torch.linspace(-1, 2, out.numel()).view_as(out)),
        ]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"edge_dim": 0}, {"rows": 1}, {"rows": 0}, {"wide": 17}])
def test_kernels_give_what_the_reference_gives(sizes, absolute, timed):
    case = absorb_case(**sizes)
    expected = absorbed(case, None, absolute, timed)
    actual = absorbed(case, graphlearn.ops.cpu, absolute, timed)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_it_is_a_gru_on_the_last_event():
    nodes, now, tables, edge, w = absorb_case()
    cell = torch.nn.GRUCell(6, 6)
    for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), w[1:5], strict=True):
        getattr(cell, name).data = value
    for node, got in zip(nodes.tolist(), absorb(nodes, now, tables, edge, w), strict=True):
        event = int(tables.eid[node, 0])
        x = torch.zeros(6 + 3 + 4)
        if event >= 0:
            wave = phases(now - tables.ts[node, 0], w.omega, w.phi)
            x = torch.cat([tables.wide[int(tables.opp[node])], edge[event], wave])
        torch.testing.assert_close(got, cell(w.inner @ x, tables.wide[node]), rtol=1e-5, atol=1e-5)


def test_threads_do_not_change_a_bit():
    case = absorb_case(rows=2000)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            found.append(absorbed(case, graphlearn.ops.cpu)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])

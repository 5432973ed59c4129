"""Refreshing slots: against torch's own GRU cell, and what must not change."""

import pytest
import torch
from cache_cases import empty_tables, refresh_case, refreshed
from checks import using
from torch import nn

from graphlearn.ops import cpu
from graphlearn.ops.refresh import Weights, phases, refresh, refresh_reference

KERNELS = pytest.mark.parametrize("kernels", [None, cpu])
OPS = torch.ops.graphlearn


def by_cell(case, absolute):
    """One slot after the other, through torch's GRU cell."""
    nodes, now, tables, edge, weights = case
    width = tables.rep.shape[2]
    cell = nn.GRUCell(width, width)
    for name, value in zip(
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights[1:5], strict=True
    ):
        getattr(cell, name).data.copy_(value)
    out = torch.zeros(len(nodes), *tables.rep.shape[1:])
    for i, node in enumerate(nodes.tolist()):
        for s, (number, t) in enumerate(
            zip(tables.eid[node].tolist(), tables.ts[node].tolist(), strict=True)
        ):
            key = int(tables.key[node, s - 1]) if s else node
            if (key if s else number) < 0:
                continue
            tau = t if absolute else now.item() - t
            wave = torch.cos(tau * weights.omega.double() + weights.phi.double()).float()
            x = weights.inner @ torch.cat([tables.wide[key], edge[number], wave])
            with torch.no_grad():
                out[i, s] = cell(x[None], tables.rep[node, s][None])[0]
    return out


@KERNELS
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("edge_dim", [0, 3])
def test_equals_the_cell_of_torch(edge_dim, absolute, kernels):
    case = refresh_case(5, edge_dim)
    out = refreshed(case, kernels, absolute=absolute)[0]
    torch.testing.assert_close(out, by_cell(case, absolute), rtol=1e-5, atol=1e-5)


@KERNELS
def test_gradients_equal_differences(kernels):
    case = refresh_case(4, 3, late=100.0)
    *given, weights = case
    nodes, now, tables, edge = given
    _, *grads = refreshed(case, kernels)
    torch.manual_seed(0)
    for k, grad in enumerate(grads):
        way = torch.randn_like(grad) / max(1, grad.numel()) ** 0.5
        step = 1e-3 if k < 5 else 1e-5  # times are large
        totals = []
        for sign in (1, -1):
            # In 64 bits, from the definition: no backward pass takes part.
            moved = [w.double() for w in weights]
            moved[k] += sign * step * way.double()
            doubles = [tables.rep.double(), tables.wide.double(), edge.double()]
            out = reference_in_64_bits(nodes, now, tables, *doubles, moved)
            totals.append((out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum())
        slope = (totals[0] - totals[1]) / (2 * step)
        torch.testing.assert_close((grad * way).sum().double(), slope, rtol=2e-3, atol=2e-3)


def reference_in_64_bits(nodes, now, tables, rep, wide, edge, weights):
    inner, w_in, w_hid, b_in, b_hid, omega, phi = weights
    keys = torch.cat([nodes[:, None], tables.key[nodes].long()], 1)
    numbers = tables.eid[nodes].long()
    held = torch.cat([numbers[:, :1] >= 0, keys[:, 1:] >= 0], 1)
    wave = torch.cos((now - tables.ts[nodes])[..., None] * omega + phi)
    x = torch.cat([wide[keys.clamp(min=0)], edge[numbers.clamp(min=0)], wave], -1) @ inner.T
    z = rep[nodes]
    r_in, u_in, n_in = (x @ w_in.T + b_in).chunk(3, -1)
    r_hid, u_hid, n_hid = (z @ w_hid.T + b_hid).chunk(3, -1)
    update, reset = (u_in + u_hid).sigmoid(), (r_in + r_hid).sigmoid()
    new = (n_in + reset * n_hid).tanh()
    return torch.where(held[..., None], (1 - update) * new + update * z, 0.0)


@KERNELS
def test_every_weight_receives_a_gradient(kernels):
    assert all(grad.any() for grad in refreshed(refresh_case(), kernels)[1:])


@KERNELS
@pytest.mark.parametrize("frozen", [{5, 6}, {5}, {6}, {0, 1, 2}])
def test_a_frozen_weight_changes_no_other_gradient(frozen, kernels):
    case = refresh_case()
    _, *grads = refreshed(case, kernels)
    leaves = Weights(*(w.clone().requires_grad_(k not in frozen) for k, w in enumerate(case[4])))
    with using(kernels):
        out = refresh(*case[:4], leaves)
    out.backward(torch.linspace(-1, 2, out.numel()).view_as(out))
    for k, (leaf, grad) in enumerate(zip(leaves, grads, strict=True)):
        if k in frozen:
            assert leaf.grad is None
        else:
            torch.testing.assert_close(leaf.grad, grad)


@KERNELS
def test_an_empty_cache_gives_zeros(kernels):
    nodes, now, _, edge, weights = refresh_case(4, 3)
    tables = empty_tables(9, (4, 2), 4, 6)
    out, *grads = refreshed((nodes, now, tables, edge, weights), kernels)
    assert out.shape == (7, 7, 4)
    assert not out.any()
    assert not any(grad.any() for grad in grads)


@KERNELS
def test_no_nodes(kernels):
    out, *grads = refreshed(refresh_case(rows=0), kernels)
    assert out.shape == (0, 7, 4)
    assert not any(grad.any() for grad in grads)


@KERNELS
def test_an_event_at_time_zero_counts(kernels):
    case = refresh_case(late=0.0)
    case[2].ts.zero_()
    held = torch.cat([case[2].eid[:, :1] >= 0, case[2].key >= 0], 1)[case[0]]
    assert torch.equal(refreshed(case, kernels)[0].any(-1), held)


@KERNELS
def test_rows_are_independent(kernels):
    nodes, *rest = refresh_case(rows=11)
    whole = refreshed((nodes, *rest), kernels)[0]
    parts = [refreshed((part, *rest), kernels)[0] for part in (nodes[:3], nodes[3:])]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-6)


@KERNELS
def test_late_times_keep_their_seconds(kernels):
    early, late = refresh_case(late=0.0), refresh_case(late=2.0**40)
    torch.testing.assert_close(
        refreshed(early, kernels)[0], refreshed(late, kernels)[0], rtol=1e-5, atol=1e-5
    )


@KERNELS
def test_the_state_stays_as_it_is(kernels):
    case = refresh_case()
    before = [x.clone() for x in case[2]]
    refreshed(case, kernels)
    assert all(torch.equal(one, two) for one, two in zip(before, case[2], strict=True))


def test_phases_are_cosines_in_64_bits():
    tau, omega = torch.tensor([0.0, 3.0, 2.0**40 + 1]).double(), torch.tensor([1.0, 0.5])
    phi = torch.tensor([0.0, 0.25])
    expected = torch.cos(tau[:, None] * omega.double() + phi.double())
    found = phases(tau, omega, phi)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float())


def test_ids_outside_are_found_where_that_is_asked_for(monkeypatch):
    monkeypatch.setenv("GRAPHLEARN_CHECK", "1")
    _, *rest = refresh_case()
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 9\), got 9 to 9"):
        refresh(torch.tensor([9]), *rest)


def test_without_a_gradient_the_reference_is_what_runs():
    nodes, now, tables, edge, weights = refresh_case()
    with using(None):
        out = refresh(nodes, now, tables, edge, weights)
    given = (tables.key, tables.eid, tables.ts, tables.rep, tables.wide)
    assert torch.equal(out, refresh_reference(nodes, now, *given, edge, *weights, False))


@pytest.mark.parametrize("edge_dim", [0, 3])
def test_opcheck(edge_dim, unchecked):
    nodes, now, tables, edge, weights = refresh_case(4, edge_dim)
    state = (tables.key, tables.eid, tables.ts, tables.rep, tables.wide, edge)
    leaves = Weights(*(w.requires_grad_() for w in weights))
    torch.library.opcheck(OPS.refresh.default, (nodes, now.double(), *state, *leaves, False))
    grad = torch.randn(7, 7, 4)
    flat = (grad, nodes, now.double(), *state, *(w.detach() for w in weights), False)
    torch.library.opcheck(OPS.refresh_grad.default, flat)


def test_traces_without_a_break(unchecked):
    nodes, now, tables, edge, weights = refresh_case()
    leaves = Weights(*(w.requires_grad_() for w in weights))
    traced = torch.compile(refresh, fullgraph=True, backend="aot_eager")
    found = []
    for run in (refresh, traced):
        out = run(nodes, now, tables, edge, leaves)
        found.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))

"""Gated propagation: the reference against dense matrices, gradients, tracing, messages."""

from dataclasses import replace

import pytest
import torch
from checks import CASES, link_cases, using, vectors
from hypothesis import given, settings

from graphlearn.ops import CSR, cpu, gated_hops, hop_gates
from graphlearn.ops.adjacency import gcn_norm

KERNELS = pytest.mark.parametrize("kernels", [None, cpu])


def dense(graph):
    """The matrix of a graph."""
    out = torch.zeros(graph.num_rows, graph.num_cols, dtype=torch.float64)
    value = graph.values()
    value = torch.ones(graph.num_entries) if value is None else value
    out[graph.rows(), graph.col.long()] = value.detach().double()
    return out


def formula(matrix, z, score, bias, hops):
    """The output, one hop after the other in a stack, as it is published."""
    stack = [z]
    for _ in range(hops):
        stack.append(matrix @ stack[-1])
    h = torch.stack(stack, 1)
    gate = torch.sigmoid(torch.einsum("nkc,c->nk", h, score) + bias)
    return torch.einsum("nk,nkc->nc", gate, h), gate


def gate_of(chan, dtype=torch.float64):
    """Direction and offset of a gate."""
    generator = torch.Generator().manual_seed(chan)
    score = torch.randn(chan, dtype=dtype, generator=generator)
    return score.requires_grad_(), torch.tensor(0.3, dtype=dtype, requires_grad=True)


def double(graph):
    return replace(graph, weight=None if graph.weight is None else graph.weight.double())


@KERNELS
@settings(max_examples=40, deadline=None)
@given(case=link_cases())
def test_equals_the_dense_formula_with_gradients(case, kernels):
    graph = double(case[0])
    z, (score, bias) = vectors(graph.num_rows, 5, torch.float64), gate_of(5)
    expected, gates = formula(dense(graph), z, score, bias, 4)
    wanted = torch.autograd.grad(expected.square().sum(), (z, score, bias))
    for checkpoint in (False, True):
        with using(kernels):
            out = gated_hops(graph, z, score, bias, 4, checkpoint=checkpoint)
            found = torch.autograd.grad(out.square().sum(), (z, score, bias))
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(found, wanted)
    with using(kernels):
        torch.testing.assert_close(hop_gates(graph, z, score, bias, 4), gates)


@KERNELS
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("hops", [0, 1, 4])
@pytest.mark.parametrize("name", ["duplicate", "isolated", "no nodes"])
def test_gradcheck(name, hops, checkpoint, kernels):
    graph = double(gcn_norm(CASES[name][0]))
    z, (score, bias) = vectors(graph.num_rows, 2, torch.float64), gate_of(2)
    for symmetric in (True, False):
        one = replace(graph, symmetric=symmetric)

        def op(z, score, bias, weight, one=one):
            graph = replace(one, weight=weight)
            return gated_hops(graph, z, score, bias, hops, checkpoint=checkpoint)

        weight = graph.weight.clone().requires_grad_()
        with using(kernels):
            assert torch.autograd.gradcheck(op, (z, score, bias, weight))


def test_second_derivatives():
    graph = double(gcn_norm(CASES["isolated"][0]))
    z, (score, bias) = vectors(graph.num_rows, 2, torch.float64), gate_of(2)

    def op(z, score, bias, weight):
        return gated_hops(replace(graph, weight=weight), z, score, bias, 3)

    weight = graph.weight.clone().requires_grad_()
    with using(cpu):
        assert torch.autograd.gradgradcheck(op, (z, score, bias, weight))


@KERNELS
def test_no_hop_is_the_gate_of_the_input(kernels):
    graph, z, (score, bias) = CASES["hub"][0], vectors(81, 3, torch.float64), gate_of(3)
    with using(kernels):
        out = gated_hops(graph, z, score, bias, 0)
    torch.testing.assert_close(out, torch.sigmoid(z @ score + bias)[:, None] * z)


@KERNELS
def test_a_gate_of_zeros_halves_the_sum_of_powers(kernels):
    graph, z = double(gcn_norm(CASES["hub"][0])), vectors(81, 3, torch.float64)
    matrix, power, total = dense(graph), z, z.clone()
    for _ in range(6):
        power = matrix @ power
        total += power
    with using(kernels):
        out = gated_hops(graph, z, torch.zeros(3).double(), torch.tensor(0.0).double(), 6)
    torch.testing.assert_close(out, total / 2)


@KERNELS
def test_isolated_nodes_keep_what_they_have(kernels):
    graph, z = double(gcn_norm(CASES["isolated"][0])), vectors(6, 3, torch.float64)
    score, bias = gate_of(3)
    with using(kernels):
        out = gated_hops(graph, z, score, bias, 7)
    expected = 8 * torch.sigmoid(z @ score + bias)[:, None] * z
    torch.testing.assert_close(out[3:], expected[3:])


@KERNELS
@pytest.mark.parametrize("masked", [False, True])
def test_a_symmetric_matrix_serves_as_its_own_transpose(masked, kernels):
    torch.manual_seed(0)
    edges, weight = torch.randint(30, (2, 90)), torch.rand(90).double() / 5
    graph = CSR.from_edge_index(edges, 30, weight=weight, undirected=True)
    graph = graph.without(edges[:, :20]) if masked else graph
    z, (score, bias) = vectors(30, 3, torch.float64), gate_of(3)
    grads = []
    with using(kernels):
        for symmetric in (True, False):
            out = gated_hops(replace(graph, symmetric=symmetric), z, score, bias, 4)
            grads.append(torch.autograd.grad(out.square().sum(), (z, score, bias)))
    torch.testing.assert_close(*grads)


@KERNELS
def test_gradients_are_only_made_where_they_are_asked_for(kernels):
    graph, z, (score, bias) = CASES["hub"][0], vectors(81, 3, torch.float64), gate_of(3)
    with using(kernels):
        whole = torch.autograd.grad(gated_hops(graph, z, score, bias, 2).sum(), score)
        out = gated_hops(graph, z.detach(), score, bias.detach(), 2)
        torch.testing.assert_close(torch.autograd.grad(out.sum(), score), whole)
        with torch.no_grad():
            assert not gated_hops(graph, z, score, bias, 2).requires_grad


@KERNELS
def test_half_precision_is_reduced_in_float32(kernels):
    graph, (score, bias) = gcn_norm(CASES["dense"][0]), gate_of(2, torch.float32)
    z = torch.randn(9, 2, dtype=torch.float16)
    with using(kernels):
        for op in (gated_hops, hop_gates):
            half = op(graph, z, score.half(), bias, 3)
            assert torch.equal(half, op(graph, z.float(), score.half().float(), bias, 3))


@pytest.mark.parametrize("op", [gated_hops, hop_gates])
def test_what_does_not_fit_is_said(op):
    graph, (score, bias) = CASES["dense"][0], gate_of(2, torch.float32)
    with pytest.raises(ValueError, match="z must have 9 rows, one per node, got 10"):
        op(graph, torch.ones(10, 2), score, bias, 3)
    with pytest.raises(ValueError, match="hops must be at least 0, got -1"):
        op(graph, torch.ones(9, 2), score, bias, -1)
    wide = CSR.from_edge_index(torch.tensor([[0], [4]]), 3, num_cols=5)
    with pytest.raises(ValueError, match="graph must be square, got 3 rows and 5 columns"):
        op(wide, torch.ones(5, 2), score, bias, 3)


def test_traces_without_a_break(unchecked):
    graph = gcn_norm(CASES["dense"][0])

    def step(graph, z, score, bias):
        return gated_hops(graph, z.relu(), score, bias, 3).square().sum()

    traced = torch.compile(step, fullgraph=True, backend="aot_eager")
    found = []
    for run in (step, traced):
        z, (score, bias) = vectors(9), gate_of(3, torch.float32)
        out = run(graph, z, score, bias)
        found.append((out, *torch.autograd.grad(out, (z, score, bias))))
    torch.testing.assert_close(*found)

"""The CPU kernels of node representations keep no gradient that nobody asks for."""

import sys

import torch
from cache_cases import refresh_case

import graphlearn.ops.cpu

kernel = sys.modules["graphlearn.ops.cpu.absorb"]


def test_frequencies_that_are_not_learned_cost_nothing():
    nodes, now, tables, edge, _ = refresh_case()
    weights = [torch.zeros(s) for s in [(6, 13), (18, 6), (18, 6), (18,), (18,), (4,), (4,)]]
    state = (nodes, now, tables.eid, tables.ts, tables.opp, tables.wide, edge)
    for timed in (True, False):
        out, kept = graphlearn.ops.cpu.absorb(*state, *weights, False, timed)
        assert kept[-1].shape == (len(nodes), 4 if timed else 0)
        found = kernel.absorb_grad(torch.ones_like(out), *kept, *weights)
        assert [part is None for part in found] == [False] * 5 + [not timed] * 2

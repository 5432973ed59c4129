"""The CPU kernels of the scorer: counts larger than the table of logarithms."""

import sys

import torch

import graphlearn.ops.cpu

kernel = sys.modules["graphlearn.ops.cpu.pairscore"]


def test_plain_counts_need_no_table():
    assert len(kernel._logs(False)) == 0
    assert torch.equal(kernel._logs(True)[:3], torch.tensor([0.0, 1.0, 2.0]).log1p())


def test_the_module_is_the_one_in_use():
    assert graphlearn.ops.cpu.pair_scores is kernel.pair_scores

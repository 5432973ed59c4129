"""Which kernels serve a device, and the checks of ids."""

import sys

import pytest
import torch
from checks import CASES

from graphlearn.ops import cpu, difference, overlap, overlap_count, overlap_sum, pair_product
from graphlearn.ops.backend import check_ids, kernels

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_cpu_has_kernels():
    assert kernels(CPU) is cpu


def test_the_environment_asks_for_the_reference(monkeypatch):
    monkeypatch.setenv("GRAPHLEARN_OPS", "reference")
    assert kernels(CPU) is None
    assert kernels(CUDA) is None


def test_other_devices_have_the_reference():
    assert kernels(torch.device("meta")) is None


def test_a_gpu_without_triton_has_the_reference(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphlearn.ops.gpu", None)
    monkeypatch.delattr("graphlearn.ops.gpu", raising=False)
    assert kernels(CUDA) is None


def test_a_gpu_with_triton_has_kernels():
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    from graphlearn.ops import gpu

    assert kernels(CUDA) is gpu
    layers = {"layer_norm_sums", "pair_scores", "pair_scores_grad"}
    stores = {"refresh_kept", "absorb", "absorb_grad"}
    sheaves = {"transport", "transport_dot", "small_product", "mean_hops", "end_sums", "row_totals"}
    typed = {
        "attention",
        "attention_grad",
        "attend",
        "attend_grad",
        "compose",
        "best_sum",
        "best_spread",
    }
    served = layers | stores | sheaves | typed  # by the reference
    assert set(gpu.__all__) == set(cpu.__all__) - served


@pytest.mark.parametrize("variable", ["GRAPHLEARN_CHECK=1", "GRAPHLEARN_OPS=reference"])
@pytest.mark.parametrize(
    "op",
    [
        overlap,
        difference,
        overlap_count,
        lambda graph, pairs: overlap_sum(graph, pairs, torch.ones(9, 2)),
        lambda graph, pairs: pair_product(torch.ones(9, 2), pairs),
        lambda graph, pairs: graph.locate(pairs),
    ],
)
@pytest.mark.parametrize(("wrong", "got"), [(9, "0 to 9"), (-1, "-1 to 0")])
def test_ids_outside_are_found_where_that_is_asked_for(wrong, got, op, variable, monkeypatch):
    monkeypatch.setenv(*variable.split("="))
    graph, _ = CASES["dense"]
    with pytest.raises(ValueError, match=rf"node ids must lie in \[0, 9\), got {got}"):
        op(graph, torch.tensor([[0, wrong], [0, 0]]))


def test_ids_are_trusted_otherwise(monkeypatch):
    monkeypatch.delenv("GRAPHLEARN_CHECK", raising=False)
    monkeypatch.delenv("GRAPHLEARN_OPS", raising=False)
    check_ids(3, torch.tensor([7]))

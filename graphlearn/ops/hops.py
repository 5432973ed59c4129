r"""Deep propagation with a gate at every hop, summed while it propagates.

.. math:: O = \sum_{k=0}^{K} r_k \odot H_k, \qquad r_k = \sigma(H_k s + c), \qquad
          H_0 = Z, \quad H_k = \hat A H_{k-1}

The score of a hop is linear in it, so it propagates too: kernels carry :math:`t_k = H_k s` as one
more channel, :math:`t_k = \hat A t_{k-1}`. With the gradient :math:`D` of the output,
:math:`a_k = (D \cdot H_k) \, r_k (1 - r_k)` at each node, and

.. math:: G_K = r_K D, \quad G_k = r_k D + \hat A^\top G_{k+1}, \qquad
          \alpha_K = a_K, \quad \alpha_k = a_k + \hat A^\top \alpha_{k+1},

the gradients of Z, s and c are :math:`G_0 + \alpha_0 s^\top`, :math:`Z^\top \alpha_0` and
:math:`\sum_k 1^\top a_k`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphlearn.ops.backend import Context, kernels
from graphlearn.ops.csr import CSR
from graphlearn.ops.spmm import propagate, propagate_reference

__all__ = ["gated_hops", "gated_hops_reference", "hop_gates"]


def gated_hops(
    graph: CSR,
    z: Float[Tensor, "node chan"],
    score: Float[Tensor, " chan"],
    bias: Float[Tensor, ""],
    hops: int,
    *,
    checkpoint: bool = False,
) -> Float[Tensor, "node chan"]:
    """Sum of all hops, each weighted by its gate at each node.

    Differentiable in `z`, `score`, `bias` and the weights of the graph, twice and more as well. A
    symmetric matrix serves as its own transpose in the backward pass.

    Args:
        graph: Square matrix, normalised; its `keep` and `weight` are honoured.
        z: What is propagated; half precision is reduced in float32.
        score: Direction that the gate looks at.
        bias: Offset of the gate.
        hops: How often the matrix is applied; 0 leaves the gate of `z` alone.
        checkpoint: Keep about the square root of the number of hops for the backward pass and
            compute the others again.

    Raises:
        ValueError: if the matrix is not square, `z` has not a row for each node, or `hops` is
            negative.
    """
    z = _checked(graph, z, hops)
    score, bias = score.to(z.dtype), bias.to(z.dtype)
    if kernels(z.device) is None or torch.compiler.is_compiling():
        return gated_hops_reference(partial(propagate, graph), z, score, bias, hops)
    value = graph.values()
    value = None if value is None else value.to(z.dtype)
    step = max(1, math.isqrt(hops)) if checkpoint else 1
    run: Any = _Hops.apply
    out: Tensor = run(z, score, bias, value, graph, hops, step)
    return out


def hop_gates(
    graph: CSR,
    z: Float[Tensor, "node chan"],
    score: Float[Tensor, " chan"],
    bias: Float[Tensor, ""],
    hops: int,
) -> Float[Tensor, "node hop"]:
    r"""The gates :math:`r_0, \dots, r_K` of each node, which do not sum to one.

    Args:
        graph: Square matrix, normalised.
        z: What is propagated.
        score: Direction that the gate looks at.
        bias: Offset of the gate.
        hops: How often the matrix is applied.

    Raises:
        ValueError: if the matrix is not square, `z` has not a row for each node, or `hops` is
            negative.
    """
    z = _checked(graph, z, hops)
    t = (z @ score.to(z.dtype)).unsqueeze(1)
    scores = [t]
    for _ in range(hops):
        t = propagate(graph, t)
        scores.append(t)
    return torch.sigmoid(torch.cat(scores, 1) + bias.to(z.dtype))


def gated_hops_reference(
    hop: Callable[[Tensor], Tensor], z: Tensor, score: Tensor, bias: Tensor, hops: int
) -> Tensor:
    """The specification, in torch; differentiable as often as `hop` is."""
    h, out = z, torch.zeros_like(z)
    for k in range(hops + 1):
        h = hop(h) if k else h
        out = out + torch.sigmoid(h @ score + bias).unsqueeze(1) * h
    return out


def _checked(graph: CSR, z: Tensor, hops: int) -> Tensor:
    if graph.num_rows != graph.num_cols:
        raise ValueError(
            f"graph must be square, got {graph.num_rows} rows and {graph.num_cols} columns"
        )
    if z.shape[0] != graph.num_cols:
        raise ValueError(f"z must have {graph.num_cols} rows, one per node, got {z.shape[0]}")
    if hops < 0:
        raise ValueError(f"hops must be at least 0, got {hops}")
    return z.float() if z.dtype in (torch.bfloat16, torch.float16) else z


class _Hops(torch.autograd.Function):
    """The kernels, which keep every hop or some of them, and all gates."""

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Tensor:  # noqa: ANN401
        z, score, bias, value, graph, hops, step = args
        fast = kernels(z.device)
        assert fast is not None
        needed = any(ctx.needs_input_grad)
        given = (graph.ptr, graph.col, value, z, score, bias, hops, step if needed else 0)
        out, levels, gates = fast.gated_hops(*given)
        if needed:
            ctx.graph, ctx.hops, ctx.step = graph, hops, step
            ctx.save_for_backward(z, score, bias, value, levels, gates)
        return out

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, score, bias, value, levels, gates = ctx.saved_tensors
        graph: CSR = ctx.graph
        if torch.is_grad_enabled():  # somebody wants second derivatives
            return (*_traceable(grad, graph, (z, score, bias, value), ctx.hops), None, None, None)
        fast = kernels(z.device)
        assert fast is not None
        matrix = (graph.ptr, graph.col, value, graph.symmetric)
        found: Sequence[Tensor | None] = fast.gated_hops_grad(
            grad, *matrix, z, score, levels, gates, ctx.step, ctx.needs_input_grad[3]
        )
        return (*found, None, None, None)


def _traceable(
    grad: Tensor, graph: CSR, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None], hops: int
) -> list[Tensor | None]:
    """Gradients that are differentiable themselves."""
    z, score, bias, value = inputs
    hop = partial(propagate_reference, graph.ptr, graph.col, value)
    out = gated_hops_reference(hop, z, score, bias, hops)
    wanted = [part for part in inputs if part is not None and part.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return [next(found) if part is not None and part.requires_grad else None for part in inputs]

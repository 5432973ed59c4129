"""GPU kernels of the ops, compiled by Triton at their first call."""

from graphlearn.ops.gpu.commit import commit
from graphlearn.ops.gpu.dropout import dropout, rectify
from graphlearn.ops.gpu.hops import gated_hops, gated_hops_grad
from graphlearn.ops.gpu.join import join, listing
from graphlearn.ops.gpu.locate import locate
from graphlearn.ops.gpu.overlap import (
    difference,
    overlap,
    overlap_count,
    overlap_spread,
    overlap_sum,
)
from graphlearn.ops.gpu.pairs import pair_product, pair_spread
from graphlearn.ops.gpu.refresh import refresh, refresh_grad
from graphlearn.ops.gpu.spmm import propagate, propagate_dot, propagate_max, propagate_spread

__all__ = [
    "commit",
    "difference",
    "dropout",
    "gated_hops",
    "gated_hops_grad",
    "join",
    "listing",
    "locate",
    "overlap",
    "overlap_count",
    "overlap_spread",
    "overlap_sum",
    "pair_product",
    "pair_spread",
    "propagate",
    "propagate_dot",
    "propagate_max",
    "propagate_spread",
    "rectify",
    "refresh",
    "refresh_grad",
]

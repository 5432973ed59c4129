"""CPU kernels of the ops, compiled by numba at their first call."""

from graphlearn.ops.cpu.absorb import absorb, absorb_grad
from graphlearn.ops.cpu.attend import attend, attend_grad, attention, attention_grad
from graphlearn.ops.cpu.best import best_spread, best_sum
from graphlearn.ops.cpu.commit import commit
from graphlearn.ops.cpu.compose import compose
from graphlearn.ops.cpu.dropout import dropout, rectify
from graphlearn.ops.cpu.ends import end_sums, row_totals
from graphlearn.ops.cpu.hops import gated_hops, gated_hops_grad
from graphlearn.ops.cpu.join import join, listing
from graphlearn.ops.cpu.locate import locate
from graphlearn.ops.cpu.means import mean_hops
from graphlearn.ops.cpu.norm import layer_norm_sums
from graphlearn.ops.cpu.overlap import (
    difference,
    overlap,
    overlap_count,
    overlap_spread,
    overlap_sum,
)
from graphlearn.ops.cpu.pairs import pair_product, pair_spread
from graphlearn.ops.cpu.pairscore import pair_scores, pair_scores_grad
from graphlearn.ops.cpu.refresh import refresh, refresh_grad, refresh_kept
from graphlearn.ops.cpu.small import small_product
from graphlearn.ops.cpu.spmm import propagate, propagate_dot, propagate_max, propagate_spread
from graphlearn.ops.cpu.transport import transport, transport_dot

__all__ = [
    "absorb",
    "absorb_grad",
    "attend",
    "attend_grad",
    "attention",
    "attention_grad",
    "best_spread",
    "best_sum",
    "commit",
    "compose",
    "difference",
    "dropout",
    "end_sums",
    "gated_hops",
    "gated_hops_grad",
    "join",
    "layer_norm_sums",
    "listing",
    "locate",
    "mean_hops",
    "overlap",
    "overlap_count",
    "overlap_spread",
    "overlap_sum",
    "pair_product",
    "pair_scores",
    "pair_scores_grad",
    "pair_spread",
    "propagate",
    "propagate_dot",
    "propagate_max",
    "propagate_spread",
    "rectify",
    "refresh",
    "refresh_grad",
    "refresh_kept",
    "row_totals",
    "small_product",
    "transport",
    "transport_dot",
]

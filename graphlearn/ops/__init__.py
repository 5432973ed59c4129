"""Pure functions on neighbour lists: a readable reference, a CPU and a GPU kernel each."""

from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import dropout
from graphlearn.ops.hops import gated_hops, hop_gates
from graphlearn.ops.overlap import contains, difference, overlap, overlap_count, overlap_sum
from graphlearn.ops.pairs import pair_product
from graphlearn.ops.similar import cosine, jaccard, nearest_rows
from graphlearn.ops.spmm import propagate
from graphlearn.ops.transport import transport

__all__ = [
    "CSR",
    "contains",
    "cosine",
    "difference",
    "dropout",
    "gated_hops",
    "hop_gates",
    "jaccard",
    "nearest_rows",
    "overlap",
    "overlap_count",
    "overlap_sum",
    "pair_product",
    "propagate",
    "transport",
]

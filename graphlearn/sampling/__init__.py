"""What is drawn from a graph: batches, pairs without an edge, candidates for new links."""

from graphlearn.sampling.batches import fold, index_batches
from graphlearn.sampling.candidates import all_pairs, two_hop_pairs
from graphlearn.sampling.negatives import corrupt, uniform

__all__ = ["all_pairs", "corrupt", "fold", "index_batches", "two_hop_pairs", "uniform"]

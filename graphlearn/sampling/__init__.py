"""What is drawn from a graph or stream: batches, negatives, candidates for new links."""

from graphlearn.sampling.batches import fold, index_batches
from graphlearn.sampling.candidates import all_pairs, two_hop_pairs
from graphlearn.sampling.events import (
    OneVsMany,
    PastPairs,
    destinations,
    random_destinations,
)
from graphlearn.sampling.negatives import corrupt, uniform
from graphlearn.sampling.neighbors import NeighborSampler, Sampled

__all__ = [
    "NeighborSampler",
    "OneVsMany",
    "PastPairs",
    "Sampled",
    "all_pairs",
    "corrupt",
    "destinations",
    "fold",
    "index_batches",
    "random_destinations",
    "two_hop_pairs",
    "uniform",
]

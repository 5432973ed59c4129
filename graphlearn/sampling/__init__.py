"""What is drawn from a graph or stream: batches, negatives, candidates for new links."""

from typing import TYPE_CHECKING

from graphlearn.extras import lazy
from graphlearn.sampling.batches import fold, index_batches
from graphlearn.sampling.candidates import all_pairs, two_hop_pairs
from graphlearn.sampling.events import (
    OneVsMany,
    PastPairs,
    destinations,
    random_destinations,
)
from graphlearn.sampling.hetero import HeteroSampled, HeteroSampler
from graphlearn.sampling.negatives import absent, corrupt, uniform
from graphlearn.sampling.neighbors import NeighborSampler, Sampled

if TYPE_CHECKING:
    from graphlearn.sampling.interactions import InteractionSampler, seen_mask

__all__ = [
    "HeteroSampled",
    "HeteroSampler",
    "InteractionSampler",
    "NeighborSampler",
    "OneVsMany",
    "PastPairs",
    "Sampled",
    "absent",
    "all_pairs",
    "corrupt",
    "destinations",
    "fold",
    "index_batches",
    "random_destinations",
    "seen_mask",
    "two_hop_pairs",
    "uniform",
]

__getattr__, _ = lazy(
    __name__,
    {
        "InteractionSampler": "graphlearn.sampling.interactions:InteractionSampler",
        "seen_mask": "graphlearn.sampling.interactions:seen_mask",
    },
)

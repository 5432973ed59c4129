"""Learning problems: a model on a data set, with its batches, loss, scores and metrics."""

from typing import TYPE_CHECKING

from graphlearn.extras import lazy

if TYPE_CHECKING:
    from graphlearn.tasks.events import EventPrediction as EventPrediction
    from graphlearn.tasks.hetero import HeteroClassification as HeteroClassification
    from graphlearn.tasks.link import LinkPrediction as LinkPrediction
    from graphlearn.tasks.node import NodeClassification as NodeClassification
    from graphlearn.tasks.recommend import Recommendation as Recommendation
    from graphlearn.tasks.robust import RobustClassification as RobustClassification
    from graphlearn.tasks.robust import tune as tune

__all__ = [
    "EventPrediction",
    "HeteroClassification",
    "LinkPrediction",
    "NodeClassification",
    "Recommendation",
    "RobustClassification",
    "tune",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "EventPrediction": "graphlearn.tasks.events:EventPrediction",
        "HeteroClassification": "graphlearn.tasks.hetero:HeteroClassification",
        "LinkPrediction": "graphlearn.tasks.link:LinkPrediction",
        "NodeClassification": "graphlearn.tasks.node:NodeClassification",
        "Recommendation": "graphlearn.tasks.recommend:Recommendation",
        "RobustClassification": "graphlearn.tasks.robust:RobustClassification",
        "tune": "graphlearn.tasks.robust:tune",
    },
)

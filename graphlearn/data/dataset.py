"""What a data set is to the package: a PyG object, its splits, its metric and its facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from graphlearn.train.task import Split

__all__ = ["Dataset", "EventSplit", "Kind", "LinkSplit"]

Kind = Literal[
    "node", "hetero", "link", "graph", "events", "interactions", "segmentation", "detection"
]


@dataclass(frozen=True)
class LinkSplit:
    """The labelled pairs of one split of a link-prediction data set.

    Args:
        pos: True pairs (2, P), every undirected edge once.
        neg: False pairs: one shared pool (2, M), or K candidates for each true pair (2, P, K),
            or None where negatives are drawn in training.
        attributes: Further tensors whose first axis runs over the true pairs (year, weight,
            relation, head_neg, tail_neg, ...).
    """

    pos: Tensor
    neg: Tensor | None = None
    attributes: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class EventSplit:
    """The events of one split of a stream, as row numbers in order of time.

    Args:
        history: Events that a model has taken in when the pass begins.
        events: Events that the pass visits; after each batch the model takes it in.
        scored: Which of `events` are scored; None is all of them.
        groups: Which of `events` belong to subsets that are reported apart (`new`: at least one
            node is unknown from training).
    """

    history: Tensor
    events: Tensor
    scored: Tensor | None = None
    groups: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data set that any task of its kind can use.

    Args:
        name: As it is written in recipes and run folders.
        kind: Which kind of task it is for.
        metric: The metric that its community reports, higher is better (`"hits@50"`).
        data: The PyG object. For links, `data.edge_index` holds the training edges only, both
            directions, and `data.x` the node features: float (N, F), ids (N,), or absent. For
            nodes, `data.edge_index` holds all edges in both directions, `data.y` the classes with
            -1 for an unlabelled node, and `data.x` float (N, F), a sparse CSR tensor (N, F), or
            ids (N,) that stand for one-hot rows; beside them `train_mask`, `val_mask` and
            `test_mask`, and where the graph was attacked `clean_edge_index` and `target_nodes`.
            For events, a `TemporalData` in order of time. For interactions, a `HeteroData` whose
            edges `("user", "rates", "item")` are those of training. For hetero, a `HeteroData`
            with `num_nodes` and perhaps `x`, float (N, F), dense or sparse CSR, of each node type,
            `y` and the three masks of the target type, and `edge_index` of each edge type (source,
            relation, destination), each pair once, sorted by destination, then source.
        splits: What each split holds; `LinkSplit` for links, sorted node ids for nodes, of the
            target type for hetero, `EventSplit` for events, users and items (2, E) for
            interactions: each pair once, in no other split, sorted by user, then item.
        facts: Sizes that models are built from: `num_nodes`, `in_channels` (0 where nodes carry
            ids), `num_ids` (0 where nodes carry features), ...; for nodes `in_channels` (the number
            of ids where they carry ids) and `out_channels` (the number of classes); for events
            `num_events`, `edge_dim`, `node_dim`, and of the training events `time_span` and the
            mean `time_gap`; for interactions `num_users`, `num_items`, and `num_nodes`, their sum;
            for hetero `metadata` (node types, edge types), `target` (the type that has classes),
            by type `in_channels` (0 where it has no features) and `num_nodes_dict`, and of the
            target `num_nodes` and `out_channels`.
        names: Name of each node where the source has them; of interactions those of all users,
            then those of all items; for hetero those of the target type.
        classes: Name of each class where the source has them.
        titles: What the items of interactions are called where the source says so.
    """

    name: str
    kind: Kind
    metric: str
    data: Any
    splits: Mapping[Split, Any]
    facts: Mapping[str, Any]
    names: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    titles: Sequence[str] | None = None

"""Classification of the nodes of one type in a heterogeneous graph."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphlearn.data.dataset import Dataset, Kind
from graphlearn.data.inductive import check_visible, visible
from graphlearn.ops.csr import CSR
from graphlearn.ops.paths import EdgeType, RelationWeight
from graphlearn.sampling.batches import fold
from graphlearn.sampling.hetero import HeteroSampler
from graphlearn.tasks.classify import Classification, NodeBatch
from graphlearn.tasks.features import formed, row_normalized, taken
from graphlearn.train.task import Schedule, Split

__all__ = ["HeteroClassification", "HeteroModel", "Typed"]

_DENSE = 0.5  # share of features other than zero from which dense ones are faster
_PAIRS = 3  # purpose tag of the random numbers of pairs without a link

Typed = Mapping[str, Tensor | CSR]


@runtime_checkable
class HeteroModel(Protocol):
    """What the classification of a heterogeneous graph needs of a model.

    A type without features is given the ids of its nodes. A model may have `learn(x, graph, seed)`
    and a weight `proximity` of the loss of its own that it returns beside the logits, and
    `relation_weights(x, graph)`.
    """

    def prepare(self, x: Typed, graph: Mapping[EdgeType, CSR]) -> Any:  # noqa: ANN401
        """What `forward` needs of the graph, whose rows receive from its columns."""

    def forward(self, x: Typed, graph: Any) -> Float[Tensor, "node class"]:  # noqa: ANN401
        """Logit of each class for each node of the target type."""


class _Settled(NamedTuple):
    """What a pass sees, on the device; `prepared` is what the model has made of it."""

    x: Typed
    graph: Mapping[EdgeType, CSR]
    prepared: Any


class HeteroClassification(Classification):
    r"""A heterogeneous model on a data set with cross-entropy.

    .. math:: L = - \frac{1}{|T|} \sum_{i \in T} \log \mathrm{softmax}(z_i)_{y_i}

    The model sees all nodes and edges, and the labels of the training nodes :math:`T` alone; with
    `inductive`, nodes of validation and test are hidden in training, those of the test in
    validation. With `neighbors` a step takes a batch of training nodes and what a sample of their
    neighbours spans; evaluation always takes the whole graph.

    Args:
        model: A `HeteroModel`.
        dataset: A data set of kind "hetero".
        row_normalize: Divide the features of each node by their sum.
        neighbors: Neighbours drawn for each node in each relation, one number per hop, -1 is all;
            empty is the whole graph in every step.
        batch_size: Training nodes of a step, over all processes, where neighbours are drawn.
        inductive: Hide target nodes of later splits, with all their edges.
        recompute_neighbor_features: In the inductive protocol, make features that were made from
            those of target nodes again, from what may be seen; and check that nothing of a hidden
            node is.
        decay_all: Put the L2 penalty on biases, scales and learnt node vectors as well.
        monitor: Metric that selects the best epoch; empty: the metric of the data set.
        schedule: How the model is optimised.

    Raises:
        ValueError: if the data set is of another kind, or `batch_size` is below 1.
    """

    kind: ClassVar[Kind] = "hetero"

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        row_normalize: bool = False,
        neighbors: tuple[int, ...] = (),
        batch_size: int = 1024,
        inductive: bool = False,
        recompute_neighbor_features: bool = True,
        decay_all: bool = False,
        monitor: str = "",
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(
            model, dataset, neighbors=neighbors, batch_size=batch_size, monitor=monitor,
            schedule=schedule,
        )  # fmt: skip
        self.row_normalize, self.inductive, self.decay_all = row_normalize, inductive, decay_all
        self.recompute_neighbor_features = recompute_neighbor_features
        self.target = str(dataset.facts["target"])
        self._split: Split = "test"
        self._place: torch.device | None = None
        self._settled: dict[Split, _Settled] = {}
        self._y: Tensor | None = None
        self._sampler: HeteroSampler | None = None
        self._extra: Tensor | None = None

    @property
    def hetero_model(self) -> HeteroModel:
        """The model under its contract."""
        return cast(HeteroModel, self.model)

    def y(self) -> Tensor:
        """Label of each target node, -1 where there is none."""
        if self._y is None or self._y.device != self.device:
            self._y = self.dataset.data[self.target].y.to(self.device)
        return self._y

    def seen(self) -> _Settled:
        """Features and graph of the pass that runs; made once for each split."""
        if self._place != self.device:
            self._place, self._settled, self._sampler = self.device, {}, None
        if self._split not in self._settled:
            view = visible(
                self.dataset, self._split if self.inductive else "test",
                recompute_neighbor_features=self.recompute_neighbor_features,
            )  # fmt: skip
            if self.inductive and self.recompute_neighbor_features:
                check_visible(self.dataset, view)
            sizes: Mapping[str, int] = self.dataset.facts["num_nodes_dict"]
            x = {
                kind: self._features(view.x[kind] if kind in view.x else torch.arange(size))
                for kind, size in sizes.items()
            }
            graph = {
                (source, name, end): CSR.from_edge_index(
                    edges.flip(0), sizes[end], num_cols=sizes[source]
                ).to(self.device)
                for (source, name, end), edges in view.edge_index.items()
            }
            # Whatever the precision of the step that comes first: evaluation uses it as well.
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                prepared = self.hetero_model.prepare(x, graph)
            self._settled[self._split] = _Settled(x, graph, prepared)
        return self._settled[self._split]

    def _features(self, x: Tensor | CSR) -> Tensor | CSR:
        found = formed(x, self.device, sparse=_DENSE)
        ids = isinstance(found, Tensor) and not found.is_floating_point()
        return row_normalized(found) if self.row_normalize and not ids else found

    def start(self, split: Split) -> None:
        """Put on the device what a pass sees; outside training, classify every node once.

        Args:
            split: What the pass that begins is for.
        """
        self._split = split if self.inductive else "test"
        super().start(split)

    @torch.no_grad()
    def logits(self) -> Float[Tensor, "node class"]:
        """Logits of every target node from the whole graph that may be seen."""
        seen = self.seen()
        out: Tensor = self.model(seen.x, seen.prepared)
        return out.float()

    def forward(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Loss of this shard's part of a batch; a loss of the model's own is added to it.

        Args:
            batch: What `batches("train")` yields.
        """
        found = super().forward(batch)
        if self._extra is not None:
            found = {"loss": found["loss"] + self._extra, "proximity": self._extra.detach()}
            self._extra = None
        return found

    def outputs(self, nodes: Int[Tensor, " hit"]) -> Float[Tensor, "hit class"]:
        """Logits of some nodes in training.

        Args:
            nodes: Node ids.
        """
        seen = self.seen()
        x, graph = seen.x, seen.prepared
        if self.neighbors:
            if self._sampler is None:
                self._sampler = HeteroSampler(seen.graph, self.neighbors)
            part = self._sampler.sample(nodes.cpu(), self.target, seed=self.draws())
            x = {kind: taken(x[kind], ids.to(self.device)) for kind, ids in part.nodes.items()}
            entries = {kind: one.to(self.device) for kind, one in part.graph.items()}
            graph = self.hetero_model.prepare(x, entries)
        if getattr(self.model, "proximity", 0) > 0:
            seed = fold(self.seed, self.stage, self.epoch, _PAIRS)
            z, self._extra = self.model.learn(x, graph, seed=seed)  # type: ignore[operator]
        else:
            z = self.model(x, graph)
        chosen: Tensor = z[: len(nodes)] if self.neighbors else z[nodes]
        return chosen

    def classify(self, nodes: Int[Tensor, " node"]) -> Float[Tensor, "node class"]:
        """Probability of each class for some target nodes, from all there is.

        Args:
            nodes: Node ids.
        """
        self._split = "test"
        return super().classify(nodes)

    @torch.no_grad()
    def relation_weights(self) -> list[RelationWeight] | None:
        """How much each type listens to each meta relation in each layer, from all there is.

        Returns:
            None for models that do not say.
        """
        if not hasattr(self.model, "relation_weights"):
            return None
        self.eval()
        self._split = "test"
        seen = self.seen()
        found: list[RelationWeight] = self.model.relation_weights(seen.x, seen.prepared)  # type: ignore[operator]
        return found

    def param_groups(self) -> list[dict[str, Any]]:
        """What the optimizer is given; biases, scales and learnt node vectors have no penalty.

        Raises:
            ValueError: if `lr_of` or `decay_of` names a part that has no parameter.
        """
        groups = super().param_groups()
        if self.decay_all:
            return groups
        tables = {id(part.weight) for part in self.modules() if isinstance(part, nn.Embedding)}
        found = []
        for group in groups:
            free = [p for p in group["params"] if p.dim() < 2 or id(p) in tables]
            rest = [p for p in group["params"] if p.dim() >= 2 and id(p) not in tables]
            found += [group | {"params": rest}] if rest else []
            found += [group | {"params": free, "weight_decay": 0.0}] if free else []
        return found

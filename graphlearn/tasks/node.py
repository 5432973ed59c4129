"""Node classification: which class a node belongs to."""

from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphlearn.data.dataset import Dataset, Kind
from graphlearn.ops.csr import CSR
from graphlearn.sampling.neighbors import NeighborSampler
from graphlearn.tasks.classify import Classification
from graphlearn.tasks.features import features, row_normalized, taken
from graphlearn.train.task import Schedule

__all__ = ["NodeClassification", "NodeModel"]

_DENSE = 0.5  # share of features other than zero from which dense ones are faster


@runtime_checkable
class NodeModel(Protocol):
    """What node classification needs of a model."""

    def prepare(self, x: Tensor | CSR, graph: CSR) -> Any:  # noqa: ANN401
        """What `forward` needs of the graph; the same in every step."""

    def forward(self, x: Tensor | CSR, graph: Any) -> Float[Tensor, "node class"]:  # noqa: ANN401
        """Logit of each class for each node, from what `prepare` returned."""


class NodeClassification(Classification):
    r"""A node model on a data set with cross-entropy.

    .. math:: L = - \frac{1}{|T|} \sum_{i \in T} \log \mathrm{softmax}(z_i)_{y_i}

    The model sees all nodes and edges, and the labels of the training nodes :math:`T` alone. With
    `neighbors` a step takes a batch of training nodes and what a sample of their neighbours spans;
    evaluation always takes the whole graph.

    Args:
        model: A `NodeModel`.
        dataset: A data set of kind "node".
        row_normalize: Divide the features of each node by their sum.
        neighbors: Neighbours drawn for each node, one number per hop, -1 is all; empty is the
            whole graph in every step.
        batch_size: Training nodes of a step, over all processes, where neighbours are drawn.
        monitor: Metric that selects the best epoch; empty: the metric of the data set.
        schedule: How the model is optimised.

    Raises:
        ValueError: if the data set is of another kind, or `batch_size` is below 1.
    """

    kind: ClassVar[Kind] = "node"

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        row_normalize: bool = False,
        neighbors: tuple[int, ...] = (),
        batch_size: int = 1024,
        monitor: str = "",
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(
            model, dataset, neighbors=neighbors, batch_size=batch_size, monitor=monitor,
            schedule=schedule,
        )  # fmt: skip
        self.row_normalize = row_normalize
        self._place: torch.device | None = None
        self._x: Tensor | CSR | None = None
        self._y: Tensor | None = None
        self._prepared: Any = None
        self._sampler: NeighborSampler | None = None

    @property
    def node_model(self) -> NodeModel:
        """The model under its contract."""
        return cast(NodeModel, self.model)

    def x(self) -> Tensor | CSR:
        """Features as the model is given them."""
        self._settle()
        assert self._x is not None
        return self._x

    def y(self) -> Tensor:
        """Label of each node, -1 where there is none."""
        self._settle()
        assert self._y is not None
        return self._y

    def graph(self) -> CSR:
        """Neighbour lists of all nodes, without a normalisation."""
        edges, nodes = self.dataset.data.edge_index, int(self.dataset.facts["num_nodes"])
        weight = getattr(self.dataset.data, "edge_weight", None)
        if weight is None:
            return CSR.from_edge_index(edges, nodes, undirected=True).to(self.device)
        return CSR.from_edge_index(edges, nodes, weight=weight.float()).to(self.device)

    def prepared(self) -> Any:  # noqa: ANN401
        """What the model has made of the graph, computed once."""
        self._settle()
        if self._prepared is None:
            # Whatever the precision of the step that comes first: evaluation uses it as well.
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                self._prepared = self.node_model.prepare(self.x(), self.graph())
        return self._prepared

    def _settle(self) -> None:
        """Put on the device what all passes share, once."""
        if self._place != self.device:
            self._place, self._prepared, self._sampler = self.device, None, None
            self._y = self.dataset.data.y.to(self.device)
            x = features(self.dataset, self.device, sparse=_DENSE, ids="rows")
            self._x = row_normalized(x) if self.row_normalize else x

    @torch.no_grad()
    def logits(self) -> Float[Tensor, "node class"]:
        """Logits of every node from the whole graph."""
        out: Tensor = self.model(self.x(), self.prepared())
        return out.float()

    def outputs(self, nodes: Int[Tensor, " hit"]) -> Float[Tensor, "hit class"]:
        """Logits of some nodes in training.

        Args:
            nodes: Node ids.
        """
        if not self.neighbors:
            z: Tensor = self.model(self.x(), self.prepared())
            return z[nodes]
        if self._sampler is None:
            self._sampler = NeighborSampler(self.graph().to("cpu"), self.neighbors)
        part = self._sampler.sample(nodes.cpu(), seed=self.draws())
        x = taken(self.x(), part.nodes.to(self.device))
        graph = self.node_model.prepare(x, part.graph.to(self.device))
        z = self.model(x, graph)
        return z[: len(nodes)]

    @torch.no_grad()
    def gates(self) -> Float[Tensor, "node hop"] | None:
        """How far each node listens to each distance, where the model says so.

        Returns:
            Weight in [0, 1] of each hop, its own features first; None for other models.
        """
        if not hasattr(self.model, "gates"):
            return None
        self.eval()
        found: Tensor = self.model.gates(self.x(), self.prepared())  # type: ignore[operator]
        return found.float().cpu()

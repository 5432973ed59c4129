"""Classification of nodes, whatever the graph: batches, loss, scores and metrics."""

from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from graphlearn.data.dataset import Dataset, Kind
from graphlearn.metrics import macro_f1
from graphlearn.ops.total import total
from graphlearn.sampling.batches import fold, index_batches
from graphlearn.train.task import Schedule, Split, Task

__all__ = ["DRAWS", "Classification", "NodeBatch"]

DRAWS = 2
"""Purpose tag of the random numbers of sampled neighbours."""


class NodeBatch(NamedTuple):
    """Nodes of one step: this shard's part of a batch, and the size of the whole batch."""

    nodes: Tensor
    size: int


class Classification(Task):
    r"""What the classification of nodes is, with cross-entropy.

    .. math:: L = - \frac{1}{|T|} \sum_{i \in T} \log \mathrm{softmax}(z_i)_{y_i}

    Who extends it says where labels and logits come from: `y`, `logits` and `outputs`.

    Args:
        model: Model of the nodes.
        dataset: A data set of the kind of the task.
        neighbors: Neighbours drawn for each node, one number per hop, -1 is all; empty is the
            whole graph in every step.
        batch_size: Training nodes of a step, over all processes, where neighbours are drawn.
        monitor: Metric that selects the best epoch; empty: the metric of the data set.
        schedule: How the model is optimised.

    Raises:
        ValueError: if the data set is of another kind, or `batch_size` is below 1.
    """

    kind: ClassVar[Kind]
    """What data sets it is for."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        neighbors: tuple[int, ...] = (),
        batch_size: int = 1024,
        monitor: str = "",
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(model, schedule=schedule)
        if dataset.kind != self.kind:
            raise ValueError(
                f"{dataset.name} is a data set of kind {dataset.kind!r}, not {self.kind!r}; "
                f"a graph needs labels for that, or kind={self.kind!r} if it has them"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.dataset, self.monitor = dataset, monitor or dataset.metric
        self.neighbors, self.batch_size = neighbors, batch_size
        self._logits: Tensor | None = None

    def y(self) -> Tensor:
        """Label of each node, -1 where there is none."""
        raise NotImplementedError

    def logits(self) -> Float[Tensor, "node class"]:
        """Logits of every node from the whole graph."""
        raise NotImplementedError

    def outputs(self, nodes: Int[Tensor, " hit"]) -> Float[Tensor, "hit class"]:
        """Logits of some nodes in training.

        Args:
            nodes: Node ids.
        """
        raise NotImplementedError

    def draws(self) -> int:
        """Seed of the neighbours that are drawn in this epoch."""
        return fold(self.seed, self.stage, self.epoch, DRAWS)

    def start(self, split: Split) -> None:
        """Put graph and features on the device; outside training, classify every node once.

        Args:
            split: What the pass that begins is for.
        """
        self._logits = None
        if split != "train":
            self._logits = self.logits()

    def batches(self, split: Split) -> Iterable[NodeBatch]:
        """Nodes that belong to this shard: all at once, or in blocks where neighbours are drawn.

        Args:
            split: What the pass is for.
        """
        ids: Tensor = self.dataset.splits[split]
        rank, world = self.shard
        if split != "train" or not self.neighbors:
            return [NodeBatch(ids[rank::world].to(self.device), len(ids))]
        return self._blocks(ids)

    def _blocks(self, ids: Tensor) -> Iterator[NodeBatch]:
        rank, world = self.shard
        seed = fold(self.seed, self.stage, self.epoch)
        for index in index_batches(len(ids), self.batch_size, seed=seed):
            yield NodeBatch(ids[index][rank::world].to(self.device), len(index))

    def forward(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Loss of this shard's part of a batch, weighted so that processes average to the whole.

        Args:
            batch: What `batches("train")` yields.
        """
        z, y = self.outputs(batch.nodes), self.y()[batch.nodes]
        loss = total(F.cross_entropy(z.float(), y, reduction="none"))
        return {"loss": loss * (self.shard.world / batch.size)}

    def score(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Loss, label and predicted class of each node.

        Args:
            batch: What `batches` yields outside training.
        """
        assert self._logits is not None
        z, label = self._logits[batch.nodes], self.y()[batch.nodes]
        loss = F.cross_entropy(z, label, reduction="none")
        return {"loss": loss, "label": label, "guess": z.argmax(1)}

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        """Accuracy, macro F1 (both higher is better) and mean loss of a pass.

        Args:
            split: What the pass was for.
            rows: All rows of `score`.
        """
        label, guess = rows["label"], rows["guess"]
        return {
            "accuracy": int((label == guess).sum()) / len(label),
            "f1": macro_f1(label, guess, int(self.dataset.facts["out_channels"])),
            "loss": float(total(rows["loss"])) / len(label),
        }

    @torch.no_grad()
    def classify(self, nodes: Int[Tensor, " node"]) -> Float[Tensor, "node class"]:
        """Probability of each class for some nodes.

        Args:
            nodes: Node ids.
        """
        self.eval()
        return self.logits().softmax(1)[nodes.to(self.device)].cpu()

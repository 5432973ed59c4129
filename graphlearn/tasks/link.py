"""Link prediction: which pairs of nodes ought to be joined."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from graphlearn.data.dataset import Dataset, LinkSplit
from graphlearn.metrics import metric
from graphlearn.ops.csr import CSR
from graphlearn.ops.total import total
from graphlearn.sampling.batches import fold, index_batches
from graphlearn.sampling.candidates import all_pairs, two_hop_pairs
from graphlearn.sampling.negatives import corrupt, uniform
from graphlearn.tasks.features import features
from graphlearn.train.task import Schedule, Split, Task

__all__ = ["LinkBatch", "LinkModel", "LinkPrediction"]

_STREAM = 1 << 20  # false pairs above which only the largest scores are kept
_CUTS = (10, 20, 50, 100)
_NEGATIVES = 1  # purpose tag of the random numbers of negatives


@runtime_checkable
class LinkModel(Protocol):
    """What link prediction needs of a model."""

    def encode(self, x: Tensor | CSR, graph: CSR) -> tuple[Tensor, ...]:
        """What `score` needs of every node; the same for all pairs."""

    def score(
        self, nodes: tuple[Tensor, ...], graph: CSR, pairs: Int[Tensor, "2 pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of each pair, higher is likelier."""


class LinkBatch(NamedTuple):
    """Training pairs of one step: this shard's part of a batch, and the whole batch's targets."""

    pos: Tensor
    neg: Tensor
    targets: Tensor
    sizes: tuple[int, int]


class LinkPrediction(Task):
    r"""A link model on a data set with logistic loss and ranking metrics.

    .. math:: L = \mathrm{mean}_{pos}(-\log \sigma(z)) + \mathrm{mean}_{neg}(-\log \sigma(-z))

    The graph is built from the true training pairs alone. In training, the pairs of a batch are
    taken out of it before nodes are encoded and neighbours intersected, so that no target sees
    itself; validation and test pairs never enter it, unless `use_valid_edges` adds the validation
    pairs for the test pass.

    Args:
        model: A `LinkModel`.
        dataset: A data set of kind "link".
        batch_size: True pairs of a step, over all processes.
        eval_batch_size: Pairs scored at once in evaluation.
        negatives: False pairs drawn for each true pair, anew in every epoch.
        remove_targets: Take the true pairs of a batch out of the graph.
        removal: Remove all copies of a pair, or one record of it as the published code does.
        use_valid_edges: Add the validation pairs to the graph of the test pass.
        drop_last: Leave out the last incomplete batch, as the published code does.
        sources: Keep the source of a true pair in its false pairs (ogbl-citation2); the target is
            then any node, a true one included.
        monitor: Metric that selects the best epoch; empty: the metric of the data set.
        schedule: How the model is optimised.

    Raises:
        ValueError: if the data set is of another kind or has too few pairs for one batch.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        batch_size: int = 1024,
        eval_batch_size: int = 8192,
        negatives: int = 1,
        remove_targets: bool = True,
        removal: Literal["pairs", "records"] = "pairs",
        use_valid_edges: bool = False,
        drop_last: bool = False,
        sources: bool = False,
        monitor: str = "",
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(model, schedule=schedule)
        if dataset.kind != "link":
            raise ValueError(f"{dataset.name} is a data set of kind {dataset.kind!r}, not 'link'")
        pairs = dataset.splits["train"].pos.shape[1]
        if drop_last and pairs < batch_size:
            raise ValueError(
                f"batch_size must be at most {pairs}, the training pairs of {dataset.name}, "
                f"when the incomplete batch is dropped, got {batch_size}"
            )
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.dataset, self.monitor = dataset, monitor or dataset.metric
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.negatives, self.sources, self.drop_last = negatives, sources, drop_last
        self.remove_targets, self.records = remove_targets, removal == "records"
        self.use_valid_edges = use_valid_edges
        self._x: Tensor | CSR | None = None
        self._place: torch.device | None = None
        self._graphs: dict[bool, CSR] = {}
        self._nodes: tuple[Tensor, ...] = ()
        self._graph: CSR | None = None

    @property
    def link_model(self) -> LinkModel:
        """The model under its contract."""
        return cast(LinkModel, self.model)

    def graph(self, *, with_valid: bool = False) -> CSR:
        """Neighbour lists of the true training pairs, optionally with the validation pairs.

        Args:
            with_valid: Add the validation pairs.
        """
        if with_valid not in self._graphs:
            pairs = [self.dataset.splits["train"].pos]
            pairs += [self.dataset.splits["valid"].pos] if with_valid else []
            edges = torch.cat(pairs, dim=1).long()
            count = torch.ones(edges.shape[1]) if self.records and not with_valid else None
            nodes = int(self.dataset.facts["num_nodes"])
            built = CSR.from_edge_index(edges, nodes, weight=count, undirected=True)
            self._graphs[with_valid] = built.to(self.device)
        return self._graphs[with_valid]

    def start(self, split: Split) -> None:
        """Put graph and features on the device; outside training, encode every node once.

        Args:
            split: What the pass that begins is for.
        """
        if self._place != self.device:
            self._graphs, self._place = {}, self.device
            self._x = features(self.dataset, self.device)
        if split == "train":
            self._graph, self._nodes = self.graph(), ()
            begin = getattr(self.model, "start_epoch", None)
            if begin is not None:
                begin(self.epoch)
            return
        self._graph = _unweighted(self.graph(with_valid=self.use_valid_edges and split == "test"))
        self._nodes = self._encode(self._graph)

    @torch.no_grad()
    def _encode(self, graph: CSR) -> tuple[Tensor, ...]:
        assert self._x is not None
        return self.link_model.encode(self._x, graph)

    def batches(self, split: Split) -> Iterable[Any]:
        """Blocks of pairs that belong to this shard.

        Args:
            split: What the pass is for.
        """
        if split == "train":
            return self._training_batches()
        return self._evaluation_batches(self.dataset.splits[split])

    def _training_batches(self) -> Iterator[LinkBatch]:
        pos = self.dataset.splits["train"].pos
        seed = fold(self.seed, self.stage, self.epoch)
        neg = self._draw(pos, fold(seed, _NEGATIVES))
        rank, world = self.shard
        for index in index_batches(
            pos.shape[1], self.batch_size, seed=seed, drop_last=self.drop_last
        ):
            targets = pos[:, index].long().to(self.device)
            false = neg[:, index].flatten(1).long().to(self.device)
            yield LinkBatch(
                targets[:, rank::world],
                false[:, rank::world],
                targets,
                (targets.shape[1], false.shape[1]),
            )

    def _draw(self, pos: Tensor, seed: int) -> Tensor:
        """False pairs (2, P, negatives) of an epoch."""
        count = pos.shape[1]
        if self.sources:
            nodes = int(self.dataset.facts["num_nodes"])
            return corrupt(pos.long(), nodes, self.negatives, seed=seed).view(2, count, -1)
        given = self.dataset.splits["train"].neg
        if given is not None:
            index = next(iter(index_batches(given.shape[1], given.shape[1], seed=seed)))
            need = count * self.negatives
            index = index.repeat(-(-need // max(len(index), 1)))[:need]
            drawn: Tensor = given[:, index].view(2, count, -1)
            return drawn
        graph = self.graph().to("cpu")
        return uniform(graph, count * self.negatives, seed=seed).view(2, count, -1)

    def _evaluation_batches(self, split: LinkSplit) -> Iterator[tuple[Tensor, bool]]:
        """Pairs and whether they are true; with candidates, (2, pair, 1 + K) and True."""
        rank, world = self.shard
        pos, neg = split.pos, split.neg
        if neg is not None and neg.ndim == 3:
            together = max(1, self.eval_batch_size // (1 + neg.shape[2]))
            for first in range(rank * together, pos.shape[1], world * together):
                part = slice(first, first + together)
                block = torch.cat([pos[:, part, None].long(), neg[:, part].long()], dim=2)
                yield block.to(self.device), True
            return
        for pairs, true in ((pos, True), (neg, False)):
            if pairs is None:
                continue
            step = self.eval_batch_size
            for first in range(rank * step, pairs.shape[1], world * step):
                yield pairs[:, first : first + step].long().to(self.device), true

    def forward(self, batch: LinkBatch) -> dict[str, Tensor]:
        """Loss of this shard's part of a batch, weighted so that processes average to the whole.

        Args:
            batch: What `batches("train")` yields.
        """
        graph = self._graph
        assert graph is not None and self._x is not None
        if self.remove_targets:
            graph = graph.without(batch.targets, records=self.records)
        graph = _unweighted(graph)
        nodes = self.link_model.encode(self._x, graph)
        z = self.link_model.score(nodes, graph, torch.cat([batch.pos, batch.neg], dim=1))
        pos, neg = torch.split(z, [batch.pos.shape[1], batch.neg.shape[1]])
        world = self.shard.world
        true = total(F.softplus(-pos)) * (world / batch.sizes[0])
        false = total(F.softplus(neg)) * (world / batch.sizes[1])
        return {"loss": true + false}

    @torch.no_grad()
    def score(self, batch: tuple[Tensor, bool]) -> dict[str, Tensor]:
        """Scores of one block: `pos` and `neg` rows, either of which may be empty.

        Args:
            batch: What `batches` yields outside training.
        """
        pairs, true = batch
        assert self._graph is not None
        z = self.link_model.score(self._nodes, self._graph, pairs.flatten(1))
        if pairs.ndim == 3:
            z = z.view(pairs.shape[1:])
            return {"pos": z[:, 0], "neg": z[:, 1:]}
        if true:
            return {"pos": z, "neg": z[:0]}
        return {"pos": z[:0], "neg": z.topk(min(len(z), max(_CUTS))).values if self._streams else z}

    @property
    def _streams(self) -> bool:
        """Whether the pool of false pairs is too large to keep all its scores."""
        split = self.dataset.splits["valid"]
        return split.neg is not None and split.neg.ndim == 2 and split.neg.shape[1] > _STREAM

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        """Ranking metrics of a pass, higher is better.

        Of a pool of more than a million false pairs only the largest scores are kept, so that
        only Hits@K is reported.

        Args:
            split: What the pass was for.
            rows: All rows of `score`.
        """
        pos, neg = rows["pos"], rows["neg"]
        names = {self.monitor.removeprefix("-"), self.dataset.metric}
        if neg.ndim == 2:
            names |= {"mrr", *(f"hits@{k}" for k in (1, 3, *_CUTS))}
        else:
            names |= {f"hits@{k}" for k in _CUTS if k <= len(neg)}
            if not self._streams:
                names |= {"mrr", "auc", "ap"}
        return {name: metric(name)(pos, neg) for name in sorted(names)}

    @torch.no_grad()
    def predict(self, pairs: Int[Tensor, "2 pair"]) -> Float[Tensor, " pair"]:
        """Logit of each pair, where the model sees the training pairs alone.

        Args:
            pairs: Node ids.
        """
        self.eval()
        self.start("valid")
        return self._scores(pairs)

    @torch.no_grad()
    def recommend(
        self, top: int, *, nodes: Int[Tensor, " node"] | None = None, exhaustive: bool = False
    ) -> tuple[Int[Tensor, "2 pair"], Float[Tensor, " pair"]]:
        """The strongest missing links, best first, and their logits.

        Pairs of all splits are known here: the model sees them, and none of them is recommended.

        Args:
            top: How many at most.
            nodes: Only links of these nodes.
            exhaustive: Consider all pairs that are not linked, not only those at distance two.
        """
        self.eval()
        self.start("valid")
        edges = torch.cat([part.pos.long() for part in self.dataset.splits.values()], dim=1)
        known = CSR.from_edge_index(edges, int(self.dataset.facts["num_nodes"]), undirected=True)
        self._graph = known.to(self.device)
        self._nodes = self._encode(self._graph)
        source = all_pairs if exhaustive else two_hop_pairs
        best, score = torch.empty(2, 0, dtype=torch.long), torch.empty(0)
        for pairs in source(known, nodes=nodes):
            best = torch.cat([best, pairs], dim=1)
            score = torch.cat([score, self._scores(pairs)])
            order = score.argsort(descending=True, stable=True)[:top]
            best, score = best[:, order], score[order]
        return best, score

    def _scores(self, pairs: Tensor) -> Tensor:
        assert self._graph is not None
        blocks = [
            self.link_model.score(self._nodes, self._graph, block.to(self.device)).cpu()
            for block in torch.split(pairs, self.eval_batch_size, dim=1)
        ]
        return torch.cat(blocks) if blocks else torch.zeros(0)


def _unweighted(graph: CSR) -> CSR:
    """Repeats decide what is removed, not how strong an edge is."""
    return replace(graph, weight=None)

"""Recommendation: which items a user will choose next."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from graphlearn.data.dataset import Dataset
from graphlearn.ops.csr import CSR
from graphlearn.ops.locate import expand_rows
from graphlearn.ops.pairs import pair_product
from graphlearn.ops.product import product
from graphlearn.ops.total import total
from graphlearn.ranking import coverage, evaluate_lists, gini, popularity
from graphlearn.sampling.batches import fold
from graphlearn.sampling.interactions import InteractionSampler, seen_mask
from graphlearn.tasks.ranking_losses import Loss, rank_loss
from graphlearn.train.task import Schedule, Split, Task

__all__ = ["FactorModel", "RecommendBatch", "Recommendation", "Recommender"]

_SHARED = 3  # purpose tag of the random numbers of items that a batch shares


@runtime_checkable
class Recommender(Protocol):
    """What recommendation needs of a model."""

    def prepare(self, graph: CSR) -> Any:  # noqa: ANN401
        """What `encode` needs of the interactions (users by items); the same in every step."""

    def encode(self, graph: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        """What `score` needs, from what `prepare` returned."""

    def score(
        self, nodes: tuple[Tensor, ...], users: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch item"]:
        """Score of every item for some users, higher is better."""


@runtime_checkable
class FactorModel(Recommender, Protocol):
    """What training needs besides: scores are inner products of what `encode` returns."""

    embedding: nn.Parameter
    """The table (users + items, chan) that is learned."""


class RecommendBatch(NamedTuple):
    """Training examples of one step: this shard's part, and the size of the whole batch.

    `neg` are items of each pair (B, K), or items (K,) that all pairs of the batch share.
    """

    users: Tensor
    pos: Tensor
    neg: Tensor
    size: int


class Recommendation(Task):
    r"""A recommender on implicit feedback, trained to rank and judged by full ranking.

    .. math:: L = \frac{1}{B} \sum_b \ell(\hat y_{ui}, \hat y_{uj})
              + \frac{\lambda}{2 B} \sum_b \big( \|E_u\|^2 + \|E_i\|^2 + \|E_j\|^2 \big)

    over triples of a user, an item i of the user's training items and items j that are not, where
    :math:`E` is the table of embeddings before any propagation.

    Evaluation ranks all items for every user who has held-out items, after the user's training
    items, and in the test the validation items as well, have been taken out. The graph, degrees
    and false items come from training interactions alone.

    Args:
        model: A `Recommender`; one with parameters is a `FactorModel`.
        dataset: A data set of kind "interactions".
        batch_size: RecommendBatch of a step, over all processes.
        eval_batch_size: Users ranked at once.
        loss: `bpr`, `softmax` (sampled, over items that a batch shares), `bce` or `contrast`.
        negatives: False items of each triple; with `softmax`, those that a batch shares.
        sampling: Draw users uniformly and one of their items, or interactions uniformly.
        regularization: Weight :math:`\lambda` of the squared embeddings.
        temperature: Of `softmax`.
        margin: Of `contrast`.
        negative_weight: Of the false items in `contrast`.
        ks: Lengths of the lists that are judged.
        protocol: `full`, or `sheaf4rec` for comparison with the released code alone: scores of
            training items are multiplied by zero instead of taken out, validation items compete in
            the test, and `mrr` adds up 1 / rank over all hits.
        monitor: Metric that selects the best epoch; empty: the metric of the data set.
        schedule: How the model is optimised.

    Raises:
        ValueError: if the data set is of another kind, or an option is not valid.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        batch_size: int = 1024,
        eval_batch_size: int = 1024,
        loss: Loss = "bpr",
        negatives: int = 1,
        sampling: Literal["user", "edge"] = "user",
        regularization: float = 1e-4,
        temperature: float = 0.1,
        margin: float = 0.4,
        negative_weight: float = 1.0,
        ks: tuple[int, ...] = (10, 20),
        protocol: Literal["full", "sheaf4rec"] = "full",
        monitor: str = "",
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(model, schedule=schedule)
        if dataset.kind != "interactions":
            raise ValueError(
                f"{dataset.name} is a data set of kind {dataset.kind!r}, not 'interactions'; "
                "a file of users and items needs kind='interactions'"
            )
        sizes = {"batch_size": batch_size, "eval_batch_size": eval_batch_size}
        sizes |= {"negatives": negatives, "ks": min(ks, default=0)}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if regularization < 0:
            raise ValueError(f"regularization must be at least 0, got {regularization}")
        self.dataset, self.monitor = dataset, monitor or dataset.metric
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.negatives, self.sampling, self.shared = negatives, sampling, loss == "softmax"
        self.loss = rank_loss(loss, temperature=temperature, margin=margin, weight=negative_weight)
        self.regularization, self.protocol = regularization, protocol
        self.ks = tuple(sorted({*ks, *_length(self.monitor)}))
        self.num_users = int(dataset.facts["num_users"])
        self.num_items = int(dataset.facts["num_items"])
        self._known = {split: self._matrix(split) for split in dataset.splits}
        self._sampler: InteractionSampler | None = None
        self._place: torch.device | None = None
        self._prepared: Any = None
        self._nodes: tuple[Tensor, ...] = ()
        self._hidden: CSR | None = None

    @property
    def recommender(self) -> Recommender:
        """The model under its contract."""
        return cast(Recommender, self.model)

    def interactions(self, split: Split) -> CSR:
        """Users by items of one split.

        Args:
            split: The split.
        """
        return self._known[split]

    def _matrix(self, *splits: Split) -> CSR:
        pairs = torch.cat([self.dataset.splits[split] for split in splits], dim=1)
        return CSR.from_edge_index(pairs, self.num_users, num_cols=self.num_items)

    def start(self, split: Split) -> None:
        """Put the graph on the device; outside training, encode every user and item once.

        Args:
            split: What the pass that begins is for.
        """
        if self._place != self.device:
            self._place = self.device
            graph = self._known["train"].to(self.device)
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                self._prepared = self.recommender.prepare(graph)
        self._nodes, self._hidden = (), None
        if split != "train":
            self._nodes = self._encode()
            test = split == "test" and self.protocol == "full"
            self._hidden = self._matrix("train", "valid") if test else self._known["train"]

    @torch.no_grad()
    def _encode(self) -> tuple[Tensor, ...]:
        return self.recommender.encode(self._prepared)

    def batches(self, split: Split) -> Iterable[Any]:
        """RecommendBatch in training, and users with held-out items outside it, of this shard.

        Args:
            split: What the pass is for.
        """
        if split == "train":
            return self._training_batches()
        users = (self._known[split].degree() > 0).nonzero().squeeze(1)
        rank, world = self.shard
        return [
            (users[first : first + self.eval_batch_size], split)
            for first in range(
                rank * self.eval_batch_size, len(users), world * self.eval_batch_size
            )
        ]

    def _training_batches(self) -> Iterator[RecommendBatch]:
        train = self._known["train"]
        if self._sampler is None:
            self._sampler = InteractionSampler(train)
        seed = fold(self.seed, self.stage, self.epoch)
        each = 0 if self.shared else self.negatives
        drawn = self._sampler.draw(train.num_entries, seed=seed, by=self.sampling, negatives=each)
        rank, world = self.shard
        for number, first in enumerate(range(0, train.num_entries, self.batch_size)):
            part = slice(first, first + self.batch_size)
            users, pos, neg = (rows[part] for rows in drawn)
            size = len(users)
            if self.shared:
                place = fold(seed, _SHARED, number)
                neg = self._sampler.shared(min(self.negatives, self.num_items), seed=place)
            else:
                neg = neg[rank::world]
            yield RecommendBatch(users[rank::world], pos[rank::world], neg, size)

    def forward(self, batch: RecommendBatch) -> dict[str, Tensor]:
        """Loss of this shard's part of a batch, weighted so that processes average to the whole.

        Args:
            batch: What `batches("train")` yields.
        """
        (h,) = self.recommender.encode(self._prepared)
        pos = batch.pos + self.num_users
        neg = batch.neg + self.num_users
        true = _scores(h, batch.users, pos)
        if self.shared:
            false = product(F.embedding(batch.users, h), F.embedding(neg, h).t())
            seen = seen_mask(self._known["train"], batch.users.cpu(), batch.neg.cpu())
            false = false.masked_fill(seen.to(h.device), -torch.inf)
        else:
            false = _scores(h, batch.users.repeat_interleave(neg.shape[1]), neg.flatten()).view_as(
                neg
            )
        scale = self.shard.world / batch.size
        loss = total(self.loss(true.float(), false.float())) * scale
        if self.regularization:
            loss = loss + self.regularization * self._penalty(batch.users, pos, neg) * scale
        return {"loss": loss}

    def _penalty(self, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
        """Half the squared embeddings of the triples, added up."""
        table = cast(FactorModel, self.model).embedding
        rows = total(F.embedding(torch.cat([users, pos]), table).square().sum(1))
        false = total(F.embedding(neg.flatten(), table).square().sum(1))
        share = len(users) / max(neg.numel(), 1)  # as if each triple had one false item
        return (rows + share * false) / 2

    @torch.no_grad()
    def score(self, batch: tuple[Tensor, Split]) -> dict[str, Tensor]:
        """Items of each user's list, which of them are held out, and how many there are.

        Args:
            batch: What `batches` yields outside training.
        """
        users, split = batch
        truth = self._known[split]
        items, _ = self._lists(users, max(self.ks))
        items = items.cpu()
        owners = users.cpu().unsqueeze(1).expand_as(items)
        found = truth.locate(torch.stack([owners.flatten(), items.clamp(min=0).flatten()]))
        hits = (found >= 0).view_as(items) & (items >= 0)
        return {"items": items.int(), "hits": hits, "relevant": truth.degree()[users.cpu()]}

    def _lists(self, users: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The best items of some users and their scores; item -1 where nothing is left."""
        assert self._hidden is not None
        z = self.recommender.score(self._nodes, users.to(self.device)).float()
        z = z.masked_fill(z.isnan(), -torch.inf)  # a model that fails must not be rewarded
        entry, owner = expand_rows(self._hidden.ptr, users.cpu())
        hidden = (owner.to(z.device), self._hidden.col[entry].long().to(z.device))
        if self.protocol == "sheaf4rec":
            z[hidden] = z[hidden] * 0
        else:
            z[hidden] = -torch.inf
        best = z.topk(min(k, z.shape[1]), dim=1)
        return best.indices.masked_fill(best.values == -torch.inf, -1), best.values

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        """Means over users of precision, recall, HR, F1, NDCG, MRR and MAP, and facts of the lists.

        Of the lists as a whole: the share of items that occur in any (`coverage`), how unevenly
        they occur (`gini`), and the mean share of users who have a recommended item (`popularity`).

        Args:
            split: What the pass was for.
            rows: All rows of `score`.
        """
        found = evaluate_lists(rows["hits"], rows["relevant"], self.ks, protocol=self.protocol)
        degree = torch.bincount(self._known["train"].col.long(), minlength=self.num_items)
        for k in self.ks:
            items = rows["items"][:, :k].long().cpu()
            found[f"coverage@{k}"] = coverage(items, self.num_items)
            found[f"gini@{k}"] = gini(items, self.num_items)
            found[f"popularity@{k}"] = popularity(items, degree, self.num_users)
        return found

    @torch.no_grad()
    def suggest(
        self, users: Int[Tensor, " batch"], top: int
    ) -> tuple[Int[Tensor, "batch rank"], Float[Tensor, "batch rank"]]:
        """The best items for some users among those that they have in no split, best first.

        Args:
            users: Users.
            top: How many at most; item -1 fills the list of a user who has nearly everything.
        """
        self.eval()
        self.start("valid")
        self._hidden = self._matrix(*self.dataset.splits)
        parts = [self._lists(block, top) for block in torch.split(users, self.eval_batch_size)]
        items, scores = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        return items, scores

    @torch.no_grad()
    def embeddings(self) -> dict[str, Tensor]:
        """Vectors of all users and items whose inner products are the scores.

        Raises:
            ValueError: if the model has no such vectors.
        """
        if not hasattr(self.model, "embedding"):
            raise ValueError(f"{type(self.model).__name__} has no embeddings to export")
        self.eval()
        self.start("valid")
        h = self._nodes[0].detach().float().cpu()
        return {"users": h[: self.num_users], "items": h[self.num_users :]}


def _scores(h: Tensor, users: Tensor, items: Tensor) -> Tensor:
    return pair_product(h, torch.stack([users, items])).sum(1)


def _length(name: str) -> list[int]:
    """The length of lists that a metric is of."""
    number = name.partition("@")[2]
    return [int(number)] if number.isdigit() else []

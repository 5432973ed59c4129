"""Temporal link prediction: who meets whom next, in a stream of events."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from graphlearn.data.dataset import Dataset, EventSplit
from graphlearn.metrics import ranks
from graphlearn.sampling.batches import fold
from graphlearn.sampling.stream import Events, Features, windows
from graphlearn.tasks.event_metrics import ap_auc, event_metrics, logistic_loss
from graphlearn.tasks.opponents import Kind, Opponents, kinds_of, scored_rows
from graphlearn.train.task import Schedule, Split, Task

__all__ = ["EventBatch", "EventModel", "EventPrediction"]

_BLOCK = 1 << 16  # pairs scored at once outside training
_NEGATIVES = 1  # purpose tag of the random numbers of negatives
_ORDER: tuple[Split, ...] = ("train", "valid", "test")


@runtime_checkable
class EventModel(Protocol):
    """What event prediction needs of a model: a state that reads never change.

    `seen` is an integer buffer (2,): how many events the state has taken in since `reset`, and the
    sum of their row numbers, counted from one. It tells the task which part of the stream is there.
    """

    seen: Tensor

    def reset(self) -> None:
        """Forget the stream."""

    def read(
        self, nodes: Int[Tensor, " node"], now: Num[Tensor, ""], features: Features
    ) -> tuple[Tensor, ...]:
        """What `score` and `update` need of these nodes, in any order and with repeats."""

    def score(
        self, view: tuple[Tensor, ...], pairs: Int[Tensor, "2 pair"], t: Num[Tensor, " pair"]
    ) -> Float[Tensor, " pair"]:
        """Logit of an event from the first to the second node of each pair at time `t`."""

    def update(self, view: tuple[Tensor, ...], events: Events) -> None:
        """Take events in, whose nodes were read; without gradient."""


class EventBatch(NamedTuple):
    """Consecutive events and the pairs that are scored before the model takes them in.

    `neg` (2, J, P) holds J false pairs for each true one, at its time; a target of -1 is padding.
    """

    events: Events
    pos: Tensor
    t: Tensor
    neg: Tensor
    rows: dict[str, Tensor]


class EventPrediction(Task):
    r"""An event model on a stream, with logistic loss, and average precision or ranks.

    .. math:: L = \mathrm{mean}_{pos}(-\log \sigma(z)) + \mathrm{mean}_{neg}(-\log \sigma(-z))

    Batches are consecutive. All pairs of a batch are scored from the state that the events before
    it left; then the model takes the events in: in training after the step, in evaluation at once.
    The state is carried from training through validation to the test, and replayed where it is not
    the one that a pass begins with.

    False pairs share the time of their true pair. `random` ones keep its source, and their target
    is any destination known up to the split; `historical` ones were events before the batch and
    `inductive` ones besides none of training (Farimah Poursafaei et al., "Towards Better
    Evaluation for Dynamic Link Prediction", NeurIPS 2022). Those of training are drawn anew in
    every epoch, those of evaluation are the same in all runs.

    Args:
        model: An `EventModel`.
        dataset: A data set of kind "events".
        batch_size: Events of a training step.
        eval_batch_size: Events between two updates of the state in evaluation; it decides how
            fresh the state is, and what `ap@batch` averages over.
        negatives: False pairs drawn for each true pair in training.
        eval_negatives: Kinds of false pairs in the test; the first gives `ap` and `auc`, further
            ones `ap/historical`, ... Validation uses the first alone.
        train_negatives: Kind of false pairs in training; where all nodes are trained on, no pair
            is `inductive` before the validation, so that those are random.
        candidates: Rank each event of an evaluation among so many destinations, as in TGB, for
            `mrr` and `hits@10`; 0 is off.
        monitor: Metric that selects the best epoch; empty: `mrr` with candidates, else that of the
            data set.
        schedule: How the model is optimised.

    Raises:
        TypeError: if the model lacks a part of the contract.
        ValueError: if the data set is of another kind, or an option is not valid.
    """

    shares = "seeds"

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        batch_size: int = 100,
        eval_batch_size: int = 32,
        negatives: int = 1,
        eval_negatives: tuple[str, ...] = ("random",),
        train_negatives: Literal["random", "historical", "inductive"] = "random",
        candidates: int = 0,
        monitor: str = "",
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(model, schedule=schedule)
        if dataset.kind != "events":
            raise ValueError(f"{dataset.name} is a data set of kind {dataset.kind!r}, not 'events'")
        lacks = [name for name in ("reset", "read", "score", "update", "seen")
                 if not hasattr(model, name)]  # fmt: skip
        if lacks:
            raise TypeError(f"{type(model).__name__} is no event model: it lacks {lacks[0]!r}")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("negatives", negatives, 1),
            ("candidates", candidates, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.kinds = kinds_of(eval_negatives)
        for split, part in dataset.splits.items():
            if part.scored is not None and not part.scored.any():
                raise ValueError(f"no event of the {split} split of {dataset.name} is scored")
        self.dataset, self.candidates = dataset, candidates
        self.monitor = monitor or ("mrr" if candidates else dataset.metric)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.train_kinds: tuple[Kind, ...] = (train_negatives,) * negatives
        self._opponents = Opponents(dataset)
        self._place: torch.device | None = None
        self._drawn: dict[Split, Tensor] = {}
        self._view: tuple[Tensor, ...] | None = None

    @property
    def event_model(self) -> EventModel:
        """The model under its contract."""
        return cast(EventModel, self.model)

    def start(self, split: Split) -> None:
        """Put the stream on the device; forget it for training, else reach what came before.

        Args:
            split: What the pass that begins is for.
        """
        self._settle()
        if split == "train":
            self.event_model.reset()
        else:
            self._reach(self.dataset.splits[split].history)

    def _settle(self) -> None:
        """Put the stream where the model is."""
        self._view = None
        if self._place != self.device:
            data, self._place, self._drawn = self.dataset.data, self.device, {}
            eid = torch.arange(len(data.src))
            parts = (data.src.long(), data.dst.long(), data.t, eid)
            self._stream = Events(*(value.to(self.device) for value in parts))
            self._features = _features(self.dataset, self.device)

    @torch.no_grad()
    def _reach(self, history: Tensor) -> None:
        """Bring the state to where it holds these events, by the shortest way there is."""
        count, total = self.event_model.seen.tolist()
        if count > len(history) or total != int((history[:count] + 1).sum()):
            self.event_model.reset()
            count = 0
        for ids in windows(history[count:].to(self.device), self.eval_batch_size):
            self._commit(self._at(ids))

    def batches(self, split: Split) -> Iterable[EventBatch]:
        """Consecutive batches; in training, going on to the next one takes the last one in.

        Args:
            split: What the pass is for.
        """
        return self._training_batches() if split == "train" else self._evaluation_batches(split)

    def _training_batches(self) -> Iterator[EventBatch]:
        part = self.dataset.splits["train"]
        seed = fold(self.seed, self.stage, self.epoch, _NEGATIVES)
        neg = self._opponents.draw("train", self.train_kinds, self.batch_size, seed=seed)
        for batch in self._batches(part, self.batch_size, neg.to(self.device)):
            self._view = None
            if batch.pos.shape[1]:
                yield batch
            self._commit(batch.events)

    def _evaluation_batches(self, split: Split) -> Iterator[EventBatch]:
        part, size = self.dataset.splits[split], self.eval_batch_size
        seed = fold(_ORDER.index(split), _NEGATIVES)
        if self.candidates:
            blocks = self._opponents.candidates(split, self.candidates, size, seed=seed)
            for batch, neg in zip(self._batches(part, size), blocks, strict=True):
                yield batch._replace(neg=neg.to(self.device))
            return
        if split not in self._drawn:
            kinds = self.kinds if split == "test" else self.kinds[:1]
            drawn = self._opponents.draw(split, kinds, size, seed=seed)
            self._drawn[split] = drawn.to(self.device)
        yield from self._batches(part, size, self._drawn[split])

    def _batches(
        self, part: EventSplit, size: int, neg: Tensor | None = None
    ) -> Iterator[EventBatch]:
        """The windows of a split; which rows are scored is settled here, without the device."""
        mask = part.scored
        stream = self._at(part.events.to(self.device))
        true = stream if mask is None else self._at(part.events[mask].to(self.device))
        groups = {} if self.training else part.groups
        masks = {
            f"group/{name}": one if mask is None else one[mask] for name, one in groups.items()
        }
        masks = {name: one.to(self.device) for name, one in masks.items()}
        pairs = torch.stack([true.src, true.dst])
        for number, (window, scored) in enumerate(scored_rows(part, size)):
            known = {name: one[scored] for name, one in masks.items()}
            if not self.training:
                known["batch"] = torch.full_like(true.eid[scored], number)
            false = pairs[:, None, :0] if neg is None else neg[:, :, scored]
            events = Events(*(one[window] for one in stream))
            yield EventBatch(events, pairs[:, scored], true.t[scored], false, known)

    def _at(self, ids: Tensor) -> Events:
        stream = self._stream
        return Events(stream.src[ids], stream.dst[ids], stream.t[ids], ids)

    def _read(self, events: Events, false: Tensor) -> tuple[Tensor, ...]:
        # candidates keep their source and repeat each other
        others = torch.unique(false[1]) if self.candidates and not self.training else false
        nodes = torch.cat([events.src, events.dst, others.flatten()])
        return self.event_model.read(nodes, events.t.amin(), self._features)

    @torch.no_grad()
    def _commit(self, events: Events) -> None:
        """Take events in, from what was read for their scores, or read now."""
        view, self._view = self._view, None
        if view is None:
            view = self._read(events, events.src.new_empty(2, 0))
        self.event_model.update(view, events)

    def forward(self, batch: EventBatch) -> dict[str, Tensor]:
        """Loss of one batch, from the state before it.

        Args:
            batch: What `batches("train")` yields.
        """
        self._view = self._read(batch.events, batch.neg)
        pairs = torch.cat([batch.pos, batch.neg.flatten(1)], dim=1)
        z = self.event_model.score(self._view, pairs, batch.t.repeat(1 + batch.neg.shape[1]))
        return {"loss": logistic_loss(z, batch.pos.shape[1])}

    @torch.no_grad()
    def score(self, batch: EventBatch) -> dict[str, Tensor]:
        """Scores of one batch, which is then taken in: `pos`, and `neg` for each kind, or `rank`.

        Args:
            batch: What `batches` yields outside training.
        """
        false = _open(batch)
        view = self._read(batch.events, false)
        pairs = torch.cat([batch.pos, false.flatten(1)], dim=1)
        z = self._scores(view, pairs, batch.t.repeat(1 + false.shape[1]))
        count = batch.pos.shape[1]
        pos, neg = z[:count], z[count:].view(false.shape[1], count)
        self.event_model.update(view, batch.events)
        if self.candidates:
            neg = neg.masked_fill(batch.neg[1] < 0, -torch.inf)
            rank = ranks(pos, neg.T) if count else pos.double()
            return {"rank": rank, **batch.rows}
        names = ("neg", *(f"neg_{kind}" for kind in self.kinds[1:]))
        return {"pos": pos, **dict(zip(names, neg, strict=False)), **batch.rows}

    def _scores(self, view: tuple[Tensor, ...], pairs: Tensor, t: Tensor) -> Tensor:
        blocks = zip(torch.split(pairs, _BLOCK, dim=1), torch.split(t, _BLOCK), strict=True)
        return torch.cat([self.event_model.score(view, *block).float() for block in blocks])

    def metrics(self, split: Split, rows: dict[str, Tensor]) -> dict[str, float]:
        """Metrics of a pass, higher is better.

        `ap` and `auc` rank all pairs of the pass together. `ap@batch` and `auc@batch` are means
        over the batches of `eval_batch_size` events, which is what most papers print. `ap/new`
        and the like are those of a group of events.

        Args:
            split: What the pass was for.
            rows: All rows of `score`.
        """
        return event_metrics(rows)

    @torch.no_grad()
    def timeline(self, split: Split) -> dict[str, Tensor]:
        """How good the scores of a split are as time goes by, with one row for each batch.

        Args:
            split: `valid` or `test`.

        Returns:
            `time` (the mean over the events), `ap` and `auc`, or `mrr` with candidates; and
            `occupancy` (batch, hop) of models that say which share of their slots is taken.
        """
        self.eval()
        self.start(split)
        lines: dict[str, list[Tensor]] = {}
        for batch in self.batches(split):
            rows = self.score(batch)
            if not batch.pos.shape[1]:
                continue
            line = {"time": batch.t.double().mean()}
            if self.candidates:
                line["mrr"] = rows["rank"].reciprocal().mean()
            else:
                line["ap"], line["auc"] = ap_auc(rows["pos"], rows["neg"])
            occupancy = getattr(self.model, "occupancy", None)
            if occupancy is not None:
                line["occupancy"] = torch.as_tensor(occupancy())
            for name, value in line.items():
                lines.setdefault(name, []).append(value.cpu())
        return {name: torch.stack(values) for name, values in lines.items()}

    @torch.no_grad()
    def predict(self, pairs: Int[Tensor, "2 pair"]) -> Float[Tensor, " pair"]:
        """Logit of each pair meeting right after the stream, all of which the model has seen.

        Args:
            pairs: Sources and destinations.
        """
        now, pairs = self._finish(), pairs.to(self.device)
        view = self.event_model.read(pairs.flatten(), now, self._features)
        return self._scores(view, pairs, now.expand(pairs.shape[1])).cpu()

    @torch.no_grad()
    def recommend(
        self, top: int, *, nodes: Int[Tensor, " node"] | None = None, exhaustive: bool = False
    ) -> tuple[Int[Tensor, "2 pair"], Float[Tensor, " pair"]]:
        """The likeliest events right after the stream, best first, and their logits.

        Pairs that have met before may meet again; only a node itself is left out.

        Args:
            top: How many at most.
            nodes: Sources to consider; by default all that ever were one.
            exhaustive: Consider all nodes as destinations, not only those that ever were one.
        """
        now = self._finish()
        sources = torch.unique(self._stream.src if nodes is None else nodes.to(self.device))
        count = int(self.dataset.facts["num_nodes"])
        every = torch.arange(count, device=self.device)
        targets = every if exhaustive else torch.unique(self._stream.dst)
        view = self.event_model.read(torch.cat([sources, targets]), now, self._features)
        best, score = torch.empty(2, 0, dtype=torch.long), torch.empty(0)
        for part in torch.split(sources, max(1, _BLOCK // len(targets))):
            pairs = torch.cartesian_prod(part, targets).T.contiguous()
            pairs = pairs[:, pairs[0] != pairs[1]]
            found = self._scores(view, pairs, now.expand(pairs.shape[1]))
            best = torch.cat([best, pairs.cpu()], dim=1)
            score = torch.cat([score, found.cpu()])
            order = score.argsort(descending=True, stable=True)[:top]
            best, score = best[:, order], score[order]
        return best, score

    def _finish(self) -> Tensor:
        """Let the state hold the whole stream; the time of its last event."""
        self.eval()
        self._settle()
        self._reach(torch.arange(len(self._stream.src)))
        return self._stream.t[-1]


def _features(dataset: Dataset, device: torch.device) -> Features:
    """Features of nodes and events as float32, of width zero where there are none."""
    data, nodes = dataset.data, int(dataset.facts["num_nodes"])
    x, msg = getattr(data, "x", None), getattr(data, "msg", None)
    node = torch.zeros(nodes, 0) if x is None else x.float()
    edge = torch.zeros(len(data.src), 0) if msg is None else msg.float()
    return Features(node.to(device), edge.to(device))


def _open(batch: EventBatch) -> Tensor:
    """False pairs, with the true one in place of padding: a node that is read anyway."""
    return torch.where(batch.neg < 0, batch.pos[:, None], batch.neg)

"""Recommendation: batches, loss, full ranking without leaks, both protocols, runs."""

import dataclasses
import warnings

import pytest
import torch
import toy
from torch import nn
from torch_geometric.metrics import LinkPredNDCG, LinkPredPrecision, LinkPredRecall
from toy_tasks import assert_same_run, fit, numbers

from graphlearn.knobs import build
from graphlearn.models.lightgcn import LightGCN
from graphlearn.models.mf import MF
from graphlearn.models.recommend_baselines import Popularity
from graphlearn.tasks.recommend import FactorModel, Recommendation, Recommender
from graphlearn.train import Trainer
from graphlearn.train.task import Schedule, Shard


def task(model=None, *, dataset=None, epochs=2, lr=0.05, **options):
    dataset = dataset or toy.interaction_dataset()
    torch.manual_seed(0)
    if not isinstance(model, nn.Module):
        model = build(model or MF, dataset, channels=8)
    options = {"batch_size": 64, "eval_batch_size": 16, "ks": (5,), **options}
    return Recommendation(model, dataset, schedule=Schedule(epochs=epochs, lr=lr), **options)


class Fixed(nn.Module):
    """Scores that are given: users by items."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def prepare(self, graph):
        return self.scores

    def encode(self, graph):
        return (graph,)

    def score(self, nodes, users):
        return nodes[0][users].clone()


def dense(dataset, *splits):
    out = torch.zeros(dataset.facts["num_users"], dataset.facts["num_items"])
    for split in splits:
        out[tuple(dataset.splits[split])] = 1
    return out


def evaluate(given, split="test"):
    return Trainer(device="cpu", progress=False).evaluate(given, split)


def test_contracts():
    assert isinstance(MF(3, 4), FactorModel) and isinstance(Popularity(3, 4), Recommender)
    assert not isinstance(Popularity(3, 4), FactorModel)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_model_that_returns_the_training_matrix_gets_nothing(split):
    """The leak test: what was trained on, or selected on, is not there to be found again."""
    dataset = toy.interaction_dataset()
    known = dense(dataset, "train", *(["valid"] if split == "test" else []))
    everything = known * 10 - dense(dataset, split)
    found = evaluate(task(Fixed(everything), dataset=dataset), split)
    worst = evaluate(task(Fixed(-dense(dataset, split)), dataset=dataset), split)
    assert found["ndcg@5"] == worst["ndcg@5"]
    best = evaluate(task(Fixed(known * 10 + dense(dataset, split)), dataset=dataset), split)
    assert best["ndcg@5"] == pytest.approx(1.0) and best["hr@5"] == 1.0


def test_the_graph_of_a_model_holds_training_interactions_alone():
    dataset = toy.interaction_dataset()
    given = task(dataset=dataset)
    seen = []
    given.model.prepare = lambda graph: seen.append(graph) or graph
    fit(given)
    matrix = torch.zeros(40, 30)
    for graph in seen:
        matrix[graph.rows(), graph.col.long()] = 1
    assert torch.equal(matrix, dense(dataset, "train"))


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_metrics_equal_those_of_pyg_on_the_dense_matrix(block):
    dataset = toy.interaction_dataset()
    scores = torch.randn(40, 30, generator=torch.Generator().manual_seed(1))
    found = evaluate(task(Fixed(scores), dataset=dataset, ks=(3, 10), eval_batch_size=block))
    hidden = scores.masked_fill(dense(dataset, "train", "valid") > 0, -torch.inf)
    users = dataset.splits["test"][0].unique()
    best = hidden[users].topk(10).indices
    place = {int(user): row for row, user in enumerate(users)}
    truth = dataset.splits["test"].clone()
    truth[0] = torch.tensor([place[int(user)] for user in truth[0]])
    for k in (3, 10):
        for name, kind in (
            ("precision", LinkPredPrecision),
            ("recall", LinkPredRecall),
            ("ndcg", LinkPredNDCG),
        ):
            metric = kind(k=k)
            metric.update(best, truth)
            assert found[f"{name}@{k}"] == pytest.approx(float(metric.compute()), abs=1e-6)


def test_protocols_differ_where_scores_are_negative():
    """Multiplied by zero, an item of training beats every item with a negative score."""
    dataset = toy.interaction_dataset()
    scores = -1 - torch.rand(40, 30, generator=torch.Generator().manual_seed(0))
    full = evaluate(task(Fixed(scores), dataset=dataset))
    released = evaluate(task(Fixed(scores), dataset=dataset, protocol="sheaf4rec"))
    assert released["recall@5"] < 0.1 * full["recall@5"]
    lifted = evaluate(task(Fixed(scores + 5), dataset=dataset, protocol="sheaf4rec"), "valid")
    assert lifted["recall@5"] == evaluate(task(Fixed(scores), dataset=dataset), "valid")["recall@5"]


def test_validation_items_compete_in_the_released_test_only():
    dataset = toy.interaction_dataset()
    scores = dense(dataset, "valid") * 5 + 1 + dense(dataset, "test")
    full = evaluate(task(Fixed(scores), dataset=dataset, ks=(1,)))
    released = evaluate(task(Fixed(scores), dataset=dataset, ks=(1,), protocol="sheaf4rec"))
    assert full["precision@1"] == 1 and released["precision@1"] < 1


def test_a_score_that_is_no_number_never_helps():
    dataset = toy.interaction_dataset()
    scores = torch.where(dense(dataset, "test") > 0, torch.nan, 0.0)
    assert evaluate(task(Fixed(scores), dataset=dataset, ks=(1,)))["recall@1"] == 0


def test_lists_longer_than_the_catalogue():
    dataset = toy.interaction_dataset()
    found = evaluate(task(Fixed(torch.rand(40, 30)), dataset=dataset, ks=(100,)))
    assert found["recall@100"] == 1 and found["precision@100"] < 0.5


@pytest.mark.parametrize("sampling", ["user", "edge"])
def test_batches_hold_true_and_false_items(sampling):
    dataset = toy.interaction_dataset()
    given = task(dataset=dataset, sampling=sampling, negatives=3)
    train = dense(dataset, "train").bool()
    batches = list(given.batches("train"))
    assert sum(batch.size for batch in batches) == int(train.sum())
    for batch in batches:
        assert train[batch.users, batch.pos].all()
        assert batch.neg.shape == (len(batch.users), 3)
        assert not train[batch.users.unsqueeze(1), batch.neg].any()
    if sampling == "edge":
        pairs = torch.cat([torch.stack([batch.users, batch.pos]) for batch in batches], 1)
        assert len(torch.unique(pairs, dim=1).T) == int(train.sum())


def penalty(table, users, pos, neg):
    rows = table[users].square().sum() + table[pos].square().sum()
    return (rows + table[neg].square().sum() / (neg.numel() / len(users))) / 2 / len(users)


def test_the_loss_is_the_formula():
    given = task(regularization=0.3)
    given.start("train")
    batch = next(iter(given.batches("train")))
    e = given.model.embedding
    users, pos, neg = batch.users, batch.pos + 40, batch.neg + 40
    true = (e[users] * e[pos]).sum(1)
    false = (e[users].unsqueeze(1) * e[neg]).sum(2)
    expected = torch.nn.functional.softplus(false - true.unsqueeze(1)).mean()
    expected = expected + 0.3 * penalty(e, users, pos, neg)
    torch.testing.assert_close(given(batch)["loss"], expected)


def test_softmax_leaves_out_the_items_that_a_user_has():
    dataset = toy.interaction_dataset()
    given = task(dataset=dataset, loss="softmax", negatives=30, temperature=0.5, regularization=0.0)
    given.start("train")
    batch = next(iter(given.batches("train")))
    e = given.model.embedding
    scores = e[batch.users] @ e[batch.neg + 40].T
    seen = dense(dataset, "train").bool()[batch.users][:, batch.neg]
    assert batch.neg.shape == (30,) and seen.any(1).all()
    scores = scores.masked_fill(seen, -torch.inf)
    true = (e[batch.users] * e[batch.pos + 40]).sum(1, keepdim=True)
    every = torch.cat([true, scores], 1) / 0.5
    expected = (every.logsumexp(1) - every[:, 0]).mean()
    torch.testing.assert_close(given(batch)["loss"], expected)


@pytest.mark.parametrize("loss", ["bpr", "softmax", "bce", "contrast"])
def test_shards_average_to_the_whole(loss):
    given = task(loss=loss, negatives=4, regularization=0.1)
    given.start("train")
    whole = [given(batch)["loss"] for batch in given.batches("train")]
    parts = []
    for rank in range(2):
        given.shard = Shard(rank, 2)
        parts.append([given(batch)["loss"] for batch in given.batches("train")])
    torch.testing.assert_close(
        [(a + b) / 2 for a, b in zip(*parts, strict=True)], whole, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("loss", ["bpr", "softmax", "bce", "contrast"])
def test_training_beats_popularity(loss):
    """Two groups with their own tastes: whoever learns them is far above what all like."""
    dataset = toy.interaction_dataset()
    model = build(LightGCN, dataset, channels=8, layers=2, cosine=loss == "contrast")
    given = task(model, dataset=dataset, loss=loss, negatives=4, epochs=15, temperature=0.5)
    trained = fit(given).test["ndcg@5"]
    assert trained > 1.2 * evaluate(task(Popularity(40, 30), dataset=dataset))["ndcg@5"]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = task(epochs=4)
    straight = fit(whole)
    fit(task(epochs=2), out=tmp_path)
    again = task(epochs=4)
    resumed = fit(again, out=tmp_path, resume=True)
    assert_same_run((whole, straight), (again, resumed))


def test_threads_do_not_matter():
    found = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(numbers(fit(task(LightGCN))))
    torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_suggestions_leave_out_what_a_user_has():
    dataset = toy.interaction_dataset()
    given = task(dataset=dataset)
    items, scores = given.suggest(torch.tensor([3, 0]), 4)
    known = dense(dataset, "train", "valid", "test").bool()
    assert not known[torch.tensor([[3], [0]]), items].any()
    assert (scores.diff(dim=1) <= 0).all()
    table = given.model.embedding
    expected = (table[[3, 0]] @ table[40:].T).masked_fill(known[[3, 0]], -torch.inf)
    torch.testing.assert_close(scores, expected.topk(4).values)


def test_the_list_of_a_user_with_nearly_everything_is_short():
    dataset = toy.interaction_dataset()
    rest = torch.stack([torch.zeros(29, dtype=torch.long), torch.arange(29)])
    taken = dense(dataset, "valid", "test")[0].bool()
    rest = rest[:, ~taken[:29]]
    train = torch.unique(torch.cat([dataset.splits["train"], rest], 1), dim=1)
    dataset = dataclasses.replace(dataset, splits={**dataset.splits, "train": train})
    items, _ = task(dataset=dataset).suggest(torch.tensor([0]), 5)
    assert (items[0] >= 0).sum() <= 1 and items[0, -1] == -1


def test_embeddings_give_the_scores():
    given = task()
    found = given.embeddings()
    assert found["users"].shape == (40, 8) and found["items"].shape == (30, 8)
    table = given.model.embedding.detach()
    torch.testing.assert_close(found["users"] @ found["items"].T, table[:40] @ table[40:].T)
    with pytest.raises(ValueError, match="Popularity has no embeddings to export"):
        task(Popularity(40, 30)).embeddings()


def test_metrics_of_the_lists_as_a_whole():
    dataset = toy.interaction_dataset()
    found = evaluate(task(Popularity(40, 30), dataset=dataset))
    other = evaluate(task(Fixed(torch.rand(40, 30)), dataset=dataset))
    assert found["coverage@5"] < other["coverage@5"]
    assert found["gini@5"] > other["gini@5"]
    assert found["popularity@5"] > other["popularity@5"]


def test_the_length_of_the_monitored_list_is_judged_too():
    given = task(monitor="recall@7")
    assert given.ks == (5, 7) and "recall@7" in evaluate(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"eval_batch_size": 0}, "eval_batch_size must be at least 1, got 0"),
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
        ({"ks": (10, 0)}, "ks must be at least 1, got 0"),
        ({"ks": ()}, "ks must be at least 1, got 0"),
        ({"regularization": -1.0}, "regularization must be at least 0, got -1.0"),
    ],
)
def test_messages(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)


def test_another_kind_of_data_set():
    with pytest.raises(ValueError, match="toy is a data set of kind 'link', not 'interactions'"):
        Recommendation(MF(3, 4), toy.link_dataset())


@pytest.mark.slow
def test_two_processes_give_the_same_metrics():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        alone = fit(task(LightGCN))
        both = fit(
            task(LightGCN),
            processes=2,
            strategy="ddp_spawn",
        )
    assert both.test["ndcg@5"] == pytest.approx(alone.test["ndcg@5"], abs=0.02)

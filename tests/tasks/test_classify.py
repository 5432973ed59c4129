"""What the classification of nodes shares: batches, loss, scores, metrics, refusals."""

import pytest
import torch
from torch import nn
from toy import link_dataset, node_dataset

from graphlearn.tasks.classify import Classification, NodeBatch
from graphlearn.train.task import Schedule, Shard


class Table(Classification):
    """The plainest of them: a learnt row of logits for each node."""

    kind = "node"

    def __init__(self, dataset=None, **options):
        dataset = dataset or node_dataset()
        model = nn.Embedding(int(dataset.facts["num_nodes"]), 3)
        super().__init__(model, dataset, schedule=Schedule(epochs=2), **options)

    def y(self):
        return self.dataset.data.y

    def logits(self):
        return self.model.weight.detach()

    def outputs(self, nodes):
        return self.model(nodes)


def test_a_pass_over_the_whole_graph_is_one_batch():
    task = Table()
    (batch,) = task.batches("train")
    assert torch.equal(batch.nodes, task.dataset.splits["train"])
    assert batch.size == len(batch.nodes)


def test_sampled_training_visits_every_node_once_in_an_order_of_the_epoch():
    task = Table(neighbors=(3,), batch_size=5)
    ids = task.dataset.splits["train"]
    orders = []
    for epoch in (1, 2):
        task.epoch = epoch
        batches = list(task.batches("train"))
        assert [batch.size for batch in batches] == [5, 5, 2]
        orders.append(torch.cat([batch.nodes for batch in batches]))
        assert torch.equal(orders[-1].sort().values, ids)
    assert not torch.equal(*orders)
    (whole,) = task.batches("valid")
    assert torch.equal(whole.nodes, task.dataset.splits["valid"])


def test_shards_average_to_the_whole():
    task = Table()
    whole = task(next(iter(task.batches("train"))))["loss"]
    label = task.y()[task.dataset.splits["train"]]
    expected = nn.functional.cross_entropy(task.model(task.dataset.splits["train"]), label)
    torch.testing.assert_close(whole, expected)
    parts = []
    for rank in range(3):
        task.shard = Shard(rank, 3)
        parts.append(task(next(iter(task.batches("train"))))["loss"])
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_scores_and_metrics():
    task = Table()
    ids = task.dataset.splits["valid"]
    with torch.no_grad():
        task.model.weight.zero_()
        task.model.weight[ids, task.y()[ids]] = 5.0
        task.model.weight[ids[0]] = 0.0
        task.model.weight[ids[0], (task.y()[ids[0]] + 1) % 3] = 5.0
    task.start("valid")
    rows = task.score(NodeBatch(ids, len(ids)))
    found = task.metrics("valid", rows)
    assert found["accuracy"] == pytest.approx((len(ids) - 1) / len(ids))
    assert 0 < found["f1"] < 1 and found["loss"] > 0
    chance = task.classify(ids)
    torch.testing.assert_close(chance.sum(1), torch.ones(len(ids)))
    assert torch.equal(chance.argmax(1), rows["guess"])


def test_who_extends_it_says_where_logits_come_from():
    task = Classification.__new__(Classification)
    for call in (task.y, task.logits, lambda: task.outputs(torch.arange(2))):
        with pytest.raises(NotImplementedError):
            call()


def test_messages():
    with pytest.raises(ValueError, match="is a data set of kind 'link', not 'node'"):
        Table(link_dataset())
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Table(batch_size=0)

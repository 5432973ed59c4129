"""Adaptive evaluation: the model itself is attacked, and judged on the plain result."""

from dataclasses import replace

import pytest
import torch
from attack_cases import attacked_graph, check_result
from torch.nn import functional as F

from graphlearn.attacks import RandomAttack, adaptive
from graphlearn.attacks.budget import graph_of
from graphlearn.models.gcn import GCN, GCNSVD, GCNJaccard
from graphlearn.ops.csr import CSR

FAST = {"epochs": 25, "block_size": 3000}


def fitted(model, data):
    """Trained on the clean graph."""
    graph = graph_of(data)
    ready = model.prepare(data.x, graph)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        z = model(data.x, ready)
        F.cross_entropy(z[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
    return graph


def accuracy(model, data, edge_index):
    graph = graph_of(data.__class__(edge_index=edge_index, num_nodes=data.num_nodes))
    with torch.no_grad():
        z = model.eval()(data.x, model.prepare(data.x, graph))
    nodes = ~data.train_mask
    return float((z.argmax(1) == data.y)[nodes].double().mean())


@pytest.mark.parametrize(
    "make",
    [
        lambda: GCN(12, 3, dropout=0.0),
        lambda: GCNJaccard(12, 3, threshold=0.2, dropout=0.0),
        lambda: GCNSVD(12, 3, rank=8, dropout=0.0),
    ],
)
def test_both_accuracies_are_those_of_the_hard_model(make):
    torch.manual_seed(0)
    data, model = attacked_graph(nodes=90, degree=6), make()
    graph = fitted(model, data)
    nodes = (~data.train_mask).nonzero().squeeze(1)
    found = adaptive(model, data.x, graph, data.y, nodes, 0.2, seed=1, **FAST)
    check_result(data, found.result, int(0.2 * (data.num_edges // 2)))
    assert found.clean == pytest.approx(accuracy(model, data, data.edge_index))
    assert found.attacked == pytest.approx(accuracy(model, data, found.result.edge_index))
    assert found.attacked < found.clean


def test_it_is_worse_than_chance():
    torch.manual_seed(0)
    data, model = attacked_graph(nodes=90, degree=6), GCN(12, 3, dropout=0.0)
    graph = fitted(model, data)
    nodes = (~data.train_mask).nonzero().squeeze(1)
    found = adaptive(model, data.x, graph, data.y, nodes, 40, **FAST)
    drawn = [RandomAttack().attack(data, 40, seed=s).edge_index for s in range(5)]
    assert found.attacked < min(accuracy(model, data, edges) for edges in drawn)


def test_pruned_edges_are_of_no_use_to_it():
    """Ends that share no feature are never joined by the attack on the model that drops them."""
    torch.manual_seed(0)
    data = attacked_graph(nodes=90, degree=6)
    data.x = F.one_hot(data.y, 12).float()
    model = GCNJaccard(12, 3, dropout=0.0)
    graph = fitted(model, data)
    nodes = (~data.train_mask).nonzero().squeeze(1)
    found = adaptive(model, data.x, graph, data.y, nodes, 40, **FAST)
    assert found.clean == found.attacked == 1


def test_weights_and_modes_stay():
    data, model = attacked_graph(), GCN(12, 3)
    model.train()
    model.second.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    graph = graph_of(data)
    pair = [adaptive(model, data.x, graph, data.y, torch.arange(9), 5, **FAST) for _ in range(2)]
    assert torch.equal(pair[0].result.edge_index, pair[1].result.edge_index)
    assert model.training and model.first.training and not model.second.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


class Deaf(torch.nn.Module):
    """Looks at no edge."""

    def prepare(self, x, graph):
        return graph

    def forward(self, x, graph):
        return x[:, :3]


def test_a_model_without_gradient_does_not_pass_for_robust():
    data = attacked_graph()
    with pytest.raises(ValueError, match="the logits of Deaf have no gradient in the weights of t"):
        adaptive(Deaf(), data.x, graph_of(data), data.y, torch.arange(9), 5)


def test_what_it_needs_is_said():
    data, model = attacked_graph(), GCN(12, 3)
    graph, nodes = graph_of(data), torch.arange(9)
    heavy = replace(graph, weight=torch.ones(graph.num_entries))
    for wrong in (heavy, graph.without(torch.tensor([[0], [1]])), replace(graph, symmetric=False)):
        with pytest.raises(ValueError, match="an adaptive attack starts from a plain graph: symm"):
            adaptive(model, data.x, wrong, data.y, nodes, 5)
    loop = CSR.from_edge_index(torch.tensor([[0], [0]]), 60)
    with pytest.raises(ValueError, match="an adaptive attack starts from a graph without self loo"):
        adaptive(model, data.x, replace(loop, symmetric=True), data.y, nodes, 5)
    with pytest.raises(ValueError, match="an adaptive attack needs nodes to attack, got none"):
        adaptive(model, data.x, graph, data.y, nodes[:0], 5)
    with pytest.raises(ValueError, match=r"node ids must lie in \[0, 60\), got 60 to 60"):
        adaptive(model, data.x, graph, data.y, torch.tensor([60]), 5)
    data.y[3] = -1
    with pytest.raises(ValueError, match="needs the labels of its nodes, node 3 has none"):
        adaptive(model, data.x, graph, data.y, nodes, 5)

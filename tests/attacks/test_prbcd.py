"""PRBCD: exact budgets, determinism, what it finds."""

import pytest
import torch
import toy
from attack_cases import attacked_graph, check_result
from torch.nn import functional as F
from torch_geometric.data import Data

from graphlearn.attacks.budget import graph_of
from graphlearn.attacks.flips import RandomAttack
from graphlearn.attacks.prbcd import PRBCD
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.spmm import propagate

FAST = {"epochs": 12, "block_size": 800}


@pytest.mark.parametrize("budget", [0, 1, 0.1, 40])
def test_the_budget_is_exact(budget):
    data = attacked_graph()
    before = data.edge_index.clone()
    result = PRBCD(**FAST).attack(data, budget, seed=1)
    edges = data.num_edges // 2
    check_result(data, result, budget if isinstance(budget, int) else int(budget * edges))
    assert torch.equal(data.edge_index, before)


def test_the_seed_decides_whatever_the_threads():
    data = attacked_graph()
    found, threads = [], torch.get_num_threads()
    for count, seed in ((1, 4), (3, 4), (1, 5)):
        torch.set_num_threads(count)
        torch.manual_seed(count)
        found.append(PRBCD(**FAST).attack(data, 20, seed=seed).edge_index)
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_the_generator_of_torch_is_left_alone():
    state = torch.get_rng_state()
    PRBCD(**FAST).attack(attacked_graph(), 5)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("loss", ["tanh_margin", "prob_margin", "margin"])
def test_it_finds_flips_that_do_more_harm_than_chance(loss):
    data = attacked_graph(nodes=120, degree=6)
    graph, nodes = graph_of(data), torch.arange(60, 120)
    centre = F.one_hot(data.y, 3).float()

    def logits(graph):
        return propagate(gcn_norm(graph), propagate(gcn_norm(graph), centre))

    def margin(edge_index):
        z = logits(graph_of(Data(edge_index=edge_index, num_nodes=120)))[nodes].softmax(1)
        mine = F.one_hot(data.y[nodes], 3).bool()
        return float((z[mine] - z.masked_fill(mine, 0).amax(1)).mean())

    result = PRBCD(loss=loss, epochs=40).search(logits, graph, data.y, nodes, 60)
    check_result(data, result, 60)
    chance = [margin(RandomAttack().attack(data, 60, seed=s).edge_index) for s in range(9)]
    assert margin(result.edge_index) < min(chance)


def test_poison_is_made_without_labels_outside_training():
    data = attacked_graph()
    one = PRBCD(**FAST).attack(data, 9)
    data.y[~data.train_mask] = -1
    assert torch.equal(one.edge_index, PRBCD(**FAST).attack(data, 9).edge_index)


def test_no_node_is_left_alone_unless_it_may():
    path = torch.arange(29)
    data = attacked_graph(nodes=30)
    edges = torch.stack([path, path + 1])
    data.edge_index = torch.cat([edges, edges.flip(0)], 1)
    for isolate in (False, True):
        result = PRBCD(isolate=isolate, **FAST).attack(data, 25)
        check_result(data, result, 25, isolate=isolate)


def test_budgets_that_are_too_large():
    data = attacked_graph(nodes=8, degree=1)
    with pytest.raises(ValueError, match="29 pairs are to be flipped, but there are only 28"):
        PRBCD(**FAST).attack(data, 29)
    with pytest.raises(ValueError, match="28 pairs are to be flipped, "):
        PRBCD(**FAST).attack(data, 28)
    data = attacked_graph()
    with pytest.raises(
        ValueError, match="30 pairs are to be flipped, which needs a larger block t"
    ):
        PRBCD(block_size=20, epochs=3).attack(data, 30)


@pytest.mark.parametrize("progress", [None, False, True])
def test_the_bar_is_drawn_when_asked_for(progress, capsys):
    PRBCD(progress=progress, **FAST).attack(attacked_graph(), 3)
    out, err = capsys.readouterr()
    assert out == "" and ("Attack" in err) == bool(progress)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"loss": "ce"}, "loss must be tanh_margin, prob_margin or margin, got 'ce'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"block_size": -1}, "block_size must be at least 0, got -1"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
    ],
)
def test_settings_must_make_sense(setting, message, unchecked):
    with pytest.raises(ValueError, match=message):
        PRBCD(**setting)


def test_nothing_to_attack_and_logits_that_are_not_finite_are_said():
    data = toy.node_dataset().data
    data.train_mask = torch.ones_like(data.train_mask)
    data.y = data.y.clamp(min=0)
    with pytest.raises(ValueError, match="PRBCD needs nodes to attack, got none"):
        PRBCD(epochs=1).attack(data, 2)
    data = toy.node_dataset().data
    data.x = torch.full_like(data.x, torch.nan)
    with pytest.raises(ValueError, match="needs finite features, got nan"):
        PRBCD(epochs=1).attack(data, 2)

"""Finished runs by recipe and data set."""

import pytest
from toy_runs import several, write

from graphlearn.groups import collect, headline
from graphlearn.recipe import find


@pytest.fixture
def runs(tmp_path):
    return several(tmp_path / "runs")


def test_collect_sorts_by_data_set_and_value(runs):
    found = collect([runs, runs / "ncn"])
    assert [(group.recipe.dataset, group.recipe.name) for group in found] == [
        ("Cora", "ncn"),
        ("Cora", "cn"),
        ("toy", "gcn"),
    ]
    assert found[0].values("hits@100") == [0.90, 0.88] and found[0].metric == "hits@100"
    assert [group.trained for group in found] == [True, False, True]


def test_a_line_cut_short_is_left_out(runs):
    (group,) = collect([runs / "ncn" / "Cora" / "0"])
    assert [row["epoch"] for row in group.histories[0] if "valid/hits@100" in row] == [1, 2, 3]


def test_only_the_last_stage_is_drawn(runs):
    path = runs / "ncn/Cora/0/metrics.csv"
    path.write_text("stage,epoch,loss\n0,1,5\n0,2,4\n1,1,3\n")
    (group,) = collect([path.parent])
    assert group.histories[0] == [{"stage": 1, "epoch": 1, "loss": 3}]


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": 1}'])
def test_a_damaged_result(runs, text):
    (runs / "cn/Cora/0/result.json").write_text(text)
    with pytest.raises(ValueError, match=r"result.json is damaged or no result of a run"):
        collect([runs])


def test_rates_of_an_attack_are_told_apart(tmp_path):
    for rate, value in ((0.2, 0.6), (0.0, 0.8), (0.05, 0.7)):
        write(tmp_path, "dagnn", 0, value, dataset="robust_cora", rate=rate)
    found = collect([tmp_path])
    assert [group.recipe.rate for group in found] == [0.0, 0.05, 0.2]
    assert [group.label for group in found] == [
        *("robust_cora", "robust_cora-meta-0.05", "robust_cora-meta-0.2")
    ]


@pytest.mark.parametrize(
    ("name", "monitor", "found", "want"),
    [
        ("ncn/cora", "mrr", ["mrr", "hits@100"], "hits@100"),
        ("ncn/cora", "mrr", ["auc", "mrr"], "mrr"),
        ("latte", "-loss", ["accuracy", "f1", "loss"], "accuracy"),
        ("latte", "-loss", ["loss"], "loss"),
        ("latte", "f1", ["accuracy", "f1", "loss"], "f1"),
    ],
)
def test_the_headline_is_published_or_chosen_and_no_loss(name, monitor, found, want):
    assert headline(find(name), monitor, found) == want

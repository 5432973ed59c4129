"""What is said about finished runs."""

import graphlearn as gl
from graphlearn.outcome import one_line, outcome
from graphlearn.train.tracking import Result


def test_a_published_result_stands_beside_ours():
    recipe = gl.find("ncn/cora")
    results = [
        Result(seed, "hits@100", 2, 5, {"hits@100": 0.8}, {"auc": 0.9, "hits@100": value}, "", 1.0)
        for seed, value in enumerate((0.88, 0.90))
    ]
    text = outcome(recipe, results)
    assert text.endswith(
        "ncn on Cora: test hits@100 89.00 ± 1.00 (2 seeds); "
        "published 89.05 ± 0.96 (NCN paper, table 2, 10 runs)"
    )
    assert "mean     89.00  90.00" in text and "std       1.00   0.00" in text


def test_a_published_result_of_another_metric_is_left_out():
    results = [
        Result(seed, "mrr", 2, 5, {"mrr": 0.3}, {"mrr": 0.4, **groups}, "", 1.0)
        for seed, groups in enumerate(({"mrr/new": 0.2}, {}))
    ]
    text = outcome(gl.find("ncn/cora"), results)
    assert text.endswith("ncn on Cora: test mrr 40.00 ± 0.00 (2 seeds)")
    assert "mrr/new" not in text, "not every seed has it"


def test_many_metrics_stand_below_each_other():
    test = {f"ndcg@{k}": 0.1 for k in range(1, 10)} | {"hits@100": 0.5}
    results = [Result(seed, "hits@100", 2, 5, {}, test, "", 1.0) for seed in (0, 1)]
    lines = outcome(gl.find("ncn/cora"), results).strip().splitlines()
    assert lines[0].split() == ["metric", "seed", "0", "seed", "1", "mean", "std"]
    assert lines[1].split() == ["hits@100", "50.00", "50.00", "50.00", "0.00"]
    assert [line.split()[0] for line in lines[2:11]] == [f"ndcg@{k}" for k in range(1, 10)]


def test_one_seed_in_one_line():
    result = Result(3, "hits@100", 2, 5, {"hits@100": 0.8}, {"hits@100": 0.9}, "", 61.2)
    text = one_line(gl.find("ncn/cora"), result)
    assert text == "valid hits@100 80.00, test hits@100 90.00 (best epoch 2 of 5, 61 s)"

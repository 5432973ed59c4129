import dataclasses
import math
import re
from pathlib import Path

import pytest

from graphlearn.recipe import Published, Recipe, dump, find, names, recipes, settings

HEAD = """
model = "graphlearn.models.baselines:GAE"
task = "graphlearn.tasks.link:LinkPrediction"
"""


DEFAULT = "dataset = 'x'\n[default]\n"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + text)
    return str(path)


def test_find_by_name_in_any_case():
    one = find("ncn", "CORA")
    assert (one.name, one.dataset, one.fallback) == ("ncn", "Cora", False)
    assert one == find("ncn/cora")
    assert one.published == Published("hits@100", 89.05, 0.96, 10, "NCN paper, table 2")


def test_find_falls_back_to_default():
    one = find("ncn", "my_edges.csv")
    assert one.fallback and one.dataset == "my_edges.csv" and one.published is None


def test_find_without_dataset():
    assert find("ncnc").dataset == "stdlib"


def test_find_names_the_nearest():
    with pytest.raises(
        KeyError, match=r"no recipe 'ncnn'; did you mean 'ncn'\? \(graphlearn list\)"
    ):
        find("ncnn")


def test_own_file(tmp_path):
    path = write(tmp_path, 'dataset = "edges.csv"\n[default]\nmodel = { hidden = 16 }\n')
    one = find(path)
    assert (one.name, one.dataset, one.values["model"]) == ("mine", "edges.csv", {"hidden": 16})
    only = find(write(tmp_path, "[Cora]\nschedule = { epochs = 1 }\n"))
    assert only.dataset == "Cora"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "mine.toml is not valid TOML"),
        ("papre = 'x'\n[default]", "unknown key 'papre'; did you mean 'paper'?"),
        (
            "dataset = 'x'\n[default]\nmodl = { a = 1 }",
            "has no entry 'modl'; did you mean 'model'?",
        ),
        (DEFAULT + "model = 3", "model must be a table, got 3"),
        (
            "dataset = 'x'\n[default]\npublished = { mean = 1.0 }",
            "published takes metric, mean, std",
        ),
        ("[Cora]\n[Pubmed]", "has settings for 2 data sets; choose one: --dataset NAME"),
        ("dataset = 'x'\n[Cora]", "has no table for 'x' and no [default]; it has Cora"),
        ("dataset = 'x'", "has no table for 'x' and no [default]"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        find(write(tmp_path, text))


def test_a_missing_file_and_head(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no recipe file 'nowhere.toml'"):
        find("nowhere.toml")
    path = tmp_path / "empty.toml"
    path.write_text(DEFAULT + "")
    with pytest.raises(ValueError, match=r"must say model = 'package.module:Name'"):
        find(str(path))


def test_all_recipes_are_listed():
    found = {(one.name, one.dataset) for one in recipes()}
    assert {name for name, _ in found} == set(names())
    assert {("ncn", "Cora"), ("ncnc", "ogbl-ddi"), ("ra", "default")} <= found


def test_settings_fill_in_the_defaults():
    found = settings(find("ncn", "ogbl-ddi"))
    assert found["model"].extra_row is True and found["model"].beta == 1.0
    assert found["schedule"].lr_of == {"encoder": 0.0021}
    assert found["task"].batch_size == 24576 and not hasattr(found["task"], "schedule")
    assert not hasattr(found["data"], "seed")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden": 3}, r"\[toy\] model has no knob 'hiden'; did you mean 'hidden'\?"),
        ({"zzz": 3}, "model has no knob 'zzz'; it takes hidden, layers"),
        ({"hidden": "3"}, "model.hidden must be int, got '3'"),
        ({"hidden": True}, "model.hidden must be int, got True"),
        ({"dropout": "x"}, "model.dropout must be float, got 'x'"),
        ({"encoder": "gcnn"}, "model.encoder must be one of .*, got 'gcnn'; did you mean 'gcn'"),
    ],
)
def test_settings_reject_what_does_not_fit(values, message):
    one = dataclasses.replace(find("gcn", "toy"), values={"model": values})
    with pytest.raises(ValueError, match=message):
        settings(one)


def test_dump_and_load_give_the_same_recipe(tmp_path):
    values = {
        "model": {"flag": True, "name": 'quo"te\n\\ ü \x7f', "rates": (0.1, 2.0), "tiny": 1e-30},
        "schedule": {"lr_of": {"encoder.0": 1e-3, "b": 0.0}, "big": math.inf, "none": {}},
        "data": {"root": Path("/a b")},
    }
    before = Recipe(
        "mine", "/x/my edges.csv", "a:b", "c:d", "A paper", values, Published("mrr", 1.5),
        "ncn/ogbl-ddi", 3,
    )  # fmt: skip
    path = tmp_path / "recipe.toml"
    path.write_text(dump(before), encoding="utf-8")
    after = find(str(path))
    values["model"]["rates"], values["data"]["root"] = [0.1, 2.0], "/a b"
    assert after == before


def test_dump_refuses_what_toml_cannot_say():
    one = dataclasses.replace(find("gcn"), values={"model": {"what": object()}})
    with pytest.raises(TypeError, match=r"a recipe cannot hold <object .* of type object"):
        dump(one)


RATES = """dataset = "robust_cora"
[robust_cora]
model = { hidden = 8 }
data = { kind = "link" }
published = { metric = "accuracy", mean = 85.0 }
[robust_cora.rates."0.2"]
model = { layers = 3 }
published = { metric = "accuracy", mean = 77.0 }
"""


def test_an_attack_changes_settings_and_published_numbers(tmp_path):
    path = write(tmp_path, RATES)
    clean, hard, other = find(path), find(path, rate=0.2), find(path, rate=0.1)
    assert (clean.published.mean, hard.published.mean, other.published) == (85.0, 77.0, None)
    assert clean.values["model"] == other.values["model"] == {"hidden": 8}
    assert hard.values["model"] == {"hidden": 8, "layers": 3}
    assert hard.values["data"] == {"kind": "link", "rate": 0.2} and hard.rate == 0.2
    assert (clean.label, hard.label) == ("robust_cora", "robust_cora-meta-0.2")
    again = tmp_path / "again.toml"
    again.write_text(dump(hard))
    assert find(str(again)).values == hard.values and find(str(again)).published == hard.published


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rates.x = {}", "rates has 'x', which is no number"),
        ("rates.'0.1' = { modl = 3 }", "rates.0.1 has no entry 'modl'; did you mean 'model'?"),
        ("rates.'0.1' = { model = 3 }", "rates.0.1: model must be a table, got 3"),
    ],
)
def test_rates_that_are_not_valid(tmp_path, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        find(write(tmp_path, DEFAULT + text), rate=0.1)


def test_label_of_files():
    assert dataclasses.replace(find("ncn"), dataset="/some/my.graph.csv").label == "my"


def test_another_attack_has_no_settings_and_numbers_in_print(tmp_path):
    path = write(tmp_path, RATES)
    for rate in (0.0, 0.2):
        other = find(path, rate=rate, attack="dice")
        assert other.published is None and other.values["model"] == {"hidden": 8}
    targets = dataclasses.replace(find(path), values={"data": {"attack": "nettack", "rate": 0.0}})
    assert targets.label == "robust_cora-nettack-0"

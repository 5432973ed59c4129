"""Every recipe: its knobs exist, its model is built, one step is trained."""

import dataclasses
import functools
import warnings

import pytest
import torch
import toy
import toy_hetero

from graphlearn import data
from graphlearn.data.dataset import Dataset
from graphlearn.knobs import build, locate
from graphlearn.recipe import SECTIONS, Recipe, find, names, recipes, settings
from graphlearn.tasks import robust
from graphlearn.train.trainer import Trainer

ALL = [pytest.param(one, id=f"{one.name}-{one.dataset}") for one in recipes()]
WITHOUT_FEATURES = {"ogbl-ddi", "ogbl-ppa"}


def small(recipe: Recipe) -> Recipe:
    """The recipe at a width and batch size that a toy can bear; all else as it is."""
    values = {key: dict(recipe.values.get(key, {})) for key in SECTIONS}
    if "hidden" in values["model"]:
        values["model"]["hidden"] = 8
    if recipe.task.rpartition(":")[2] in ("LinkPrediction", "EventPrediction", "Recommendation"):
        values["task"] |= {"batch_size": 32, "eval_batch_size": 64}
    if "channels" in values["model"]:
        values["model"]["channels"] = 8
    values["schedule"] |= {"epochs": min(values["schedule"].get("epochs", 1), 1), "eval_every": 1}
    values["schedule"]["eval_from"] = 1
    return dataclasses.replace(recipe, values=values)


def toy_for(recipe: Recipe) -> Dataset:
    """A toy of the kind that the recipe is for."""
    if recipe.task == "graphlearn.tasks.events:EventPrediction":
        return toy.event_dataset(name="toy", edge_dim=int(recipe.dataset == "bitcoin-alpha"))
    if recipe.task == "graphlearn.tasks.recommend:Recommendation":
        return toy.interaction_dataset(name="toy")
    if recipe.task == "graphlearn.tasks.hetero:HeteroClassification":
        return toy_hetero.hetero_dataset(name="toy")
    if recipe.task != "graphlearn.tasks.link:LinkPrediction":
        return toy.node_dataset(name="toy")
    return toy.link_dataset(name="toy", features=recipe.dataset not in WITHOUT_FEATURES)


@pytest.mark.parametrize("recipe", ALL)
def test_a_recipe_trains_one_epoch(recipe, monkeypatch):
    few = functools.partial(robust.tune, alpha=(0.3,), t2=(0.1, 0.7), k=(5,))
    monkeypatch.setattr(robust, "tune", few)
    settings(recipe)
    knobs = settings(small(recipe))
    dataset = toy_for(recipe)
    torch.manual_seed(0)
    model = build(locate(recipe.model), dataset, **vars(knobs["model"]))
    task = locate(recipe.task)(model, dataset, schedule=knobs["schedule"], **vars(knobs["task"]))
    before = [value.clone() for value in task.parameters()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        result = Trainer(device="cpu", progress=False).fit(task)
    assert all(0 <= value <= 1 for name, value in result.test.items() if name != "loss")
    changed = [not torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True)]
    assert any(changed) == (result.parameters > 0)


@pytest.mark.parametrize("recipe", ALL)
def test_a_recipe_names_a_data_set_and_says_its_source(recipe):
    assert recipe.dataset == "default" or recipe.dataset.lower() in data.DATASETS
    assert recipe.paper
    if recipe.published:
        assert recipe.published.source and 0 < recipe.published.mean < 100
    if recipe.after:
        first = settings(find(recipe.after))["model"]
        for key, value in vars(settings(recipe)["model"]).items():
            if "dropout" not in key and hasattr(first, key):
                assert getattr(first, key) == value, key


@pytest.mark.parametrize("name", names())
def test_every_recipe_has_a_default(name):
    assert find(name, "some.csv").fallback


@pytest.mark.parametrize("name", ["ncn", "ncnc"])
def test_the_seven_published_settings(name):
    found = [one.dataset for one in recipes() if one.name == name and one.published]
    assert sorted(found) == [
        *("Citeseer", "Cora", "Pubmed"),
        *("ogbl-citation2", "ogbl-collab", "ogbl-ddi", "ogbl-ppa"),
    ]


def test_ncnc_samples_neighbours_on_citation2_only():
    for recipe in (one for one in recipes() if one.name == "ncnc"):
        want = 96 if recipe.dataset == "ogbl-citation2" else 0
        model = settings(recipe)["model"]
        assert (model.train_degree, model.eval_degree) == (want, want)


def test_ncnc_differs_from_ncn_by_the_completion_only():
    completion = {"parity", "alpha", "odds", "scale", "offset", "nested_block"}
    for dataset in ("Cora", "Citeseer", "Pubmed", "ogbl-collab", "ogbl-ppa"):
        ncn, ncnc = find("ncn", dataset).values, find("ncnc", dataset).values
        shared = {key: value for key, value in ncnc["model"].items() if key not in completion}
        assert shared == ncn["model"]
        assert (ncnc["task"], ncnc["schedule"]) == (ncn["task"], ncn["schedule"])


@pytest.mark.parametrize(
    ("dataset", "facts", "count"),
    [
        ("ogbl-ddi", {"in_channels": 0, "num_ids": 4267}, 1_412_098),
        ("ogbl-ppa", {"in_channels": 0, "num_ids": 58}, 33_538),
    ],
)
def test_published_parameter_counts(dataset, facts, count):
    recipe = find("ncn", dataset)
    sized = dataclasses.replace(toy.link_dataset(), facts=facts)
    model = build(locate(recipe.model), sized, **vars(settings(recipe)["model"]))
    assert sum(value.numel() for value in model.parameters()) == count

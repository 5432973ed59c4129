import json
import tomllib
from pathlib import Path

import pytest
import torch
import toy

from graphlearn import runs
from graphlearn.recipe import find
from graphlearn.runs import changed, first_process, folder_of, make, resolved, restore, summarise
from graphlearn.train import checkpoint
from graphlearn.train.tracking import Result

RECIPE = """
model = "graphlearn.models.baselines:GAE"
task = "graphlearn.tasks.link:LinkPrediction"
dataset = "{edges}"
{extra}
[default]
model = {{ hidden = 8, layers = 1 }}
task = {{ batch_size = 64 }}
schedule = {{ epochs = {epochs}, lr = 0.01 }}
"""
MACHINE = {"device": "cpu", "progress": False}


@pytest.fixture
def edges(tmp_path: Path) -> Path:
    path = tmp_path / "edges.csv"
    rows = toy.ring_of_cliques().t().tolist()
    path.write_text("".join(f"n{source},n{target}\n" for source, target in rows))
    return path


def write(edges: Path, name: str = "mine", epochs: int = 3, extra: str = "") -> str:
    path = edges.with_name(f"{name}.toml")
    path.write_text(RECIPE.format(edges=edges, epochs=epochs, extra=extra))
    return str(path)


def losses(result: Result) -> list[float]:
    return [row["loss"] for row in result.history]


def test_a_run_and_its_folder(edges, tmp_path):
    results = runs.run(write(edges), seeds=2, out=tmp_path / "runs", **MACHINE)
    assert [result.seed for result in results] == [0, 1]
    folder = tmp_path / "runs/mine/edges"
    for seed in ("0", "1"):
        names = {path.name for path in (folder / seed).iterdir()}
        assert names == {"recipe.toml", "metrics.csv", "best.pt", "last.pt", "result.json"}
    assert losses(results[0]) != losses(results[1])
    summary = json.loads((folder / "summary.json").read_text())
    values = [result.test["auc"] for result in results]
    assert summary["seeds"] == [0, 1] and summary["test"]["auc"]["values"] == values
    assert summary["test"]["auc"]["mean"] == pytest.approx(sum(values) / 2)
    assert summary["test"]["auc"]["std"] == pytest.approx(abs(values[0] - values[1]) / 2)


def test_the_recipe_of_a_run_repeats_it(edges, tmp_path):
    (first,) = runs.run(write(edges), seeds=[5], out=tmp_path / "a", **MACHINE)
    (again,) = runs.run(str(first.folder / "recipe.toml"), out=tmp_path / "b", **MACHINE)
    assert again.seed == 5
    assert losses(again) == pytest.approx(losses(first), rel=1e-5)
    texts = [(result.folder / "recipe.toml").read_text() for result in (first, again)]
    assert texts[0] == texts[1]
    assert "beta" not in texts[0] and tomllib.loads(texts[0])["seed"] == 5


def test_overrides(edges, tmp_path):
    (result,) = runs.run(
        write(edges), schedule={"epochs": 1}, model={"hidden": 4}, out=tmp_path, **MACHINE
    )
    table = tomllib.loads((result.folder / "recipe.toml").read_text())[str(edges)]
    assert result.epochs == 1 and table["model"]["hidden"] == 4 and table["model"]["layers"] == 1


def test_restore_gives_the_best_weights(edges, tmp_path):
    (result,) = runs.run(write(edges), out=tmp_path, **MACHINE)
    task, dataset = restore(result.folder)
    state = checkpoint.load(result.folder / "best.pt")["state"]
    assert all(torch.equal(value, state[name]) for name, value in task.state_dict().items())
    assert dataset.names is not None and not task.training
    found = runs.Trainer(**MACHINE).evaluate(task, "test")
    assert found == pytest.approx(result.test)


def test_restore_says_what_is_missing(edges, tmp_path):
    (result,) = runs.run(write(edges), out=tmp_path / "runs", **MACHINE)
    with pytest.raises(FileNotFoundError, match=r"is no run: it holds no recipe.toml; it holds 1"):
        restore(tmp_path / "runs")
    with pytest.raises(FileNotFoundError, match=r"is no run: it holds no recipe.toml$"):
        restore(tmp_path / "nowhere")
    (result.folder / "best.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no best.pt: the run has no weights yet"):
        restore(result.folder)


def test_restore_refuses_the_weights_of_another_model(edges, tmp_path):
    one, other = (
        runs.run(write(edges, name), out=tmp_path, model={"layers": layers}, **MACHINE)[0].folder
        for name, layers in (("one", 1), ("two", 2))
    )
    (one / "best.pt").write_bytes((other / "best.pt").read_bytes())
    with pytest.raises(ValueError, match=r"best.pt does not fit this LinkPrediction\(GAE\)"):
        restore(one)


def test_an_existing_run_is_not_touched(edges, tmp_path):
    (result,) = runs.run(write(edges), out=tmp_path, **MACHINE)
    before = {path: path.read_bytes() for path in result.folder.iterdir()}
    with pytest.raises(FileExistsError, match=r"holds a run; continue it with --resume, replace"):
        runs.run(write(edges), out=tmp_path, **MACHINE)
    (again,) = runs.run(write(edges), out=tmp_path, resume=True, **MACHINE)
    assert again.test == result.test
    assert before == {path: path.read_bytes() for path in result.folder.iterdir()}
    with pytest.raises(ValueError, match=r"was made with model.hidden = 8, now it is 16; use the"):
        runs.run(write(edges), model={"hidden": 16}, out=tmp_path, resume=True, **MACHINE)
    with pytest.raises(ValueError, match="resume and overwrite exclude each other"):
        runs.run(write(edges), out=tmp_path, resume=True, overwrite=True, **MACHINE)
    (new,) = runs.run(write(edges), model={"hidden": 16}, out=tmp_path, overwrite=True, **MACHINE)
    assert new.parameters > result.parameters


def test_resume_may_go_on_for_longer(edges, tmp_path):
    runs.run(write(edges, epochs=2), out=tmp_path / "a", **MACHINE)
    (longer,) = runs.run(write(edges, epochs=5), out=tmp_path / "a", resume=True, **MACHINE)
    (whole,) = runs.run(write(edges, epochs=5), out=tmp_path / "b", **MACHINE)
    assert losses(longer) == pytest.approx(losses(whole), rel=1e-5)


def test_after_starts_from_the_best_weights_of_another_recipe(edges, tmp_path, monkeypatch):
    first = write(edges, "first")
    then = write(edges, "then", epochs=0)
    Path(then).write_text(
        Path(then).read_text().replace("[default]", f'[default]\nafter = "{first}"')
    )
    (result,) = runs.run(then, seeds=[3], out=tmp_path, **MACHINE)
    before = checkpoint.load(tmp_path / "first/edges/3/best.pt")["state"]
    state = checkpoint.load(result.folder / "best.pt")["state"]
    assert all(torch.equal(value, before[name]) for name, value in state.items())


def test_nothing_in_common_after(edges, tmp_path):
    recipe = changed(find(write(edges)), {"model": {"hidden": 4}})
    task, _ = make(resolved(recipe, 0))
    path = tmp_path / "best.pt"
    checkpoint.save(path, {"state": {"model.else": torch.zeros(3)}})
    with pytest.raises(ValueError, match=r"best.pt shares no parameter with LinkPrediction\(GAE\)"):
        runs._inherit(task, path)


def test_interrupt_ends_the_seeds(edges, tmp_path, monkeypatch):
    stopped = Result(0, "auc", 0, 0, {}, {}, "interrupted", 0.0)
    monkeypatch.setattr(runs.Trainer, "fit", lambda *_, **__: stopped)
    assert runs.run(write(edges), seeds=3, out=tmp_path, **MACHINE) == [stopped]
    assert not (tmp_path / "mine/edges/summary.json").exists()


def test_resolved_holds_every_knob_and_absolute_paths(edges, monkeypatch):
    monkeypatch.chdir(edges.parent)
    found = resolved(changed(find(write(edges), "edges.csv"), {"data": {"root": "."}}), 2)
    assert found.dataset == str(edges) and found.seed == 2
    assert found.values["data"]["root"] == edges.parent
    assert found.values["schedule"]["optimizer"] == "adam"


def test_names_of_folders(tmp_path):
    assert folder_of(find("ncn/cora"), 3, tmp_path) == tmp_path / "ncn/Cora/3"
    assert folder_of(find("ncn", "/x/a.csv.gz"), 0, "runs") == Path("runs/ncn/a/0")


def test_summary_of_nothing_writes_nothing(tmp_path):
    assert summarise(find("ncn/cora"), [], tmp_path)["published"]["mean"] == 89.05
    assert list(tmp_path.iterdir()) == [] and first_process()

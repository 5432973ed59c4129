"""Lists of items for users by name, and embeddings in a file."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from graphlearn import predict as module
from graphlearn.cli import main
from graphlearn.knobs import build
from graphlearn.models.baselines import GAE
from graphlearn.models.mf import MF
from graphlearn.models.recommend_baselines import Popularity
from graphlearn.predict import answer, export
from graphlearn.recommendations import recommended, save_embeddings
from graphlearn.tasks.link import LinkPrediction
from graphlearn.tasks.recommend import Recommendation


@pytest.fixture
def given(monkeypatch):
    """A run that needs no folder."""
    dataset = toy.interaction_dataset()
    torch.manual_seed(0)
    task = Recommendation(build(MF, dataset, channels=8), dataset)
    monkeypatch.setattr(module, "restore", lambda run: (task.eval(), dataset))
    return task


def known(dataset, user):
    pairs = torch.cat(list(dataset.splits.values()), 1)
    return {f"i{item}" for item in pairs[1][pairs[0] == user].tolist()}


def test_lists_by_name(given, tmp_path):
    rows = answer(tmp_path, people=["u7", "u0"], top=3)
    assert [row.rank for row in rows] == [1, 2, 3, 1, 2, 3]
    assert [row.user for row in rows] == ["u7"] * 3 + ["u0"] * 3
    for row in rows:
        assert row.item not in known(given.dataset, int(row.user[1:]))
        assert row.title == f"film {row.item[1:]}"
    table = given.model.embedding
    first = rows[0]
    score = float(table[7].detach() @ table[40 + int(first.item[1:])].detach())
    assert first.score == pytest.approx(score)
    assert rows[0].score >= rows[1].score >= rows[2].score


def test_users_from_a_file(given, tmp_path):
    path = tmp_path / "people.txt"
    path.write_text("u3\n\n u9 \n")
    rows = answer(tmp_path, users=path, people=["u1"], top=1)
    assert [row.user for row in rows] == ["u1", "u3", "u9"]


def test_a_list_is_as_long_as_there_are_items(given, tmp_path):
    rows = answer(tmp_path, people=["u0"], top=100)
    assert len(rows) == 30 - len(known(given.dataset, 0))


def test_data_without_names_has_numbers(given):
    bare = dataclasses.replace(given.dataset, names=None, titles=None)
    rows = recommended(given, bare, named=["5"], top=2)
    assert rows[0].user == "5" and int(rows[0].item) < 30 and rows[0].title == ""


def test_embeddings_in_a_file(given, tmp_path):
    path = tmp_path / "vectors.npz"
    assert export(tmp_path, path) == (40, 30)
    with np.load(path, allow_pickle=False) as held:
        assert sorted(held) == ["item_names", "item_titles", "items", "user_names", "users"]
        assert held["user_names"][7] == "u7" and held["item_titles"][3] == "film 3"
        table = given.model.embedding.detach().numpy()
        assert np.array_equal(held["users"], table[:40])
        assert np.array_equal(held["items"], table[40:])
    bare = dataclasses.replace(given.dataset, names=None, titles=None)
    save_embeddings(given, bare, path)
    with np.load(path, allow_pickle=False) as held:
        assert sorted(held) == ["items", "users"]


def test_what_is_refused(given, tmp_path):
    with pytest.raises(ValueError, match="needs --user NAME or --users FILE"):
        answer(tmp_path)
    with pytest.raises(ValueError, match="toy-interactions has no user 'u99' in training; did you"):
        answer(tmp_path, people=["u99"])
    (tmp_path / "who.txt").write_text("u1\nmallory\n")
    with pytest.raises(ValueError, match=r"who.txt line 2: toy-interactions has no user 'mallory'"):
        answer(tmp_path, users=tmp_path / "who.txt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        answer(tmp_path, users=tmp_path.__class__("nobody.txt"))
    (tmp_path / "raw.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ValueError, match=r"raw.txt is no text file in UTF-8"):
        answer(tmp_path, users=tmp_path / "raw.txt")
    with pytest.raises(ValueError, match="a run of a recommender, which answers"):
        answer(tmp_path, named=["u1"])
    with pytest.raises(ValueError, match=r"embeddings are written as .npz, got 'vectors.csv'"):
        export(tmp_path, tmp_path.__class__("vectors.csv"))


def test_other_runs(monkeypatch, tmp_path):
    dataset = toy.link_dataset()
    task = LinkPrediction(GAE(12, hidden=8), dataset)
    monkeypatch.setattr(module, "restore", lambda run: (task.eval(), dataset))
    with pytest.raises(ValueError, match="is no run of a recommender; --user and --users are for"):
        answer(tmp_path, people=["u1"])
    with pytest.raises(ValueError, match="is no run of a recommender; --embeddings is for those"):
        export(tmp_path, tmp_path / "x.npz")
    plain = toy.interaction_dataset()
    task = Recommendation(Popularity(40, 30), plain)
    with pytest.raises(ValueError, match="Popularity has no embeddings to export"):
        export(tmp_path, tmp_path / "x.npz")


def test_from_the_command_line(given, tmp_path, capsys):
    assert main(["predict", str(tmp_path), "--user", "u7", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "user", "item", "title", "score"] and len(lines) == 3
    out = tmp_path / "lists.csv"
    assert main(["predict", str(tmp_path), "--user", "u7", "--output", str(out)]) == 0
    assert out.read_text().startswith("rank,user,item,title,score\n1,u7,i")
    assert f"items -> {out}" in capsys.readouterr().out
    vectors = tmp_path / "v.npz"
    assert main(["predict", str(tmp_path), "--embeddings", str(vectors)]) == 0
    assert capsys.readouterr().out == f"40 users and 30 items -> {vectors}\n"
    assert main(["predict", str(tmp_path), "--user", "u77"]) == 1
    assert capsys.readouterr().err.startswith("graphlearn: --user: toy-interactions has no user")

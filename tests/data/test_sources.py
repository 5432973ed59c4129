from pathlib import Path

import pytest

from graphlearn.data.sources import DATASETS, find, resolve, used_options


def test_a_name_may_serve_several_kinds():
    assert find("LastFM", "auto").kind == "events"
    assert find("lastfm", "interactions").loader.__name__ == "load_lists"
    assert all(set(kinds) <= {"link", "node", "events", "interactions"} for kinds in
               DATASETS.values())  # fmt: skip


def test_a_table_of_interactions_must_be_asked_for(tmp_path):
    path = tmp_path / "likes.csv"
    path.write_text("user,item\n1,2\n")
    assert find(path, "auto").kind == "link"
    assert find(path, "interactions").loader.__name__ == "read_interactions"


def test_a_folder_of_lists(tmp_path):
    (tmp_path / "train.txt").write_text("0 1\n")
    found = find(tmp_path, "auto")
    assert (found.kind, found.what) == ("interactions", tmp_path)
    with pytest.raises(ValueError, match="kind='link' does not apply; leave it out"):
        find(tmp_path, "link")


@pytest.mark.parametrize(
    ("source", "kind", "error", "message"),
    [
        ("cora", "graph", ValueError, "kind must be auto, link, node, events or interactions, got"),
        ("ml-100k", "link", ValueError, "ml-100k is .*, kind='link' does not apply; leave it out"),
        ("cora", "interactions", ValueError, "cora is a graph, kind='interactions' does not apply"),
        ("ml-100", "auto", KeyError, "no data set 'ml-100'; did you mean 'ml-100k'"),
        (3, "auto", TypeError, "source must be a name, a path, a networkx graph or a PyG Data"),
        (Path("a/b.csv"), "auto", FileNotFoundError, "no such file"),
        ("likes.pkl", "auto", ValueError, "is refused, since reading a .pkl file can run code"),
        ("likes.xlsx", "auto", ValueError, "has the suffix '.xlsx'; expected a file that ends in"),
    ],
)
def test_sources_that_are_none(source, kind, error, message):
    with pytest.raises(error, match=message):
        find(source, kind)


def test_only_options_that_a_reader_takes():
    found = find("facebook-books", "auto")
    defaults = {"k_core": 0, "min_rating": None, "seed": 0, "valid": None}
    assert used_options(found, defaults | {"k_core": 2}, defaults) == {"k_core": 2, "seed": 0}
    with pytest.raises(ValueError, match=r"facebook-books has no use for min_rating=3.0; leave it"):
        used_options(found, defaults | {"min_rating": 3.0}, defaults)


def test_a_function_by_its_name():
    assert resolve("graphlearn.data.sources:find") is find

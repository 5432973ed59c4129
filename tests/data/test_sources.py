from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from graphlearn.data.sources import DATASETS, find, resolve, used_options


def test_a_name_may_serve_several_kinds():
    assert find("LastFM", "auto").kind == "events"
    assert find("lastfm", "interactions").loader.__name__ == "load_lists"
    kinds = {"link", "node", "hetero", "events", "interactions"}
    assert all(set(served) <= kinds for served in DATASETS.values())
    assert find("stdlib", "hetero").loader.__name__ == "load_stdlib_hetero"
    assert find("stdlib", "auto").kind == "link" and find("imdb", "auto").kind == "hetero"


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


def test_a_folder_of_typed_tables(tmp_path):
    (tmp_path / "author-writes-paper.csv").write_text("author,paper\n")
    found = find(tmp_path, "auto")
    assert (found.kind, found.what) == ("hetero", tmp_path)
    assert found.loader.__name__ == "read_hetero_folder"
    with pytest.raises(ValueError, match="several types of nodes, kind='link' does not apply"):
        find(tmp_path, "link")
    with pytest.raises(
        ValueError, match=r"is one table, kind='hetero' needs a folder of tables or"
    ):
        find(tmp_path / "author-writes-paper.csv", "hetero")


def test_an_archive_of_typed_nodes(tmp_path):
    np.savez(tmp_path / "a.npz", node_types=np.array(["a"]))
    found = find(tmp_path / "a.npz", "auto")
    assert (found.kind, found.loader.__name__) == ("hetero", "read_hetero_archive")


def test_what_an_object_of_types_is_for():
    data = HeteroData()
    data["user"].num_nodes = 3
    assert find(data, "auto").kind == "interactions"
    data["user"].y = torch.zeros(3)
    assert find(data, "auto").kind == "hetero"
    assert find(data, "interactions").loader.__name__ == "from_hetero"


@pytest.mark.parametrize(
    ("source", "kind", "error", "message"),
    [
        ("cora", "graph", ValueError, "kind must be auto, link, node, hetero, events or interac"),
        ("ml-100k", "link", ValueError, "ml-100k is .*, kind='link' does not apply; leave it out"),
        ("cora", "interactions", ValueError, "cora is a graph, kind='interactions' does not apply"),
        (
            "acm-gtn",
            "node",
            ValueError,
            "acm-gtn is a graph of several types of nodes, kind='node' d",
        ),
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

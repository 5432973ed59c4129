import logging

import pytest
import torch
from torch_geometric.data import HeteroData

from graphlearn.data.hetero import hetero_dataset, node_counts, written
from graphlearn.data.nodes import sparse_rows

SPLITS = {"train": torch.tensor([1, 0]), "valid": torch.tensor([2]), "test": torch.tensor([4])}


def toy():
    """Five papers, two authors with features, three venues without; all relations both ways."""
    data = HeteroData()
    data["paper"].x = torch.arange(10.0).reshape(5, 2)
    data["paper"].y = torch.tensor([0, 1, 1, -1, 0])
    data["author"].x = torch.ones(2, 3)
    data["venue"].num_nodes = 3
    writes = torch.tensor([[1, 0, 1, 0], [4, 0, 0, 0]])
    at = torch.tensor([[2, 0], [3, 1]])
    data["author", "writes", "paper"].edge_index = writes
    data["paper", "by", "author"].edge_index = writes.flip(0)
    data["venue", "prints", "paper"].edge_index = at
    data["paper", "in", "venue"].edge_index = at.flip(0)
    return data


def test_what_a_model_gets():
    source = toy()
    dataset = hetero_dataset("toy", source, "paper", SPLITS, classes=["a", "b"])
    assert (dataset.name, dataset.kind, dataset.metric) == ("toy", "hetero", "accuracy")
    assert dataset.facts == {
        "metadata": (
            ("paper", "author", "venue"),
            (
                ("author", "writes", "paper"),
                ("paper", "by", "author"),
                ("venue", "prints", "paper"),
                ("paper", "in", "venue"),
            ),
        ),
        "target": "paper",
        "in_channels": {"paper": 2, "author": 3, "venue": 0},
        "num_nodes_dict": {"paper": 5, "author": 2, "venue": 3},
        "num_nodes": 5,
        "out_channels": 2,
    }
    data = dataset.data
    # Once each, by destination, then source.
    assert data["author", "writes", "paper"].edge_index.tolist() == [[0, 1, 1], [0, 0, 4]]
    assert data["paper", "by", "author"].edge_index.tolist() == [[0, 0, 4], [0, 1, 1]]
    assert data["paper"].train_mask.tolist() == [True, True, False, False, False]
    assert data["paper"].val_mask.nonzero().flatten().tolist() == [2]
    assert data["paper"].test_mask.nonzero().flatten().tolist() == [4]
    assert dataset.splits["train"].tolist() == [0, 1]
    assert "x" not in data["venue"] and data["venue"].num_nodes == 3
    assert source["author", "writes", "paper"].edge_index.shape == (2, 4)  # left as it was


def test_what_is_logged(caplog):
    caplog.set_level(logging.INFO)
    hetero_dataset("toy", toy(), "paper", SPLITS)
    assert "toy: edge type (author, writes, paper): merged 1 repeated edges" in caplog.messages
    said = [line for line in caplog.messages if "embedding" in line]
    assert said == ["toy: no features of venue; models learn an embedding of each of these nodes"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_sparse_features_and_weights(caplog):
    data = toy()
    rows = sparse_rows(
        torch.tensor([0, 1, 2]).numpy(), torch.tensor([3, 0]).numpy(), None, (2, 4), source="x"
    )
    data["author"].x = rows
    data["author", "writes", "paper"].edge_weight = torch.ones(4)
    dataset = hetero_dataset("toy", data, "paper", SPLITS)
    assert dataset.data["author"].x.layout == torch.sparse_csr
    assert dataset.facts["in_channels"]["author"] == 4
    assert "toy: edge type (author, writes, paper): edge_weight is not used" in caplog.messages


def test_types_that_only_edges_name(caplog):
    caplog.set_level(logging.INFO)
    data = toy()
    data["paper", "on", "topic"].edge_index = torch.tensor([[0, 1], [6, 2]])
    dataset = hetero_dataset("toy", data, "paper", SPLITS)
    assert dataset.facts["num_nodes_dict"]["topic"] == 7
    assert "toy: 7 nodes of type 'topic', by the largest id of an edge" in caplog.messages


def test_missing_reverse_edges(caplog):
    data = toy()
    del data["paper", "in", "venue"]
    data["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1], [1, 3]])
    data["paper", "like", "paper"].edge_index = torch.tensor([[0, 1], [1, 0]])
    dataset = hetero_dataset("toy", data, "paper", SPLITS)
    assert len(dataset.facts["metadata"][1]) == 5
    assert caplog.messages == [
        "toy: no reverse of (venue, prints, paper), (paper, cites, paper), so messages go one way; "
        "undirected=True (--data.undirected) adds it",
        "toy: nodes of venue receive no messages; undirected=True (--data.undirected) adds reverse "
        "edges",
    ]


def test_reverse_edges_are_added_where_there_are_none(caplog):
    data = toy()
    del data["paper", "in", "venue"]
    data["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1], [1, 3]])
    data["paper", "like", "paper"].edge_index = torch.tensor([[0, 1], [1, 0]])
    data["editor"].num_nodes = 1
    dataset = hetero_dataset("toy", data, "paper", SPLITS, undirected=True)
    added = dataset.facts["metadata"][1][5:]
    assert added == (("paper", "rev_prints", "venue"), ("paper", "rev_cites", "paper"))
    assert dataset.data["paper", "rev_prints", "venue"].edge_index.tolist() == [[1, 3], [0, 2]]
    assert dataset.data["paper", "rev_cites", "paper"].edge_index.tolist() == [[1, 3], [0, 1]]
    assert caplog.messages == ["toy: nodes of editor receive no messages"]


def test_a_reverse_whose_name_is_taken():
    data = toy()
    del data["paper", "in", "venue"]
    data["paper", "rev_prints", "venue"].edge_index = torch.tensor([[0], [0]])
    with pytest.raises(ValueError, match=r"\(paper, rev_prints, venue\) is not the reverse of \(v"):
        hetero_dataset("toy", data, "paper", SPLITS, undirected=True)


WRITES = ("author", "writes", "paper")


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        (WRITES, "edge_index", torch.tensor([[0, 2], [0, 0]]),
         r"toy: edge type \(author, writes, paper\): ids of 'author' \(row 0 of edge_index\) must "
         r"lie in \[0, 2\), got 2 at edge 1"),
        (WRITES, "edge_index", torch.tensor([[0, 1], [-1, 5]]),
         r"ids of 'paper' \(row 1 of edge_index\) must lie in \[0, 5\), got -1 at edge 0"),
        (WRITES, "edge_index", torch.zeros(2, 3), r"whole numbers of shape \(2, E\), got float32"),
        (WRITES, "edge_index", torch.zeros(3, 2).long(), r"got int64 of shape \(3, 2\)"),
        ("author", "num_nodes", 3, "nodes of type 'author' is unclear: num_nodes says 3 but x sa"),
        ("paper", "y", torch.zeros(4).long(), "type 'paper' is unclear: x says 5 but y says 4"),
        ("author", "x", torch.zeros(2).long(), r"x of 'author' must have shape \(2, F\), got \(2,"),
        ("author", "x", torch.full((2, 1), torch.nan), "x of 'author': the features of node 0 are"),
        ("paper", "y", torch.zeros(5), "toy: paper: y must hold 5 whole numbers, got float32"),
        ("paper", "y", torch.full((5,), -1), "no node of type 'paper' has a label, all are -1"),
        ("paper", "y", torch.tensor([0, 1, -1, 0, 1]), "node 2 is in valid but has no label"),
    ],
)  # fmt: skip
def test_bad_parts(kind, key, value, message):
    data = toy()
    data[kind][key] = value
    with pytest.raises(ValueError, match=message):
        hetero_dataset("toy", data, "paper", SPLITS)


def test_bad_types():
    with pytest.raises(ValueError, match=r"no node type 'papr'; did you mean 'paper'\?; it has pa"):
        hetero_dataset("toy", toy(), "papr", SPLITS)
    with pytest.raises(ValueError, match="the nodes of type 'author' have no labels y"):
        hetero_dataset("toy", toy(), "author", SPLITS)
    with pytest.raises(ValueError, match="names must name 5 nodes, got 1"):
        hetero_dataset("toy", toy(), "paper", SPLITS, names=["a"])
    data = toy()
    data["paper", "", "author"].edge_index = torch.tensor([[0], [0]])
    with pytest.raises(ValueError, match="must name source, relation and destination, got"):
        hetero_dataset("toy", data, "paper", SPLITS)
    data = toy()
    del data["author", "writes", "paper"].edge_index
    data["author", "writes", "paper"].weight = 1
    with pytest.raises(ValueError, match=r"has no edge_index, only \['weight'\]"):
        hetero_dataset("toy", data, "paper", SPLITS)
    data = HeteroData()
    data["paper"].y = torch.zeros(5).long()
    with pytest.raises(ValueError, match="toy has no edge types"):
        hetero_dataset("toy", data, "paper", SPLITS)


def test_a_class_without_training_nodes(caplog):
    splits = {**SPLITS, "train": torch.tensor([0]), "valid": torch.tensor([1, 2])}
    hetero_dataset("toy", toy(), "paper", splits)
    assert "toy: 1 of 2 classes have no training node, the first is 1" in caplog.messages


def test_counts():
    data = toy()
    assert node_counts("toy", data) == {"paper": 5, "author": 2, "venue": 3}
    data["editor"].name = "?"
    with pytest.raises(ValueError, match="nothing says how many nodes of type 'editor' there are"):
        node_counts("toy", data)


def test_how_a_type_is_written():
    assert written(("a", "to", "b")) == "(a, to, b)"

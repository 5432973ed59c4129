from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from graphlearn.data.citation import load_citation

ROOT = Path("nowhere")


@pytest.fixture
def ring(monkeypatch):
    """What the raw files of a ring of 600 nodes would hold; reading them is tested elsewhere."""
    node = torch.arange(600)
    edge_index = torch.cat([torch.stack([node, (node + 1) % 600]).roll(k, 0) for k in (0, 1)], 1)
    data = Data(x=torch.ones(600, 6), edge_index=edge_index, y=node % 3)
    data.train_mask, data.val_mask = node < 60, (node >= 60) & (node < 160)
    data.test_mask = node >= 560
    monkeypatch.setattr("graphlearn.data.citation.read_named", lambda name, root: data)


def test_the_public_split(ring):
    for protocol in ("auto", "public"):
        dataset = load_citation("cora", ROOT, protocol=protocol, seed=5)
        assert dataset.splits["train"].tolist() == list(range(60))
        assert dataset.splits["valid"].tolist() == list(range(60, 160))
        assert dataset.splits["test"].tolist() == list(range(560, 600))
        assert dataset.facts == {"num_nodes": 600, "in_channels": 6, "out_channels": 3}
        assert dataset.name == "cora" and dataset.data.edge_index.shape == (2, 1200)


def test_protocols(ring):
    drawn = load_citation("cora", ROOT, protocol="stratified", valid=0.3, test=0.3)
    assert [len(ids) for ids in drawn.splits.values()] == [240, 180, 180]
    with pytest.raises(ValueError, match="600 labelled nodes are too few for 60 training, 500 val"):
        load_citation("cora", ROOT, protocol="random")
    with pytest.raises(ValueError, match="protocol must be auto, public, random or stratified for"):
        load_citation("cora", ROOT, protocol="heart")
    with pytest.raises(
        ValueError, match=r"protocol 'public' of cora fixes the sizes, got valid=0.2"
    ):
        load_citation("cora", ROOT, valid=0.2)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "edges", "facts", "train"),
    [
        ("cora", 10556, {"num_nodes": 2708, "in_channels": 1433, "out_channels": 7}, 140),
        ("pubmed", 88648, {"num_nodes": 19717, "in_channels": 500, "out_channels": 3}, 60),
    ],
)
def test_published_counts(data_root, name, edges, facts, train):
    dataset = load_citation(name, data_root)
    nodes = facts["num_nodes"]
    assert dataset.data.edge_index.shape == (2, edges) and dataset.facts == facts
    assert dataset.splits["train"].tolist() == list(range(train))
    assert dataset.splits["valid"].tolist() == list(range(train, train + 500))
    assert dataset.splits["test"].tolist() == list(range(nodes - 1000, nodes))
    per_class = torch.bincount(dataset.data.y[dataset.splits["train"]])
    assert per_class.tolist() == [20] * facts["out_channels"]


@pytest.mark.data
def test_the_random_split_of_cora(data_root):
    before = sorted(data_root.glob("planetoid/**/*"))
    first, second = (
        load_citation("cora", data_root, protocol="random", seed=seed) for seed in (0, 1)
    )
    assert [len(ids) for ids in first.splits.values()] == [140, 500, 1000]
    assert torch.bincount(first.data.y[first.splits["train"]]).tolist() == [20] * 7
    assert not torch.equal(first.splits["train"], second.splits["train"])
    assert sorted(data_root.glob("planetoid/**/*")) == before

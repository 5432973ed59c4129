import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from graphlearn.data.objects import from_data, from_networkx
from graphlearn.data.splits import check_no_leak


def test_numbered_networkx_graph():
    graph = nx.cycle_graph(30)
    graph.add_nodes_from([31, 30])
    dataset = from_networkx(graph)
    assert dataset.names is None and dataset.facts["num_nodes"] == 32
    assert sum(part.pos.shape[1] for part in dataset.splits.values()) == 30
    check_no_leak(dataset)


def test_named_networkx_graph_with_attributes():
    graph = nx.les_miserables_graph()
    for k, node in enumerate(graph):
        graph.nodes[node]["x"] = [k, 1.0]
    dataset = from_networkx(graph)
    assert dataset.names == list(graph) and dataset.data.x[5].tolist() == [5.0, 1.0]
    del graph.nodes["Valjean"]["x"]
    with pytest.raises(ValueError, match="node 'Valjean': attribute x must have 2 values, got 0"):
        from_networkx(graph)


def test_directed_multigraph_is_taken_as_undirected(caplog):
    graph = nx.MultiDiGraph([(k, (k + 1) % 20) for k in range(20)] * 2 + [(1, 0)])
    dataset = from_networkx(graph, protocol="planetoid")
    assert "a directed graph is taken as undirected" in caplog.text
    assert sum(part.pos.shape[1] for part in dataset.splits.values()) == 20
    assert dataset.metric == "hits@100"


def test_networkx_with_a_feature_file(tmp_path):
    graph = nx.relabel_nodes(nx.cycle_graph(20), lambda k: f"n{k}")
    graph.name = "ring"
    table = tmp_path / "x.csv"
    table.write_text("".join(f"n{k},{k}\n" for k in reversed(range(20))))
    dataset = from_networkx(graph, features=table)
    assert dataset.data.x.flatten().tolist() == list(range(20)) and dataset.name == "ring"
    table.write_text("n0,1\nn1,2\n")
    with pytest.raises(ValueError, match=r"x.csv: node 'n2' has no features"):
        from_networkx(graph, features=table)
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    with pytest.raises(
        ValueError, match=r"x.npy must have shape \(20, F\) or \(20,\), got \(3, 2\)"
    ):
        from_networkx(graph, features=tmp_path / "x.npy")


def test_empty_networkx_graph():
    with pytest.raises(ValueError, match="networkx: the graph has no edges"):
        from_networkx(nx.empty_graph(4))


def ring(nodes=20):
    first = torch.arange(nodes)
    return torch.stack([first, (first + 1) % nodes])


def test_pyg_data():
    x = torch.randn(20, 3, dtype=torch.float64)
    dataset = from_data(Data(x=x, edge_index=ring(), y=torch.arange(20)))
    assert dataset.data.x.dtype == torch.float32 and dataset.facts["in_channels"] == 3
    assert dataset.data.y.tolist() == list(range(20))
    ids = from_data(Data(x=torch.arange(20) + 5, edge_index=ring()))
    assert ids.facts["num_ids"] == 25
    bare = from_data(Data(edge_index=ring(), num_nodes=22), protocol="planetoid")
    assert bare.facts["num_ids"] == 22 and bare.metric == "hits@100"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(x=torch.ones(4, 2)), "the Data object has no edge_index"),
        (Data(edge_index=ring(), num_nodes=5), r"Data.edge_index: node ids must lie in \[0, 5\)"),
        (Data(x=torch.full((20, 2), torch.nan), edge_index=ring()), "features of node 0 are not"),
        (Data(x=torch.ones(9, 2), edge_index=ring(), num_nodes=20), r"got \(9, 2\)"),
        (Data(x=torch.ones(20), edge_index=ring()), r"shape \(20,\) must hold ids from 0"),
        (Data(x=torch.arange(20) - 1, edge_index=ring()), "must hold ids from 0"),
    ],
)
def test_bad_pyg_data(data, message):
    with pytest.raises(ValueError, match=message):
        from_data(data)

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import graphlearn as gl
from graphlearn.data.objects import (
    from_data,
    from_networkx,
    nodes_from_data,
    nodes_from_networkx,
)
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


def labelled(nodes=20, **more):
    return Data(edge_index=ring(nodes), y=torch.arange(nodes) % 2, **more)


def masks(*parts, nodes=20):
    names = ("train_mask", "val_mask", "test_mask")
    found = {name: torch.zeros(nodes, dtype=torch.bool) for name in names}
    for name, ids in zip(names, parts, strict=True):
        found[name][list(ids)] = True
    return found


def test_nodes_of_pyg_data():
    found = nodes_from_data(labelled(x=torch.randn(20, 3, dtype=torch.float64)))
    assert found.kind == "node" and found.data.x.dtype == torch.float32
    assert found.data.edge_index.shape == (2, 40) and found.facts["out_channels"] == 2
    assert [len(ids) for ids in found.splits.values()] == [2, 2, 16]
    column = Data(edge_index=ring(), y=(torch.arange(20) % 2)[:, None], num_nodes=20)
    assert torch.equal(nodes_from_data(column).data.y, found.data.y)


def test_masks_are_the_split():
    fixed = nodes_from_data(labelled(**masks(range(5), range(5, 9), range(9, 20))), seed=3)
    assert fixed.splits["train"].tolist() == list(range(5))
    drawn = nodes_from_data(
        labelled(**masks(range(5), range(5, 9), range(9, 20))), protocol="stratified"
    )
    assert len(drawn.splits["train"]) == 2
    one, other = masks([0], [1], [2, 3]), masks([4], [5], [6])
    several = {name: torch.stack([one[name], other[name]], 1) for name in one}
    assert nodes_from_data(labelled(**several), seed=3).splits["test"].tolist() == [6]
    assert nodes_from_data(labelled(**several), seed=4).splits["test"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(y=torch.zeros(4)), "the Data object has no edge_index"),
        (Data(edge_index=ring(), num_nodes=20), "the Data object has no labels y"),
        (Data(edge_index=ring(), y=torch.zeros(20)), "Data.y must hold 20 whole numbers, got flo"),
        (
            labelled(train_mask=torch.ones(20, dtype=torch.bool)),
            "Data.val_mask must hold 20 truth values, got none",
        ),
        (
            labelled(**(masks([0], [1], [2]) | {"test_mask": torch.ones(20)})),
            r"Data.test_mask must hold 20 truth values, got torch.float32 \(20,\)",
        ),
        (labelled(**masks([0], [0], [2])), "pyg: node 0 is in both train and valid"),
    ],
)
def test_nodes_of_pyg_data_that_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        nodes_from_data(data)


def test_nodes_of_a_networkx_graph(tmp_path):
    graph = nx.karate_club_graph()
    nx.set_node_attributes(graph, {v: graph.nodes[v]["club"] for v in graph if v < 30}, "label")
    found = nodes_from_networkx(graph, seed=1)
    assert found.classes == ["Mr. Hi", "Officer"] and found.data.y[30:].tolist() == [-1] * 4
    assert found.data.edge_index.shape == (2, 2 * graph.number_of_edges())
    nx.set_node_attributes(graph, {v: v % 3 for v in graph}, "y")
    np.save(tmp_path / "x.npy", np.ones((34, 2), dtype=np.float32))
    found = nodes_from_networkx(graph, features=tmp_path / "x.npy")
    assert found.data.y.tolist() == [v % 3 for v in range(34)] and found.classes is None
    assert found.facts["in_channels"] == 2
    with pytest.raises(ValueError, match="networkx: no node has an attribute y or label"):
        nodes_from_networkx(nx.path_graph(4))


def test_nodes_without_a_label_have_no_class_of_their_own():
    graph = nx.path_graph(40)
    for node in graph:
        graph.nodes[node]["y"] = [0.0, 1.0, None, float("nan")][node % 4]
    dataset = gl.load(graph, kind="node")
    assert dataset.facts["out_channels"] == 2 and int((dataset.data.y < 0).sum()) == 20


def test_weights_of_edges_are_not_used_and_that_is_said(caplog):
    edges = torch.tensor([[*range(39)], [*range(1, 40)]])
    data = Data(edge_index=edges, y=torch.arange(40) % 2, edge_weight=torch.ones(39), num_nodes=40)
    with caplog.at_level("WARNING"):
        gl.load(data, kind="node")
    assert "edge_weight of the Data object is not used" in caplog.text

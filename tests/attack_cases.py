"""Small graphs that can be attacked, and what every attack must hold to."""

import hypothesis.strategies as st
import torch
from torch_geometric.data import Data

from graphlearn.data.nodes import undirected

__all__ = ["attacked_graph", "check_result", "graphs", "pairs_of"]


def attacked_graph(nodes=60, features=12, classes=3, degree=4, seed=0):
    """Classes that edges and features tell apart; every third node is for training."""
    made = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % classes
    u = torch.randint(nodes, (nodes * degree,), generator=made)
    v = torch.randint(nodes, (nodes * degree,), generator=made)
    wanted = (y[u] == y[v]) | (torch.rand(len(u), generator=made) < 0.15)
    path = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    edges = torch.cat([torch.stack([u, v])[:, wanted], path], dim=1)
    centre = torch.rand(classes, features, generator=made)
    x = (torch.rand(nodes, features, generator=made) < 0.7 * centre[y]).float()
    train = torch.arange(nodes) % 5 < 2
    return Data(x=x, y=y, edge_index=undirected(edges, nodes), train_mask=train, num_nodes=nodes)


def pairs_of(edge_index):
    return set(map(tuple, edge_index.T.tolist()))


def check_result(data, result, count, *, isolate=False):
    """So many flips, in both directions, without loops, duplicates or new isolated nodes."""
    before, after = pairs_of(data.edge_index), pairs_of(result.edge_index)
    added, removed = pairs_of(result.added), pairs_of(result.removed)
    assert result.added.shape[1] + result.removed.shape[1] == count == len(added) + len(removed)
    assert all(i < j for i, j in added | removed)
    assert not added & before and removed <= before
    both = {(j, i) for i, j in added}, {(j, i) for i, j in removed}
    assert after == (before | added | both[0]) - removed - both[1]
    assert len(after) == result.edge_index.shape[1]
    keys = result.edge_index[0] * data.num_nodes + result.edge_index[1]
    assert bool((keys.diff() > 0).all())
    if not isolate:
        assert {i for i, _ in before} <= {i for i, _ in after}


@st.composite
def graphs(draw):
    """A small graph with labels, some of them unknown."""
    size = draw(st.integers(1, 9))
    ids = st.integers(0, size - 1)
    edges = draw(st.lists(st.tuples(ids, ids), max_size=25))
    y = draw(st.lists(st.integers(-1, 2), min_size=size, max_size=size))
    edge_index = undirected(torch.tensor(edges, dtype=torch.int64).view(-1, 2).t(), size)
    return Data(edge_index=edge_index, y=torch.tensor(y), num_nodes=size)

"""A tiny heterogeneous data set: papers of three fields, their authors and venues."""

import torch
from torch_geometric.data import HeteroData

from graphlearn.data.dataset import Dataset

__all__ = ["hetero_dataset"]


def hetero_dataset(name: str = "toy-hetero", num_papers: int = 60, seed: int = 0) -> Dataset:
    """Papers `i` are of field `i % 3`, and so are most of their authors and their venue.

    Four types of unequal size: papers with 12 words, authors with 7 features, venues without any,
    and two `editor` nodes that nobody sends a message to. Paper 0 has no author. Of each field a
    fifth of the papers is for training, a fifth for validation, the others for the test.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high, *shape: torch.randint(high, shape, generator=generator)  # noqa: E731
    chance = lambda *shape: torch.rand(shape, generator=generator)  # noqa: E731
    num_authors, num_venues = 24, 6
    paper = torch.arange(num_papers)
    y = paper % 3
    own = 3 * draw(num_authors // 3, num_papers) + y
    other = torch.where(chance(num_papers) < 0.3, draw(num_authors, num_papers), own)
    by = torch.cat([torch.stack([own, paper]), torch.stack([other, paper])], 1)[:, 1:]
    by = by[:, by[1] > 0].unique(dim=1)
    at = torch.stack([3 * draw(num_venues // 3, num_papers) + y, paper])
    words = (chance(num_papers, 12) < 0.2).float()
    words[paper, (y + 3 * draw(4, num_papers)) % 12] = 1.0
    data = HeteroData()
    data["paper"].x, data["paper"].y = words, y
    data["author"].x = torch.randn(num_authors, 7, generator=generator)
    data["venue"].num_nodes, data["editor"].num_nodes = num_venues, 2
    data["editor"].x = torch.randn(2, 5, generator=generator)
    edges = {
        ("author", "writes", "paper"): by,
        ("paper", "written_by", "author"): by.flip(0),
        ("venue", "prints", "paper"): at,
        ("paper", "printed_in", "venue"): at.flip(0),
        ("editor", "runs", "venue"): torch.tensor([[0, 1, 1], [0, 1, 2]]),
    }
    for kind, edge_index in edges.items():
        order = (edge_index[1] * data[kind[0]].num_nodes + edge_index[0]).argsort()
        data[kind].edge_index = edge_index[:, order]
    shuffled = paper[torch.randperm(num_papers, generator=generator)]
    shuffled = shuffled[torch.argsort(y[shuffled], stable=True)].reshape(3, -1)
    fifth = shuffled.shape[1] // 5
    parts = [shuffled[:, :fifth], shuffled[:, fifth : 2 * fifth], shuffled[:, 2 * fifth :]]
    ids = (part.reshape(-1).sort().values for part in parts)
    splits = dict(zip(("train", "valid", "test"), ids, strict=True))
    for key, ids in zip(("train_mask", "val_mask", "test_mask"), splits.values(), strict=True):
        data["paper"][key] = torch.zeros(num_papers, dtype=torch.bool).index_fill_(0, ids, True)
    sizes = {kind: int(data[kind].num_nodes) for kind in data.node_types}
    return Dataset(
        name=name,
        kind="hetero",
        metric="accuracy",
        data=data,
        splits=splits,
        facts={
            "metadata": (tuple(data.node_types), tuple(data.edge_types)),
            "target": "paper",
            "in_channels": {"paper": 12, "author": 7, "venue": 0, "editor": 5},
            "num_nodes_dict": sizes,
            "num_nodes": num_papers,
            "out_channels": 3,
        },
        names=[f"paper{i}" for i in range(num_papers)],
        classes=["algebra", "botany", "chemistry"],
    )

"""What every recommender must do, checked in one call."""

import torch

from graphlearn.ops.csr import CSR

__all__ = ["check_recommender", "interactions"]


def interactions(users: int = 15, items: int = 20, count: int = 70, seed: int = 3) -> CSR:
    """Users by items; the last user and the last item have nothing."""
    generator = torch.Generator().manual_seed(seed)
    user = torch.randint(users - 1, (count,), generator=generator)
    item = torch.randint(items - 1, (count,), generator=generator)
    return CSR.from_edge_index(torch.stack([user, item]), users, num_cols=items)


def check_recommender(make, *, users: int = 15, items: int = 20) -> None:
    """Shapes, blocks of users, permutations of both sides, gradients, evaluation mode, reload."""
    torch.manual_seed(1)
    graph = interactions(users, items)
    model = make().eval()

    def scores(model, graph, who):
        with torch.no_grad():
            return model.score(model.encode(model.prepare(graph)), who)

    everyone = torch.arange(users)
    full = scores(model, graph, everyone)
    assert full.shape == (users, items) and full.isfinite().all()
    assert torch.equal(full, scores(model, graph, everyone)), "evaluation is deterministic"
    part = torch.tensor([4, 0, 4])
    torch.testing.assert_close(scores(model, graph, part), full[part])
    assert scores(model, graph, part[:0]).shape == (0, items)
    _check_permutation(model, graph, full, scores)
    if any(True for _ in model.parameters()):
        _check_gradients(make().train(), graph, everyone)
        other = make().eval()
        other.load_state_dict(model.state_dict())
        assert torch.equal(full, scores(other, graph, everyone))


def _check_permutation(model, graph, full, scores) -> None:
    """New names of users and items change the rows and columns of the scores and nothing else."""
    users, items = full.shape
    generator = torch.Generator().manual_seed(5)
    p, q = (torch.randperm(size, generator=generator) for size in (users, items))
    pairs = torch.stack([p[graph.rows()], q[graph.col.long()]])
    renamed = CSR.from_edge_index(pairs, users, num_cols=items)
    before = None
    if hasattr(model, "embedding"):
        before = model.embedding.detach().clone()
        with torch.no_grad():
            model.embedding[p] = before[:users]
            model.embedding[users + q] = before[users:]
    found = scores(model, renamed, p)[:, q]
    if before is not None:
        with torch.no_grad():
            model.embedding.copy_(before)
    torch.testing.assert_close(found, full, rtol=1e-4, atol=1e-5)


def _check_gradients(model, graph, users) -> None:
    """Each parameter gets a gradient that is not all zero."""
    z = model.score(model.encode(model.prepare(graph)), users)
    (z * torch.randn_like(z)).sum().backward()
    silent = [n for n, v in model.named_parameters() if v.grad is None or not v.grad.any()]
    assert not silent, f"no gradient reaches {silent}"

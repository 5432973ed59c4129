"""What every link model must do, checked in one call."""

import io

import torch

from graphlearn.ops.csr import CSR

__all__ = ["check_link_model", "random_graph"]


def random_graph(nodes: int = 30, edges: int = 90, seed: int = 0) -> CSR:
    """An undirected graph whose last node is isolated."""
    generator = torch.Generator().manual_seed(seed)
    return CSR.from_edge_index(
        torch.randint(nodes - 1, (2, edges), generator=generator), nodes, undirected=True
    )


def check_link_model(make, *, channels: int = 7, tolerance: float = 1e-5) -> None:
    """Shapes, symmetry, permutation, batching, gradients, evaluation mode, save and load."""
    torch.manual_seed(1)
    graph, x = random_graph(), torch.randn(30, channels)
    pairs = torch.randint(30, (2, 40), generator=torch.Generator().manual_seed(2))
    model = make().eval()

    def score(graph: CSR, x: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.score(model.encode(x, graph), graph, pairs)

    full = score(graph, x, pairs)
    assert full.shape == (40,) and full.isfinite().all()
    assert torch.equal(full, score(graph, x, pairs)), "evaluation is deterministic"
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(full, score(graph, x, pairs.flip(0)), **close)
    parts = [score(graph, x, part) for part in torch.split(pairs, 13, dim=1)]
    torch.testing.assert_close(full, torch.cat(parts), **close)
    assert score(graph, x, pairs[:, :0]).shape == (0,)
    _check_permutation(score, graph, x, pairs, full, close)
    if any(p.requires_grad for p in model.parameters()):
        _check_gradients(model, graph, x, pairs)
        _check_reload(make, model.eval(), score, graph, x, pairs)


def _check_permutation(score, graph, x, pairs, full, close) -> None:
    """Renaming the nodes renames the pairs and changes nothing else."""
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    edges = torch.stack([graph.rows(), graph.col.long()])
    renamed = CSR.from_edge_index(order[edges], 30, undirected=True)
    moved = torch.empty_like(x)
    moved[order] = x
    torch.testing.assert_close(full, score(renamed, moved, order[pairs]), **close)


def _check_gradients(model, graph, x, pairs) -> None:
    """Each parameter gets a gradient that is not all zero."""
    model.train()
    z = model.score(model.encode(x, graph), graph, pairs)
    (z * torch.randn_like(z)).sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent, f"no gradient reaches {silent}"
    model.zero_grad()


def _check_reload(make, model, score, graph, x, pairs) -> None:
    """Saved and loaded weights give the same scores to the bit."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    before = score(graph, x, pairs)
    buffer.seek(0)
    other = make()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    model.load_state_dict(other.state_dict())
    assert torch.equal(before, score(graph, x, pairs))

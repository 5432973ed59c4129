"""What every node model must do, checked in one call."""

import io
from dataclasses import replace

import torch

from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows

__all__ = ["check_node_model", "node_case"]


def node_case(nodes: int = 30, channels: int = 7, seed: int = 0) -> tuple[CSR, torch.Tensor]:
    """An undirected graph whose last node is isolated, and sparse 0/1 features, none all zero."""
    generator = torch.Generator().manual_seed(seed)
    graph = CSR.from_edge_index(
        torch.randint(nodes - 1, (2, 3 * nodes), generator=generator), nodes, undirected=True
    )
    x = (torch.rand(nodes, channels, generator=generator) < 0.4).float()
    x[torch.arange(nodes), torch.arange(nodes) % channels] = 1
    return graph, x


def check_node_model(make, *, channels: int = 7, weights: bool = True) -> None:
    """Shapes, permutation, sparse = dense, gradients, evaluation mode, save and load.

    Args:
        make: Makes a model of `channels` features and 3 classes.
        channels: Number of features.
        weights: Whether logits are differentiable in the weights of the graph.
    """
    torch.manual_seed(1)
    graph, x = node_case(channels=channels)
    model = make().eval()

    def logits(graph: CSR, x: torch.Tensor | CSR) -> torch.Tensor:
        with torch.no_grad():
            return model(x, model.prepare(x, graph))

    full = logits(graph, x)
    assert full.shape == (30, 3) and full.isfinite().all()
    assert torch.equal(full, logits(graph, x)), "evaluation is deterministic"
    torch.testing.assert_close(full, logits(graph, feature_rows(x)), rtol=1e-4, atol=1e-5)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    edges = torch.stack([graph.rows(), graph.col.long()])
    moved = torch.empty_like(x)
    moved[order] = x
    renamed = CSR.from_edge_index(order[edges], 30, undirected=True)
    torch.testing.assert_close(full, logits(renamed, moved)[order], rtol=1e-4, atol=1e-5)
    _check_gradients(model, graph, x, weights)
    _check_reload(make, model, logits, graph, x)


def _check_gradients(model, graph, x, weights) -> None:
    """Each parameter gets a gradient that is not all zero, and so do weights of edges."""
    model.train()
    z = model(x, model.prepare(x, graph))
    (z * torch.randn_like(z)).sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent, f"no gradient reaches {silent}"
    model.zero_grad()
    model.eval()
    if weights:
        weight = torch.ones(graph.num_entries, requires_grad=True)
        heavy = replace(graph, weight=weight, symmetric=False)
        z = model(x, model.prepare(x, heavy))
        torch.testing.assert_close(z, model(x, model.prepare(x, graph)), rtol=1e-4, atol=1e-5)
        (grad,) = torch.autograd.grad((z * torch.randn_like(z)).sum(), weight)
        assert grad.isfinite().all() and grad.any(), "no gradient reaches the graph"


def _check_reload(make, model, logits, graph, x) -> None:
    """Saved and loaded weights give the same logits to the bit."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    before = logits(graph, x)
    buffer.seek(0)
    other = make().eval()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    model.load_state_dict(other.state_dict())
    assert torch.equal(before, logits(graph, x))

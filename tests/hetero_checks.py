"""What every model of heterogeneous node classification must do, checked in one call."""

import io
from collections.abc import Mapping

import torch
from toy_hetero import hetero_dataset

from graphlearn.data.dataset import Dataset
from graphlearn.ops.csr import CSR
from graphlearn.ops.rows import feature_rows

__all__ = ["check_hetero_model", "hetero_case"]

Graph = Mapping[tuple[str, str, str], CSR]
Features = Mapping[str, torch.Tensor | CSR]


def hetero_case(dataset: Dataset | None = None) -> tuple[dict[str, torch.Tensor], Graph]:
    """Features, or ids, and neighbour lists as models get them; those of the toy by default."""
    data = (hetero_dataset() if dataset is None else dataset).data
    size = {name: data[name].num_nodes for name in data.node_types}
    x = {name: data[name].x if "x" in data[name] else torch.arange(n) for name, n in size.items()}
    graph = {
        key: CSR.from_edge_index(data[key].edge_index.flip(0), size[key[2]], num_cols=size[key[0]])
        for key in data.edge_types
    }
    return x, graph


def check_hetero_model(make, *, silent: tuple[str, ...] = ()) -> None:
    """Shapes, permutation, sparse = dense, gradients, evaluation mode, save and load.

    Args:
        make: Makes a model for the data set `toy_hetero.hetero_dataset()`.
        silent: Beginnings of names of parameters that no gradient needs to reach.
    """
    torch.manual_seed(1)
    x, graph = hetero_case()
    model = make().eval()

    def logits(x: Features, graph: Graph) -> torch.Tensor:
        with torch.no_grad():
            return model(x, model.prepare(x, graph))

    full = logits(x, graph)
    assert full.shape == (60, 3) and full.isfinite().all()
    assert torch.equal(full, logits(x, graph)), "evaluation is deterministic"
    ready = model.prepare(x, graph)
    with torch.no_grad():
        assert torch.equal(model(x, ready), model(x, ready)), "what was prepared can be used again"
    sparse = {name: feature_rows(one) if one.dim() == 2 else one for name, one in x.items()}
    torch.testing.assert_close(full, logits(sparse, graph), rtol=1e-4, atol=1e-5)
    _check_permutation(logits, x, graph, full)
    _check_gradients(model, x, graph, silent)
    _check_reload(make, model, logits, x, graph)


def _check_permutation(logits, x, graph, full) -> None:
    """New numbers of the nodes of each type give the same logits under new numbers."""
    generator = torch.Generator().manual_seed(3)
    order = {name: torch.randperm(len(one), generator=generator) for name, one in x.items()}
    moved = {name: torch.empty_like(one) for name, one in x.items()}
    for name, one in x.items():
        moved[name][order[name]] = one  # nodes without features take their embedding along
    renamed = {}
    for key, one in graph.items():
        pairs = torch.stack([order[key[2]][one.rows()], order[key[0]][one.col.long()]])
        renamed[key] = CSR.from_edge_index(pairs, one.num_rows, num_cols=one.num_cols)
    found = logits(moved, renamed)[order["paper"]]
    torch.testing.assert_close(full, found, rtol=1e-4, atol=1e-5)


def _check_gradients(model, x, graph, silent) -> None:
    """Each parameter gets a gradient that is not all zero."""
    model.train()
    z = model(x, model.prepare(x, graph))
    (z * torch.randn_like(z)).sum().backward()
    missed = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    missed = [name for name in missed if not name.startswith(silent)]
    assert not missed, f"no gradient reaches {missed}"
    model.zero_grad()
    model.eval()


def _check_reload(make, model, logits, x, graph) -> None:
    """Saved and loaded weights give the same logits to the bit."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    before = logits(x, graph)
    buffer.seek(0)
    other = make().eval()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        assert torch.equal(before, other(x, other.prepare(x, graph)))

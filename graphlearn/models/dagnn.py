"""DAGNN: transform first, propagate far, and let each node decide which hops count."""

import weakref
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphlearn.nn import BatchNorm, Linear, drop_features
from graphlearn.ops.adjacency import gcn_norm
from graphlearn.ops.backend import check_range
from graphlearn.ops.csr import CSR
from graphlearn.ops.dropout import Dropout
from graphlearn.ops.hops import gated_hops, hop_gates
from graphlearn.ops.rows import feature_rows

__all__ = ["DAGNN", "DAProp"]


class DAProp(nn.Module):
    r"""Propagation over K hops with a gate at each of them; usable as a layer of any model.

    .. math:: O = \sum_{k=0}^{K} \sigma(H_k s + c) \odot H_k, \qquad H_0 = Z, \;
              H_k = \hat A H_{k-1}

    with one direction s and one offset c for all hops and nodes, and the normalisation
    :math:`\hat A = D^{-1/2} (A + I) D^{-1/2}`.

    Args:
        channels: Width of what is propagated.
        hops: Number of hops K.
        normalize: Normalise graphs that `prepare` or an edge list brings; otherwise their weights
            are taken as they are, without self loops.
        add_self_loops: Put a loop of weight 1 on every node that has none, before normalising.
        cached: Keep the last matrix that was made from an edge list. It serves as long as the
            very same tensors come again, unchanged; anything else is normalised anew.
        checkpoint: Keep fewer hops for the backward pass and compute the others again.

    Raises:
        ValueError: if `hops` is negative.
    """

    def __init__(
        self,
        channels: int,
        *,
        hops: int = 10,
        normalize: bool = True,
        add_self_loops: bool = True,
        cached: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if hops < 0:
            raise ValueError(f"hops must be at least 0, got {hops}")
        self.gate = nn.Linear(channels, 1)
        self.hops, self.checkpoint, self.cached = hops, checkpoint, cached
        self.normalize, self.add_self_loops = normalize, add_self_loops
        self._last: _Prepared | None = None

    def prepare(self, graph: CSR) -> CSR:
        """The matrix that `forward` multiplies with; differentiable in the weights of the graph.

        Args:
            graph: Neighbour lists: row i holds what node i receives.
        """
        if not self.normalize:
            return graph
        return gcn_norm(graph, loops=1.0 if self.add_self_loops else 0.0)

    def forward(
        self,
        z: Float[Tensor, "node chan"],
        graph: CSR | Tensor,
        edge_weight: Float[Tensor, " edge"] | None = None,
    ) -> Float[Tensor, "node chan"]:
        """Propagate and sum up.

        Args:
            z: One row per node.
            graph: What `prepare` returned; or an edge list (2, edges) from sources to targets; or
                a sparse tensor whose row i holds what node i receives.
            edge_weight: Weights of an edge list.

        Raises:
            ValueError: if the graph has not the shape of any of these, or weights come twice.
        """
        matrix = self._matrix(graph, len(z), edge_weight)
        weight, bias = self.gate.weight.view(-1), self.gate.bias.view(())
        return gated_hops(matrix, z, weight, bias, self.hops, checkpoint=self.checkpoint)

    def gates(
        self,
        z: Float[Tensor, "node chan"],
        graph: CSR | Tensor,
        edge_weight: Float[Tensor, " edge"] | None = None,
    ) -> Float[Tensor, "node hop"]:
        """How much of each hop each node takes, between 0 and 1; hop 0 is the node itself.

        Args:
            z: One row per node.
            graph: As in `forward`.
            edge_weight: Weights of an edge list.
        """
        matrix = self._matrix(graph, len(z), edge_weight)
        return hop_gates(matrix, z, self.gate.weight.view(-1), self.gate.bias.view(()), self.hops)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"hops={self.hops}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def _matrix(self, graph: CSR | Tensor, nodes: int, weight: Tensor | None) -> CSR:
        if isinstance(graph, CSR):
            if weight is not None:
                raise ValueError("edge_weight belongs to an edge list, got it with a CSR")
            return graph
        if self._last is not None and self._last.serves(graph, weight, nodes):
            return self._last.matrix
        matrix = self.prepare(_neighbours(graph, nodes, weight))
        # What is learned, or made where autograd was off for good, serves no later training step.
        learned = weight is not None and weight.requires_grad
        learned = learned or torch.is_inference_mode_enabled()
        if self.cached and _versioned(graph) and _versioned(weight) and not learned:
            self._last = _Prepared(graph, weight, nodes, matrix)
        return matrix


class DAGNN(nn.Module):
    r"""Deep adaptive graph neural network: an MLP, then gated propagation of its logits.

    .. math:: Z = W_2 \, \mathrm{drop}(\mathrm{ReLU}(W_1 \, \mathrm{drop}(X) + b_1)) + b_2, \qquad
              O = \sum_{k=0}^{K} \sigma(H_k s + c) \odot H_k

    Reference: Meng Liu, Hongyang Gao, Shuiwang Ji, "Towards Deeper Graph Neural Networks", KDD
    2020. Differs from the published code: the graph is normalised once instead of in every pass,
    dropout of sparse features touches stored values only (the same law), hops are summed while
    they are computed, one class and one node work, and the output are logits.

    For ogbn-arxiv the authors use `hidden=256, hops=16, dropout=0.2, batch_norm=True,
    input_dropout=0.0`; high dropout suits small sets of labels only.

    Args:
        in_channels: Features of a node.
        out_channels: Classes.
        hidden: Width of the hidden layers.
        hops: Number of hops K.
        dropout: Dropout of hidden layers.
        num_layers: Linear maps before the propagation.
        batch_norm: Batch normalisation after each map but the last.
        input_dropout: Dropout of the features; None is that of hidden layers.
        add_self_loops: Put a loop of weight 1 on every node that has none.
        checkpoint: Keep fewer hops for the backward pass and compute the others again.

    Raises:
        ValueError: if a probability lies outside [0, 1), `num_layers` is below 1, or `hops` is
            negative.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden: int = 64,
        hops: int = 10,
        dropout: float = 0.8,
        num_layers: int = 2,
        batch_norm: bool = False,
        input_dropout: float | None = None,
        add_self_loops: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        self.in_channels = in_channels
        self.input_dropout = dropout if input_dropout is None else input_dropout
        if not 0 <= self.input_dropout < 1:
            raise ValueError(f"input_dropout must lie in [0, 1), got {self.input_dropout}")
        widths = [in_channels, *[hidden] * (num_layers - 1), out_channels]
        self.layers = nn.ModuleList(Linear(widths[i], widths[i + 1]) for i in range(num_layers))
        self.norms = nn.ModuleList(
            BatchNorm(hidden) if batch_norm else nn.Identity() for _ in range(num_layers - 1)
        )
        self.drop = Dropout(dropout, relu=True)
        self.prop = DAProp(
            out_channels, hops=hops, add_self_loops=add_self_loops, checkpoint=checkpoint
        )

    def prepare(self, x: Tensor | CSR, graph: CSR) -> CSR:
        """The normalised graph.

        Args:
            x: Not used.
            graph: Neighbour lists.
        """
        return self.prop.prepare(graph)

    def transform(self, x: Tensor | CSR) -> Float[Tensor, "node class"]:
        """What is propagated; rows are independent, so that large graphs can be done in parts.

        Args:
            x: Features (node, chan), dense or sparse, or ids (node) that stand for one-hot rows.
        """
        h = drop_features(self._rows(x), self.input_dropout if self.training else 0.0)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            h = self.drop(norm(layer(h)))
        out: Tensor = self.layers[-1](h)
        return out

    def forward(
        self,
        x: Tensor | CSR,
        graph: CSR | Tensor,
        edge_weight: Float[Tensor, " edge"] | None = None,
    ) -> Float[Tensor, "node class"]:
        """Logits of each class for each node.

        Args:
            x: Features (node, chan), dense or sparse, or ids (node) that stand for one-hot rows.
            graph: What `prepare` returned, an edge list, or a sparse tensor; see `DAProp.forward`.
            edge_weight: Weights of an edge list.
        """
        out: Tensor = self.prop(self.transform(x), graph, edge_weight)
        return out

    def gates(
        self,
        x: Tensor | CSR,
        graph: CSR | Tensor,
        edge_weight: Float[Tensor, " edge"] | None = None,
    ) -> Float[Tensor, "node hop"]:
        """How much of each hop each node takes, between 0 and 1; hop 0 is the node itself.

        Args:
            x: Features.
            graph: As in `forward`.
            edge_weight: Weights of an edge list.
        """
        return self.prop.gates(self.transform(x), graph, edge_weight)

    def gate_profile(
        self,
        x: Tensor | CSR,
        graph: CSR | Tensor,
        edge_weight: Float[Tensor, " edge"] | None = None,
    ) -> Float[Tensor, " hop"]:
        """Mean gate of each hop over the nodes.

        Args:
            x: Features.
            graph: As in `forward`.
            edge_weight: Weights of an edge list.
        """
        return self.gates(x, graph, edge_weight).mean(0)

    def _rows(self, x: Tensor | CSR) -> Tensor | CSR:
        """Sparse tensors and ids as sparse rows."""
        if isinstance(x, CSR):
            return x
        if x.layout is torch.strided and (x.dim() > 1 or x.is_floating_point()):
            return x
        if x.dim() > 1:
            return feature_rows(x)
        check_range(self.in_channels, x)
        return replace(feature_rows(x), num_cols=self.in_channels)


class _Prepared:
    """A matrix, and which tensors in which state it was made from."""

    def __init__(self, graph: Tensor, weight: Tensor | None, nodes: int, matrix: CSR) -> None:
        self.matrix, self.nodes = matrix, nodes
        self.state = _state(graph), _state(weight)
        # What is gone cannot be mistaken for a new tensor in its place.
        self.made_from = weakref.ref(graph), None if weight is None else weakref.ref(weight)

    def serves(self, graph: Tensor, weight: Tensor | None, nodes: int) -> bool:
        """Whether these are the same tensors, unchanged."""
        first, second = self.made_from
        same = first() is graph and (second is None if weight is None else _is(second, weight))
        return same and nodes == self.nodes and self.state == (_state(graph), _state(weight))


def _is(reference: Any, tensor: Tensor) -> bool:  # noqa: ANN401
    return reference is not None and reference() is tensor


def _versioned(tensor: Tensor | None) -> bool:
    """Whether torch counts the writes to it."""
    if tensor is None:
        return True
    return tensor.layout in (torch.strided, torch.sparse_csr) and not tensor.is_inference()


def _state(tensor: Tensor | None) -> tuple[object, ...] | None:
    """Changes with every write to the tensor."""
    if tensor is None or not _versioned(tensor):
        return None
    stored = tensor if tensor.layout is torch.strided else tensor.values()
    return tensor._version, stored._version, tensor.shape, tensor.device, stored.data_ptr()


def _neighbours(graph: Tensor, nodes: int, weight: Tensor | None) -> CSR:
    """What each node receives, from an edge list or a sparse tensor."""
    if graph.layout is not torch.strided:
        if weight is not None:
            raise ValueError("edge_weight belongs to an edge list, got it with a sparse tensor")
        if graph.shape != (nodes, nodes):
            raise ValueError(
                f"a sparse graph must have shape ({nodes}, {nodes}), got {tuple(graph.shape)}"
            )
        coo = graph.to_sparse(layout=torch.sparse_coo).coalesce()
        edges, weight = coo.indices().flip(0), coo.values()
    else:
        if graph.dim() != 2 or len(graph) != 2 or graph.is_floating_point():
            raise ValueError(
                f"an edge list must be integers of shape (2, edges), got {graph.dtype} of shape "
                f"{tuple(graph.shape)}"
            )
        edges = graph
    if weight is None:  # edges that are listed twice count twice, as in PyG
        weight = torch.ones(edges.shape[1], device=edges.device)
    found = CSR.from_edge_index(edges.flip(0), nodes, weight=weight)
    return replace(found, symmetric=_is_symmetric(found))


def _is_symmetric(graph: CSR) -> bool:
    other = graph.transpose()
    assert graph.weight is not None and other.weight is not None
    return (
        torch.equal(graph.ptr, other.ptr)
        and torch.equal(graph.col, other.col)
        and torch.equal(graph.weight, other.weight)
    )

"""What stands between an op and its kernels: which module serves a device, and index checks."""
# ruff: noqa: D102 (each kernel is described where its op is)

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from graphlearn.settings import checking, reference_ops

__all__ = ["Context", "Kernels", "check_ids", "check_range", "kernels"]

Context: TypeAlias = Any  # of autograd: torch's own class does not know what an op keeps on it


@runtime_checkable
class Kernels(Protocol):
    """The kernels of one kind of device; the reference of each op says what it computes."""

    def locate(self, ptr: Tensor, col: Tensor, row: Tensor, target: Tensor) -> Tensor: ...

    def overlap(
        self, ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
    ) -> tuple[Tensor, Tensor]: ...

    def difference(
        self, ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...

    def overlap_count(
        self, ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, num_cols: int
    ) -> Tensor: ...

    def overlap_sum(
        self, ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, x: Tensor
    ) -> Tensor: ...

    def overlap_spread(
        self, ptr: Tensor, col: Tensor, keep: Tensor | None, src: Tensor, dst: Tensor, grad: Tensor,
        num_nodes: int,
    ) -> Tensor: ...  # fmt: skip

    def propagate(self, ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor) -> Tensor: ...

    def propagate_spread(
        self, ptr: Tensor, col: Tensor, weight: Tensor | None, grad: Tensor, num_cols: int
    ) -> Tensor: ...

    def propagate_dot(self, ptr: Tensor, col: Tensor, x: Tensor, grad: Tensor) -> Tensor: ...

    def propagate_max(
        self, ptr: Tensor, col: Tensor, weight: Tensor | None, x: Tensor
    ) -> tuple[Tensor, Tensor]: ...

    def dropout(self, x: Tensor, p: float, seed: int, relu: bool) -> Tensor: ...

    def rectify(self, out: Tensor, grad: Tensor, scale: float) -> Tensor: ...

    def gated_hops(
        self, ptr: Tensor, col: Tensor, weight: Tensor | None, z: Tensor, score: Tensor,
        bias: Tensor, hops: int, step: int,
    ) -> tuple[Tensor, Tensor, Tensor]: ...  # fmt: skip

    def gated_hops_grad(
        self, grad: Tensor, ptr: Tensor, col: Tensor, weight: Tensor | None, symmetric: bool,
        z: Tensor, score: Tensor, levels: Tensor, gates: Tensor, step: int, weighted: bool,
    ) -> Sequence[Tensor | None]: ...  # fmt: skip

    def pair_product(self, x: Tensor, src: Tensor, dst: Tensor) -> Tensor: ...

    def pair_spread(self, x: Tensor, src: Tensor, dst: Tensor, grad: Tensor) -> Tensor: ...

    def commit(
        self, key: Tensor, eid: Tensor, ts: Tensor, rep: Tensor, opp: Tensor, wide: Tensor,
        batch_no: Tensor, src: Tensor, dst: Tensor, t: Tensor, event: Tensor, src_at: Tensor,
        dst_at: Tensor, fresh: Tensor, own: Tensor, slots: list[int], quadratic: bool, seed: int,
        below: int, blocks: bool, rand1: Tensor | None, rand2: Tensor | None,
    ) -> None: ...  # fmt: skip

    def join(
        self, key: Tensor, ts: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
    ) -> tuple[Tensor, Tensor]: ...

    def listing(
        self, key: Tensor, pairs: Tensor, slots: list[int], quadratic: bool, seed: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...

    def refresh(self, *args: Any, **kwargs: Any) -> Tensor: ...  # noqa: ANN401

    def refresh_grad(self, *args: Any, **kwargs: Any) -> Sequence[Tensor]: ...  # noqa: ANN401


def kernels(device: torch.device) -> Kernels | None:
    """The fast kernels of a device; None sends the caller to its reference.

    Args:
        device: Where the tensors of the op are.
    """
    if reference_ops():
        return None
    if device.type == "cpu":
        from graphlearn.ops import cpu

        return cpu
    if device.type == "cuda":
        try:
            from graphlearn.ops import gpu
        except ImportError:  # builds of torch for CUDA bring Triton; others have the reference
            return None
        return gpu
    return None


def check_ids(size: int, *ids: Tensor) -> None:
    """Check ids where that is asked for: kernels trust them, and a look costs a synchronisation.

    Args:
        size: Number of nodes or rows.
        ids: Tensors of ids.

    Raises:
        ValueError: if an id lies outside, under `GRAPHLEARN_CHECK=1` or `GRAPHLEARN_OPS=reference`.
    """
    if checking() or reference_ops():
        for tensor in ids:
            check_range(size, tensor)


def check_range(size: int, ids: Tensor) -> None:
    """Check that all ids lie in [0, size).

    Args:
        size: Number of nodes or rows.
        ids: Any number of ids.

    Raises:
        ValueError: if an id is negative or too large.
    """
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= size):
        raise ValueError(
            f"node ids must lie in [0, {size}), got {int(ids.min())} to {int(ids.max())}"
        )

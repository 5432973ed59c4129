"""EdgeBank: a memory of pairs that predicts what it has seen."""

from typing import Literal

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from graphlearn.sampling.stream import Events, Features

__all__ = ["EdgeBank"]


class EdgeBank(nn.Module):
    r"""A pair that met before meets again.

    .. math:: z(u, v, t) = 1 \text{ if } (u, v) \text{ is in the memory, else } 0

    `unlimited` keeps every pair; `window` forgets one whose last event is longer ago than a share
    of the training span. Pairs are directed, and nothing is trained.

    Reference: Farimah Poursafaei, Shenyang Huang, Kellin Pelrine, Reihaneh Rabbany, "Towards
    Better Evaluation for Dynamic Link Prediction", NeurIPS 2022.

    Args:
        num_nodes: Nodes of the stream.
        num_events: Events of the stream, which is the most pairs that there can be.
        time_span: Time between the first and the last training event.
        memory: What is kept.
        window: Length of the window as a share of the training span.

    Raises:
        ValueError: if the window is not positive.

    Example:
        >>> bank, empty = EdgeBank(3, 10), Features(torch.zeros(3, 0), torch.zeros(10, 0))
        >>> src, dst, t = torch.tensor([0]), torch.tensor([2]), torch.tensor([5])
        >>> bank.update((), Events(src, dst, t, torch.tensor([0])))
        >>> view = bank.read(torch.tensor([0, 1, 2]), torch.tensor(6), empty)
        >>> bank.score(view, torch.tensor([[0, 1], [2, 2]]), torch.tensor([6, 6]))
        tensor([1., 0.])
    """

    keys: Tensor
    last: Tensor
    count: Tensor
    seen: Tensor

    def __init__(
        self,
        num_nodes: int,
        num_events: int,
        time_span: float = 1.0,
        *,
        memory: Literal["unlimited", "window"] = "unlimited",
        window: float = 0.15,
    ) -> None:
        super().__init__()
        if not window > 0:
            raise ValueError(f"window must be above 0, got {window}")
        self.num_nodes = num_nodes
        self.reach = window * time_span if memory == "window" else torch.inf
        # the rows below `count` hold the pairs as src * num_nodes + dst, in ascending order
        self.register_buffer("keys", torch.zeros(num_events, dtype=torch.long))
        self.register_buffer("last", torch.zeros(num_events, dtype=torch.double))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.long))

    def reset(self) -> None:
        """Forget the stream."""
        for buffer in self.buffers():
            buffer.zero_()

    def read(
        self, nodes: Int[Tensor, " node"], now: Num[Tensor, ""], features: Features
    ) -> tuple[Tensor, ...]:
        """The pairs of the memory and when each met last.

        Args:
            nodes: Not used.
            now: Not used.
            features: Not used.
        """
        size = int(self.count)
        return self.keys[:size], self.last[:size]

    def score(
        self, view: tuple[Tensor, ...], pairs: Int[Tensor, "2 pair"], t: Num[Tensor, " pair"]
    ) -> Float[Tensor, " pair"]:
        """One for a pair of the memory, zero for any other.

        Args:
            view: What `read` returned.
            pairs: Sources and destinations.
            t: When the pairs are asked for.
        """
        keys, last = view
        if not len(keys):
            return torch.zeros(pairs.shape[1], device=pairs.device)
        wanted = pairs[0] * self.num_nodes + pairs[1]
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        known = keys[place] == wanted
        return (known & (t.double() - last[place] <= self.reach)).float()

    @torch.no_grad()
    def update(self, view: tuple[Tensor, ...], events: Events) -> None:
        """Put the pairs of the events into the memory.

        Args:
            view: Not used.
            events: What has happened.
        """
        size = int(self.count)
        every = torch.cat([self.keys[:size], events.src * self.num_nodes + events.dst])
        keys, place = torch.unique(every, return_inverse=True)
        times = torch.cat([self.last[:size], events.t.double()])
        size = len(keys)
        last = times.new_full((size,), -torch.inf).scatter_reduce(0, place, times, "amax")
        self.keys[:size], self.last[:size] = keys, last
        self.count.fill_(size)
        self.seen += torch.stack([self.seen.new_tensor(len(events.eid)), (events.eid + 1).sum()])

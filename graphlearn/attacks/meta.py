"""Meta-gradients: the edges are attacked as hyper-parameters of the model's training."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from graphlearn.attacks.budget import AttackResult, changes, flipped, graph_of, steady
from graphlearn.attacks.metagrad import Inner, PairGradient, exact_gradient, first_order_gradient
from graphlearn.attacks.surrogate import Problem, Surrogate, problem_of, pseudo_labels, trained
from graphlearn.ops.csr import CSR
from graphlearn.sampling.batches import fold

__all__ = ["MetaAttack", "PowerLaw", "top_pairs"]

_CELLS = 1 << 23  # scores in memory at once
_LEAST, _CUTOFF = 2, 0.004  # degrees that are compared, and how unlikely they may become


class MetaAttack:
    r"""Poisoning by meta-gradients (Metattack).

    The attack raises the loss of a linear graph convolution that is trained on the attacked graph,

    .. math:: \max_A L_{atk}(f_{\theta^*}(A)), \qquad
              \theta^* = \mathrm{train}(A), \qquad f(A) = \hat A \hat A X W_1 W_2

    with the nodes that are not for training labelled by a model that was trained on the clean
    graph (Meta-Self), or on training nodes (`train_weight=1`, Meta-Train). In each step the pairs
    with the largest :math:`(1 - 2 A_{ij}) \, \partial L / \partial A_{ij}` are flipped. No pair is
    flipped twice. A table of all pairs is never stored: see `graphlearn.attacks.metagrad`.

    Reference: Daniel Zügner, Stephan Günnemann, "Adversarial Attacks on Graph Neural Networks via
    Meta Learning", ICLR 2019. Differs from it: several flips may share one gradient, and a node of
    which nothing is left but one edge keeps it also when several edges go in one step.

    Args:
        gradient: Through the training (`exact`), or summed over its steps with weights as
            constants (`first_order`), which needs less time and memory.
        train_weight: Share of the loss on training nodes in the attack's loss; 0 is Meta-Self.
        hidden: Width of the surrogate.
        steps: Steps of its training.
        lr: Their rate.
        momentum: Their momentum.
        flips_per_step: Flips that share a gradient; 0 is a fiftieth of the budget, 1 is published.
        power_law: Only flips after which the degrees pass a likelihood-ratio test of following
            the same power law.
        isolate: Nodes may lose their last edge.
        progress: Whether to draw a bar; None: on a terminal.

    Raises:
        ValueError: if a setting lies outside its range.
    """

    def __init__(
        self,
        *,
        gradient: Literal["exact", "first_order"] = "exact",
        train_weight: float = 0.0,
        hidden: int = 16,
        steps: int = 100,
        lr: float = 0.1,
        momentum: float = 0.9,
        flips_per_step: int = 0,
        power_law: bool = False,
        isolate: bool = False,
        progress: bool | None = None,
    ) -> None:
        if gradient not in ("exact", "first_order"):
            raise ValueError(f"gradient must be exact or first_order, got {gradient!r}")
        for name, value, low, high in (
            ("train_weight", train_weight, 0, 1), ("hidden", hidden, 1, math.inf),
            ("steps", steps, 1, math.inf), ("lr", lr, 0, math.inf), ("momentum", momentum, 0, 1),
            ("flips_per_step", flips_per_step, 0, math.inf),
        ):  # fmt: skip
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}], got {value}")
        self.gradient, self.flips_per_step = gradient, flips_per_step
        self.power_law, self.isolate, self.progress = power_law, isolate, progress
        self.inner = Inner(hidden, steps, lr, momentum, train_weight)

    def attack(self, data: Data, budget: float | int, *, seed: int = 0) -> AttackResult:
        """Change exactly as many edges as the budget says.

        Args:
            data: Graph in both directions, without weights and loops; `x`; `y`, -1 for no label;
                `train_mask`. Labels of other nodes are not used.
            budget: A float is a share of the edges, rounded down; an int is a number of edges.
            seed: Decides the result, alone.

        Raises:
            ValueError: if the graph is not plain, something is missing, or no further pair may be
                flipped.
        """
        graph = graph_of(data)
        count = changes(budget, graph.num_entries // 2)
        problem = problem_of(data, "MetaAttack")
        with steady(graph.ptr.device):
            return self._attack(graph, problem, count, seed)

    def _attack(self, clean: CSR, problem: Problem, count: int, seed: int) -> AttackResult:
        model = Surrogate.on(problem, clean)
        labels = pseudo_labels(model, trained(model, self.inner.hidden, fold(seed, 0)))
        law = PowerLaw(clean.degree()) if self.power_law else None
        each = self.flips_per_step or max(1, count // 50)
        gradient_of = exact_gradient if self.gradient == "exact" else first_order_gradient
        flips = clean.ptr.new_empty(2, 0)
        result = flipped(clean, flips, flips)
        off = None if self.progress is None else not self.progress
        with tqdm(total=count, desc="meta-gradients", unit=" flips", disable=off) as bar:
            while (done := flips.shape[1]) < count:
                graph = _csr(result.edge_index, clean.num_rows)
                model = Surrogate.on(problem, graph)
                found = gradient_of(model, labels, self.inner, seed=fold(seed, 1, done))
                new = self._choose(found, graph, flips, min(each, count - done), law)
                if not new.shape[1]:
                    raise ValueError(
                        f"{count} pairs are to be flipped, but after {done} no other one may be"
                    )
                flips = torch.cat([flips, new], dim=1)
                gone = clean.locate(flips) >= 0
                result = flipped(clean, flips[:, ~gone], flips[:, gone])
                bar.update(new.shape[1])
        return result

    def _choose(
        self, found: PairGradient, graph: CSR, past: Tensor, count: int, law: "PowerLaw | None"
    ) -> Tensor:
        """The best pairs that may be flipped, one after the other."""
        cells = graph.num_rows * (graph.num_rows - 1) // 2
        pool = min(cells, 4 * count + 64)
        while True:
            pairs, score = top_pairs(found, graph, past, pool, isolate=self.isolate)
            chosen = self._allowed(pairs, graph, count, law)
            if chosen.shape[1] == count or len(score) < pool or pool == cells:
                return chosen
            pool = min(cells, 8 * pool)

    def _allowed(self, pairs: Tensor, graph: CSR, count: int, law: "PowerLaw | None") -> Tensor:
        degree: list[int] = graph.degree().tolist()
        step = torch.where(graph.locate(pairs) >= 0, -1, 1).tolist()
        if law is not None:
            law.start(degree)
        chosen: list[int] = []
        for place, (i, j) in enumerate(pairs.T.tolist()):
            if len(chosen) == count:
                break
            by = step[place]
            if by < 0 and not self.isolate and min(degree[i], degree[j]) <= 1:
                continue
            if law is not None and not law.take(degree[i], degree[j], by):
                continue
            degree[i] += by
            degree[j] += by
            chosen.append(place)
        return pairs[:, chosen]


class PowerLaw:
    """A likelihood-ratio test whether degrees still follow the power law of a first graph.

    Args:
        degree: Degrees of the first graph.
    """

    def __init__(self, degree: Tensor) -> None:
        self.first = self.now = _law_sums(degree.tolist())

    def start(self, degree: list[int]) -> None:
        """Take these degrees for the present ones.

        Args:
            degree: Degrees of all nodes.
        """
        self.now = _law_sums(degree)

    def take(self, one: int, other: int, by: int) -> bool:
        """Whether two degrees may change; if so, they have.

        Args:
            one: Degree of one end.
            other: Degree of the other end.
            by: What is added to both.
        """
        count, logs = self.now
        for degree in (one, other):
            for value, sign in ((degree, -1), (degree + by, 1)):
                if value >= _LEAST:
                    count, logs = count + sign, logs + sign * math.log(value)
        both = (self.first[0] + count, self.first[1] + logs)
        ratio = 2 * (_likelihood(*self.first) + _likelihood(count, logs) - _likelihood(*both))
        if ratio >= _CUTOFF:
            return False
        self.now = (count, logs)
        return True


@torch.no_grad()
def top_pairs(
    found: PairGradient, graph: CSR, past: Tensor, count: int, *, isolate: bool = False
) -> tuple[Tensor, Tensor]:
    """The pairs whose flip raises the loss most, by blocks of rows; best first.

    Args:
        found: Gradient for all pairs.
        graph: The graph as it is.
        past: Pairs (2, P) that are left out.
        count: How many at most.
        isolate: Edges that are the last one of a node are not left out.

    Returns:
        Pairs (2, K), the smaller end first, and their scores (K).
    """
    size, device = graph.num_rows, graph.ptr.device
    row, col = graph.rows(), graph.col.long()
    upper = row < col
    row, col = row[upper], col[upper]
    degree = graph.degree()
    last = torch.zeros_like(upper[upper]) if isolate else (degree[row] == 1) | (degree[col] == 1)
    banned = torch.cat([past, torch.stack([row, col])[:, last]], dim=1)
    keys, scores = graph.ptr.new_empty(0), torch.empty(0, device=device)
    step = max(1, _CELLS // max(size, 1))
    for first in range(0, size, step):
        until = min(first + step, size)
        block = found.block(slice(first, until), slice(first, size))
        mine = (row >= first) & (row < until)
        block[row[mine] - first, col[mine] - first] *= -1
        mine = (banned[0] >= first) & (banned[0] < until)
        block[banned[0, mine] - first, banned[1, mine] - first] = -torch.inf
        height = until - first
        below = torch.ones(height, height, dtype=torch.bool, device=device).tril_()
        block[:, :height].masked_fill_(below, -torch.inf)
        bar = scores[-1] if len(scores) == count else scores.new_tensor(-torch.inf)
        at = (block > bar).nonzero()
        value = block[at[:, 0], at[:, 1]]
        if len(value) > count:
            value, best = value.topk(count)
            at = at[best]
        keys = torch.cat([keys, (at[:, 0] + first) * size + at[:, 1] + first])
        scores, order = torch.cat([scores, value]).sort(descending=True, stable=True)
        keys, scores = keys[order][:count], scores[:count]
    return torch.stack([keys // max(size, 1), keys % max(size, 1)]), scores


def _csr(edge_index: Tensor, size: int) -> CSR:
    """Neighbour lists of sorted edges."""
    ptr = torch.searchsorted(
        edge_index[0].contiguous(), torch.arange(size + 1, device=edge_index.device)
    )
    return CSR(ptr, edge_index[1].int(), size, symmetric=True)


def _law_sums(degree: list[int]) -> tuple[int, float]:
    """How many degrees are compared, and the sum of their logarithms."""
    large = [d for d in degree if d >= _LEAST]
    return len(large), math.fsum(map(math.log, large))


def _likelihood(count: int, logs: float) -> float:
    """Largest log-likelihood of a power law."""
    if not count:
        return 0.0
    alpha = 1 + count / (logs - count * math.log(_LEAST - 0.5))
    return count * math.log(alpha) + count * alpha * math.log(_LEAST) - (alpha + 1) * logs

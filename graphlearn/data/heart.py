"""Hard negatives of the HeaRT protocol: nodes that heuristics take for the true end of a link."""

from collections.abc import Iterator
from dataclasses import replace
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from torch import Tensor
from tqdm import tqdm

from graphlearn.data.dataset import Dataset, LinkSplit
from graphlearn.ops.cpu.jit import jit
from graphlearn.ops.csr import CSR
from graphlearn.sampling.batches import fold
from graphlearn.train.task import Split

__all__ = ["heart_negatives", "heart_split"]

_Scores = tuple[NDArray[np.int64], NDArray[np.float32]]

_TELEPORT = 0.15

# Tolerance of the random walk in the published settings; 1e-5 elsewhere.
_TOLERANCE = {
    "cora": 1e-7,
    "citeseer": 1e-7,
    "ogbl-ppa": 5e-6,
    "ogbl-citation2": 5e-5,
}


def heart_split(
    dataset: Dataset,
    *,
    seed: int = 0,
    k: int = 500,
    tolerance: float | None = None,
    features: bool | None = None,
) -> Dataset:
    """The same data set with hard negatives for each true pair and MRR as its metric.

    Scores come from the training links. Links known at the time of a split (training, and for
    test also validation) are never negatives. ogbl-collab is the published exception: its pairs
    may link again, so known links are allowed, and test scores use the validation links too.

    Args:
        dataset: Links with training, validation and test pairs; their negatives are ignored.
        seed: Decides ties and the nodes that fill up.
        k: Negatives for each true pair; half replace its target, half its source.
        tolerance: Of the random walk; None takes the published value of this set.
        features: Rank by feature similarity too; None does so for float features outside OGB.

    Raises:
        ValueError: as `heart_negatives`, or if features are wanted and there are none.
    """
    name = dataset.name.lower()
    nodes, x = int(dataset.facts["num_nodes"]), getattr(dataset.data, "x", None)
    has_features = x is not None and x.is_floating_point()
    if features and not has_features:
        raise ValueError(
            f"feature similarity needs float features, which {dataset.name} lacks; "
            "use features=False"
        )
    if features is None:
        features = has_features and not name.startswith("ogbl-")
    again = name == "ogbl-collab"
    train = _graph(nodes, dataset.splits["train"].pos)
    both = _graph(nodes, dataset.splits["train"].pos, dataset.splits["valid"].pos)
    known_at: dict[Split, CSR] = {"valid": train, "test": both}
    splits = dict(dataset.splits)
    for key, known in known_at.items():
        split: LinkSplit = splits[key]
        neg = heart_negatives(
            split.pos,
            both if again and key == "test" else train,
            None if again else known,
            x=x if features else None,
            k=k,
            tolerance=_TOLERANCE.get(name, 1e-5) if tolerance is None else tolerance,
            seed=seed,
        )
        splits[key] = replace(split, neg=neg)
    return replace(dataset, splits=splits, metric="mrr")


def heart_negatives(
    pos: Int[Tensor, "2 pair"],
    graph: CSR,
    known: CSR | None,
    *,
    x: Float[Tensor, "node chan"] | None = None,
    k: int = 500,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> Int[Tensor, "2 pair {k}"]:
    r"""The nodes that look most like the true end of each pair, hardest first.

    For an end :math:`a` of a pair :math:`(a, b)`, every node :math:`w` is scored by resource
    allocation :math:`\sum_{u \in N(a) \cap N(w)} 1 / d_u`, by personalised PageRank from
    :math:`a`, and by cosine similarity of features where they are given. Positive scores are
    ranked, the best is 1; of :math:`w`'s ranks the smallest counts, where a score of zero has the
    rank after the last. The smallest :math:`k / 2` are taken, ties at random; where fewer nodes
    have any score, uniform draws from the others fill up.

    From Li et al., Evaluating Graph Neural Networks for Link Prediction: Current Pitfalls and New
    Benchmarking, NeurIPS Datasets and Benchmarks 2023. The published code overwrites a node's
    feature similarities with their ranks, so that they are wrong in its second pair; this does
    not. Its ties fall as its sort happens to leave them, so its files are not reproduced.

    Args:
        pos: True pairs; the other end is never a candidate, nor is the end itself.
        graph: Undirected links that scores are computed from.
        known: Links that are never negatives; None allows all.
        x: Features to compare.
        k: Negatives for each pair: the first half keeps the source, the second the target.
        tolerance: A node is pushed while its residual is at least this times its degree.
        seed: Decides ties and the nodes that fill up, alone.

    Raises:
        ValueError: if `k` is odd or not positive, the tolerance is not positive, the graph is
            directed, or a node is linked to all others.
    """
    if k < 2 or k % 2:
        raise ValueError(f"k must be even and positive, got {k}")
    if tolerance <= 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    if not graph.symmetric:
        raise ValueError("hard negatives need an undirected graph, got a directed one")
    ends, half = pos.cpu().numpy(), k // 2
    neg = np.repeat(ends[:, :, None], k, axis=2)
    scorer = _Scorer(graph, x, tolerance)
    with tqdm(total=ends.size, desc="hard negatives", unit=" ends", disable=None) as bar:
        for node, places in _by_node(ends.reshape(-1)):
            taken = np.append(_row(known, node), node)
            ids, scores = _without(*scorer(node), taken)
            for place in places:
                side, pair = divmod(int(place), ends.shape[1])
                other = int(ends[1 - side, pair])
                rng = np.random.default_rng(fold(seed, side, pair))
                hard = _hardest(*_without(ids, scores, np.array([other])), half, rng)
                fill = _fill(graph.num_rows, np.append(taken, other), hard, half, rng)
                neg[1 - side, pair, side * half : (side + 1) * half] = np.append(hard, fill)
            bar.update(places.size)
    return torch.from_numpy(neg).to(pos.device)


def _graph(nodes: int, *pairs: Tensor) -> CSR:
    return CSR.from_edge_index(torch.cat(pairs, dim=1).cpu(), nodes, undirected=True)


def _row(graph: CSR | None, node: int) -> NDArray[np.int64]:
    if graph is None:
        return np.empty(0, np.int64)
    return graph.col[graph.ptr[node] : graph.ptr[node + 1]].cpu().numpy().astype(np.int64)


def _by_node(owner: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The places of each node: one scoring serves all its pairs."""
    order = np.argsort(owner, kind="stable")
    nodes, first = np.unique(owner[order], return_index=True)
    yield from zip(nodes.tolist(), np.split(order, first)[1:], strict=True)


def _without(
    ids: NDArray[np.int64], scores: NDArray[np.float32], taken: NDArray[np.int64]
) -> _Scores:
    free = ~np.isin(ids, taken)
    return ids[free], scores[:, free]


def _hardest(
    ids: NDArray[np.int64],
    scores: NDArray[np.float32],
    most: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """At most so many candidates in order of their best rank; equal ranks in random order."""
    if not ids.size:
        return ids
    rank = np.min([_ranks(row) for row in scores], axis=0)
    key = rank + rng.random(rank.size)
    if key.size > most:
        best = np.argpartition(key, most - 1)[:most]
        ids, key = ids[best], key[best]
    return ids[np.argsort(key)]


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """One is best; ties share the worst rank among them; zeros come after the last."""
    positive = np.sort(scores[scores > 0])
    if not positive.size:
        return np.ones(scores.size, np.int64)
    top = np.searchsorted(positive, positive[-1])
    below = np.searchsorted(positive, scores)
    ranks: NDArray[np.int64] = np.where(scores > 0, 1 + top - below, 2 + top)
    return ranks


def _fill(
    num_nodes: int,
    taken: NDArray[np.int64],
    hard: NDArray[np.int64],
    wanted: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Uniform draws, with replacement, from the nodes that no score speaks for."""
    if hard.size == wanted:
        return hard[:0]
    free = np.ones(num_nodes, np.bool_)
    free[taken] = False
    free[hard] = False
    pool = np.flatnonzero(free)
    if not pool.size:
        pool = hard  # every node has a score: repeat some rather than none
    if not pool.size:
        raise ValueError(
            f"node {taken[-2]} is linked to all other nodes, so no pair with it is a negative; "
            "take its pairs out"
        )
    return rng.choice(pool, wanted - hard.size)


class _Scorer:
    """Scores of all nodes for one node; what is as long as the graph is allocated once.

    Sums are rounded to single precision: nodes that are equal in exact arithmetic then tie,
    whatever the order of the sums was.
    """

    def __init__(self, graph: CSR, x: Tensor | None, tolerance: float) -> None:
        nodes = graph.num_rows
        self.ptr, self.col = graph.ptr.cpu().numpy(), graph.col.cpu().numpy()
        self.tolerance = tolerance
        self.total, self.residual = np.zeros(nodes), np.zeros(nodes)
        self.waiting = np.zeros(nodes, np.bool_)
        self.queue, self.touched = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
        self.unit: csr_array | None = None
        if x is not None:
            rows = csr_array(x.detach().cpu().double().numpy())
            length = np.sqrt(rows.power(2).sum(axis=1))
            self.unit = diags_array(1 / np.where(length > 0, length, 1)).tocsr() @ rows
            self.across = self.unit.T.tocsr()

    def __call__(self, node: int) -> _Scores:
        """Nodes with a positive score, ascending, and their scores (score, node)."""
        parts = [self._allocation(node), self._pagerank(node)]
        if self.unit is not None:
            similar = self.unit[[node]] @ self.across
            parts.append((similar.indices.astype(np.int64), similar.data.astype(np.float32)))
        parts = [(ids[value > 0], value[value > 0]) for ids, value in parts]
        ids = np.unique(np.concatenate([found for found, _ in parts]))
        scores = np.zeros((len(parts), ids.size), np.float32)
        for row, (found, value) in zip(scores, parts, strict=True):
            row[np.searchsorted(ids, found)] = value
        return ids, scores

    def _allocation(self, node: int) -> _Scores:
        return self._collect(_allocate(self.ptr, self.col, node, self.total, self.touched))

    def _pagerank(self, node: int) -> _Scores:
        count = _push(
            self.ptr,
            self.col,
            node,
            self.tolerance,
            self.total,
            self.residual,
            self.waiting,
            self.queue,
            self.touched,
        )
        self.residual[self.touched[:count]] = 0
        return self._collect(count)

    def _collect(self, count: int) -> _Scores:
        """Take the touched sums out and leave zeros for the next node."""
        ids = self.touched[:count].copy()
        value = self.total[ids].astype(np.float32)
        self.total[ids] = 0
        return ids, value


@jit
@no_type_check
def _allocate(ptr, col, node, total, touched):  # noqa: ANN001, ANN202
    """Resource allocation from one node; returns how many nodes were touched."""
    count = 0
    for u in col[ptr[node] : ptr[node + 1]]:
        share = 1.0 / (ptr[u + 1] - ptr[u])
        for w in col[ptr[u] : ptr[u + 1]]:
            if total[w] == 0:
                touched[count] = w
                count += 1
            total[w] += share
    return count


@jit
@no_type_check
def _push(ptr, col, node, tolerance, total, residual, waiting, queue, touched):  # noqa: ANN001, ANN202
    """Personalised PageRank by forward push (Andersen, Chung, Lang, FOCS 2006), first in first out.

    `queue` is a ring: a node waits in it once at most.
    """
    residual[node] = 1.0
    touched[0] = queue[0] = node
    waiting[node] = True
    count, head, length = 1, 0, 1
    while length:
        u = queue[head]
        head = (head + 1) % queue.size
        length -= 1
        waiting[u] = False
        mass, residual[u] = residual[u], 0.0
        total[u] += _TELEPORT * mass
        share = (1 - _TELEPORT) * mass / max(ptr[u + 1] - ptr[u], 1)
        for v in col[ptr[u] : ptr[u + 1]]:
            if residual[v] == 0 and total[v] == 0:
                touched[count] = v
                count += 1
            residual[v] += share
            if not waiting[v] and residual[v] >= tolerance * (ptr[v + 1] - ptr[v]):
                waiting[v] = True
                queue[(head + length) % queue.size] = v
                length += 1
    return count

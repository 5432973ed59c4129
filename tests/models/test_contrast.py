"""The contrastive encoder: views, first weights, the published formulation, its task."""

import math

import pytest
import torch
from checks import vectors
from torch import nn
from torch.nn import functional as F

from graphlearn.models.contrast import Contrast, ContrastTask, Views, draw_views, product
from graphlearn.ops import CSR
from graphlearn.ops.adjacency import edges_once
from graphlearn.ops.rows import feature_rows
from graphlearn.train import Trainer
from graphlearn.train.task import Schedule


def dense(graph: CSR) -> torch.Tensor:
    out = torch.zeros(graph.num_rows, graph.num_cols, dtype=torch.float64)
    value = graph.values()
    out[graph.rows(), graph.col.long()] = 1.0 if value is None else value.double()
    return out


TOY = CSR.from_edge_index(torch.tensor([[0, 0, 1, 1], [1, 2, 2, 3]]), 4, undirected=True)
NONE = torch.empty(2, 0, dtype=torch.int64)


def some_views(nodes: int = 30, count: int = 2, seed: int = 0) -> tuple[CSR, torch.Tensor, Views]:
    made = torch.Generator().manual_seed(seed)
    edges = torch.randint(nodes, (2, 3 * nodes), generator=made)
    whole = CSR.from_edge_index(edges, nodes, undirected=True)
    removed = edges_once(whole)[:, ::3]
    views = draw_views(whole.without(removed), removed, count=count, generator=made)
    return whole.without(removed), removed, views


def test_published_normalisation():
    views = draw_views(TOY, NONE, beta=2.0, extra_loop=1.0)
    close = {"rtol": 0, "atol": 5e-6}
    main = torch.tensor([0.5, 0.22361, 0.25, 0.0], dtype=torch.float64)
    torch.testing.assert_close(dense(views.main)[0], main, **close)
    other = torch.tensor([0.6, 0.18257, 0.2, 0.0], dtype=torch.float64)
    assert len(views.others) == 2
    for view in views.others:
        torch.testing.assert_close(dense(view)[0], other, **close)
    plain = draw_views(TOY, NONE, beta=2.0).others[0]
    assert torch.equal(dense(plain), dense(views.main))


def test_views_take_back_a_share_of_the_removed_edges():
    pre, removed, _ = some_views()
    before = set(map(tuple, edges_once(pre).T.tolist()))
    gone = set(map(tuple, removed.T.tolist()))
    found = []
    for seed in (0, 0, 1):
        made = torch.Generator().manual_seed(seed)
        views = draw_views(pre, removed, count=3, recover=0.5, generator=made)
        back = [set(map(tuple, edges_once(v).T.tolist())) - before for v in views.others]
        assert all(len(some) == len(gone) // 2 and some <= gone for some in back)
        assert all(view.symmetric for view in (views.main, *views.others))
        assert set(map(tuple, edges_once(views.main).T.tolist())) == before
        found.append(back)
    assert found[0] == found[1] != found[2]
    assert found[0][0] != found[0][1]


def test_first_weights():
    torch.manual_seed(0)
    model = Contrast(1433)
    for weight, bound in (
        (model.weight, math.sqrt(6 / (1433 + 512))),
        (model.match, math.sqrt(6 / (512 * 512 + 512))),
    ):
        weight = weight.detach()
        assert 0.99 * bound < weight.abs().max() <= bound
        assert abs(float(weight.mean())) < 0.01 * bound
    assert not model.bias.any() and not model.offset.any() and model.slope.tolist() == [0.25]
    _, _, views = some_views()
    x = (torch.rand(30, 1433) < 0.01).float()
    loss = model(x, views, torch.randperm(30)).detach()
    assert abs(float(loss) - math.log(2)) < 0.05


class Published(nn.Module):
    """Bilinear layer on repeated summaries, an encoder pass for each view, dense adjacencies."""

    def __init__(self, model: Contrast) -> None:
        super().__init__()
        self.weight = nn.Parameter(model.weight.detach().double())
        self.bias = nn.Parameter(model.bias.detach().double())
        self.slope = nn.Parameter(model.slope.detach().double())
        size = model.match.shape[0]
        self.score = nn.Bilinear(size, size, 1).double()
        with torch.no_grad():
            self.score.weight.copy_(model.match[None])
            self.score.bias.copy_(model.offset)

    def encode(self, x, matrix):
        return F.prelu(matrix @ (x @ self.weight) + self.bias, self.slope)

    def forward(self, x, main, others, order, kind):
        true, false = self.encode(x, main), self.encode(x[order], main)
        logits = []
        for other in others:
            s = self.encode(x, other).mean(0).sigmoid().expand_as(true).contiguous()
            logits.append(torch.cat([self.score(h, s).squeeze(1) for h in (true, false)]))
        label = torch.cat([torch.ones(len(x)), torch.zeros(len(x))]).double()
        if kind == "sum":
            logits = [sum(logits)]
        losses = [F.binary_cross_entropy_with_logits(z, label) for z in logits]
        return sum(losses) / len(losses)


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_loss_and_gradients_are_those_of_the_bilinear_layer(kind, form):
    _, _, views = some_views()
    x, order = vectors(30, 11).detach().relu(), torch.randperm(30)
    torch.manual_seed(1)
    model = Contrast(11, hidden=8, view_loss=kind)
    nn.init.normal_(model.match)
    nn.init.normal_(model.bias)
    nn.init.constant_(model.offset, 0.3)
    theirs = Published(model)
    loss = model(feature_rows(x) if form == "sparse" else x, views, order)
    loss.backward()
    other = theirs(
        x.double(), dense(views.main), [dense(view) for view in views.others], order, kind
    )
    other.backward()
    close = {"rtol": 1e-4, "atol": 1e-6, "check_dtype": False}
    # In the loss's own precision: a float32 sum cannot meet the tolerance of float64.
    torch.testing.assert_close(loss, other.float())
    for ours, those in (
        (model.weight, theirs.weight.grad),
        (model.bias, theirs.bias.grad),
        (model.slope, theirs.slope.grad),
        (model.match, theirs.score.weight.grad[0]),
        (model.offset, theirs.score.bias.grad),
    ):
        torch.testing.assert_close(ours.grad, those, **close)
    h = model.encode(x, views.main)
    torch.testing.assert_close(h, theirs.encode(x.double(), dense(views.main)), **close)


def test_product_and_its_gradients():
    left = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    right = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(product, (left, right))
    assert torch.autograd.gradcheck(lambda left: product(left, right.detach()), left)


def task_of(resample: bool = False, **schedule) -> ContrastTask:
    pre, removed, _ = some_views()
    torch.manual_seed(0)
    model = Contrast(11, hidden=8)
    seen = []

    def views(seed: int, epoch: int) -> Views:
        seen.append((seed, epoch))
        made = torch.Generator().manual_seed(seed + epoch)
        return draw_views(pre, removed, generator=made)

    x = vectors(30, 11).detach()
    task = ContrastTask(model, x, views, resample=resample, schedule=Schedule(**schedule))
    task.seen = seen
    return task


def fit(task, **options):
    return Trainer(device="cpu", progress=False, **options).fit(task)


def test_training_stops_at_the_patience_and_keeps_the_least_loss():
    task = task_of(epochs=400, lr=0.01, patience=5)
    result = fit(task)
    losses = [row["loss"] for row in result.history]
    assert result.stopped == "patience"
    assert result.best_epoch == losses.index(min(losses)) + 1 == len(losses) - 5
    torch.testing.assert_close(result.valid["loss"], min(losses))
    assert min(losses) < losses[0] - 0.02


def test_settle_gives_the_weights_of_the_least_loss():
    task = task_of(epochs=30, lr=0.01)
    result = fit(task)
    after = {name: value.clone() for name, value in task.model.named_parameters()}
    task.settle()
    task.epoch = result.best_epoch
    one = task_of(epochs=result.best_epoch - 1, lr=0.01)
    one.monitor = ""  # the last weights: one step less
    fit(one)
    for name, value in one.model.named_parameters():
        assert torch.equal(task.model.get_parameter(name), value)
        assert not torch.equal(after[name], value)


def test_views_are_drawn_once_or_in_every_epoch():
    for resample, expected in ((False, [(3, 0)]), (True, [(3, 1), (3, 2), (3, 3)])):
        task = task_of(resample, epochs=3)
        task.seed = 3
        fit(task)
        assert task.seen == expected


def test_any_number_of_threads_gives_the_same():
    found, before = [], torch.get_num_threads()
    try:
        for threads in range(1, 5):
            torch.set_num_threads(threads)
            _, _, views = some_views(nodes=2000)
            dense = vectors(2000, 300).detach()
            for x in (dense, feature_rows(dense.relu())):
                torch.manual_seed(0)
                model = Contrast(300, hidden=64)
                loss = model(x, views, torch.randperm(2000))
                found.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    finally:
        torch.set_num_threads(before)
    for k, some in enumerate(found):
        assert all(torch.equal(a, b) for a, b in zip(some, found[k % 2], strict=True))

"""A layer of LATTE against a loop over nodes and relations; where messages flow; what adds up."""

import pytest
import torch
from hetero_checks import hetero_case

from graphlearn.models.latte_conv import LATTEConv
from graphlearn.ops import CSR
from graphlearn.ops.compose import compose

WIDTH = 6
PAPER, AUTHOR = ("author", "writes", "paper"), ("paper", "written_by", "author")
VENUE = ("venue", "prints", "paper")
JOIN = ("venue", "prints", "paper", "written_by", "author")


def case(seed=0):
    """Inputs of each type in double precision, and entries of four meta relations."""
    torch.manual_seed(seed)
    _, edges = hetero_case()
    graph = {kind: edges[kind] for kind in (PAPER, AUTHOR, VENUE)}
    graph[JOIN] = compose(edges[AUTHOR], edges[VENUE])
    sizes = {"paper": 60, "author": 24, "venue": 6, "editor": 2}
    h = {kind: torch.randn(n, WIDTH, dtype=torch.float64) for kind, n in sizes.items()}
    return h, graph


def layer(graph, **settings):
    torch.manual_seed(1)
    conv = LATTEConv(WIDTH, list(graph), ["paper", "author", "editor"], **settings).double()
    with torch.no_grad():  # nothing at its special start
        for value in conv.parameters():
            value.copy_(torch.randn_like(value))
    return conv.eval()


def looped(conv, h, graph):
    """The equations of the docstring, one node and one relation at a time."""
    out = {}
    for kind in ("paper", "author", "editor"):
        rows = []
        for i in range(len(h[kind])):
            own = conv.left[kind](h[kind])[i].view(conv.heads, -1)
            found, filled = [], []
            for path in conv.relations[kind]:
                number, part = conv.place[path], graph[path]
                ends = part.col[part.ptr[i] : part.ptr[i + 1]].long()
                value = conv.right[path[0]](h[path[0]])[ends].view(len(ends), *own.shape)
                left = (conv.attn_left[number] * own).sum(1)
                score = left + (conv.attn_right[number] * value).sum(2)
                scale, slope = conv.knobs(number)
                alpha = (scale * torch.where(score > 0, score, slope * score)).softmax(0)
                found.append((alpha.unsqueeze(2) * value).sum(0))
                filled.append(len(ends) > 0)
            found.append(own)
            filled.append(True)
            mixed = own
            if len(found) > 1:
                choose = conv.choose[kind]
                if conv.choice == "input":
                    score = choose.lin(h[kind])[i].unsqueeze(1).expand(-1, conv.heads)
                else:
                    score = torch.stack(
                        [
                            (q * own).sum(1) + (k * z).sum(1)
                            for q, k, z in zip(choose.query, choose.key, found, strict=True)
                        ]
                    )
                    score = torch.nn.functional.leaky_relu(score, 0.2) + choose.bias[:, None]
                if conv.mask_empty:
                    score = score.masked_fill(~torch.tensor(filled)[:, None], -torch.inf)
                mixed = (score.softmax(0).unsqueeze(2) * torch.stack(found)).sum(0)
            rows.append(mixed.flatten())
        out[kind] = conv.norm[kind](torch.stack(rows)).relu()
    return out


@pytest.mark.parametrize("activation", ["sharpening", "prelu", "leaky_relu", "identity"])
@pytest.mark.parametrize("choice", ["input", "aggregated"])
@pytest.mark.parametrize("mask_empty", [False, True])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_equals_the_loop_with_gradients(activation, choice, mask_empty, norm):
    h, graph = case()
    conv = layer(graph, activation=activation, choice=choice, mask_empty=mask_empty, norm=norm)
    inputs = [one.requires_grad_() for one in h.values()] + list(conv.parameters())
    got, want = conv(h, graph)[0], looped(conv, h, graph)
    assert got.keys() == want.keys()
    torch.testing.assert_close(got, want)
    grads = [
        torch.autograd.grad(
            sum((one * one.detach().sin()).sum() for one in out.values()), inputs, allow_unused=True
        )
        for out in (got, want)
    ]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(*[torch.zeros(()) if g is None else g for g in (a, b)])


def test_gradients_are_right():
    h, graph = case()
    conv = layer(graph)
    author, paper = h["author"].requires_grad_(), h["paper"].requires_grad_()

    def out(author, paper):
        found = conv({**h, "author": author, "paper": paper}, graph)[0]
        return found["paper"].square().sum(1), found["author"].square().sum(1)

    assert torch.autograd.gradcheck(out, (author, paper), fast_mode=True)


def test_weights_add_up_to_one():
    h, graph = case()
    for choice in ("input", "aggregated"):
        trace = layer(graph, choice=choice)(h, graph)[1]
        assert trace.alpha.keys() == graph.keys()
        for path, alpha in trace.alpha.items():
            part = graph[path]
            sums = alpha.new_zeros(part.num_rows, 2).index_add_(0, part.rows(), alpha)
            want = (part.ptr.diff() > 0).double()[:, None].expand(-1, 2)
            torch.testing.assert_close(sums, want)
        assert set(trace.beta) == {"paper", "author"}  # editors receive nothing
        for beta in trace.beta.values():
            torch.testing.assert_close(beta.sum(1), torch.ones(len(beta), dtype=beta.dtype))


def test_messages_flow_from_source_to_receiver():
    """Sizes differ in every pair of types, so that a swap of the two would fail or show."""
    h, graph = case()
    conv = layer({PAPER: graph[PAPER]})
    moved = {kind: one.clone() for kind, one in h.items()}
    moved["author"][5] += 1.0
    before, after = conv(h, graph)[0], conv(moved, graph)[0]
    reached = graph[PAPER].rows()[graph[PAPER].col == 5].unique()
    assert 0 < len(reached) < 60
    changed = (before["paper"] != after["paper"]).any(1).nonzero().squeeze(1)
    assert set(changed.tolist()) <= set(reached.tolist()) and len(changed) > 0
    moved = {kind: one.clone() for kind, one in h.items()}
    moved["paper"][reached] += 1.0
    assert torch.equal(before["editor"], conv(moved, graph)[0]["editor"])
    # Authors receive nothing here, so what papers hold does not matter to them.
    assert torch.equal(before["author"], conv(moved, graph)[0]["author"])


def test_empty_relations_get_no_weight_only_where_that_is_asked_for():
    h, graph = case()
    nobody = graph[PAPER].ptr.diff() == 0
    assert nobody.tolist() == [True] + [False] * 59
    masked, free = (layer(graph, mask_empty=on)(h, graph)[1].beta["paper"] for on in (True, False))
    place = [PAPER, VENUE].index(PAPER)
    assert masked[0, place] == 0 and (masked[1:, place] > 0).all()
    assert (free > 0).all()


def test_a_missing_relation_is_an_empty_one():
    h, graph = case()
    conv = layer(graph)
    none = CSR.from_edge_index(torch.empty(2, 0).long(), 60, num_cols=24)
    without = {path: part for path, part in graph.items() if path != PAPER}
    got, want = conv(h, without)[0], conv(h, without | {PAPER: none})[0]
    torch.testing.assert_close(got, want)


def test_it_starts_from_equal_weights():
    h, graph = case()
    for choice in ("input", "aggregated"):
        conv = LATTEConv(WIDTH, list(graph), ["paper"], choice=choice, mask_empty=False).double()
        beta = conv(h, graph)[1].beta["paper"]
        torch.testing.assert_close(beta, torch.full_like(beta, 1 / 3))
        conv = LATTEConv(WIDTH, list(graph), ["paper"], choice=choice, even_start=False).double()
        beta = conv(h, graph)[1].beta["paper"]
        assert (beta - 1 / 3).abs().max() > 0.01


def test_messages():
    with pytest.raises(ValueError, match="channels must be a multiple of heads, got 6 and 4"):
        LATTEConv(6, [PAPER], ["paper"], heads=4)

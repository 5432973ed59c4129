"""Relation weights as a map and as a flow."""

import math

import pytest

from graphlearn.canvas import PALETTE, drawn
from graphlearn.ops.paths import RelationWeight, meta_relations
from graphlearn.relation_pictures import flow, heat
from graphlearn.relations import RelationWeights

CODE = [
    ("module", "contains", "class"),
    ("module", "contains", "function"),
    ("class", "contains", "function"),
    ("function", "contained_in", "class"),
    ("function", "references", "class"),
    ("class", "referenced_by", "function"),
    ("function", "references", "function"),
]
PAPERS = RelationWeights(
    "latte",
    [
        RelationWeight(1, ("author", "writes", "paper"), 0.68, 0.21),
        RelationWeight(1, ("subject", "has", "paper"), 0.004, 0.02),
        RelationWeight(1, ("paper",), 0.316, 0.2),
        RelationWeight(1, ("paper", "by", "author"), 0.0, 0.0),
        RelationWeight(1, ("author",), 1.0, 0.0),
        RelationWeight(2, ("paper", "by", "author", "writes", "paper"), 0.9, 0.1),
        RelationWeight(2, ("paper",), 0.1, 0.1),
    ],
)


def equal(order, paths):
    """All relations of a receiving type have the same weight."""
    rows = [*paths, *((kind,) for kind in dict.fromkeys(path[-1] for path in paths))]
    count = {path[-1]: sum(other[-1] == path[-1] for other in rows) for path in rows}
    return [RelationWeight(order, path, 1 / count[path[-1]], 0.01) for path in rows]


def many(orders=3):
    return RelationWeights("latte", [r for o in range(1, orders + 1) for r in equal(o, longer(o))])


def longer(order):
    return [path for path in meta_relations(CODE, order) if order < 3 or path[-1] == "function"]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def cases():
    one = [RelationWeight(1, ("user", "follows", "user"), 0.7, 0.1)]
    several = [("type0", f"rel{i}", f"type{i}") for i in range(20)]
    return [
        PAPERS,
        many(),
        RelationWeights("one", [*one, RelationWeight(1, ("user",), 0.3, 0.1)]),
        RelationWeights("none", [RelationWeight(1, ("user",), 0.0, 0.0)]),
        RelationWeights("several", equal(1, several)),
        RelationWeights("$odd_", equal(1, [("a$ b", "$c", "_d^"), ("_d^", "–x →", "a$ b")])),
    ]


def test_cells_are_ordered_by_weight_and_say_it():
    figure = heat("acm", PAPERS)
    first, second, page = figure.axes
    assert texts(first) == [
        *("order 1", "paper", "writes", "0.68 ± 0.21", "self", "0.32 ± 0.20"),
        *("has", "< 0.01 ± 0.02", "author", "self", "1.00 ± 0.00", "by", "0.00 ± 0.00"),
    ]
    assert texts(second)[2:4] == ["paper → author → paper", "0.90 ± 0.10"]
    assert texts(page)[0] == "acm: relation weights of latte"
    assert texts(page)[2:] == ["paper", "author", "subject", "source"]
    dark = [sum(patch.get_facecolor()[:3]) for patch in first.patches]
    assert dark[0] < dark[1] < dark[2] and dark[3] < dark[4]  # stronger is darker, in each block


def test_bands_are_as_wide_as_their_weights():
    first, second, _ = flow("acm", PAPERS).axes
    bars = {}
    for patch in first.patches:
        if hasattr(patch, "get_height"):
            bars.setdefault(round(patch.get_x(), 3), []).append(patch.get_height())
    left, right = (bars[x] for x in sorted(bars))
    assert right[0] == pytest.approx(right[1])  # weights of a type add up to one
    assert left[:2] == pytest.approx([0.316 * right[0], 1.68 * right[0]])
    assert 0 < left[2] < 0.02  # a weight next to nothing is still seen
    assert {"writes  0.68", "self  0.32", "has  < 0.01", "by  0.00"} <= set(texts(first))
    assert texts(second)[-2:] == ["paper → author → paper  0.90", "self  0.10"]


def test_relations_of_one_chain_are_told_apart():
    _, second, _ = heat("stdlib", many(2)).axes
    names = [name.replace("\n", " ") for name in texts(second)]
    assert "function –contained_in→ class –contains→ function" in names
    assert "function –references→ class –contains→ function" in names
    assert "module → class → class" not in names
    assert "function → function → class" not in names
    first = heat("stdlib", many(1)).axes[0]
    assert {"references", "referenced_by", "module –contains→ function"} <= set(texts(first))
    assert "contains" in texts(first)  # the only one of this name to classes


@pytest.mark.parametrize("found", cases(), ids=lambda found: found.name)
@pytest.mark.parametrize("draw", [heat, flow])
def test_labels_do_not_overlap_and_stay_inside(draw, found):
    figure = draw("toy", found)
    figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent()) for axis in figure.axes for t in axis.texts]
    for place, (name, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 + 1, name
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1 + 1, name
        for other, second in boxes[place + 1 :]:
            wide = min(box.x1, second.x1) - max(box.x0, second.x0)
            tall = min(box.y1, second.y1) - max(box.y0, second.y0)
            assert wide <= 1 or tall <= 1, (name, other)


def test_colors_go_by_the_source_and_a_node_itself_is_grey():
    first = flow("acm", PAPERS).axes[0]
    bands = [patch.get_facecolor()[:3] for patch in first.patches if not hasattr(patch, "get_x")]
    bars = [patch.get_facecolor()[:3] for patch in first.patches if hasattr(patch, "get_x")]
    assert len(bands) == 5 and len(set(bands)) == 4  # paper, author, subject, and grey twice
    assert len(set(bars)) == 3 and len({*bars, *bands}) == 4
    kinds = [(f"type{i}", "to", "type0") for i in range(3 * len(PALETTE))]
    page = heat("toy", RelationWeights("latte", equal(1, kinds))).axes[-1]
    assert len({line.get_color() for line in page.lines}) == len(kinds)


def test_a_type_without_nodes_is_left_out_and_a_long_list_is_cut():
    paths = [("a", f"r{i}", "a") for i in range(50)]
    rows = [*equal(1, paths), RelationWeight(1, ("b",), math.nan, math.nan)]
    for draw in (heat, flow):
        first, page = draw("toy", RelationWeights("latte", rows)).axes
        assert sum("0.02" in text for text in texts(first)) == 30
        assert "b" not in texts(first)
        assert texts(page)[1].endswith("; only the 30 strongest to a type")
    assert "only" not in texts(flow("acm", PAPERS).axes[-1])[1]


@pytest.mark.parametrize("draw", [heat, flow])
def test_it_is_a_picture(tmp_path, draw):
    path = drawn(draw, "stdlib", many(), tmp_path / "relations.png")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000

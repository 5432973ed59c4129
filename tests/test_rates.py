"""The picture of robustness."""

from graphlearn.canvas import drawn
from graphlearn.rates import Curve, against_rate

CURVES = [
    Curve("stable", [0.0, 0.1, 0.2], [85.0, 80.0, 78.0], [0.5, 0.6, 1.0], [(0.1, 80.5)]),
    Curve("gcn", [0.0, 0.1, 0.2], [83.0, 71.0, 57.0], [0.0, 0.5, 1.0]),
    Curve("gcn-jaccard", [0.2], [57.1], [0.0]),
]


def test_a_line_for_each_defence():
    figure = against_rate("cora|meta|accuracy", CURVES)
    (axis,) = figure.axes
    lines = [line for line in axis.lines if line.get_linestyle() != "None"]
    assert [list(line.get_xdata()) for line in lines] == [[0, 10, 20], [0, 10, 20], [20]]
    assert list(lines[1].get_ydata()) == [83.0, 71.0, 57.0]
    (printed,) = [line for line in axis.lines if line.get_linestyle() == "None"]
    assert list(printed.get_xdata()) == [10] and printed.get_markerfacecolor() == "none"
    assert axis.get_xlabel() == "edges changed by the attack (%)"
    assert axis.get_title("left") == "cora: accuracy under MetaAttack"


def test_names_stand_apart_at_the_ends():
    (axis,) = against_rate("cora|meta|accuracy", CURVES).axes
    at = {text.get_text(): text.xy[1] for text in axis.texts}
    assert {"stable", "gcn", "gcn-jaccard", "open marks: published"} <= set(at)
    low, high = axis.get_ylim()
    assert abs(at["gcn"] - at["gcn-jaccard"]) > 0.02 * (high - low)


def test_flips_for_each_target_are_no_share():
    (axis,) = against_rate(
        "cora|nettack|accuracy", [Curve("gcn", [0.0, 5.0], [80, 50], [0, 0])]
    ).axes
    assert axis.get_xlabel() == "flips per target"
    assert list(axis.lines[0].get_xdata()) == [0, 5]


def test_it_is_a_picture(tmp_path):
    path = drawn(against_rate, "cora|meta|accuracy", CURVES, tmp_path / "rates.png")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000

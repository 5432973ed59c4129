import pytest

from graphlearn.canvas import canvas, drawn


def test_panels_are_counted_row_by_row():
    figure, axes = canvas(2, 3, size=(6.0, 4.0))
    assert len(axes) == 6 and figure.get_size_inches().tolist() == [6, 4]
    assert axes[1].get_subplotspec().colspan.start == 1


def test_heights_and_a_common_axis():
    _, (above, below) = canvas(2, 1, size=(6.0, 4.0), heights=[3.0, 1.0], sharex=True)
    above.set_xlim(2, 5)
    assert below.get_xlim() == pytest.approx((2, 5))
    assert above.get_gridspec().get_height_ratios() == [3, 1]


def test_a_picture_is_written_in_the_style(tmp_path):
    seen = []

    def draw(name, content):
        figure, axes = canvas(1, 1, size=(2.0, 2.0))
        axes[0].plot(content)
        seen.append((name, axes[0].spines["top"].get_visible()))
        return figure

    path = drawn(draw, "toy", [1, 2], tmp_path / "toy.png")
    assert path.read_bytes().startswith(b"\x89PNG") and seen == [("toy", False)]

from pathlib import Path

import pytest

from graphlearn.settings import checking, data_root, reference_ops


def test_data_root(monkeypatch):
    monkeypatch.setenv("GRAPHLEARN_DATA", "~/sets")
    assert data_root() == Path.home() / "sets"
    monkeypatch.setenv("GRAPHLEARN_DATA", "")
    assert data_root() == Path.home() / ".cache" / "graphlearn"
    monkeypatch.delenv("GRAPHLEARN_DATA")
    assert data_root() == Path.home() / ".cache" / "graphlearn"


@pytest.mark.parametrize(
    ("read", "name", "on"),
    [(checking, "GRAPHLEARN_CHECK", "1"), (reference_ops, "GRAPHLEARN_OPS", "reference")],
)
def test_switches(monkeypatch, read, name, on):
    monkeypatch.delenv(name, raising=False)
    assert not read()
    monkeypatch.setenv(name, on)
    assert read()
    monkeypatch.setenv(name, "0")
    assert not read()

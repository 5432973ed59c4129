import sys
import types

import pytest

from graphlearn.extras import lazy, nearest, need


def test_need_imports_what_is_there():
    assert need("json", extra="dev").dumps(1) == "1"


def test_need_names_the_package_and_the_remedy():
    with pytest.raises(
        ImportError, match=r"^this needs 'nowhere': pip install 'graphlearn-pyg\[track\]'$"
    ):
        need("nowhere.at.all", extra="track")


def test_lazy_imports_at_first_use(monkeypatch):
    module = types.ModuleType("lazy_example")
    module.answer = 42
    get, listed = lazy("pack", {"module": "lazy_example", "answer": "lazy_example:answer"})
    assert listed() == ["answer", "module"]
    monkeypatch.setitem(sys.modules, "lazy_example", module)
    assert get("answer") == 42
    assert get("module") is module


def test_lazy_names_the_nearest():
    get, _ = lazy("pack", {"models": "json"})
    message = "^module 'pack' has no attribute 'modles'; did you mean 'models'\\?$"
    with pytest.raises(AttributeError, match=message):
        get("modles")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ncnn", "; did you mean 'ncn'?"), ("xyz", ""), ("ncn", "; did you mean 'ncn'?")],
)
def test_nearest(name, hint):
    assert nearest(name, iter(["ncn", "dagnn"])) == hint

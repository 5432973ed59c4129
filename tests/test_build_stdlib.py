import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "build_stdlib.py"

FILES = {
    "shapes/__init__.py": "from .round import Circle as Disc\nfrom shapes.flat import *\n",
    "shapes/round.py": '''
import itertools
from . import flat
import shapes.flat as planar

class Circle(flat.Base):
    """A round thing, drawn with care."""

    def area(self, helper):
        return helper(self) + planar.measure(self)

def pair(circles):
    return itertools.chain(circles, make())

def make():
    measure = 3
    return Circle(measure)
''',
    "shapes/flat.py": '''
"""Flat shapes."""
try:
    from fast import Base
except ImportError:
    class Base:
        """A thing with an area."""

if True:
    def measure(thing): return Base

def helper(Base):
    return Base

def lonely():
    def Base(): pass
    return [measure for measure in Base()]
''',
    "use.py": '''
import shapes, os
import os.path

def draw(path):
    """Draw all circles."""
    return shapes.Disc(), shapes.round.make(), os.path.join(path), shapes.measure(path)

def shadow(shapes):
    return shapes.Disc()
''',
    "posixpath.py": "def join(*parts): return parts\n",
    "_private.py": "def hidden(): return hidden2()\ndef hidden2(): pass\n",
    "test/thing.py": "def a(): return b()\ndef b(): pass\n",
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("build_stdlib", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_stdlib"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["build_stdlib"]


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_nodes_and_edges_of_a_tiny_package(script, folder):
    arrays = script.build(folder)
    names = arrays["names"].tolist()
    pairs = {(names[a], names[b]) for a, b in arrays["edge"].tolist()}
    assert pairs == {
        ("shapes.flat.Base", "shapes.round.Circle"),
        ("shapes.flat.measure", "shapes.round.Circle"),
        ("shapes.flat.Base", "shapes.flat.measure"),
        ("itertools.chain", "shapes.round.pair"),
        ("shapes.round.make", "shapes.round.pair"),
        ("shapes.round.Circle", "shapes.round.make"),
        ("shapes.round.Circle", "use.draw"),
        ("shapes.round.make", "use.draw"),
        ("shapes.flat.measure", "use.draw"),
        ("posixpath.join", "use.draw"),
    }
    assert names == sorted({name for pair in pairs for name in pair})
    assert arrays["edge"].dtype == np.uint16 and int(arrays["num_nodes"]) == len(names)


def test_directions_and_bases(script, folder):
    arrays = script.build(folder)
    names = arrays["names"].tolist()
    refers = set()
    for (a, b), says in zip(arrays["edge"].tolist(), arrays["direction"].tolist(), strict=True):
        refers |= {(names[a], names[b])} if says & 1 else set()
        refers |= {(names[b], names[a])} if says & 2 else set()
    assert len(refers) == 10 and refers == script.references(script.modules(folder))
    assert ("shapes.round.Circle", "shapes.flat.measure") in refers
    assert ("use.draw", "posixpath.join") in refers
    inherits = [(names[a], names[b]) for a, b in arrays["inherits"].tolist()]
    assert inherits == [("shapes.round.Circle", "shapes.flat.Base")]
    classes = [name for name, of in zip(names, arrays["is_class"], strict=True) if of]
    assert classes == ["itertools.chain", "shapes.flat.Base", "shapes.round.Circle"]


def test_bases_with_parameters_and_of_other_modules(script, tmp_path):
    (tmp_path / "boxes.py").write_text(
        "import typing\nfrom collections import OrderedDict\n"
        "class Box(typing.Generic[int], metaclass=type): pass\n"
        "class Bag(Box[int], OrderedDict, make()): pass\n"
        "def make(): return object\n"
    )
    (tmp_path / "typing.py").write_text("class Generic: pass\n")
    assert script.inheritance(script.modules(tmp_path)) == {
        ("boxes.Box", "typing.Generic"),
        ("boxes.Bag", "boxes.Box"),
        ("boxes.Bag", "collections.OrderedDict"),
    }


def test_words_of_modules(script, folder):
    arrays = script.build(folder)
    modules = sorted({name.rpartition(".")[0] for name in arrays["names"].tolist()})
    assert len(arrays["module_indptr"]) == len(modules) + 1
    assert arrays["module_indptr"][-1] == len(arrays["module_indices"])
    found = script.modules(folder)
    assert found["shapes.flat"].docstring == "Flat shapes." and found["use"].docstring == ""


def test_the_build_is_deterministic(script, folder):
    first, second = script.build(folder), script.build(folder)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_features_are_words_of_name_and_docstring(script, folder):
    arrays = script.build(folder)
    vocabulary, names = arrays["words"].tolist(), arrays["names"].tolist()
    row = names.index("shapes.round.Circle")
    start, stop = arrays["x_indptr"][row : row + 2]
    got = {vocabulary[k] for k in arrays["x_indices"][start:stop]}
    # Only words of at least three definitions, and of at most a tenth of many, are in it.
    assert got == {"round"} and "shapes" not in vocabulary
    assert arrays["x_shape"].tolist() == [len(names), len(vocabulary)]


def test_words(script):
    assert script.words("http.HTTPServer_errorCode2", "The server, if it's up.") == {
        "http",
        "server",
        "error",
        "code",
    }


def test_the_main_program_writes_an_archive(script, folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.npz"
    monkeypatch.setattr(sys, "argv", ["build_stdlib.py", str(out)])
    monkeypatch.setattr(script.sysconfig, "get_paths", lambda: {"stdlib": str(folder)})
    script.main()
    assert "8 definitions, 10 references" in capsys.readouterr().out
    first = out.read_bytes()
    script.main()
    assert out.read_bytes() == first
    with np.load(out, allow_pickle=False) as arrays:
        assert str(arrays["python"]) == "{}.{}.{}".format(*sys.version_info)

"""What `import graphlearn as gl` offers, and that it costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import graphlearn as gl

HEAVY = ("torch", "torch_geometric", "numba", "numpy", "pandas", "matplotlib", "lightning_fabric")


@pytest.mark.parametrize("name", gl.__all__)
def test_every_public_name_resolves(name):
    assert getattr(gl, name) is not None
    assert name in dir(gl)


def test_the_lazy_table_is_what_editors_see():
    tree = ast.parse(Path(gl.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    names = [alias.name for line in block.body for alias in line.names]
    assert sorted(names) == sorted(gl.__all__) == dir(gl)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'modles'; did you mean 'models'"):
        gl.modles  # noqa: B018


def test_version():
    assert gl.__version__ == "0.1.0"


@pytest.mark.parametrize(
    "code",
    [
        "import graphlearn",
        "from graphlearn.cli import main; main(['list'])",
        "from graphlearn.cli import main; main(['list', '--datasets'])",
        "from graphlearn.cli import main; main(['--help'])",
        "from graphlearn.cli import main; main(['train', '--help'])",
    ],
)
def test_what_needs_no_torch_loads_none(code):
    check = f"import sys; print('loaded', [m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", f"{code}; {check}"], capture_output=True, text=True, check=True
    )
    assert found.stdout.endswith("loaded []\n")


def test_python_m_graphlearn():
    found = subprocess.run(
        [sys.executable, "-m", "graphlearn", "--version"], capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (0, "graphlearn 0.1.0\n")

"""The shape of the package: layers, sizes, mirrored tests, and what an import costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {  # a file imports from its own layer or from below
    **dict.fromkeys(["extras", "settings"], 1),
    **dict.fromkeys(["ops", "metrics", "ranking", "train"], 2),
    "nn": 3,
    "sampling": 3.5,
    "attacks": 3.5,
    **dict.fromkeys(["models", "data"], 4),
    "tasks": 5,
    **dict.fromkeys(
        ["canvas", "knobs", "recipe", "runs", "predict", "recommendations", "poison"], 6
    ),
    **dict.fromkeys(["relations", "relation_pictures"], 6),
    **dict.fromkeys(["timeline", "gates", "rates", "groups", "report", "outcome", "bench"], 6),
    **dict.fromkeys(["options", "cli", "__main__", "__init__"], 7),
}
APART = {("models", "data"), ("data", "models"), ("tasks", "models")}
WITH_PYG = {"attacks", "data", "models", "nn"}
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "common"}
HEAVY = ["torch", "torch_geometric", "numba", "numpy", "pandas"]


class Module(NamedTuple):
    name: str
    path: Path
    tree: ast.Module

    @property
    def part(self) -> str:
        return [*self.name.split("."), "__init__"][1]

    def at(self, node: ast.AST | int, message: str) -> str:
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return f"{self.path}:{line}: {message}"


class Import(NamedTuple):
    node: ast.stmt
    target: str
    late: bool  # inside a function
    typing: bool  # under TYPE_CHECKING


def read(root: Path) -> dict[str, Module]:
    modules = {}
    for path in sorted((root / "graphlearn").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        modules[name] = Module(name, path.relative_to(root), ast.parse(path.read_text()))
    return modules


def imports(
    modules: dict[str, Module],
    module: Module,
    node: ast.AST | None = None,
    late: bool = False,
    typing: bool = False,
) -> Iterator[Import]:
    """Every import below a node; `from package import x` is of module x where there is one."""
    for child in ast.iter_child_nodes(node or module.tree):
        if isinstance(child, ast.Import):
            yield from (Import(child, alias.name, late, typing) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            for alias in child.names:
                full = f"{base}.{alias.name}"
                if full != "graphlearn.__version__":
                    yield Import(child, full if full in modules else base, late, typing)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from imports(modules, module, child, late, True)
        else:
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(modules, module, child, inside, typing)


def wrong_imports(modules: dict[str, Module], root: Path) -> Iterator[str]:
    for module in modules.values():
        here = LAYERS.get(module.part)
        if here is None:
            yield module.at(
                1, f"{module.part!r} has no layer: give it one in {Path(__file__).name}"
            )
            continue
        for found in imports(modules, module):
            parts = (found.target + ".__init__").split(".")
            if found.target.startswith("."):
                yield module.at(found.node, "relative import: write the full name")
            elif parts[0] == "torch_geometric" and module.part not in WITH_PYG:
                yield module.at(found.node, f"torch_geometric outside {sorted(WITH_PYG)}")
            elif parts[0] == "graphlearn" and not (module.part == "recipe" and found.late):
                if LAYERS.get(parts[1], 0) > here or (module.part, parts[1]) in APART:
                    yield module.at(found.node, f"{module.part} may not import {found.target}")


def tangles(modules: dict[str, Module], root: Path) -> Iterator[str]:
    """Cycles and long chains of module-level imports, by depth-first search."""
    chains: dict[str, list[str]] = {}

    def longest(name: str, above: list[str]) -> list[str]:
        if name in above:
            raise RecursionError(" -> ".join([*above[above.index(name) :], name]))
        if name not in chains:
            found = (i for i in imports(modules, modules[name]) if not i.late and not i.typing)
            below = {i.target for i in found} & modules.keys() - {name}
            tails = [longest(target, [*above, name]) for target in sorted(below)]
            chains[name] = [name, *max(tails, key=len, default=[])]
        return chains[name]

    for name, module in modules.items():
        try:
            chain = longest(name, [])
        except RecursionError as error:
            yield module.at(1, f"import cycle {error}")
        else:
            if len(chain) > 8:
                yield module.at(1, f"import chain of {len(chain)}: {' -> '.join(chain)}")


def long_code(modules: dict[str, Module], root: Path) -> Iterator[str]:
    for module in modules.values():
        length = len((root / module.path).read_text().splitlines())
        if length > 400:
            yield module.at(400, f"{length} lines, at most 400: split it by family")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                said = node.body[0] if ast.get_docstring(node) is not None else None
                doc = said.end_lineno - said.lineno + 1 if said else 0
                if (size := node.end_lineno - node.lineno + 1 - doc) > 60:
                    yield module.at(node, f"{node.name} has {size} lines, at most 60")


def wrong_files(modules: dict[str, Module], root: Path) -> Iterator[str]:
    for module in modules.values():
        path = module.path
        if path.stem in NAMELESS:
            yield module.at(1, f"{path.name} says nothing: name the file after its concept")
        test = Path("tests", *path.parts[1:-1], f"test_{path.name}")
        if not path.stem.startswith("__") and not (root / test).exists():
            yield module.at(1, f"no mirrored test {test}")
        names = [
            ast.unparse(n) for n in module.tree.body if isinstance(n, ast.Assign | ast.AnnAssign)
        ]
        if path.stem != "__main__" and not any(n.startswith("__all__") for n in names):
            yield module.at(1, "no __all__")


def prints(modules: dict[str, Module], root: Path) -> Iterator[str]:
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and node.id == "print" and module.part != "cli":
                yield module.at(node, "print outside cli.py")


RULES = [wrong_imports, tangles, long_code, wrong_files, prints]


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_the_rule(rule):
    problems = list(rule(read(ROOT), ROOT))
    assert not problems, "\n" + "\n".join(problems)


def test_the_import_is_light():
    code = f"import sys, graphlearn; print(*[m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == [], f"graphlearn/__init__.py:1: loads {found.stdout.strip()}"
    assert found.returncode == 0, found.stderr


def test_the_rules_find_what_they_are_for(tmp_path):
    files = {
        "settings.py": "from graphlearn.ops import csr\n__all__ = []",
        "ops/csr.py": "def f():\n    from graphlearn.tasks import link\n__all__ = []",
        "ops/utils.py": "import graphlearn.ops.spmm\nimport torch_geometric.data\nprint()",
        "ops/spmm.py": "if True:\n    from graphlearn.ops import utils\n__all__ = []",
        "tasks/link.py": "from graphlearn.models.ncn import NCN\n__all__ = []",
        "models/ncn.py": "from ..data import load\n__all__ = []",
        "new.py": "def f():\n    '''Says\n    it.'''\n" + "    x = 1\n" * 60 + "\n" * 400,
        **{f"train/s{i}.py": f"import graphlearn.train.s{i + 1}\n__all__ = []" for i in range(9)},
    }
    for name, text in files.items():
        path = tmp_path / "graphlearn" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "graphlearn/train/s9.py").write_text("__all__ = []")
    found = "\n".join(p for rule in RULES for p in rule(read(tmp_path), tmp_path))
    for problem in [
        "graphlearn/settings.py:1: settings may not import graphlearn.ops.csr",
        "graphlearn/ops/csr.py:2: ops may not import graphlearn.tasks.link",
        "graphlearn/ops/utils.py:2: torch_geometric outside",
        "graphlearn/ops/utils.py:3: print outside cli.py",
        "graphlearn/ops/utils.py:1: utils.py says nothing",
        "graphlearn/ops/utils.py:1: no __all__",
        "import cycle graphlearn.ops.spmm -> graphlearn.ops.utils -> graphlearn.ops.spmm",
        "graphlearn/tasks/link.py:1: tasks may not import graphlearn.models.ncn",
        "graphlearn/models/ncn.py:1: relative import",
        "graphlearn/new.py:1: 'new' has no layer",
        "graphlearn/new.py:1: f has 61 lines, at most 60",
        "graphlearn/new.py:400: 463 lines, at most 400",
        "graphlearn/new.py:1: no mirrored test tests/test_new.py",
        "graphlearn/train/s0.py:1: import chain of 10",
    ]:
        assert problem in found, f"{problem!r} is missing from\n{found}"

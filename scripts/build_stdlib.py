"""Build the embedded graph of Python's standard library: `python scripts/build_stdlib.py [OUT]`.

Nodes are the top-level functions and classes of the public modules (those written in C as far as
they are referred to), an edge joins two of which one refers to the other. Features are the words
in a definition's name and docstring, by index into a small vocabulary. Beside them stand which of
two ends refers to the other (1 the first, 2 the second, 3 both), which definitions are classes,
which class inherits from which, and the words in the docstring of each module, by module name. Only
names, word indices and edges are stored, no text of the source. The same interpreter gives the same
bytes.
"""

import ast
import functools
import importlib
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import BuiltinFunctionType
from typing import NamedTuple

import numpy as np

__all__ = ["Module", "build", "inheritance", "modules", "references", "words"]

OUT = Path(__file__).parents[1] / "graphlearn" / "data" / "stdlib.npz"
VOCABULARY = 800
SKIP = frozenset(
    "test tests idlelib lib2to3 turtledemo ensurepip pydoc_data distutils site-packages "
    "lib-dynload encodings antigravity this __phello__ __hello__".split()
)
ALIASES = {"os.path": "posixpath", "collections.abc": "_collections_abc"}
STOP = frozenset(
    "the and for with that this from are not will can has have its into any all but one may use "
    "used using when which you your them than then they there their these those was were also "
    "been being more most only other same should such some two very via what where while who "
    "would about after before between each either else every how just like must never our out "
    "over per see since so still too under until upon it's don't isn't does did doesn't".split()
)
"""Words that say nothing about what a definition does."""

DefNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Module(NamedTuple):
    """A parsed module: its definitions, what its global names stand for, and its docstring."""

    name: str
    definitions: dict[str, DefNode]
    imports: dict[str, str]
    stars: tuple[str, ...]
    docstring: str


def modules(folder: Path) -> dict[str, Module]:
    """Every public module below a folder, by dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        parts = parts[:-1] if is_package else parts
        if not parts or SKIP & set(parts) or any(_hidden(part) for part in parts):
            continue
        name = ".".join(parts)
        package = name if is_package else name.rpartition(".")[0]
        found[name] = _parse(name, package, path.read_bytes())
    return found


def references(found: dict[str, Module]) -> set[tuple[str, str]]:
    """Pairs of definitions of which the first refers to the second, as `module.name`."""
    pairs = set()
    for module in found.values():
        for name, node in module.definitions.items():
            here = f"{module.name}.{name}"
            for dotted in _references(node):
                there = _resolve(dotted, module, found)
                if there and there != here:
                    pairs.add((here, there))
    return pairs


def inheritance(found: dict[str, Module]) -> set[tuple[str, str]]:
    """Pairs of classes of which the second is a base of the first, as `module.name`."""
    pairs = set()
    for module in found.values():
        for name, node in module.definitions.items():
            here = f"{module.name}.{name}"
            for base in node.bases if isinstance(node, ast.ClassDef) else []:
                base = base.value if isinstance(base, ast.Subscript) else base  # Generic[T]
                dotted = _dotted(base) if isinstance(base, ast.Attribute | ast.Name) else ""
                there = _resolve(dotted, module, found) if dotted else ""
                if there not in ("", here) and _is_class(there, found):
                    pairs.add((here, there))
    return pairs


def words(name: str, docstring: str) -> set[str]:
    """Lower-case words of a dotted name (split at case and underscore) and of a docstring."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    text = re.findall(r"[a-z]+", docstring.lower())
    return {word.lower() for word in (*parts, *text) if len(word) > 2} - STOP


def build(folder: Path) -> dict[str, np.ndarray]:
    """Arrays of the graph of the modules below a folder; nodes without an edge are left out."""
    found = modules(folder)
    directed = references(found)
    pairs = sorted({(min(pair), max(pair)) for pair in directed})
    names = sorted({name for pair in pairs for name in pair})
    number = {name: k for k, name in enumerate(names)}
    bags = [words(name, _docstring(name, found)) for name in names]
    vocabulary = _vocabulary(bags)
    column = {word: k for k, word in enumerate(vocabulary)}
    rows = [sorted(column[word] for word in bag if word in column) for bag in bags]
    homes = sorted({name.rpartition(".")[0] for name in names})
    texts = [words("", _module_docstring(home, found)) for home in homes]
    told = [sorted(column[word] for word in text if word in column) for text in texts]
    bases = sorted((number[a], number[b]) for a, b in inheritance(found))
    says = [((a, b) in directed) + 2 * ((b, a) in directed) for a, b in pairs]
    return {
        "edge": np.array([(number[a], number[b]) for a, b in pairs], dtype=np.uint16),
        "num_nodes": np.array(len(names)),
        "x_indptr": np.cumsum([0, *map(len, rows)], dtype=np.int32),
        "x_indices": np.array([k for row in rows for k in row], dtype=np.uint16),
        "x_shape": np.array([len(names), len(vocabulary)]),
        "names": np.array(names),
        "words": np.array(vocabulary),
        "python": np.array("{}.{}.{}".format(*sys.version_info)),
        "direction": np.array(says, dtype=np.uint8),
        "is_class": np.array([_is_class(name, found) for name in names], dtype=np.uint8),
        "inherits": np.array(bases, dtype=np.uint16).reshape(-1, 2),
        "module_indptr": np.cumsum([0, *map(len, told)], dtype=np.int32),
        "module_indices": np.array([k for row in told for k in row], dtype=np.uint16),
    }


def main() -> None:
    """Write the snapshot of the running interpreter."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    arrays = build(Path(sysconfig.get_paths()["stdlib"]))
    np.savez_compressed(out, **arrays)
    print(
        f"{out}: {arrays['num_nodes']} definitions, {len(arrays['edge'])} references, "
        f"{len(arrays['words'])} words, {out.stat().st_size / 1000:.0f} kB, "
        f"Python {arrays['python']}"
    )


def _hidden(part: str) -> bool:
    """Private modules and files that cannot be imported; the abstract containers are public."""
    return (part.startswith("_") and part != "_collections_abc") or not part.isidentifier()


def _parse(name: str, package: str, source: bytes) -> Module:
    tree = ast.parse(source)
    definitions: dict[str, DefNode] = {}
    imports: dict[str, str] = {}
    stars: list[str] = []
    for node in _top_level(tree.body):
        if isinstance(node, DefNode):
            definitions.setdefault(node.name, node)
        else:
            _add_import(node, package, imports, stars)
    docstring = ast.get_docstring(tree) or ""
    return Module(name, definitions, imports, tuple(stars), docstring)


def _top_level(body: Iterable[ast.stmt]) -> Iterator[DefNode | ast.Import | ast.ImportFrom]:
    """Definitions and imports of a module, those under `if` and `try` included."""
    for node in body:
        if isinstance(node, DefNode | ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If | ast.Try):
            handlers = [part for h in getattr(node, "handlers", []) for part in h.body]
            yield from _top_level([*node.body, *handlers, *node.orelse])


def _add_import(
    node: ast.Import | ast.ImportFrom, package: str, imports: dict[str, str], stars: list[str]
) -> None:
    """Record which dotted name each imported name stands for."""
    if isinstance(node, ast.Import):
        for item in node.names:
            imports[item.asname or item.name.partition(".")[0]] = (
                item.name if item.asname else item.name.partition(".")[0]
            )
        return
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    origin = ".".join([*above, *([node.module] if node.module else [])])
    for item in node.names:
        if item.name == "*":
            stars.append(origin)
        else:
            imports[item.asname or item.name] = f"{origin}.{item.name}"


def _references(node: ast.AST, hidden: frozenset[str] = frozenset()) -> Iterator[str]:
    """Dotted names a definition uses, less those that a local variable hides."""
    if isinstance(node, ast.Attribute):
        dotted = _dotted(node)
        if dotted:
            if dotted.partition(".")[0] not in hidden:
                yield dotted
            return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in hidden:
        yield node.id
    inside = hidden | _bound(node) if isinstance(node, Scope) else hidden
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _references(child, inside if field == "body" else hidden)


def _dotted(node: ast.Attribute | ast.Name) -> str:
    """The text of `a.b.c`, or nothing if the expression is no such chain of names."""
    parts: list[str] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(parts)]) if isinstance(inner, ast.Name) else ""


def _bound(scope: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> frozenset[str]:
    """Names that a function binds itself: parameters, assignments, inner definitions."""
    args = scope.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    bound = {arg.arg for arg in every if arg}
    outer: set[str] = set()
    todo: list[ast.AST] = list(scope.body) if isinstance(scope.body, list) else []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            outer.update(node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
        if isinstance(node, DefNode):
            bound.add(node.name)
        elif not isinstance(node, ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))
    return frozenset(bound - outer)


def _resolve(dotted: str, module: Module, found: dict[str, Module], depth: int = 0) -> str:
    """The definition that a dotted name in a module stands for, or nothing."""
    first, _, rest = dotted.partition(".")
    if first in module.definitions:
        return f"{module.name}.{first}"
    if depth > 8:
        return ""
    if first in module.imports:
        target = module.imports[first] + (f".{rest}" if rest else "")
        return _resolve_absolute(target, found, depth + 1)
    for star in module.stars:
        if star in found and not first.startswith("_"):
            there = _resolve(dotted, found[star], found, depth + 1)
            if there:
                return there
    return ""


def _resolve_absolute(dotted: str, found: dict[str, Module], depth: int) -> str:
    """The definition behind `package.module.name`; the longest module name wins."""
    for alias, real in ALIASES.items():
        if dotted.startswith(f"{alias}."):
            dotted = real + dotted[len(alias) :]
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        if name in found:
            there = _resolve(".".join(parts[cut:]), found[name], found, depth)
            return there or _compiled(name, parts[cut])
    return _compiled(parts[0], parts[1]) if len(parts) > 1 else ""


def _compiled(module: str, name: str) -> str:
    """A function or class of the standard library that is written in C, or nothing."""
    return f"{module}.{name}" if _compiled_object(module, name) is not None else ""


@functools.cache
def _compiled_object(module: str, name: str) -> object:
    if module.partition(".")[0] not in sys.stdlib_module_names or module.startswith("_"):
        return None
    try:
        value = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return value if isinstance(value, type | BuiltinFunctionType) else None


def _docstring(name: str, found: dict[str, Module]) -> str:
    module, _, definition = name.rpartition(".")
    if module in found and definition in found[module].definitions:
        return ast.get_docstring(found[module].definitions[definition]) or ""
    docstring = getattr(_compiled_object(module, definition), "__doc__", None)
    return docstring if isinstance(docstring, str) else ""


def _module_docstring(module: str, found: dict[str, Module]) -> str:
    if module in found:
        return found[module].docstring
    return importlib.import_module(module).__doc__ or ""  # written in C


def _is_class(name: str, found: dict[str, Module]) -> bool:
    module, _, definition = name.rpartition(".")
    if module in found and definition in found[module].definitions:
        return isinstance(found[module].definitions[definition], ast.ClassDef)
    return isinstance(_compiled_object(module, definition), type)


def _vocabulary(bags: list[set[str]]) -> list[str]:
    """The most common words, less those in over a tenth of the bags or in fewer than three."""
    counts = Counter(word for bag in bags for word in bag)
    limit = max(3, len(bags) // 10)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return sorted([word for word, count in ranked if 3 <= count <= limit][:VOCABULARY])


if __name__ == "__main__":
    main()

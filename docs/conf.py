"""Settings of the documentation: `sphinx-build -W -b html docs docs/_build/html`, offline."""

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "graphlearn"
sys.path.insert(0, str(DOCS.parent))

import graphlearn  # noqa: E402

project = "graphlearn"
author = "The graphlearn authors"
copyright = f"2026, {author}"
version = release = graphlearn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"graphlearn {release}"
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

# Docstrings write code in single backticks, as the rest of the text does.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# One page for each module, written at every build. Kernels are reached through the ops.
PRIVATE = ("graphlearn.__main__", "graphlearn.ops.cpu", "graphlearn.ops.gpu")


def modules() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        if not name.startswith(PRIVATE):
            yield name


def home_of(key: str, value: object, package: str) -> str:
    """The module that defines what a package offers; plain values do not carry its name."""
    if inspect.ismodule(value):
        return value.__name__
    if hasattr(value, "__module__"):
        return value.__module__
    inside = (name for name in modules() if name.startswith(f"{package}."))
    owners = (name for name in inside if key in importlib.import_module(name).__all__)
    return next(owners, package)


def page(name: str) -> str:
    """What a module defines; a package says as well where the other names that it offers are."""
    module = importlib.import_module(name)
    text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n"
    if not hasattr(module, "__path__"):
        return f"{text}   :members:\n"
    offered = []
    for key in module.__all__:
        value = getattr(module, key)
        home = home_of(key, value, name)
        if home == name:  # named one by one: a lazy package lists but its lazy names
            kind = "function" if inspect.isfunction(value) else "data"
            text += f"\n.. auto{kind}:: {name}.{key}\n"
        elif home.startswith("graphlearn."):
            kind = "mod" if inspect.ismodule(value) else "obj"
            offered.append(f"- :py:{kind}:`{key} <{home}{'' if kind == 'mod' else f'.{key}'}>`")
    return text + ("\nOffers\n------\n\n" + "\n".join(offered) + "\n" if offered else "")


def write(path: Path, text: str) -> None:
    """Leave a file that has not changed alone, so that only changes are built again."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def write_api(app: object) -> None:
    folder = DOCS / "api"
    folder.mkdir(exist_ok=True)
    names = list(modules())
    for old in folder.glob("*.rst"):
        if old.stem not in (*names, "index"):
            old.unlink()
    for name in names:
        write(folder / f"{name}.rst", page(name))
    listed = "\n".join(f"   {name}" for name in names)
    write(folder / "index.rst", f"API\n===\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n")


def setup(app) -> None:
    app.connect("builder-inited", write_api)

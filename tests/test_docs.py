"""What the documentation says is so: Python runs, commands parse, names and links exist.

A block that begins with `# name.ext` is a file for the reader to write; the others run in order.
"""

import importlib
import importlib.util
import re
import shlex
import socket
import sys
import warnings
from pathlib import Path

import pytest

from graphlearn import cli, options
from graphlearn.data import DATASETS
from graphlearn.knobs import locate
from graphlearn.recipe import dump, find

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w.-]+\.\w+)\n")
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXTRA = ["pytorch_lightning"]  # packages that a page may need and this one does not install


def blocks(page: Path, *languages: str) -> list[tuple[int, str]]:
    """Line and content of the fenced blocks in some languages."""
    text = page.read_text(encoding="utf-8")
    found = (match for match in BLOCK.finditer(text) if match[1] in languages)
    return [(text.count("\n", 0, match.start(2)), match[2]) for match in found]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def write_files(page: Path, folder: Path) -> None:
    for _, text in blocks(page, "python", "toml", "csv"):
        if match := NAMED.match(text):
            (folder / match[1]).write_text(text, encoding="utf-8")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder without data sets and without network, from which modules can be imported."""
    before = set(sys.modules)

    def refuse(*_: object) -> None:
        raise OSError("the documentation must run offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("GRAPHLEARN_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
@pytest.mark.filterwarnings("ignore::UserWarning:lightning_fabric")
def test_python_runs(page, workplace):
    code = blocks(page, "python")
    for package in EXTRA:
        if any(f"import {package}" in text for _, text in code):
            pytest.importorskip(package)
            warnings.simplefilter("ignore")  # what others warn of is not ours to repair
    write_files(page, workplace)
    namespace = {"__name__": "__main__"}
    for line, text in code:
        if not NAMED.match(text):
            exec(compile("\n" * line + text, str(page), "exec"), namespace)


def commands() -> list:
    """Every console command: whole lines of shell blocks, and words between backticks."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for _, block in blocks(page, "bash") for line in joined(block)]
        outside = BLOCK.sub("", text)
        lines += re.findall(r"`(graphlearn [^`]+)`", outside)
        for line in dict.fromkeys(lines):
            words = [word for word in shlex.split(line, comments=True) if "=" not in word[:20]]
            if "graphlearn" in words and words[0] in ("graphlearn", "python", "torchrun"):
                found.append(pytest.param(page, line, id=f"{name(page)}: {line}"))
    return found


def joined(block: str) -> list[str]:
    return block.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize(("page", "line"), commands())
def test_command_parses(page, line, workplace):
    write_files(page, workplace)
    words = shlex.split(line, comments=True)
    command, *rest = words[words.index("graphlearn") + 1 :]
    if command in ("COMMAND", "--help", "--version"):
        return
    assert command in cli.COMMANDS
    if rest == ["KIND"]:  # stands for one of a few words
        return
    kind = getattr(options, command.capitalize())
    if command == "train" and not rest[0].split(".")[0].isupper():
        if rest[0].startswith("runs/"):
            _, recipe, dataset, *_ = rest[0].split("/")
            Path(rest[0]).parent.mkdir(parents=True)
            Path(rest[0]).write_text(dump(find(recipe, dataset)), encoding="utf-8")
        recipe = find(rest[0], options.value(rest, "--dataset"), *cli._attacked(rest))
        made = recipe.dataset in (
            "attacked",
            "my-folder",
        )  # by the command before, or by the reader
        assert made or recipe.dataset.lower() in DATASETS or Path(recipe.dataset).suffix
        kind = options.flags(recipe)
        rest = options.expand(rest, kind)
    try:
        options.parse(kind, rest, command)
    except SystemExit as stop:
        assert stop.code == 0 and "--help" in rest


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = [target.partition("#")[0] for target in LINK.findall(text)]
    missing = [
        target
        for target in targets
        if target and "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing, f"{name(page)} links to {missing}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_and_paths_exist(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for dotted in set(re.findall(r"`((?:graphlearn|gl)\.[A-Za-z_.]+)(?:\(\))?`", text)):
        if not dotted.endswith((".py", ".toml")):
            assert resolves(dotted), f"{name(page)} names {dotted}"
    top = "graphlearn|tests|docs|scripts|benchmarks"
    for path in set(re.findall(rf"`((?:{top})/[\w./-]+)`", text)):
        if "foo" not in path and "bar" not in path:
            assert (ROOT / path).exists(), f"{name(page)} names {path}"


def resolves(dotted: str) -> bool:
    dotted = dotted.replace("gl.", "graphlearn.", 1) if dotted.startswith("gl.") else dotted
    head, *rest = dotted.split(".")
    found = importlib.import_module(head)
    for k, part in enumerate(rest):
        path = ".".join([head, *rest[: k + 1]])
        if hasattr(found, part):
            found = getattr(found, part)
        elif importlib.util.find_spec(path):
            found = importlib.import_module(path)
        else:
            return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page):
    makefile = ROOT / "Makefile"
    if not makefile.exists():
        pytest.skip("there is no Makefile")
    known = set(re.findall(r"^([\w-]+):", makefile.read_text(), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    wanted = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert wanted <= known


def test_every_page_is_in_the_table_of_contents():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.parent != ROOT and page.name != "index.md":
            assert f"\n{page.relative_to(ROOT / 'docs').with_suffix('')}\n" in index


def test_recipes_in_the_text_name_classes_that_exist(workplace):
    for page in PAGES:
        write_files(page, workplace)
        for _, text in blocks(page, "toml"):
            for path in re.findall(r'^(?:model|task) = "([\w.]+:\w+)"', text, re.MULTILINE):
                assert locate(path)

"""The examples in docstrings give what they show."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import graphlearn

APART = ("graphlearn.__main__", "graphlearn.ops.gpu")  # starts the command line; needs Triton


def modules() -> list[str]:
    found = pkgutil.walk_packages(graphlearn.__path__, "graphlearn.")
    return [module.name for module in found if not module.name.startswith(APART)]


@pytest.mark.parametrize("name", modules())
def test_examples(name):
    module = importlib.import_module(name)
    torch.manual_seed(0)
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for test in finder.find(module, name) if test.examples]
    for test in tests:
        test.globs.setdefault("torch", torch)
        result = doctest.DocTestRunner(verbose=False).run(test)
        assert result.failed == 0, f"{test.name} does not give what it shows"


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    count = sum(
        len(test.examples) > 0
        for name in modules()
        for test in finder.find(importlib.import_module(name), name)
    )
    assert count >= 10

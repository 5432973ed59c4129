"""What a module may import late: optional packages, and the lazy public surface."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

__all__ = ["lazy", "nearest", "need"]


def need(module: str, *, extra: str) -> ModuleType:
    """Import an optional package, or say in one line how to get it.

    Args:
        module: Dotted name of what is imported.
        extra: The extra of this distribution that installs it.

    Raises:
        ImportError: if the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"this needs {package!r}: pip install 'graphlearn-pyg[{extra}]'"
        ) from error


def lazy(
    package: str, exports: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Module-level `__getattr__` and `__dir__` that import a public name at its first use.

    Args:
        package: `__name__` of the package that offers the names.
        exports: Name to `module` or `module:attribute`; a plain module may be a sub-package.
    """

    def __getattr__(name: str) -> Any:  # noqa: ANN401
        if name not in exports:
            hint = nearest(name, exports)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        module, _, attribute = exports[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found

    def __dir__() -> list[str]:
        return sorted(exports)

    return __getattr__, __dir__


def nearest(name: str, options: Iterable[str]) -> str:
    """The end of an error message that names the closest valid choice, or nothing.

    Example:
        >>> nearest("ncnn", ["ncn", "dagnn"])
        "; did you mean 'ncn'?"
    """
    close = difflib.get_close_matches(name, list(options), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

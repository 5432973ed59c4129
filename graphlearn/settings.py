"""The environment variables of the package, read here and nowhere else.

`GRAPHLEARN_DATA` names the folder of the data sets, `GRAPHLEARN_CHECK=1` turns on the checks that
cost a device synchronisation, `GRAPHLEARN_OPS=reference` sends every op to its readable reference.
"""

import os
from pathlib import Path

__all__ = ["checking", "data_root", "reference_ops"]


def data_root() -> Path:
    """Folder under which data sets are looked for and downloads are kept."""
    default = Path.home() / ".cache" / "graphlearn"
    return Path(os.environ.get("GRAPHLEARN_DATA") or default).expanduser()


def checking() -> bool:
    """Whether every step and every index is checked."""
    return os.environ.get("GRAPHLEARN_CHECK", "") == "1"


def reference_ops() -> bool:
    """Whether ops run their readable reference on every device."""
    return os.environ.get("GRAPHLEARN_OPS", "") == "reference"

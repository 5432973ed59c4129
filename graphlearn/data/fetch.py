"""Fetching the public files of a named data set, all or none."""

import os
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

__all__ = ["fetch"]

_WAIT = 30  # seconds without an answer after which a download fails


def fetch(folder: Path, files: Mapping[str, str]) -> None:
    """Fetch files into a folder; where one fails, none is left there.

    Args:
        folder: Where to; made if it is not there.
        files: Address of each file, by its name.

    Raises:
        OSError: if a file cannot be fetched or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        for file, address in files.items():
            with urllib.request.urlopen(address, timeout=_WAIT) as answer:
                (Path(temporary) / file).write_bytes(answer.read())
        for file in files:
            os.replace(Path(temporary) / file, folder / file)

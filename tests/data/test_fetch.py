import io
import urllib.error

import pytest

from graphlearn.data.fetch import fetch

FILES = {"a": "https://example.org/a.npz", "b": "https://example.org/b.npz"}


def test_files_come_from_their_addresses(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(url.encode()))
    fetch(tmp_path / "new", FILES)
    assert {file.name: file.read_text() for file in (tmp_path / "new").iterdir()} == FILES


def test_all_or_none(tmp_path, monkeypatch):
    def answer(url, timeout):
        if url.endswith("b.npz"):
            raise urllib.error.URLError("no network")
        return io.BytesIO(b"content")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with pytest.raises(OSError, match="no network"):
        fetch(tmp_path, FILES)
    assert list(tmp_path.iterdir()) == []

import logging
import zipfile

import numpy as np
import pytest
import torch

from graphlearn.data import load, recommender_sets


def counts(dataset):
    sizes = dataset.facts["num_users"], dataset.facts["num_items"]
    return (*sizes, *(dataset.splits[part].shape[1] for part in ("train", "valid", "test")))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test fetches anything: what is asked for is written down instead."""
    asked = []

    def fetch(folder, files):
        asked.append((folder, dict(files)))
        raise OSError("offline")

    monkeypatch.setattr(recommender_sets, "fetch", fetch)
    return asked


def write_movies(folder, mark=("\t", "|"), files=("u.data", "u.item")):
    """Forty users who rate 20 of 30 movies; returns the rows."""
    rng = np.random.default_rng(0)
    rows = [
        (user, int(item), int(rng.integers(1, 6)), 1000 + int(rng.integers(0, 10**6)))
        for user in range(1, 41)
        for item in 1 + rng.permutation(30)[:20]
    ]
    folder.mkdir(parents=True)
    text = [mark[0].join(map(str, row)) for row in rows]
    (folder / files[0]).write_text("\n".join(text) + "\n")
    titles = [mark[1].join([str(k), f"Movié {k} (1999)", "x"]) for k in range(1, 31)]
    (folder / files[1]).write_text("\n".join(titles) + "\n", encoding="latin-1")
    return rows, text


def rated(rows, least):
    return sum(row[2] >= least for row in rows)


@pytest.mark.parametrize(
    ("name", "mark", "files"),
    [
        ("ml-100k", ("\t", "|"), ("u.data", "u.item")),
        ("ml-1m", ("::", "::"), ("ratings.dat", "movies.dat")),
    ],
)
def test_text_files_of_movielens(tmp_path, offline, name, mark, files):
    rows, _ = write_movies(tmp_path / name / "raw", mark, files)
    dataset = load(name, root=tmp_path, seed=7)
    assert sum(counts(dataset)[2:]) == rated(rows, 3)
    assert counts(dataset)[:2] == (40, 30) and dataset.titles[1] == "Movié 2 (1999)"
    again = load(name, root=tmp_path, seed=8)  # the published split, whatever the seed
    assert torch.equal(again.splits["test"], dataset.splits["test"])
    other = load(name, root=tmp_path, protocol="random", seed=8)
    assert not torch.equal(other.splits["test"], dataset.splits["test"])
    assert sum(counts(load(name, root=tmp_path, min_rating=4.0))[2:]) == rated(rows, 4)
    last = load(name, root=tmp_path, protocol="leave-one-out", min_rating=0.0)
    assert counts(last) == (40, 30, 40 * 18, 40, 40)
    assert not offline


def test_the_given_split_of_movielens(tmp_path):
    raw = tmp_path / "ml-100k" / "raw"
    rows, text = write_movies(raw)
    held = [k % 5 == 0 for k in range(len(rows))]
    for file, kept in (("u1.base", False), ("u1.test", True)):
        lines = [line for line, is_held in zip(text, held, strict=True) if is_held == kept]
        (raw / file).write_text("\n".join(lines) + "\n")
    dataset = load("ml-100k", root=tmp_path, protocol="given")
    expected = rated([row for row, is_held in zip(rows, held, strict=True) if is_held], 3)
    assert dataset.splits["test"].shape[1] == expected
    assert dataset.names[0] == "1" and dataset.titles[29] == "Movié 30 (1999)"
    with pytest.raises(ValueError, match="ml-1m has no given split; choose protocol random or l"):
        load("ml-1m", root=tmp_path, protocol="given")


def test_movielens_without_titles(tmp_path, offline, caplog):
    write_movies(tmp_path / "ml-100k")
    (tmp_path / "ml-100k" / "u.item").unlink()
    with caplog.at_level(logging.WARNING):
        assert load("ml-100k", root=tmp_path).titles is None
    assert "ml-100k: no titles of the movies, u.item is missing" in caplog.text


def test_movielens_is_fetched_and_unpacked(tmp_path, monkeypatch):
    write_movies(tmp_path / "source")
    for file in ("u.user", "u1.base", "u1.test"):
        (tmp_path / "source" / file).write_text("")

    def fetch(folder, files):
        ((name, address),) = files.items()
        assert name == "ml-100k.zip" and address.endswith("/ml-100k.zip")
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / name, "w") as archive:
            for path in (tmp_path / "source").iterdir():
                archive.write(path, f"ml-100k/{path.name}")

    monkeypatch.setattr(recommender_sets, "fetch", fetch)
    dataset = load("ml-100k", root=tmp_path / "data")
    assert counts(dataset)[:2] == (40, 30)
    raw = tmp_path / "data" / "ml-100k" / "raw"
    assert (raw / "u.data").is_file() and not (raw / "ml-100k.zip").exists()


def test_a_damaged_download(tmp_path, monkeypatch):
    def fetch(folder, files):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / next(iter(files))).write_bytes(b"no archive")

    monkeypatch.setattr(recommender_sets, "fetch", fetch)
    with pytest.raises(ValueError, match=r"ml-100k.zip is damaged \(.*\); delete it and try again"):
        load("ml-100k", root=tmp_path)


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m", "gowalla", "yelp2018", "amazon-book"])
def test_files_that_are_nowhere(tmp_path, offline, name):
    with pytest.raises(FileNotFoundError, match=r"fetching failed \(offline\); get https?://"):
        load(name, root=tmp_path)
    folder, files = offline[0]
    assert folder.is_relative_to(tmp_path / name) and all(name in url for url in files.values())


def test_books_are_not_fetched(tmp_path, offline):
    with pytest.raises(FileNotFoundError, match=r"no file .*facebook_books.npz or .*copy data/"):
        load("facebook-books", root=tmp_path)
    assert not offline
    folder = tmp_path / "facebook_books"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = {(int(user), int(item)) for user, item in rng.integers(1, 25, (300, 2))}
    (folder / "dataset_facebook.tsv").write_text("".join(f"{u}\t{i}\t1\n" for u, i in rows))
    assert sum(counts(load("facebook-books", root=tmp_path))[2:]) == len(rows)
    with pytest.raises(ValueError, match="facebook-books has no given split; choose protocol rand"):
        load("facebook-books", root=tmp_path, protocol="given")


def test_lists_of_lightgcn(tmp_path, offline):
    folder = tmp_path / "gowalla"
    folder.mkdir()
    users = range(29858)
    (folder / "train.txt").write_text("".join(f"{k} {k} {k + 1}\n" for k in users))
    (folder / "test.txt").write_text("".join(f"{k} {k + 2}\n" for k in users))
    dataset = load("gowalla", root=tmp_path)
    assert counts(dataset) == (29858, 40981, 59716 - 5972, 5972, 29858)
    assert dataset.metric == "recall@20" and not offline


def test_rows_of_lastfm(tmp_path):
    folder = tmp_path / "lastfm"
    folder.mkdir()
    rows = [(user, 1 + (user * 7 + k) % 4489) for user in range(1, 1893) for k in range(12)]
    (folder / "data1.txt").write_text("".join(f"{u}\t{i}\t1\n" for u, i in rows[:20000]))
    (folder / "test1.txt").write_text("".join(f"{u}\t{i}\t1\n" for u, i in rows[20000:]))
    dataset = load("lastfm", kind="interactions", root=tmp_path)
    assert counts(dataset) == (1892, 4489, 18000, 2000, len(rows) - 20000)
    assert dataset.names[0] == "1" and dataset.names[1892] == "1"


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("ml-100k", {"user": [1], "item": [1]}, "ml-100k.npz has no array 'rating', only"),
        ("facebook-books", {"user": [1]}, "facebook_books.npz has no array 'item', only"),
        ("gowalla", {"train": [[0, 0]]}, "gowalla.npz has no array 'test', only"),
        ("gowalla", {"train": [[0, 0]], "test": [0.5]}, "test must hold whole numbers of shape"),
    ],
)
def test_damaged_archives(tmp_path, name, arrays, message):
    folder = tmp_path / name.replace("facebook-", "facebook_")
    folder.mkdir()
    stored = {key: np.array(array) for key, array in arrays.items()}
    np.savez(folder / f"{folder.name}.npz", **stored)
    with pytest.raises(ValueError, match=message):
        load(name, root=tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ml-100k", (943, 1547, 66016, 8236, 8235)),
        ("facebook-books", (1398, 2524, 14100, 1662, 1642)),
        ("lastfm", (1892, 4489, 37921, 4214, 10533)),
        ("gowalla", (29858, 40981, 729115, 81013, 217242)),
    ],
)
def test_published_counts(data_root, name, expected):
    assert counts(load(name, kind="interactions", root=data_root)) == expected


@pytest.mark.data
def test_titles_of_movies(data_root):
    dataset = load("ml-100k", root=data_root)
    titles = dict(zip(dataset.names[943:], dataset.titles, strict=True))
    assert titles["50"] == "Star Wars (1977)"
    given = load("ml-100k", root=data_root, protocol="given")
    assert given.facts["num_items"] == 1682 and given.titles[49] == "Star Wars (1977)"

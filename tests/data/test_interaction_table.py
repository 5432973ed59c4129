import gzip
import logging

import numpy as np
import pytest

from graphlearn.data.interaction_table import read_rows


def write(path, text):
    path.write_text(text)
    return path


def test_columns_by_name(tmp_path):
    text = "Timestamp,Movie_ID,junk,UserId,Stars\n2020-01-31,m1,x,ann,4.5\n2020-02-01,m2,y,bob,3\n"
    rows = read_rows(write(tmp_path / "r.csv", text))
    assert rows["user"].tolist() == ["ann", "bob"] and rows["item"].tolist() == ["m1", "m2"]
    assert rows["rating"].tolist() == [4.5, 3.0]
    assert np.diff(rows["time"]).tolist() == [86400]


def test_columns_by_place(tmp_path):
    rows = read_rows(write(tmp_path / "u.tsv", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"))
    assert {what: column.tolist() for what, column in rows.items()} == {
        "user": [196, 186],
        "item": [242, 302],
        "rating": [3, 3],
        "time": [881250949, 891717742],
    }
    assert set(read_rows(write(tmp_path / "p.txt", "a b\nc d\n"))) == {"user", "item"}
    # a third column of words is no rating
    assert set(read_rows(write(tmp_path / "w.csv", "1,2,good\n1,3,bad\n"))) == {"user", "item"}


def test_double_colons(tmp_path):
    rows = read_rows(
        write(tmp_path / "ratings.txt", "1::1193::5::978300760\n1::661::3::978302109\n")
    )
    assert rows["item"].tolist() == [1193, 661] and rows["time"].tolist() == [978300760, 978302109]


def test_gzip(tmp_path):
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n1,2\n"))
    assert read_rows(path)["item"].tolist() == [2]


def test_a_header_that_names_neither(tmp_path, caplog):
    path = write(tmp_path / "r.csv", "reader,title\n1,2\n")
    with caplog.at_level(logging.WARNING):
        assert read_rows(path)["user"].tolist() == [1]
    assert "names no users and items, the place of a column decides" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n", "holds no interactions"),
        ("1\n2\n", "an interaction needs a user and an item, got 1 column"),
        ("user,thing\n1,2\n", "call those of users and items user and item"),
        ("user,item,rating\n1,2,good\n", "line 2: rating must be a number, got 'good'"),
        ("1,2,3\n1,3,good\n", "line 2: rating must be a number, got 'good'"),
        ("user,item,rating\n1,2,4\n1,3,nan\n", "line 3: rating must be a finite number, got nan"),
        ("user,item,time\n1,2,soon\n", "line 2: time must be a number or a date, got 'soon'"),
        ("user,item,time\n1,2,2020-01-31\n1,3,today\n", "line 3: time must be a number or a date"),
        ("user,item\na,2\n,3\n", "line 3: the user is missing"),
        ("user,item,x\n1,2\n", "3 names of columns, but rows of 2"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_rows(write(tmp_path / "r.csv", text))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_rows(tmp_path / "r.csv")

import gzip

import numpy as np
import pytest

from graphlearn.data.table import (
    cells,
    check_width,
    is_number,
    line_of,
    numbers,
    read_header,
    read_table,
)


def write(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "0,1\n1,2\n"),
        ("a.csv", "0;1\r\n1;2\r\n"),
        ("a.tsv", "0\t1\n1\t2"),
        ("a.txt", "0 1\n1   2\n"),
        ("a.txt.gz", "# made by hand\n% twice\n\n0 1\n \n# gap\n1 2\n"),
        ("a.csv.gz", "src,dst\n0,1\n1,2\n"),
        ("a.csv", "\ufefffollower,followed\n0,1\n1,2\n"),
    ],
)
def test_separators_comments_headers_and_gzip(tmp_path, name, text):
    table = read_table(write(tmp_path, text, name))
    assert numbers(table, [0, 1], np.int64).tolist() == [[0, 1], [1, 2]]
    assert list(cells(table)) == [["0", "1"], ["1", "2"]]


def test_header_names_the_columns(tmp_path):
    table = read_table(write(tmp_path, "time,Source,Target\n5,0,1\n"))
    assert table.ends() == (1, 2) and table.header == ("time", "source", "target")
    assert read_table(write(tmp_path, "5,0\n")).ends() == (0, 1)
    assert read_table(write(tmp_path, "item_id,user_id\n5,0\n")).ends() == (1, 0)


def test_a_header_needs_evidence(tmp_path):
    assert read_table(write(tmp_path, "ann,bob\nbob,cid\n")).header == ()
    assert read_table(write(tmp_path, "source,target\nann,bob\n")).header == ("source", "target")
    assert read_table(write(tmp_path, "ann,0.5\nbob,1\n")).header == ()


def test_quotes_protect_a_separator(tmp_path):
    table = read_table(write(tmp_path, '"Lee, Ann",bob\n'))
    assert list(cells(table)) == [["Lee, Ann", "bob"]]
    table = read_table(write(tmp_path, '"Lee, 1",2,3\n"Lee, 4",5,6\n'))
    assert numbers(table, [1, 2], np.int64).tolist() == [[2, 3], [5, 6]]
    assert check_width(table) == 3


def test_numbers_refuse_what_is_none(tmp_path):
    for text in ("0,1\n1,x\n", "0,1\n1\n", "0,1.5\n1,2\n", f"0,1\n{10**20},2\n"):
        assert numbers(read_table(write(tmp_path, text)), [0, 1], np.int64) is None
    empty = read_table(write(tmp_path, "src,dst\n"))
    assert numbers(empty, [0, 1], np.int64).shape == (0, 2)


def test_lines_are_counted_as_an_editor_does(tmp_path):
    path = write(tmp_path, "# one\nsrc,dst\n\n0,1\n# five\n1,2\n")
    assert line_of(read_table(path), 1) == f"{path}, line 6"


def test_is_number():
    assert all(map(is_number, ("1", "-2", "1.5", "1e3", "nan")))
    assert not any(map(is_number, ("", "x", "1,2", "1_0", "\u0661")))


@pytest.mark.parametrize("mark", [",", "\t", " "])
def test_rows_must_be_of_one_length(tmp_path, mark):
    path = write(tmp_path, f"a{mark}b\n0{mark}1\n1{mark}2\n", "a.tsv")
    assert check_width(read_table(path)) == 2
    path = write(tmp_path, f"0{mark}1\n\n1{mark}2{mark}3\n", "a.tsv")
    with pytest.raises(ValueError, match=r"a.tsv, line 3: expected 2 values, got 3"):
        check_width(read_table(path))
    assert check_width(read_table(write(tmp_path, "src,dst,time\n"))) == 3


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_header_alone_is_read_from_the_first_lines(tmp_path, name):
    text = "# one\n\nSrc,Dst,Time\n0,1,2\n" + "\n".join(f"{k},{k},{k}" for k in range(9))
    assert read_header(write(tmp_path, text, name)) == ("src", "dst", "time")
    assert read_header(write(tmp_path, "0,1,2\n1,2,3\n", name)) == ()
    assert read_header(write(tmp_path, "", name)) == ()


def test_a_file_that_cannot_be_read_has_no_header(tmp_path):
    for name, raw in (("b.csv.gz", b"src,dst\n"), ("b.csv", b"src,\xff\n0,1\n")):
        (tmp_path / name).write_bytes(raw)
        assert read_header(tmp_path / name) == ()
    assert read_header(tmp_path / "missing.csv") == ()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*missing.csv"):
        read_table(tmp_path / "missing.csv")
    with pytest.raises(ValueError, match=r"a.csv holds no data"):
        read_table(write(tmp_path, "# nothing\n\n"))
    whole = gzip.compress(b"0,1\n" * 1000)
    for damaged in (whole[:-20], b"0,1\n", whole[:40] + b"?" * 8 + whole[48:]):
        path = tmp_path / "b.csv.gz"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"b.csv.gz is a truncated or damaged gzip file"):
            read_table(path)
    binary = tmp_path / "c.csv"
    binary.write_bytes(b"0,1\n\xff\xfe")
    with pytest.raises(ValueError, match=r"c.csv is not UTF-8 text \(byte 4\)"):
        read_table(binary)

import gzip
import logging

import pytest

from graphlearn.data import load
from graphlearn.data.hetero_tables import holds_tables, read_hetero_folder

PAPERS = "id,year,Label,length\n" + "".join(
    f"p{k},{1990 + k},{'db' if k % 2 else 'ml'},{k / 2}\n" for k in range(12)
)
AUTHORS = "id\nann lee\nbob\n"
WRITES = "author,paper\n" + "".join(f"{'bob' if k % 3 else 'ann lee'},p{k}\n" for k in range(12))
VENUES = "id\trank\n2001\t1\n2002\t2\n"
AT = "from\tto\textra\np0\t2001\tx\np5\t2002\ty\n"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "library"
    path.mkdir()
    (path / "paper.csv").write_text(PAPERS)
    (path / "author.csv").write_text(AUTHORS)
    (path / "author-writes-paper.csv").write_text(WRITES)
    (path / "venue.tsv.gz").write_bytes(gzip.compress(VENUES.encode()))
    (path / "paper-at-venue.tsv").write_text(AT)
    (path / "README.md").write_text("a-b-c")
    (path / ".hidden.csv").write_text("")
    return path


def test_a_folder(folder, caplog):
    caplog.set_level(logging.INFO)
    dataset = load(folder, undirected=True)
    assert (dataset.name, dataset.kind, dataset.facts["target"]) == ("library", "hetero", "paper")
    assert dataset.facts["in_channels"] == {"author": 0, "paper": 2, "venue": 1}
    assert dataset.facts["num_nodes_dict"] == {"author": 2, "paper": 12, "venue": 2}
    assert dataset.classes == ["db", "ml"] and dataset.names[:2] == ["p0", "p1"]
    assert dataset.data["paper"].y[:3].tolist() == [1, 0, 1]
    assert dataset.data["paper"].x[3].tolist() == [1993.0, 1.5]
    writes = dataset.data["author", "writes", "paper"].edge_index
    assert writes[:, :4].tolist() == [[0, 1, 1, 0], [0, 1, 2, 3]]
    assert dataset.data["paper", "at", "venue"].edge_index.tolist() == [[0, 5], [0, 1]]
    assert ("venue", "rev_at", "paper") in dataset.facts["metadata"][1]
    assert f"{folder / 'paper-at-venue.tsv'}: ignored 1 further columns" in caplog.messages


def test_split_and_labels_of_the_table(folder):
    parts = ["train", "val", "test", ""] * 3
    rows = [f"p{k},{k % 2 if k < 11 else ''},{part}" for k, part in enumerate(parts)]
    (folder / "paper.csv").write_text("id,label,split\n" + "\n".join(rows) + "\n")
    dataset = read_hetero_folder(folder)
    assert dataset.splits["valid"].tolist() == [1, 5, 9]
    assert dataset.splits["test"].tolist() == [2, 6, 10]
    assert dataset.data["paper"].y[-1] == -1 and dataset.classes is None
    assert "x" not in dataset.data["paper"]
    drawn = read_hetero_folder(folder, protocol="stratified", seed=3)
    assert sum(map(len, drawn.splits.values())) == 11


def test_ends_may_be_named_by_their_types(folder):
    rows = [line.split(",")[::-1] for line in WRITES.splitlines()]
    rows[0] = ["paper_id", "author_id"]
    (folder / "author-writes-paper.csv").write_text("\n".join(map(",".join, rows)))
    writes = read_hetero_folder(folder).data["author", "writes", "paper"].edge_index
    assert writes[:, :4].tolist() == [[0, 1, 1, 0], [0, 1, 2, 3]]


def test_several_types_with_labels(folder):
    (folder / "author.csv").write_text("id,label\nann lee,x\nbob,y\n")
    with pytest.raises(ValueError, match=r"author and paper have a column label; say with target="):
        load(folder)
    assert load(folder, target="paper").facts["target"] == "paper"


def test_which_folders_hold_tables(folder, tmp_path):
    assert holds_tables(folder) and not holds_tables(folder / "paper.csv")
    assert not holds_tables(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*none"):
        read_hetero_folder(tmp_path / "none")
    with pytest.raises(ValueError, match=r"must hold tables of nodes \(paper.csv\) and of edges"):
        load(tmp_path, kind="hetero")


EDGES = "author-writes-paper.csv"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (EDGES, "a,b\nbob,p1\nbib,p2\n", r"csv, line 3: 'bib' is no id of 'author', see author"),
        (EDGES, "a,b\nbob,p1\nbob\n", r"writes-paper.csv, line 3: expected 2 values, got 1"),
        (EDGES, "bob,p1\nbob,p2\n", r"must begin with a header such as author,paper; its first l"),
        (EDGES, "bob\np2\n", r"must have two columns, ids of 'author' and of 'paper', its header"),
        ("author.csv", "id\nbob\nann lee\nbob\n", r"author.csv, line 4: the id 'bob' is there twi"),
        ("author.csv", "id,x\nbob,1\n,2\n", r"author.csv, line 3: expected an id, got none"),
        ("author.csv", "id,age\nbob,1\nann lee,old\n",
         r"author.csv, line 3: the feature 'age' must be a finite number, got 'old'"),
        ("author.csv", "id,age\nbob,nan\nann lee,1\n", r"line 2: the feature 'age' must be a fin"),
        ("author.csv", "id,age\nbob,1,2\nann lee,1,2\n", r"line 2: expected 2 values as in the h"),
        ("author.csv", "id,age\nbob,1\nann lee\n", r"author.csv, line 3: expected 2 values, got 1"),
        ("author.csv", "id,age,Age\nbob,1,2\n", r"the header names the column 'age' twice"),
        ("author.csv", "name,age\nbob,1\n", r"must have a column id, its header is name, age"),
        ("author.csv", "id\n", r"author.csv holds no nodes, only a header"),
        ("paper.csv", PAPERS.replace("Label", "kind"), r"the feature 'kind' must be a finite n"),
        ("paper.csv", "id\n" + "".join(f"p{k}\n" for k in range(12)),
         r"no table of nodes has a column label; there are author, paper, venue"),
        ("paper.csv", "id,label,split\n" + "".join(f"p{k},a,tset\n" for k in range(12)),
         r"paper.csv, line 2: a split must be train, valid or test, got 'tset'"),
        ("papers-cite-paper.csv", "a,b\n", r"no table of the nodes of type 'papers'; did you mean"),
        ("paper-author.csv", "a,b\n", r"a table is called type.csv or source-relation-target.csv"),
        ("author.tsv", "id\n", r"holds author.csv and author.tsv; keep one of them"),
    ],
)  # fmt: skip
def test_bad_tables(folder, file, text, message):
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_hetero_folder(folder)


def test_bad_targets(folder):
    with pytest.raises(
        ValueError, match="library has no nodes of type 'papr'; did you mean 'paper'"
    ):
        read_hetero_folder(folder, target="papr")
    with pytest.raises(ValueError, match=r"author.csv has no column label"):
        read_hetero_folder(folder, target="author")

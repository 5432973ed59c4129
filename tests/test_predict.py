import pytest
import torch
import toy
import toy_hetero

from graphlearn import predict as module
from graphlearn.cli import main
from graphlearn.knobs import build
from graphlearn.models import LATTE
from graphlearn.models.baselines import GAE, Heuristic
from graphlearn.models.edgebank import EdgeBank
from graphlearn.models.tgn import TGN
from graphlearn.predict import answer, read_nodes, read_pairs
from graphlearn.tasks.events import EventPrediction
from graphlearn.tasks.hetero import HeteroClassification
from graphlearn.tasks.link import LinkPrediction
from graphlearn.train.task import Task


@pytest.fixture
def given(monkeypatch):
    """A run that needs no folder."""
    dataset = toy.link_dataset()
    torch.manual_seed(0)
    task = LinkPrediction(GAE(12, hidden=8), dataset)
    monkeypatch.setattr(module, "restore", lambda run: (task.eval(), dataset))
    return dataset


@pytest.fixture
def stream(monkeypatch):
    """A run on a stream that needs no folder."""
    dataset = toy.event_dataset()
    torch.manual_seed(0)
    task = EventPrediction(build(TGN, dataset, memory=8, time=4, embedding=8), dataset)
    monkeypatch.setattr(module, "restore", lambda run: (task.eval(), dataset))
    return dataset


def write(tmp_path, text):
    path = tmp_path / "file.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    ["node3,node5\nnode7,9\n", "source,target\nnode3, 5\n\n7,node9\n", "3\t5\n7\tnode9\n"],
)
def test_pairs_by_name_or_id(tmp_path, text):
    pairs = read_pairs(write(tmp_path, text), toy.link_dataset())
    assert pairs.tolist() == [[3, 7], [5, 9]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node3,nodd5\n", r"file.csv line 1: toy has no node 'nodd5'; did you mean 'node5'\?"),
        ("3,zzzzzzz\n", "line 1: toy has no node 'zzzzzzz'; use names or ids below 48"),
        ("1,2\n3,48\n", r"line 2: node ids must lie in \[0, 48\), got 48"),
        ("-1,2\n", r"line 1: node ids must lie in \[0, 48\), got -1"),
        ("1,2,3\n", "line 1 must hold two nodes, 'source,target', got 3 cells"),
        ("source,target\n", "holds no pairs; expected two columns"),
    ],
)
def test_pairs_that_are_none(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_pairs(write(tmp_path, text), toy.link_dataset())


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file 'nowhere.csv'"):
        read_pairs(module.Path("nowhere.csv"), toy.link_dataset())
    path = tmp_path / "x"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="is no text file in UTF-8"):
        read_nodes(path, toy.link_dataset())


def test_nodes(tmp_path):
    assert read_nodes(write(tmp_path, "node3\n\n 7\n"), toy.link_dataset()).tolist() == [3, 7]
    with pytest.raises(ValueError, match="names no node; expected one name or id per line"):
        read_nodes(write(tmp_path, "\n"), toy.link_dataset())


def test_given_pairs_are_answered_in_their_order(tmp_path, given):
    rows = answer(tmp_path, write(tmp_path, "1,2\nnode3,40\n5,30\n"), device="cpu")
    assert [(row.source, row.target) for row in rows] == [
        ("node1", "node2"),
        ("node3", "node40"),
        ("node5", "node30"),
    ]
    assert sorted(row.rank for row in rows) == [1, 2, 3]
    assert max(rows, key=lambda row: row.score).rank == 1
    for row in rows:
        logit = torch.tensor(row.score, dtype=torch.float64)
        assert row.probability == pytest.approx(logit.sigmoid().item())


def test_the_strongest_missing_links(tmp_path, given):
    rows = answer(tmp_path, top=4, device="cpu")
    assert [row.rank for row in rows] == [1, 2, 3, 4]
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    train = {frozenset(pair) for pair in given.splits["train"].pos.T.tolist()}
    ids = [frozenset(int(end.removeprefix("node")) for end in row[1:3]) for row in rows]
    assert not train & set(ids)


@pytest.mark.parametrize("exhaustive", [False, True])
def test_links_of_some_nodes(tmp_path, given, exhaustive):
    rows = answer(
        tmp_path, top=5, nodes=write(tmp_path, "node3\n"), exhaustive=exhaustive, device="cpu"
    )
    assert rows and all("node3" in (row.source, row.target) for row in rows)


def test_a_heuristic_has_no_probability(tmp_path, monkeypatch):
    dataset = toy.link_dataset(features=False)
    task = LinkPrediction(Heuristic(48), dataset)
    monkeypatch.setattr(module, "restore", lambda run: (task.eval(), dataset))
    rows = answer(tmp_path, top=3, device="cpu")
    assert len(rows) == 3 and all(row.probability is None for row in rows)


def test_a_task_without_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(
        module, "restore", lambda run: (Task(torch.nn.Linear(1, 1)), toy.link_dataset())
    )
    with pytest.raises(
        ValueError, match="is a run of Task, which neither scores pairs nor classifies"
    ):
        answer(tmp_path)


def test_links_of_named_nodes(tmp_path, given):
    rows = answer(tmp_path, top=50, named=["node3", "9"], exhaustive=True, device="cpu")
    assert all({"node3", "node9"} & {row.source, row.target} for row in rows)
    more = answer(
        tmp_path,
        top=50,
        named=["9"],
        nodes=write(tmp_path, "node3\n"),
        exhaustive=True,
        device="cpu",
    )
    assert more == rows


def test_a_name_that_is_no_node(tmp_path, given):
    message = r"--node: toy has no node 'nodd5'; did you mean 'node5'\?"
    with pytest.raises(ValueError, match=message):
        answer(tmp_path, named=["nodd5"], device="cpu")
    with pytest.raises(ValueError, match=r"--node: node ids must lie in \[0, 48\), got 48"):
        answer(tmp_path, named=["48"], device="cpu")


def test_who_meets_whom_next(tmp_path, stream):
    rows = answer(tmp_path, top=6, named=["node3"], device="cpu")
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row.source for row in rows} == {"node3"}
    assert "node3" not in {row.target for row in rows} and rows[0].probability is not None
    text = "".join(f"{row.source},{row.target}\n" for row in reversed(rows))
    again = answer(tmp_path, write(tmp_path, text), device="cpu")
    assert [row.target for row in again] == [row.target for row in reversed(rows)]
    assert [row.score for row in again] == pytest.approx([row.score for row in reversed(rows)])
    assert len({row.source for row in answer(tmp_path, top=40, device="cpu")}) > 1


def test_a_memory_knows_who_met(tmp_path, monkeypatch):
    dataset = toy.event_dataset()
    task = EventPrediction(build(EdgeBank, dataset), dataset)
    monkeypatch.setattr(module, "restore", lambda run: (task.eval(), dataset))
    data = dataset.data
    met = {f"node{node}" for node in data.dst[(data.src == 3) & (data.dst != 3)].tolist()}
    rows = answer(tmp_path, top=len(met), named=["node3"], device="cpu")
    assert {row.target for row in rows} == met and all(row.score == 1 for row in rows)
    assert all(row.probability is None for row in rows)


def test_the_command_for_a_stream(tmp_path, stream, capsys):
    words = ["predict", str(tmp_path), "--device", "cpu", "--top", "3"]
    assert main([*words, "--node", "node3", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "source", "target", "score", "probability"]
    assert len(lines) == 4 and {line.split()[1] for line in lines[1:]} <= {"node3", "node4"}
    assert main([*words, "--node", "nobody"]) == 1
    message = "graphlearn: --node: toy-events has no node 'nobody'"
    assert capsys.readouterr().err.startswith(message)
    assert main([*words, "--input", "a", "--node", "b"]) == 1
    message = "--input scores given pairs, --node finds new ones; choose one of them"
    assert capsys.readouterr().err == f"graphlearn: {message}\n"


def test_classes_of_nodes_of_one_type(tmp_path, monkeypatch):
    dataset = toy_hetero.hetero_dataset()
    task = HeteroClassification(build(LATTE, dataset, hidden=8), dataset).eval()
    monkeypatch.setattr(module, "restore", lambda run: (task, dataset))
    found = answer(tmp_path, named=["paper3", "7"])
    assert [one.node for one in found] == ["paper3", "paper7"]
    assert [one.label for one in found] == ["algebra", "botany"]
    chance = task.classify(torch.tensor([3, 7]))
    assert [one.probability for one in found] == chance.max(1).values.tolist()
    assert len(answer(tmp_path, top=4)) == 4
    with pytest.raises(ValueError, match="toy-hetero has no node 'author1'"):
        answer(tmp_path, named=["author1"])

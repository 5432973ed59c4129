import resource
import subprocess
import sys

import pytest
import toy

import graphlearn as gl
from graphlearn import cli
from graphlearn.cli import main
from graphlearn.data.robust import save_robust
from graphlearn.train.tracking import Result

RECIPE = """
model = "graphlearn.models.baselines:GAE"
task = "graphlearn.tasks.link:LinkPrediction"
[default]
model = { hidden = 8, layers = 1 }
task = { batch_size = 64 }
schedule = { epochs = 2, lr = 0.01 }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An own recipe and edge list in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE)
    rows = toy.ring_of_cliques().t().tolist()
    (tmp_path / "edges.csv").write_text("".join(f"n{a},n{b}\n" for a, b in rows))
    return tmp_path


TRAIN = "train mine.toml --dataset edges.csv --device cpu".split()


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in cli.COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"graphlearn {gl.__version__}\n"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "which command? (graphlearn --help)"),
        (["trian"], 2, "no command 'trian'; did you mean 'train'? (graphlearn --help)"),
        (["train"], 2, "put the name of the recipe first: graphlearn train NAME ..."),
        (
            ["list", "--datset"],
            2,
            "unknown option '--datset'; did you mean '--datasets'? (graphlearn list --help)",
        ),
        (["train", "ncnn"], 1, "no recipe 'ncnn'; did you mean 'ncn'? (graphlearn list)"),
        (["train", "x.toml"], 1, "there is no recipe file 'x.toml'"),
        (
            ["train", "ncn", "--dataset", "coraa"],
            1,
            "no data set 'coraa'; did you mean 'cora'? (graphlearn list --datasets)",
        ),
        (["list", "ncnn"], 1, "no recipe matches 'ncnn'; did you mean 'ncn'?"),
        (["eval", "nowhere"], 1, "nowhere is no run: it holds no recipe.toml"),
        (["predict", "x", "--top", "0"], 1, "--top must be at least 1, got 0"),
        (
            ["predict", "x", "--input", "a", "--nodes", "b"],
            1,
            "--input scores given pairs, --nodes finds new ones; choose one of them",
        ),
        (["report", "."], 1, "there is no finished run (a result.json) below ."),
    ],
)
def test_an_error_is_one_line(capsys, words, status, message):
    assert main(words) == status
    error = capsys.readouterr().err
    assert error.splitlines()[-1] == f"graphlearn: {message}"
    assert error.count("\n") == 1


def test_a_value_of_a_wrong_type_is_usage(capsys):
    assert main([*TRAIN, "--model.hidden", "x"]) == 2
    assert "--model.hidden" in capsys.readouterr().err


def test_debug_shows_where(capsys):
    assert main(["train", "ncnn", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_surprise_says_its_type(capsys, monkeypatch):
    def fail(words):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setitem(cli.COMMANDS, "list", fail)
    assert main(["list"]) == 1
    want = "graphlearn: RuntimeError: first line (--debug shows where it came from)\n"
    assert capsys.readouterr().err == want


def test_list(capsys):
    assert main(["list", "ncn*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["recipe", "data", "set", "metric", "published"]
    assert any(line.split() == ["ncn", "Cora", "hits@100", "89.05", "±", "0.96"] for line in lines)
    assert any(line.split() == ["ncn", "any", "other"] for line in lines)
    assert {line.split()[0] for line in lines[1:]} == {"ncn", "ncnc"}
    assert main(["list", "DDI"]) == 0
    assert "stdlib" not in capsys.readouterr().out
    assert main(["list", "--datasets"]) == 0
    assert "ogbl-collab" in capsys.readouterr().out.split()


def test_help_of_one_recipe_shows_its_knobs(capsys):
    assert main(["train", "ncn", "--dataset", "ogbl-ddi", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--model.hidden INT" in text and "(default: 224)" in text
    assert "--schedule.lr-of.encoder" in text and "--data.root" in text and "--precision" in text


def test_train_eval_predict_report(capsys, folder):
    assert main([*TRAIN, "--seeds", "2"]) == 0
    text = capsys.readouterr().out
    assert "mine on edges.csv: no settings for this data set, [default] of the recipe" in text
    assert "seed 1: valid" in text and "-> runs/mine/edges/1" in text
    assert (
        "(2 seeds)" in text and "±" in text and (folder / "runs/mine/edges/summary.json").exists()
    )

    assert main(["eval", "runs/mine/edges/1", "--device", "cpu"]) == 0
    shown = dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert shown["auc"] == f"{100 * Result.read(folder / 'runs/mine/edges/1').test['auc']:.2f}"

    predict = ["predict", "runs/mine/edges/0", "--device", "cpu"]
    assert main([*predict, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "source", "target", "score", "probability"]
    assert len(lines) == 4 and lines[1].split()[1].startswith("n")
    (folder / "pairs.csv").write_text("n1,n2\nn3,n40\n")
    assert main([*predict, "--input", "pairs.csv", "--output", "scores.csv"]) == 0
    assert capsys.readouterr().out == "2 pairs -> scores.csv\n"
    assert (folder / "scores.csv").read_text().startswith("rank,source,target,score,probability\n")
    assert main([*predict, "--input", "nowhere.csv"]) == 1
    assert capsys.readouterr().err == "graphlearn: there is no file 'nowhere.csv'\n"

    assert main(["report", "runs", "--out", "rep"]) == 0
    text = capsys.readouterr().out
    assert "mine on" in text and "wrote rep/bars-edges.png" in text


def test_an_existing_run_is_an_error(capsys, folder):
    assert main([*TRAIN, "--schedule.epochs", "1"]) == 0
    capsys.readouterr()
    assert main([*TRAIN, "--schedule.epochs", "1"]) == 1
    assert "runs/mine/edges/0 holds a run; continue it with --resume" in capsys.readouterr().err
    assert main([*TRAIN, "--schedule.epochs", "1", "--resume"]) == 0
    assert main([*TRAIN, "--schedule.epochs", "1", "--overwrite"]) == 0
    assert main(["train", "runs/mine/edges/0/recipe.toml", "--device", "cpu", "--out", "b"]) == 0
    assert (folder / "b/mine/edges/0/result.json").is_file()


def test_interrupt_says_how_to_go_on(capsys, monkeypatch):
    stopped = Result(0, "auc", 0, 4, {}, {}, "interrupted", 0.0)
    monkeypatch.setattr(gl.Trainer, "fit", lambda *_, **__: stopped)
    assert main([*TRAIN, "--overwrite"]) == 130
    want = f"interrupted after epoch 4; continue with: graphlearn {' '.join(TRAIN)} --resume"
    assert capsys.readouterr().err == f"graphlearn: {want}\n"


def test_interrupt_elsewhere(capsys, monkeypatch):
    def stop(words):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "list", stop)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "graphlearn: interrupted\n"


def test_list_is_quick():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "graphlearn", "list"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5


def test_a_stream_of_ones_own_from_training_to_who_is_met_next(folder, capsys):
    """Everyone reads one paper again and again, which is thus what they read next."""
    readers = {"ada": "times", "bob": "post", "cy": "echo", "dan": "star", "eve": "sun"}
    order = list(readers.items())
    rows = [f"{','.join(order[k % 5])},{1000 + 7 * k}" for k in range(240)]
    (folder / "my_events.csv").write_text("\n".join(["source,target,time", *rows]))
    words = "train nat --dataset my_events.csv --schedule.epochs 6 --schedule.lr 0.01"
    options = ["--task.batch-size", "10", "--no-progress"]
    assert main([*words.split(), *options]) == 0
    assert "nat on my_events.csv: test ap" in capsys.readouterr().out
    assert main("predict runs/nat/my_events/0 --node ada --top 3".split()) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["rank", "source", "target", "score", "probability"]
    assert lines[1][:3] == ["1", "ada", "times"] and len(lines) == 4


def test_defences_against_attack_rates_from_training_to_the_picture(folder, capsys):
    """A folder of attacked graphs, two defences at two rates, and the curve of both."""
    dataset = toy.node_dataset(unlabelled=4)
    edges = {0.2: gl.attacks.RandomAttack().attack(dataset.data, 0.2).edge_index}
    save_robust(folder / "hard", dataset, edges)
    small = "--hidden 8 --pretraining-epochs 3 --runs 2 --epochs 4 --no-progress".split()
    for rate in ("0", "0.2"):
        words = ["train", "stable", "--dataset", "hard", "--rate", rate, *small]
        assert main(words) == 0
        assert "accuracy/std" in capsys.readouterr().out
        words = ["train", "robust-gcn", "--dataset", "hard", "--rate", rate, "--epochs", "20"]
        assert main(words) == 0
    assert (folder / "runs/stable/hard-meta-0.2/0/result.json").is_file()
    assert main(["report", "runs", "--out", "seen"]) == 0
    shown = capsys.readouterr().out
    assert "rates-hard-meta.png" in shown
    assert (folder / "seen/rates-hard-meta.png").read_bytes().startswith(b"\x89PNG")
    assert main(["eval", "runs/robust-gcn/hard-meta-0.2/0", "--adaptive", "0.1"]) == 0
    assert "by the gradients of this model" in capsys.readouterr().out
    assert main(["train", "stable", "--dataset", "hard", "--rate", "0.3", *small]) == 1
    error = capsys.readouterr().err
    assert "no such file: hard/meta/adj_0.3.npz; there are the rates 0, 0.2" in error


def test_own_labels_from_a_table_to_the_class_of_a_name(folder, capsys):
    names = [f"n{k}" for k in range(24)]
    pairs = [(a, b) for a in range(24) for b in range(a) if a % 2 == b % 2 and (a + b) % 3]
    (folder / "net.csv").write_text("\n".join(f"n{a},n{b}" for a, b in pairs))
    labels = [f"{name},{'even' if k % 2 == 0 else 'odd'}" for k, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["node,label", *labels]))
    words = (
        "train dagnn --dataset net.csv --labels labels.csv --epochs 60 --no-progress --valid 0.2"
    )
    assert main([*words.split(), "--test", "0.4"]) == 0
    assert "dagnn on net.csv: test accuracy" in capsys.readouterr().out
    assert main("predict runs/dagnn/net/0 --node n4 n7 --output out.csv".split()) == 0
    assert capsys.readouterr().out == "2 nodes -> out.csv\n"
    head, *rows = (folder / "out.csv").read_text().splitlines()
    assert head == "rank,node,class,probability,label"
    assert [row.split(",")[1:3] for row in rows] == [["n4", "even"], ["n7", "odd"]]
    assert main("train dagnn --dataset net.csv --no-progress --out b".split()) == 1
    assert "labels" in capsys.readouterr().err

import dataclasses

import pytest

from graphlearn.options import (
    List,
    Predict,
    Report,
    Train,
    Usage,
    expand,
    flags,
    pairs,
    parse,
    seeds,
    value,
)
from graphlearn.recipe import find


def test_flags_of_a_recipe_show_its_values():
    options = parse(flags(find("ncn/ogbl-ddi")), ["ncn"], "train ncn")
    assert options.dataset == "ogbl-ddi" and options.model.hidden == 224
    assert options.schedule.lr_of == {"encoder": 0.0021} and options.machine.device == "auto"
    assert not {"out", "resume"} & set(pairs(options.machine))


def test_flags_change_what_they_name():
    words = (
        "ncn --model.hidden 8 --model.node_mlp --model.no-jk --schedule.lr=1e-2 --task.batch-size 4"
        " --schedule.lr-of.encoder 0 --data.valid 0.2 --device cpu --no-progress"
        " --track csv tensorboard --seeds 2"
    ).split()
    options = parse(flags(find("ncn", "cora")), words, "train ncn")
    assert (options.model.hidden, options.model.node_mlp, options.model.jk) == (8, True, False)
    assert (options.schedule.lr, options.schedule.lr_of) == (0.01, {"encoder": 0.0})
    assert (options.task.batch_size, options.data.valid, options.seeds) == (4, 0.2, 2)
    assert (options.machine.device, options.machine.progress) == ("cpu", False)
    assert options.machine.track == ("csv", "tensorboard")


def test_a_negative_number_is_a_value():
    options = parse(flags(find("ncnc", "cora")), ["ncnc", "--model.offset", "-0.5"], "train ncnc")
    assert options.model.offset == -0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ncn", "--model.hiden", "3"], r"option '--model.hiden'; did you mean '--model.hidden'\?"),
        (["ncn", "--hiden", "3"], r"option '--hiden'; did you mean '--hidden'\?"),
        (["ncn", "--devise=cpu"], r"option '--devise'; did you mean '--device'\?"),
        (["ncn", "--zzzzzzz"], r"unknown option '--zzzzzzz' \(graphlearn train ncn --help\)"),
        (["ncn", "cora"], r"unknown argument 'cora' \(graphlearn train ncn --help\)"),
    ],
)
def test_an_unknown_option_names_the_nearest(words, message):
    with pytest.raises(Usage, match=message):
        parse(flags(find("ncn")), words, "train ncn")


def test_options_of_the_other_commands(tmp_path):
    assert parse(List, ["ncn*"], "list") == List("ncn*")
    assert parse(Predict, ["run", "--top", "3", "--exhaustive"], "predict").exhaustive
    assert len(parse(Report, ["a", "b", "--out", "c"], "report").runs) == 2


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (["--dataset", "x"], "x"),
        (["--dataset=x"], "x"),
        (["--dataset"], ""),
        (["--data", "x"], ""),
    ],
)
def test_value(words, want):
    assert value(words, "--dataset") == want


def test_seeds():
    one, run = find("ncn"), dataclasses.replace(find("ncn"), seed=7)
    assert list(seeds(Train("ncn"), one, [])) == [0]
    assert list(seeds(Train("ncn", seeds=3), one, ["--seeds", "3"])) == [0, 1, 2]
    assert list(seeds(Train("ncn", seed=4), run, ["--seed", "4"])) == [4]
    assert list(seeds(Train("ncn"), run, [])) == [7]
    assert list(seeds(Train("ncn", seeds=2), run, ["--seeds=2"])) == [0, 1]
    with pytest.raises(Usage, match="--seeds runs the first N seeds, --seed runs one; choose one"):
        seeds(Train("ncn", seeds=2, seed=1), one, ["--seeds", "2"])
    with pytest.raises(Usage, match="--seeds must be at least 1 and --seed at least 0"):
        seeds(Train("ncn", seeds=0), one, ["--seeds", "0"])


def test_a_knob_goes_by_its_short_name():
    kind = flags(find("ncn", "cora"))
    words = ["ncn", "--hidden", "8", "--lr=0.1", "--no-jk", "--device", "cpu", "--batch_size", "3"]
    assert expand(words, kind) == [
        *("ncn", "--model.hidden", "8", "--schedule.lr=0.1", "--model.no-jk", "--device", "cpu"),
        *("--task.batch-size", "3"),
    ]
    options = parse(kind, expand(words, kind), "train ncn")
    assert (options.model.hidden, options.schedule.lr, options.model.jk) == (8, 0.1, False)
    assert expand(["--zzz", "--model.hidden", "-3"], kind) == ["--zzz", "--model.hidden", "-3"]


def test_a_short_name_of_two_sections_is_refused():
    both = dataclasses.make_dataclass(
        "Both", [("model", Train, Train("a")), ("task", Train, Train("b"))]
    )
    with pytest.raises(Usage, match=r"--seeds is ambiguous: --model\.seeds or --task\.seeds"):
        expand(["--seeds", "3"], both)

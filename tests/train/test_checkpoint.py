import os
import pickle

import pytest
import torch
from toy_tasks import Counting, Net, Regression, same, weights

from graphlearn.train import checkpoint


def content(task):
    return {
        "task": checkpoint.label(task),
        "seed": 0,
        "progress": {"stage": 0, "epoch": 3},
        "state": task.state_dict(),
    }


def test_what_is_saved_comes_back(tmp_path):
    task, other = Regression(), Regression(model=Net(hidden=8))
    checkpoint.save(tmp_path / "best.pt", content(task))
    checkpoint.restore(other, checkpoint.load(tmp_path / "best.pt"), "best.pt")
    assert same(weights(task), weights(other))
    assert other.epoch == 3
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_a_missing_file_names_itself(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*best.pt"):
        checkpoint.load(tmp_path / "best.pt")


class Mischief:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("write", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write({"format": 1, "state": Mischief()}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match=r"best.pt was refused: it is damaged, or holds more than"):
        checkpoint.load(tmp_path / "best.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("size", [0, 10, 700, -200])
def test_a_damaged_file_is_called_so(tmp_path, size):
    path = tmp_path / "last.pt"
    checkpoint.save(path, content(Regression()))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"last.pt .*damaged") as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value)


def test_other_files_of_torch_are_refused(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match=r"best.pt is no checkpoint of graphlearn"):
        checkpoint.load(tmp_path / "best.pt")


def test_another_task_is_refused():
    message = (
        r"last.pt is a checkpoint of Regression\(Net\), not of Counting\(Identity\); "
        "pass the run folder or recipe that belongs to it"
    )
    with pytest.raises(ValueError, match=message):
        checkpoint.restore(Counting(), content(Regression()), "last.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.head.bias"), "it lacks model.head.bias$"),
        (lambda state: [state.pop(name) for name in list(state)[:2]], "it lacks .* and 1 more$"),
        (lambda state: state.update(extra=torch.ones(1)), "it has extra besides$"),
        (
            lambda state: state.update({"model.encoder.bias": torch.ones(3)}),
            r"model.encoder.bias is \(3,\) there and \(8,\) here",
        ),
    ],
)
def test_another_model_is_refused_and_nothing_is_changed(change, message):
    task = Regression()
    before, saved = weights(task), content(task)
    saved["state"] = {name: value + 1 for name, value in saved["state"].items()}
    change(saved["state"])
    with pytest.raises(ValueError, match=rf"best.pt does not fit this .*: {message}"):
        checkpoint.restore(task, saved, "best.pt")
    assert same(before, weights(task))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, content(Regression()))
    before = path.read_bytes()
    (tmp_path / ".last.pt.part").symlink_to("/dev/full")
    with pytest.raises(
        OSError, match=f"cannot write last.pt in {tmp_path}: No space left"
    ) as error:
        checkpoint.save(path, content(Regression()))
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["last.pt"]


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write last.pt in .*file: (Not a dir|File exists)"):
        checkpoint.claim(tmp_path / "file", resume=False, overwrite=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"cannot write last.pt in .*: Permission denied"):
        checkpoint.claim(tmp_path, resume=False, overwrite=False)


def test_a_run_is_not_lost(tmp_path):
    (tmp_path / "metrics.csv").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="already holds a run; pass resume=True to continue"):
        checkpoint.claim(tmp_path, resume=False, overwrite=False)
    checkpoint.claim(tmp_path, resume=True, overwrite=False)
    assert (tmp_path / "metrics.csv").exists()
    checkpoint.claim(tmp_path, resume=False, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_result_without_a_checkpoint_is_not_trained_over(tmp_path):
    (tmp_path / "result.json").touch()
    with pytest.raises(ValueError, match=r"holds a result but no last.pt to continue from"):
        checkpoint.claim(tmp_path, resume=True, overwrite=False)


def test_another_seed_is_refused(tmp_path):
    assert checkpoint.unfinished(tmp_path, 0) is None
    checkpoint.save(tmp_path / "last.pt", content(Regression()))
    assert checkpoint.unfinished(tmp_path, 0) is not None
    with pytest.raises(ValueError, match="belongs to seed 0, this run has seed 3; pass another"):
        checkpoint.unfinished(tmp_path, 3)


def test_copies_share_nothing():
    value = torch.ones(2)
    copy = checkpoint.on_cpu({"a": [value, (value, 1)], "b": None})
    value.zero_()
    assert copy["a"][0].sum() == 2
    assert copy["a"][1][0].sum() == 2
    assert copy["b"] is None

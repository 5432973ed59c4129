"""Files of a run that are either whole or absent, and loading them without trusting them."""

import os
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from graphlearn.train.task import Task

__all__ = [
    "claim",
    "explained",
    "label",
    "load",
    "on_cpu",
    "replacing",
    "restore",
    "save",
    "unfinished",
]

Content = dict[str, Any]
FORMAT = 1
OURS = ("best.pt", "last.pt", "stage*.pt", "metrics.csv", "result.json")


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; a file that is already there is replaced only by a whole one.

    Args:
        path: File to write; its folder must exist.
        content: Tensors and plain values, nested.

    Raises:
        OSError: if the folder cannot be written or the disk is full.
    """
    with replacing(path) as file:
        torch.save({"format": FORMAT, **content}, file)


def load(path: Path) -> Content:
    """Read a checkpoint; a file that holds more than tensors and plain values is refused.

    Args:
        path: A `best.pt` or `last.pt`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, no checkpoint, or would run code.
    """
    try:
        with warnings.catch_warnings():
            # torch warns of odd pickle protocols, and then refuses the file anyway
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint {path}") from None
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it is damaged, or holds more than tensors and plain values"
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no checkpoint of graphlearn (format {FORMAT})")
    return content


def restore(task: Task, content: Mapping[str, Any], source: object) -> None:
    """Put the weights and buffers of a checkpoint into a task.

    Args:
        task: The task to fill; untouched if anything differs.
        content: What `load` returned.
        source: Where it came from, for the message.

    Raises:
        ValueError: if it is a checkpoint of another task or model; says what differs.
    """
    if content.get("task") != label(task):
        raise ValueError(
            f"{source} is a checkpoint of {content.get('task')}, not of {label(task)}; "
            "pass the run folder or recipe that belongs to it"
        )
    own, state = task.state_dict(), content["state"]
    if difference := _difference(own, state):
        raise ValueError(f"{source} does not fit this {label(task)}: {difference}")
    task.load_state_dict(state)
    task.stage, task.epoch = content["progress"]["stage"], content["progress"]["epoch"]


def claim(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make a folder ready for a run, so that nothing in it is lost.

    Args:
        folder: Folder of the run; made if need be.
        resume: Whether a run in it is to be continued.
        overwrite: Whether a run in it is to be replaced; other files stay.

    Raises:
        FileExistsError: if it holds a run, and neither is set.
        OSError: if it cannot be written.
        ValueError: if its run cannot be continued.
    """
    with explained(folder / "last.pt"):
        old = [path for name in OURS for path in sorted(folder.glob(name))]
    if old and not (resume or overwrite):
        raise FileExistsError(
            f"{folder} already holds a run; pass resume=True to continue it, "
            "overwrite=True to replace it, or another out"
        )
    if resume and folder / "result.json" in old and folder / "last.pt" not in old:
        raise ValueError(
            f"{folder} holds a result but no last.pt to continue from; "
            "pass overwrite=True to replace it, or another out"
        )
    with explained(folder / "last.pt"):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".part"
        probe.touch()
        for path in (probe, *(old if overwrite else ())):
            path.unlink()


def unfinished(folder: Path, seed: int) -> Content | None:
    """The checkpoint in a folder to continue from, if there is one.

    Args:
        folder: Folder of the run.
        seed: Seed of the run.

    Raises:
        ValueError: if it cannot be read or belongs to another seed.
    """
    path = folder / "last.pt"
    if not path.is_file():
        return None
    content = load(path)
    if content["seed"] != seed:
        raise ValueError(
            f"{path} belongs to seed {content['seed']}, this run has seed {seed}; pass another out"
        )
    return content


def label(task: Task) -> str:
    """What a task is, in one word: `LinkPrediction(NCN)`."""
    return f"{type(task).__name__}({type(task.model).__name__})"


def on_cpu(value: Any) -> Any:  # noqa: ANN401
    """A copy of nested containers whose tensors lie in main memory and share nothing."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(on_cpu(item) for item in value)
    return value


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` once it is complete.

    Raises:
        OSError: if the folder cannot be written or the disk is full; `path` is then as before.
    """
    part = path.with_name(f".{path.name}.part")
    with explained(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the ways in which writing fails into one line that names the folder.

    Raises:
        OSError: in place of whatever went wrong.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, "strerror", None) or str(error).partition("\n")[0]
        raise OSError(
            f"cannot write {path.name} in {path.parent}: {reason}; "
            "free some space or pass another folder"
        ) from error


def _difference(own: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The first thing in which two states differ, or nothing."""
    missing = [name for name in own if name not in state]
    extra = [name for name in state if name not in own]
    if missing or extra:
        said = [f"it lacks {_some(missing)}"] if missing else []
        said += [f"it has {_some(extra)} besides"] if extra else []
        return " and ".join(said)
    for name, value in own.items():
        there = state[name]
        if isinstance(value, Tensor) and value.shape != there.shape:
            return f"{name} is {tuple(there.shape)} there and {tuple(value.shape)} here"
    return ""


def _some(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")

"""Where the numbers of a run go: a result, a table, trackers on request, the progress bar."""

import csv
import io
import json
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar, runtime_checkable

import torch
from tqdm import tqdm

from graphlearn.extras import nearest, need
from graphlearn.train.checkpoint import explained, replacing

__all__ = [
    "TRACKERS",
    "Bar",
    "History",
    "Result",
    "Row",
    "Tracker",
    "peak_memory",
    "read_rows",
    "trackers",
]

Row = dict[str, int | float]
T = TypeVar("T")
TRACKERS = ("csv", "tensorboard", "wandb")


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Args:
        seed: Seed of the run.
        monitor: Metric that selected the best epoch; empty if none did.
        best_epoch: Epoch of the weights that were kept; 0 if nothing was trained.
        epochs: Epochs that were trained, in the last stage.
        valid: Metrics on the validation split at the best epoch.
        test: Metrics on the test split at the best epoch; empty if interrupted before.
        stopped: `epochs`, `patience`, `no parameters` or `interrupted`.
        seconds: Wall time, those of resumed parts included.
        memory: Peak memory in bytes: of the GPU, else of the process.
        parameters: Number of trainable parameters.
        history: One row per epoch of all stages: stage, epoch, loss, seconds, `train/...`,
            `valid/...`.
        folder: Where the files of the run are, if it wrote any.
    """

    seed: int
    monitor: str
    best_epoch: int
    epochs: int
    valid: dict[str, float]
    test: dict[str, float]
    stopped: str
    seconds: float
    memory: int = 0
    parameters: int = 0
    history: list[Row] = field(default_factory=list, repr=False)
    folder: Path | None = None

    def write(self, folder: Path) -> None:
        """Write `result.json`: everything but the history, which is `metrics.csv`.

        Raises:
            OSError: if the folder cannot be written.
        """
        values = asdict(self)
        del values["history"], values["folder"]
        with replacing(folder / "result.json") as file:
            file.write(json.dumps(values, indent=2).encode() + b"\n")

    @classmethod
    def read(cls, folder: Path) -> "Result":
        """The result of a finished run.

        Raises:
            FileNotFoundError: if the run has not finished, or the folder holds none.
            ValueError: if the file is damaged.
        """
        path = folder / "result.json"
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: the run has not finished")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**values, history=read_rows(folder / "metrics.csv"), folder=folder)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged or no result of a run") from error


class History:
    """The rows of a run, in memory and, given a folder, in `metrics.csv`.

    The header is the union of all keys so far: a row with a new key rewrites the file.

    Args:
        folder: Folder of the run, or None.
        until: Stage and epoch of the last row to keep of an existing file; None keeps nothing.
    """

    def __init__(self, folder: Path | None, *, until: tuple[int, int] | None = None) -> None:
        self.path = folder / "metrics.csv" if folder else None
        kept = read_rows(self.path) if self.path and until else []
        self.rows = [row for row in kept if until and (row["stage"], row["epoch"]) <= until]
        self.columns = list(dict.fromkeys(chain.from_iterable(self.rows)))
        self.file: TextIO | None = None
        if self.path and self.path.exists():
            self._rewrite()  # without the rows that come again

    def add(self, row: Row) -> None:
        """Append one row; it has reached the operating system when this returns.

        Raises:
            OSError: if the folder cannot be written.
        """
        self.rows.append(row)
        if self.path is None:
            return
        if new := [key for key in row if key not in self.columns]:
            self.columns += new
            self._rewrite()
            return
        with explained(self.path):
            if self.file is None:
                self.file = self.path.open("a", newline="", encoding="utf-8")
            self.file.write(_lines([row], self.columns))
            self.file.flush()

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def _rewrite(self) -> None:
        assert self.path is not None
        self.close()
        head = _lines([dict(zip(self.columns, self.columns, strict=True))], self.columns)
        with replacing(self.path) as file:
            file.write((head + _lines(self.rows, self.columns)).encode())


def read_rows(path: Path) -> list[Row]:
    """The rows of a `metrics.csv`; empty cells are left out, and so is a line cut short."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    rows: list[Row] = []
    for cells in table[1:]:
        pairs = zip(table[0], cells, strict=False)
        try:
            row: Row = {key: _number(key, cell) for key, cell in pairs if cell}
        except ValueError:
            continue
        if len(cells) == len(table[0]) and {"stage", "epoch"} <= row.keys():
            rows.append(row)
    return rows


@runtime_checkable
class Tracker(Protocol):
    """Something that is shown every row."""

    def add(self, row: Row) -> None:
        """Take one row."""

    def close(self) -> None:
        """Finish."""


def trackers(
    names: Sequence[str], folder: Path | None, *, config: Mapping[str, Any], first: int = 1
) -> list[Tracker]:
    """The trackers asked for by name; `csv` is always there and needs none.

    Args:
        names: Some of `csv`, `tensorboard`, `wandb`.
        folder: Folder of the run.
        config: The recipe, for those that show it.
        first: First epoch to come; later ones of an earlier attempt are dropped.

    Raises:
        ImportError: if the package of a tracker is not installed.
        ValueError: if a name is unknown, or a tracker needs a folder and there is none.
    """
    found: list[Tracker] = []
    for name in names:
        if name not in TRACKERS:
            raise ValueError(
                f"track must name some of {', '.join(TRACKERS)}, got {name!r}"
                f"{nearest(name, TRACKERS)}"
            )
        if name == "tensorboard":
            need("tensorboard", extra="track")
            if folder is None:
                raise ValueError("track='tensorboard' writes files: pass out=FOLDER to the Trainer")
            found.append(_TensorBoard(folder, first))
        elif name == "wandb":
            found.append(_Wandb(folder, config))
    return found


class Bar:
    """Progress on the terminal: epochs, and the batches of an epoch that takes long.

    Args:
        enabled: Whether to show anything; never where standard error is no terminal.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled and sys.stderr.isatty()
        self.epochs: tqdm[Any] | None = None
        self.shown = ""  # the monitor, when it was last evaluated

    def stage(self, name: str, *, epochs: int, done: int) -> None:
        """Begin a stage.

        Args:
            name: What is fitted.
            epochs: Epochs in all.
            done: Epochs that are behind us.
        """
        self.close()
        self.shown = ""
        if self.enabled:
            self.epochs = tqdm(
                desc=name, total=epochs, initial=done, unit="epoch", mininterval=0.1, miniters=1
            )

    def batches(self, items: Iterable[T], name: str) -> Iterable[T]:
        """The items, counted on a second line once the pass has taken two seconds."""
        if not self.enabled:
            return items
        return tqdm(items, desc=name, unit="batch", delay=2, leave=False, mininterval=0.1)

    def add(self, row: Row, monitor: str) -> None:
        """Count one epoch and show its loss and the monitor."""
        if self.epochs is not None:
            value = row.get(f"valid/{monitor.removeprefix('-')}")
            if value is not None:
                self.shown = f", {monitor} {value:.4g}"
            self.epochs.set_postfix_str(f"loss {row['loss']:.4g}{self.shown}", refresh=False)
            self.epochs.update()

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self.epochs is not None:
            self.epochs.close()
            self.epochs = None


def peak_memory(device: torch.device) -> int:
    """Largest memory in use so far, in bytes: of the GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _TensorBoard:
    def __init__(self, folder: Path, first: int) -> None:
        # the import costs seconds and needs the extra
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=first)

    def add(self, row: Row) -> None:
        for key, value in row.items():
            if key not in ("stage", "epoch"):
                tag = f"{key}/stage{row['stage']}" if row["stage"] else key
                self.writer.add_scalar(tag, value, row["epoch"])

    def close(self) -> None:
        self.writer.close()


class _Wandb:
    def __init__(self, folder: Path | None, config: Mapping[str, Any]) -> None:
        wandb = need("wandb", extra="track")
        where = str(folder) if folder else None
        self.run = wandb.init(project="graphlearn", dir=where, config=dict(config))

    def add(self, row: Row) -> None:
        self.run.log(dict(row))

    def close(self) -> None:
        self.run.finish()


def _lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([row.get(key, "") for key in columns] for row in rows)
    return text.getvalue()


def _number(key: str, cell: str) -> int | float:
    return int(cell) if key in ("stage", "epoch") else float(cell)

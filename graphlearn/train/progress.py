"""Where a stage of training stands, and when it has gone on for long enough."""

from dataclasses import dataclass, field
from statistics import fmean

from graphlearn.train.task import Schedule

__all__ = ["Progress"]


@dataclass
class Progress:
    """What a resumed run needs besides tensors.

    Args:
        stage: Number of the stage.
        epoch: Last epoch that is finished.
        best: Best value of the monitor, larger is better.
        best_epoch: Its epoch.
        valid: Metrics of that epoch.
        stalled: Evaluations since then.
        recent: The last `patience` values of the monitor before the current one, where the rule
            to stop needs them.
        current: Value of the monitor at the last evaluation.
        scale: What plateaus have left of the rate.
        seconds: Time so far.
        stopped: Why the stage has ended; empty while it goes on.
    """

    stage: int = 0
    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    valid: dict[str, float] = field(default_factory=dict)
    stalled: int = 0
    recent: list[float] = field(default_factory=list)
    current: float | None = None
    scale: float = 1.0
    seconds: float = 0.0
    stopped: str = ""

    def judge(self, schedule: Schedule, score: float, epoch: int) -> bool:
        """Take in one evaluation.

        Args:
            schedule: Its patience, and what a plateau does.
            score: Value of the monitor, larger is better.
            epoch: When.

        Returns:
            Whether it is the best one so far.
        """
        if schedule.stop == "mean" and self.current is not None:
            self.recent = [*self.recent, self.current][-max(schedule.patience, 1) :]
        self.current = score
        better = self.best is None or score > self.best
        if better:
            self.best, self.best_epoch, self.stalled = score, epoch, 0
        else:
            self.stalled += 1
            if schedule.decay == "plateau" and self.stalled % schedule.stall == 0:
                self.scale /= 2
        self.stopped = self.verdict(schedule, epoch)
        return better

    def verdict(self, schedule: Schedule, epoch: int | None = None) -> str:
        """Why to stop, or nothing.

        Args:
            schedule: Its patience and rule.
            epoch: The epoch that was evaluated; the last finished one by default.
        """
        if not schedule.patience:
            return ""
        if schedule.stop == "best":
            return "patience" if self.stalled >= schedule.patience else ""
        late = (self.epoch if epoch is None else epoch) > schedule.epochs // 2
        full = len(self.recent) == schedule.patience
        worse = self.current is not None and full and self.current < fmean(self.recent)
        return "patience" if late and worse else ""

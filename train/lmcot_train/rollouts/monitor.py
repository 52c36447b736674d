"""Follow a run: count its time, validate it when that is due, keep its best weights, and say when it must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rollouts.best_weights import BestWeights
from lmcot_train.rollouts.judge import Judge


@dataclass(frozen=True, slots=True)
class RefineProgress:
    """How far a run has come; `coefficient` is the weight of the KL penalty in the next update."""

    coefficient: float
    update: int = 0
    seconds: float = 0.0  # of all sessions
    best: float | None = None  # validation reward
    best_update: int = 0


class Monitor:
    """Follows a run.

    Attributes:
        judge: Validates.
        progress: How far the run has come.
        best: Keeps the weights that validate best; None keeps none.
        stopped: Why the run ends before its last update; None otherwise.
        owes_validation: Whether a validation could not finish, since the calls of the large LM were spent. Such a state
            is not kept: a run that continued from it would never make that validation.
    """

    def __init__(self, judge: Judge, progress: RefineProgress, best: BestWeights | None = None) -> None:
        if best and not best.path.is_file():  # removed by hand, since it was damaged
            progress = replace(progress, best=None, best_update=0)
        self.judge, self.options, self.progress, self.best = judge, judge.options, progress, best
        self.stopped: str | None = self._out_of_time()
        self.owes_validation = False

    @property
    def continues(self) -> bool:
        """Whether another update follows."""
        return self.progress.update < self.options.updates and not self.stopped

    def is_due(self, every: int) -> bool:
        """Whether something is due that is done every so many updates and after the last one."""
        done = self.progress.update
        return every > 0 and (done % every == 0 or done == self.options.updates)

    def close_update(self, figures: Mapping[str, float], seconds: float) -> dict[str, float]:
        """Count the time of an update, see whether the run must end, and validate if that is due."""
        seconds = self.judge.workers.from_first(seconds)
        self.progress = replace(self.progress, seconds=self.progress.seconds + seconds)
        self.stopped = self._ran_away(figures) or self._out_of_time()
        if self.is_due(self.options.validate_every) or self.stopped:
            figures = self.validated(figures)
        return {**figures, "minutes": self.progress.seconds / 60}

    def validated(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Add the figures of a validation; keep the weights if they are the best so far.

        The run ends here if the validation needs more calls of the large LM than are left.
        """
        if not self.judge.task.held_out:
            return dict(figures)
        self.owes_validation = True
        try:
            found = self.judge.validate()
        except LargeCallsSpentError as error:
            self.stopped = str(error)
            return dict(figures)
        self.owes_validation = False
        if self.progress.best is None or found["validation_reward"] > self.progress.best:
            self._keep_best(found["validation_reward"])
        return {**figures, **found}

    def _keep_best(self, reward: float) -> None:
        self.progress = replace(self.progress, best=reward, best_update=self.progress.update)
        if self.best and self.judge.workers.first:
            self.best.keep(self.judge.policy)

    def _ran_away(self, figures: Mapping[str, float]) -> str | None:
        if figures["kl"] <= self.options.run_kl:
            return None
        return f"the KL to the reference ran away: {figures['kl']:.1f} nats per rationale"

    def _out_of_time(self) -> str | None:
        minutes = self.options.minutes
        if minutes is None or self.progress.seconds < minutes * 60:
            return None
        return f"the {minutes:g} minutes are over"

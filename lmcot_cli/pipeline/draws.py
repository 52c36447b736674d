"""The samples of one row as they arrive, and their votes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lmcot_cli.backends.base import Role
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import ModelError, ReplyCutError, RowError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import CutShort, Sample
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_cli.pipeline.stopping import leaders
from lmcot_cli.pipeline.vote import Ballot, VoteBy, tally, weight_of
from lmcot_cli.pipeline.waves import Drawn, RowWork


@dataclass(slots=True)
class RowDraws:
    """The samples of a row as they arrive.

    Attributes:
        row: The row.
        options: How many there may be, and when they are enough.
        samples: The samples so far.
        dropped: See `Drawn.dropped`.
    """

    row: Row
    options: AnswerOptions
    samples: list[Sample] = field(default_factory=list)
    dropped: dict[Role, int] = field(default_factory=dict)
    _cuts: list[str] = field(default_factory=list)

    def kept(self, work: RowWork) -> RowWork:
        """Run the work; where the row fails in it, return the samples drawn before, with the error."""
        try:
            return (yield from work)
        except RowError as error:
            return Drawn(tuple(self.samples), dropped=self.dropped, error=error)

    def add(self, sample: Sample, cut: str | None) -> None:
        """Add a sample; `cut` says why its last reply is empty, where a limit left it so."""
        self.samples.append(sample)
        self._cuts += [cut] if cut and sample.answer is None else []

    def end(self, cut_short: CutShort | None = None) -> Drawn:
        """Return the samples.

        Raises:
            ReplyCutError: A limit left every sample empty.
        """
        if self._cuts and len(self._cuts) == len(self.samples):
            raise ReplyCutError(self._cuts[0])
        return Drawn(tuple(self.samples), cut_short, self.dropped)

    def next_seeds(self) -> list[int]:
        """Return the seeds of the samples to draw next; none when there are enough."""
        have = len(self.samples)
        wave = self.options.stopping.next_wave(self._ballots(), self.options.samples)
        if self.options.has_budget and not have:
            wave = 1  # every row gets its first sample before any gets a second
        return [sample_seed(self.options.seed, self.row.id, index) for index in range(have, have + wave)]

    @property
    def lead(self) -> float | None:
        """See `Wave.lead`."""
        if not self.samples:
            return None
        leader, runner_up = leaders(tally(self._ballots()))
        return (leader - runner_up) / len(self.samples)

    def _ballots(self) -> list[Ballot]:
        return ballots(self.samples, self.options.vote)


def ballots(samples: Iterable[Sample], by: VoteBy) -> list[Ballot]:
    """Return the votes of samples.

    Raises:
        ModelError: Votes are weighted by log-probabilities, and the model gives none.
    """
    if by == "majority":
        return [Ballot(sample.answer) for sample in samples]
    return [Ballot(sample.answer, _weight(sample)) for sample in samples]


def _weight(sample: Sample) -> float:
    if sample.logprob is not None:
        return weight_of(sample.logprob)
    if sample.answer is None:
        return 1.0
    raise ModelError("--vote logprob: the large LM gives no log-probabilities; use --vote majority")

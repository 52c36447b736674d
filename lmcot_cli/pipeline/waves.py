"""The parts of the work on a row: waves of requests to models, and the samples that they lead to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from lmcot_cli.backends.base import Backend, Completion, Request, Role, Sampling
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import RowError
from lmcot_cli.pipeline.result import CutShort, Sample


class Ask(NamedTuple):
    """One request and the model it is for."""

    model: Backend
    request: Request
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Wave:
    """Requests of one row that are submitted together.

    Attributes:
        asks: The requests.
        lead: How far the row's vote is from a tie, as a share of the samples; None if the row needs this wave.
    """

    asks: list[Ask]
    lead: float | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples of one row.

    Attributes:
        samples: The samples.
        cut_short: The limit of the run that kept the row from more.
        dropped: How many paragraphs of the context a model was not shown for lack of room; no entry for a model that
            was shown all.
        error: Why the row failed in spite of them; None where it worked.
    """

    samples: tuple[Sample, ...]
    cut_short: CutShort | None = None
    dropped: Mapping[Role, int] = field(default_factory=dict)
    error: RowError | None = None


class CutShortError(Exception):
    """Thrown into a row's work in place of the completions of a wave that it does not need."""

    def __init__(self, reason: CutShort) -> None:
        super().__init__(reason)
        self.reason = reason


RowWork: TypeAlias = Generator[Wave, list[Completion], Drawn]


Method: TypeAlias = Callable[[Row], RowWork]
"""Begins a row; a `RowError` that its generator raises is that row's."""

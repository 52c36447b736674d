"""What the work on a row is made of: waves of requests to models, and what they come to in the end."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

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
    """Requests of one row that go out together.

    Attributes:
        asks: The requests.
        lead: For samples that a row can do without: how far its vote is from a tie, as a share of the samples;
            None for what the row needs.
    """

    asks: list[Ask]
    lead: float | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples of one row, and what kept the row from more.

    Attributes:
        samples: Those that were drawn.
        cut_short: The limit of the run that kept the row from more.
        dropped: How many paragraphs of the context a model was not shown for lack of room; no entry for one that was
            shown all.
        error: Why the row failed all the same; None where it worked.
    """

    samples: tuple[Sample, ...]
    cut_short: CutShort | None = None
    dropped: Mapping[Role, int] = field(default_factory=dict)
    error: RowError | None = None


class CutShortError(Exception):
    """Thrown into a row's work in place of the completions of a wave that it can do without."""

    def __init__(self, reason: CutShort) -> None:
        super().__init__(reason)
        self.reason = reason


RowWork: TypeAlias = Generator[Wave, list[Completion], Drawn]


class Method(Protocol):
    """Answers rows."""

    def __call__(self, row: Row) -> RowWork:
        """Begin a row; a `RowError` that the generator raises is that row's."""
        ...

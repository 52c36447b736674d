"""How fast the models reply in this run, to estimate how long the last rows will take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from lmcot_cli.backends.base import Backend

_NEWEST = 0.2
"""Weight of the newest reply in the moving average of their latency."""


@dataclass(slots=True)
class _Seen:
    """The replies of one model, the seconds that it computed, and the average latency of a reply."""

    replies: int = 0
    worked: float = 0.0
    latency: float = 0.0


class Pace:
    """Measures the models during a run."""

    def __init__(self) -> None:
        self._seen: dict[Backend, _Seen] = {}
        self._asked_at: dict[int, float] = {}

    def asked(self, ticket: int) -> None:
        """Note that a request was submitted."""
        self._asked_at[ticket] = monotonic()

    def replied(self, model: Backend, ticket: int) -> None:
        """Note that its reply came."""
        seen = self._seen.setdefault(model, _Seen())
        took = monotonic() - self._asked_at.pop(ticket)
        seen.latency += (took - seen.latency) * (_NEWEST if seen.replies else 1)
        seen.replies += 1

    @contextmanager
    def of(self, model: Backend) -> Iterator[None]:
        """Measure how long a model computes."""
        start = monotonic()
        yield
        self._seen.setdefault(model, _Seen()).worked += monotonic() - start

    def seconds(self, rows: Sequence[Mapping[Backend, int]]) -> float | None:
        """Return how long the replies that some rows wait for will take; None where a model has not replied yet.

        A model that computes here gives one reply after another, at the rate so far; one that is served gives all
        replies of a row at once, after the average latency so far.

        Args:
            rows: For each row, how many replies it waits for from each model.
        """
        total = 0.0
        for model in {model: None for row in rows for model in row}:
            seen = self._seen.get(model)
            replies = sum(row.get(model, 0) for row in rows)
            if not replies:
                continue
            if seen is None or not seen.replies:
                return None
            total += seen.latency if model.in_background else replies * seen.worked / seen.replies
        return total

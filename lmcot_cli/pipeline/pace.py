"""How fast the models reply in this run: what to tell somebody who waits for the last rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from lmcot_cli.backends.base import Backend

_NEWEST = 0.2
"""Share that the newest reply has in what is remembered of how long one takes."""


@dataclass(slots=True)
class _Seen:
    """What one model has shown: replies, the seconds that it computed, and how long a reply took to come."""

    replies: int = 0
    worked: float = 0.0
    latency: float = 0.0


class Pace:
    """Measures a run as it goes on."""

    def __init__(self) -> None:
        self._seen: dict[Backend, _Seen] = {}
        self._asked_at: dict[int, float] = {}

    def asked(self, ticket: int) -> None:
        """Note that a reply is waited for."""
        self._asked_at[ticket] = monotonic()

    def replied(self, model: Backend, ticket: int) -> None:
        """Note that it came."""
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

        A model that computes here gives one after another, at the rate so far; one that is served gives a row's replies
        at once, after the time that one has taken so far.
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

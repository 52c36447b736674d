"""Count what was asked of an endpoint, for costs and reports."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from operator import add
from typing import Self


@dataclass(slots=True)
class Counters:
    """What a session has asked of an endpoint.

    Attributes:
        requests: Calls sent, including retries, hedges and the probe.
        retries: Calls that repeat one that failed.
        hedged: Calls sent beside one that was not answered; the endpoint may bill both.
        unanswered: Calls that were given up without an answer.
        cache_hits: Requests answered from the reply cache, at no cost.
        prompt_tokens: Prompt tokens of the replies that the endpoint sent, without those from the cache.
        completion_tokens: Tokens written in them.
        lost_prompt_tokens: Prompt tokens that calls without an answer may be billed for, estimated by the replies that
            took their place.
        lost_completion_tokens: Tokens written, likewise.
    """

    requests: int = 0
    retries: int = 0
    hedged: int = 0
    unanswered: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    lost_prompt_tokens: int = 0
    lost_completion_tokens: int = 0

    def count(self, prompt_tokens: int, completion_tokens: int, lost: int) -> None:
        """Count the tokens of an answer, and as many for each call in its place that was lost."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.lost_prompt_tokens += lost * prompt_tokens
        self.lost_completion_tokens += lost * completion_tokens

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(add, astuple(self), astuple(other)))

    def to_record(self) -> dict[str, int]:
        """Return the counts of calls for the run file, whose totals hold the tokens."""
        names = ("requests", "retries", "hedged", "unanswered", "cache_hits")
        return {name: getattr(self, name) for name in names}

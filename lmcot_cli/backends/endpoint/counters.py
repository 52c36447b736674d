"""What was asked of an endpoint, counted for costs and reports."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from operator import add
from typing import Self


@dataclass(slots=True)
class Counters:
    """What a session has asked of an endpoint.

    Attributes:
        requests: Calls sent, retries, hedges and the probe included.
        retries: Those of them that repeat one that failed.
        hedged: Those that were sent beside one that was not answered: the endpoint may bill both.
        unanswered: Calls that were given up without any answer.
        cache_hits: Requests answered from the reply cache, at no cost.
        prompt_tokens: Prompt tokens of the replies that the endpoint sent; not of those from the cache.
        completion_tokens: Tokens written in them.
        lost_prompt_tokens: Prompt tokens that calls without an answer may be billed for, as many as the replies in
            their place took.
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

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(add, astuple(self), astuple(other)))

    def to_record(self) -> dict[str, int]:
        """Return the counts of calls as they stand in the run file; the tokens stand in its totals."""
        names = ("requests", "retries", "hedged", "unanswered", "cache_hits")
        return {name: getattr(self, name) for name in names}

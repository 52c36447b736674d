"""The cost of tokens by the price table of the settings file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lmcot_cli.backends.base import Role
from lmcot_cli.pipeline.result import TokenCounts, Usage

_PER = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a million tokens, in whatever currency the table uses."""

    prompt: float
    completion: float

    def of(self, tokens: TokenCounts) -> float:
        """Return the cost of tokens; cached ones cost nothing."""
        paid = tokens.prompt - tokens.cached_prompt, tokens.completion - tokens.cached_completion
        return (paid[0] * self.prompt + paid[1] * self.completion) / _PER


FREE = Price(0.0, 0.0)


def cost_of(usage: Usage, prices: Mapping[Role, Price]) -> float:
    """Return the cost of both models' tokens."""
    return prices["small"].of(usage.small) + prices["large"].of(usage.large)

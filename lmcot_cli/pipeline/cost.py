"""What tokens cost, by the price table of the settings file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lmcot_cli.backends.base import Role
from lmcot_cli.pipeline.result import TokenCounts, Usage

_PER = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in whatever currency the table is in."""

    prompt: float
    completion: float

    def of(self, tokens: TokenCounts) -> float:
        """Return what so many tokens cost; those of replies that were kept cost nothing."""
        paid = tokens.prompt - tokens.cached_prompt, tokens.completion - tokens.cached_completion
        return (paid[0] * self.prompt + paid[1] * self.completion) / _PER


FREE = Price(0.0, 0.0)


def cost_of(usage: Usage, prices: Mapping[Role, Price]) -> float:
    """Return what the tokens of both models cost."""
    return prices["small"].of(usage.small) + prices["large"].of(usage.large)

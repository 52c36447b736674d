"""What tokens cost, by the price table of the settings file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmcot_cli.backends.naming import ModelName
from lmcot_cli.pipeline.result import Tokens, Usage

if TYPE_CHECKING:
    from lmcot_cli.pipeline.options import AnswerOptions

_PER = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in whatever currency the table is in."""

    prompt: float
    completion: float

    def of(self, tokens: Tokens) -> float:
        """Return what so many tokens cost; those of replies that were kept cost nothing."""
        paid = tokens.prompt - tokens.cached_prompt, tokens.completion - tokens.cached_completion
        return (paid[0] * self.prompt + paid[1] * self.completion) / _PER


FREE = Price(0.0, 0.0)


def prices_of(options: AnswerOptions) -> dict[str, Price]:
    """Return the prices of the two roles; a model that the table does not name is free."""
    return {
        "small": _price(options.small, options.aliases, options.prices),
        "large": _price(options.large, options.aliases, options.prices),
    }


def cost_of(usage: Usage, prices: Mapping[str, Price]) -> float:
    """Return what the tokens of both models cost."""
    return prices["small"].of(usage.small) + prices["large"].of(usage.large)


def _price(name: ModelName, aliases: Mapping[str, str], table: Mapping[str, Price]) -> Price:
    spec = str(name)
    return table.get(spec) or table.get(aliases.get(spec, spec)) or FREE

"""The settings of scoring and their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.scoring.metrics import Rules
from lmcot_cli.settings.declaration import NOT_NEGATIVE, Rule, check, setting


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """How answers are scored.

    Raises:
        UsageError: A value is out of range.
    """

    rules: Rules = setting(Rules.HOTPOTQA, "Official script whose rules are followed.")
    seed: int = setting(0, "Seed of the bootstrap.", rule=NOT_NEGATIVE)
    resamples: int = setting(10_000, "Bootstrap resamples per interval.", rule=Rule(least=1, most=1_000_000))

    def __post_init__(self) -> None:
        check(self)

"""How many rows may fail before a run stops."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.errors import UsageError

_ENOUGH_ROWS = 20
"""Rows after which a share of them means something."""


@dataclass(frozen=True, slots=True)
class ErrorLimit:
    """At most `count` rows, or a share of `percent`, may fail; the other one is None."""

    count: int | None = None
    percent: float | None = None

    def reached(self, failed: int, rows: int) -> bool:
        """Whether more rows failed than may."""
        if self.count is not None:
            return failed > self.count
        assert self.percent is not None
        return rows >= _ENOUGH_ROWS and failed > rows * self.percent / 100


def parse_error_limit(text: str) -> ErrorLimit:
    """Parse `25` (rows) or `10%` (of the rows so far, once there are 20).

    Raises:
        UsageError: The text is neither.
    """
    try:
        if text.endswith("%") and 0 <= (percent := float(text[:-1])) < 100:
            return ErrorLimit(percent=percent)
        if (count := int(text)) >= 0:
            return ErrorLimit(count=count)
    except ValueError:
        pass
    raise UsageError(f"--max-errors {text}: write how many rows may fail: 25, or 10%")

"""Recommend the type that suits this machine best, by the figures of verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmcot_cli.errors import ModelError
from lmcot_export.outcome import Output, Recommendation

if TYPE_CHECKING:
    from lmcot_cli.scoring.comparison import Difference
    from lmcot_export.verify import Verification

MUCH_FASTER = 1.1
"""Rates closer than this factor are noise; then the smaller divergence decides."""

FEW_ROWS = 30
"""Fewer rows than this are warned of: the interval of a bootstrap over so few is too narrow."""


def recommend(outputs: Sequence[Output]) -> Recommendation:
    """Choose the fastest output that passed; among equally fast ones the nearest to the source.

    An output passes if it meets the thresholds of its type, and its exact match, if questions were given, is not surely
    worse than the source's. Speed is the rate of decoding 16 sequences at once, which is what answering spends its time
    on.

    Raises:
        ModelError: None passed, or none was measured.
    """
    measured = [(output, output.verification) for output in outputs if output.verification is not None]
    good = [(output, found) for output, found in measured if output.passed and not _loses(found)]
    if not good:
        raise ModelError(
            f"there is nothing to recommend: no type passed verification without losing exact match{_open(measured)}"
        )
    fastest = max(_rate(found) for _, found in good)
    near = [(output, found) for output, found in good if _rate(found) * MUCH_FASTER >= fastest]
    output, found = min(near, key=lambda pair: (_divergence(pair[1]), pair[1].figures.bytes))
    return Recommendation(output, tuple(_reasons(output, found, good, measured)))


def _reasons(
    output: Output,
    found: Verification,
    good: Sequence[tuple[Output, Verification]],
    measured: Sequence[tuple[Output, Verification]],
) -> list[str]:
    figures = found.figures
    reasons = [
        f"{_rate(found):,.0f} tokens/s here, 16 sequences at once; the others that passed:"
        f" {_others(output, good) or 'none'}",
        f"{figures.bits_per_weight:.1f} bits a weight, mean KL {_divergence(found):.2g} nats from the source",
    ]
    if figures.exact_match is not None:
        reasons += _exact_match(figures.exact_match, figures.rows)
    else:
        reasons.append("exact match was not measured: give questions with --verify QUESTIONS")
    left_out = [
        f"{other.type} ({other.verdict})"
        for other, other_found in measured
        if (other, other_found) not in good
    ]
    return reasons + ([f"left out: {', '.join(left_out)}"] if left_out else [])


def _open(measured: Sequence[tuple[Output, Verification]]) -> str:
    """Return advice for the case that nothing failed and nothing passed."""
    if not any(output.verdict == "inconclusive" for output, _ in measured):
        return ""
    return "; some are inconclusive: give more questions with --verify and --rows, or --allow-inconclusive"


def _exact_match(match: Difference, rows: int) -> list[str]:
    """Return the difference with its interval, and a warning if it shows nothing."""
    points = match.difference
    reasons = [
        f"exact match {100 * points.mean:+.1f} points ({100 * points.low:+.1f} to {100 * points.high:+.1f}) against the"
        f" source on {rows} rows"
    ]
    if match.a == 0:
        reasons.append(
            "warning: the source itself has no row right, so that exact match says nothing of what was lost"
        )
    if rows < FEW_ROWS:
        reasons.append(
            f"warning: {rows} rows are few, and exact match on them is mostly chance: give {FEW_ROWS} or more"
        )
    return reasons


def _others(output: Output, good: Sequence[tuple[Output, Verification]]) -> str:
    return ", ".join(f"{other.type} {_rate(found):,.0f}" for other, found in good if other is not output)


def _rate(found: Verification) -> float:
    return found.figures.tokens_per_second or 0.0


def _divergence(found: Verification) -> float:
    measured = found.figures.where_used
    return float("inf") if measured is None else measured.kl_mean


def _loses(found: Verification) -> bool:
    """Whether exact match is surely worse: the whole interval of the paired difference lies below nothing."""
    match = found.figures.exact_match
    return match is not None and match.difference.high < 0

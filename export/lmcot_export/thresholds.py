"""Read thresholds of verification from the command line: `q4_0:top1=0.7,mean_kl=0.3`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmcot_cli.errors import UsageError

if TYPE_CHECKING:
    from lmcot_export.verify import Threshold

NAMES = ("top1", "max_kl", "mean_kl", "rationales", "em_drop")
"""What can be set; see `lmcot_export.verify.Threshold`."""


def parse_thresholds(texts: Sequence[str]) -> dict[str, Threshold]:
    """Return the thresholds by type; what is not named stays as it is for the type, and `none` judges nothing.

    Raises:
        UsageError: A text is not of the form `TYPE:NAME=VALUE,...`.
    """
    from lmcot_export.verify import VerifyOptions

    found: dict[str, Threshold] = {}
    for text in texts:
        type, _, settings = text.partition(":")
        usual = found.get(type) or VerifyOptions().threshold(type)
        changes: dict[str, Any] = dict(_setting(text, part) for part in settings.split(","))
        found[type] = replace(usual, **changes)
    return found


def _setting(text: str, part: str) -> tuple[str, float | None]:
    name, _, value = (piece.strip() for piece in part.partition("="))
    try:
        number = None if value == "none" else float(value)
    except ValueError:
        number, name = None, ""
    if name not in NAMES:
        raise UsageError(
            f"--threshold {text}: write TYPE:NAME=NUMBER,... with a NAME of {', '.join(NAMES)}, as in q4_0:top1=0.7"
        )
    return name, number

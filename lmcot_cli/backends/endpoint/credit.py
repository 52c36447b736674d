"""Tell an account without credit from a busy endpoint: both may answer 429."""

from __future__ import annotations

import re

_PAYMENT_REQUIRED = 402
_REFUSALS = (400, 403, 429)

_CODES = re.compile(r"insufficient_quota|exceeded_current_quota|credit|billing|balance|payment|arrear", re.I)
"""In codes and types of errors. `quota_exceeded` is not among them, for it may be a quota per minute."""

_WORDS = re.compile(
    r"(?:no|out of|not enough|insufficient|exhausted|lack\w*|more) (?:\w+ )?(?:credits?|funds|balance)\b"
    r"|credit balance is too low|(?:credits?|balance|funds) (?:is|are|has been|have been)?\s?(?:not enough|insufficient"
    r"|exhausted|used up|depleted|negative)|billing (?:hard )?limit|billing is not active|overdue payment"
    r"|payment required|\bin arrears|key limit exceeded|spending limit|余额不足|欠费",
    re.I,
)


def is_exhausted(status: int, message: str, *codes: str | None) -> bool:
    """Whether an error says that the account has nothing left to pay with.

    Args:
        status: HTTP status.
        message: The endpoint's words.
        codes: Its code and type of the error, if it gives them.
    """
    if status == _PAYMENT_REQUIRED or any(code and _CODES.search(code) for code in codes):
        return True
    return status in _REFUSALS and bool(_WORDS.search(message))

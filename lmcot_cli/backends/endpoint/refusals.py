"""Find out from its message which parameter of a call an endpoint refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lmcot_cli.backends.endpoint.effort import EFFORT, TEMPLATE
from lmcot_cli.backends.endpoint.faults import Refusal

_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "stop": ("stop_sequences", "stopSequences", "stop_strings"),
    "logprobs": ("top_logprobs", "responseLogprobs"),
    "temperature": ("sampling parameters", "sampling params"),
    "top_p": ("topP", "sampling parameters", "sampling params"),
    EFFORT: ("effort", "reasoning.effort"),
    TEMPLATE: ("enable_thinking",),
    "response_format": (
        "json_schema",
        "structured_outputs",
        "guided_json",
        "output_config",
        "responseSchema",
    ),
}
"""Names that the model behind a gateway has for a parameter."""

_COMPLAINT = re.compile(
    r"support|unknown|unrecogni[sz]ed|unexpected|permitted|allowed|not available|invalid|deprecated|ignored|extra"
    r"|either|both|conflict|exclusive|must|should|cannot|can't|can not|may not|only|at least|at most|greater|less"
    r"|range|positive|required|enabled",
    re.I,
)
_EITHER = re.compile(r"both|only one|either|together|same time|exclusive|one of|simultaneous|conflict", re.I)
_ONLY_DEFAULT = re.compile(
    r"default|deprecated|not supported with|unsupported parameter|only (?:the value )?1\b"
    r"|(?<!\b0 is )(?<!\b0\.0 is )not supported (?:for|by|on|in)\b"
    r"|not support (?:the )?(?:parameters? )?[`'\"]?(?:temperature|sampling param\w+)[`'\"]?(?!\s*(?:=|of|value|0))",
    re.I,
)
_BLANK = re.compile(r"whitespace|white space|blank|empty|newline|line break", re.I)
_LEAST = re.compile(
    r"(?:at least|>=|≥|minimum(?: value)?(?: is| of)?|no less than|greater than or equal to|\[)\s*(\d*\.?\d+)",
    re.I,
)
_NEEDS_ROOM = re.compile(
    r"could not finish the message because max_tokens|model output limit was reached", re.I
)


def named(refusal: Refusal, parameters: Iterable[str]) -> list[str]:
    """Return the parameters that a refusal names."""
    return [name for name in parameters if _speaks_of(refusal, name)]


def excludes_both(refusal: Refusal) -> bool:
    """Whether one of two parameters may be given, but not both."""
    return bool(_EITHER.search(refusal.message))


def only_default(refusal: Refusal) -> bool:
    """Whether a parameter is refused whatever its value."""
    return bool(_ONLY_DEFAULT.search(refusal.message))


def about_blanks(refusal: Refusal) -> bool:
    """Whether strings are refused for being blank."""
    return bool(_BLANK.search(refusal.message))


def needs_room(refusal: Refusal) -> bool:
    """Whether a thought took all the tokens."""
    return bool(_NEEDS_ROOM.search(refusal.message))


def least_value(refusal: Refusal) -> float | None:
    """Return the lowest value above 0 that a refusal says is taken, or None."""
    values = [float(found) for found in _LEAST.findall(refusal.message)]
    return next((value for value in values if 0 < value <= 1), None)


def _speaks_of(refusal: Refusal, parameter: str) -> bool:
    """Whether a refusal names a parameter: as its `param`, in quotes, or as a word beside a complaint."""
    names = (parameter, *_OTHER_NAMES.get(parameter, ()))
    if refusal.parameter and re.split(r"[.\[]", refusal.parameter)[0] in names:
        return True
    words = "|".join(re.escape(name) for name in names)
    if re.search(rf"([`'\"])(?:{words})(?:[.\[][^`'\"]*)?\1", refusal.message):
        return True
    return bool(
        _COMPLAINT.search(refusal.message)
        and re.search(rf"(?<![\w-])(?:{words})(?![\w-])", refusal.message, re.I)
    )

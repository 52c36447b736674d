r"""Markers of answers: "the answer is", labels such as `**Answer:**`, and the endings that prompts ask for."""

from __future__ import annotations

import re
from functools import lru_cache

_SIGNS = r"[*_`\"'\u201c\u201d]*"
_IS = (
    rf"\banswer{_SIGNS}"
    r"(?:\s*\([^()\n]{0,40}\))?"
    r"(?:,?\s+(?:here|therefore|thus|then|hence)\b,?)?"
    r"(?:\s+(?:to|for)\s+(?:this|that|it)\b(?=\s+(?:is|would|must|should|will)\b))?"
    r"(?:\s+(?:to|for)\s+(?:(?:the|this|that|your|my|our)\s+)?(?:\w+\s+){0,3}?question"
    r"(?:\s*[\"'\u201c\u201e][^\n]{1,300}?[\"'\u201d\u201c](?=\s))?)?"
    rf"\s+{_SIGNS}(?:is|would\s+be|must\s+be|should\s+be|will\s+be)\b"
)
_ELSEWHERE = (
    r"\bantwort\s+(?:ist|lautet)\b|\blautet\s+die\s+antwort\b|\br\u00e9ponse\s+est\b|\brespuesta\s+es\b|\brisposta\s+\u00e8\b"
    r"|\bresposta\s+\u00e9\b|\bantwoord\s+is\b|\bodpowied\u017a\s+(?:to|brzmi)\b|\u7b54\u6848(?:\u662f|\u4e3a|\u70ba)|\u7b54\u3048\u306f"
    r"|\uc815\ub2f5\uc740|\ub2f5\uc740|\b\u043e\u0442\u0432\u0435\u0442\s*:|\u0627\u0644\u062c\u0648\u0627\u0628\s+\u0647\u0648"
    r"|\u0627\u0644\u0625\u062c\u0627\u0628\u0629\s+\u0647\u064a|\u05d4\u05ea\u05e9\u05d5\u05d1\u05d4\s+\u05d4\u05d9\u05d0"
)
"""The same in German, French, Spanish, Italian, Portuguese, Dutch, Polish, Chinese, Japanese, Korean, Russian, Arabic
and Hebrew."""

_NAMES = (
    r"(?:(?:so|therefore|thus|hence|and)[,:]?\s+)?(?:(?:the|my)\s+)?"
    r"(?:(?:final|short|correct|direct|concise|exact|best|predicted)\s+)?(?:answer|ans\.?)(?:\s*\([^()\n]{0,40}\))?"
    r"|antwort|r\u00e9ponse|respuesta|risposta|resposta|antwoord|svar|odpowied\u017a|\u043e\u0442\u0432\u0435\u0442"
    r"|\u7b54\u6848|\u56de\u7b54|\u7b54\u3048|\u7b54|\uc815\ub2f5|\ub2f5|(?:\u0627\u0644)?(?:\u062c\u0648\u0627\u0628|\u0625\u062c\u0627\u0628\u0629)"
    r"|\u05d4?\u05ea\u05e9\u05d5\u05d1\u05d4|cevap|yan\u0131t|\u0909\u0924\u094d\u0924\u0930"
)
_COLON = r"\s*(?:[:\uff1a]|[-\u2013\u2014=](?=\s))"
_BEFORE = r"[ \t>#*_`\u2022\u2013-]*"
_LABEL = rf"(?:^{_BEFORE}|(?<=[.!?\u3002][ \t])[*_]*)(?:{_NAMES})[*_]*{_COLON}"
_HEADING = rf"^{_BEFORE}(?:{_NAMES})[ \t]*(?:[*_#]+[ \t]*)?$"
_HASHES = r"^####[ \t]+(?=\S[^\n]*\s*\Z)"
"""Four hashes at the start of the last line, as at the end of GSM8K's solutions. Elsewhere they are a heading."""

_TAG = r"<(?:final_?)?answer>|^\[(?:final[_ ]?)?answer\]:?"

_FLAGS = re.IGNORECASE | re.MULTILINE
BUILT_IN = re.compile(
    rf"(?:{_IS}|{_ELSEWHERE}){_SIGNS}\s*[:\uff1a]?|{_LABEL}|{_HEADING}|{_HASHES}|{_TAG}", _FLAGS
)
"""Every marker that does not depend on the prompt."""

SHORT_LABEL = re.compile(rf"^{_BEFORE}(?:{_NAMES}|A)[*_]*{_COLON}", _FLAGS)
"""A label at the start of a direct answer, which echoes the cue; it may be a single letter."""

RATIONALE_LABEL = re.compile(
    r"^[\s#*_]*(?:rationale|reasoning|explanation|(?:step[- ]by[- ]step )?reasoning steps)[*_]*\s*[:\uff1a][*_]*\s*",
    re.IGNORECASE,
)
QUESTION_LABEL = re.compile(rf"^{_BEFORE}(?:question|q)[*_]*\s*[:\uff1a]", re.IGNORECASE)
ONLY_LABEL = re.compile(_HEADING, re.IGNORECASE)
"""A line that holds only a name for the answer, such as a heading: the answer comes below."""
ANSWER_LABEL_LINE = re.compile(rf"(?:^{_BEFORE}(?:{_NAMES})[*_]*{_COLON})|{_HEADING}", _FLAGS)
"""A line at which a rationale ends, because the model goes on to answer."""


@lru_cache(maxsize=64)
def marker_pattern(own: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of the built-in markers and of a prompt's own ones.

    Own markers match in any case, across a line end, and with Markdown or quotes between their words.
    """
    endings = [pattern for one in own if (pattern := _loose(one))]
    return re.compile("|".join([*endings, BUILT_IN.pattern]), _FLAGS) if endings else BUILT_IN


def _loose(marker: str) -> str:
    words = [re.escape(word) for word in marker.rstrip(" :\uff1a").split()]
    if not words:
        return ""
    start = r"(?<!\w)" if marker[0].isascii() and marker[0].isalnum() else ""
    end = r"(?!\w)" if words[-1][-1].isascii() and words[-1][-1].isalnum() else ""
    gap = rf"{_SIGNS}\s+{_SIGNS}"
    colon = (
        "" if len(words) == 1 and marker.rstrip().endswith((":", "\uff1a")) else "?"
    )  # a word alone says little
    return rf"{start}{gap.join(words)}{end}{_SIGNS}\s*[:\uff1a]{colon}"

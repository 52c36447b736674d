"""Reduce a text to the answer in it: its first line, without introduction or explanation."""

from __future__ import annotations

import re

from lmcot_cli.pipeline.markup import bare, only_bold, without_emphasis
from lmcot_cli.pipeline.sentences import first_sentence

_SHORT_WORDS = 6
"""The most words of a direct answer whose next sentence counts as its explanation."""

_FENCE = re.compile(r"^\s*(?:`{3,}|~{3,})\s*[\w+-]*\s*$")
_RULE = re.compile(r"^[\s*_=~\-#$\\\[\]()]{2,}$")
_HEADING_MARK = re.compile(r"^\s*(?:>\s+)*(?:#{1,6}\s+)?")
_BULLET = re.compile(r"^\s*[-*+\u2022\u2013\u2023]\s+(?=\S)")
_NUMBERED = re.compile(r"^\s*\(?(\d{1,2})[.)]\s+(?=\S)")
_INTRODUCES = re.compile(r"[:\uff1a][\s*_`]*$")
_INTRODUCED = re.compile(
    r"^[^\n]{0,200}?\b(?:is|are|was|were|be|follows|following)(?:\s+as\s+follows)?\s*[:\uff1a][*_]*\s+(?=\S)"
)
_POLITE_START = re.compile(r"^(?:sure|certainly|of course|okay|ok)(?:!|, here)[^:\n]*?[!:]\s+(?=\S)", re.I)
_AS_FOLLOWS = re.compile(r"^(?:as follows|the following|clear|simple|this|below)\s*[:\uff1a]\s*", re.I)
_MARK_LEFT = re.compile(r"^(?:[\s:\uff1a]|[*_]+(?=\s|$))+")
_TAG_END = re.compile(r"</(?:final_?)?answer>|\[/(?:final[_ ]?)?answer\]", re.I)
_BOLD_START = re.compile(
    r"^(?:\*\*|__)(?=\S)([^*\n]+?)(?:\*\*|__)"
    r"(?=\s*$|[.!]|\s*\(|,?\s+(?:because|as|since|which|who|where|and|based|according)\b)"
)
_IN_THE_TEXT = r"(?:,|(?<!\s))\s+(?:based on|according to) the (?:context|text|passage)"
_BECAUSE = re.compile(rf"(?<!\s)\s*,\s+(?:because|since|as)\s|(?<!\s)\s+because\s|{_IN_THE_TEXT}")
_COMMA_BECAUSE = re.compile(rf"(?<!\s)\s*,\s+because\s|{_IN_THE_TEXT}")
_ASIDE = re.compile(r"(?<!\s)\s+\((?=[a-z])(?:[^()\s]+\s+){3,}[^()\s]+\)$")
_YES_NO = re.compile(r"^(yes|no)\b\s*[,;:\u2013\u2014-]\s*(?=\S)", re.I)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|does|do|did|can|could|will|would|both|neither|n[o'\u2019]t)\b"
)
_POLITE_ENDING = re.compile(
    r"(?<=[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af\u300d])(?:\u3067\u3059|\u3060|\uc785\ub2c8\ub2e4)[\u3002.]?$"
)
_NO_ANSWER = re.compile(r"^not\s+(?!guilty\b|applicable\b)")


def content_lines(text: str) -> list[str]:
    """Return the lines with content, without the marks of headings, quotations and lists."""
    lines = [
        line for line in text.splitlines() if line.strip() and not (_FENCE.match(line) or _RULE.match(line))
    ]
    numbered = sum(bool(_NUMBERED.match(line)) for line in lines) > 1
    introduced = bool(lines) and introduces(lines[0])  # without that, "1. FC Nuremberg" is a name
    return [
        _undecorated(line, numbered=numbered or (introduced and number > 0))
        for number, line in enumerate(lines)
    ]


def unfenced(text: str) -> str:
    """Return the content of the code fence at the start of a text, else the text."""
    lines = text.strip().split("\n")
    if not _FENCE.match(lines[0]):
        return text
    closing = next((number for number, line in enumerate(lines[1:], 1) if _FENCE.match(line)), len(lines))
    return "\n".join(lines[1:closing])


def introduces(line: str) -> bool:
    """Whether a line ends with a colon, so that the answer is below it."""
    return bool(_INTRODUCES.search(line))


def says_something(line: str) -> bool:
    """Whether a line has a letter or digit."""
    return any(character.isalnum() for character in line)


def without_trailing_rules(text: str) -> str:
    """Return a text without the rules and fences at its end."""
    lines = text.rstrip().split("\n")
    while lines and (_RULE.match(lines[-1]) or _FENCE.match(lines[-1])):
        lines.pop()
    return "\n".join(lines).rstrip()


def denies(text: str) -> bool:
    """Whether the text after a marker says that there is no answer: "(the answer is) not given"."""
    return bool(_NO_ANSWER.match(text.strip()))


def marked_answer(text: str) -> str | None:
    """Return the answer at the start of the text after a marker; later sentences are not part of it."""
    after = _TAG_END.split(_MARK_LEFT.sub("", text), maxsplit=1)[0]
    line = next((one for one in content_lines(after) if not introduces(one)), "")
    if bold := _BOLD_START.match(line):
        return bare(bold[1])
    line = _AS_FOLLOWS.sub("", without_emphasis(line), count=1)
    if denies(line):
        return None
    line = _BECAUSE.split(first_sentence(line)[0], maxsplit=1)[0] or line
    return bare(_POLITE_ENDING.sub("", _without_aside(line)))


def plain_answer(line: str) -> str | None:
    """Return the answer of a line that should hold nothing else; an explanation may follow a short one."""
    bold = only_bold(line)
    if bold and len(line.split()) - len(bold.split()) >= 4:  # a sentence that stresses its answer
        return bare(bold)
    line = _INTRODUCED.sub("", _POLITE_START.sub("", line, count=1), count=1)
    first, rest = first_sentence(line)
    if rest and _explains(first, rest):
        line = first
    return bare(_without_aside(_COMMA_BECAUSE.split(line, maxsplit=1)[0] or line))


def _without_aside(line: str) -> str:
    """Return a line without the clause after yes or no, or without a remark in brackets."""
    closed = _YES_NO.match(line)
    if closed and len(line[closed.end() :].split()) > 1 and _VERB.search(line, closed.end()):
        return closed[1]
    return _ASIDE.sub("", line)


def _explains(first: str, rest: str) -> bool:
    """Whether the rest explains the first sentence, which is short and followed by a whole sentence."""
    if "\u3002" in first:
        return len(first) <= 4 * _SHORT_WORDS
    words = rest.split()
    return (
        first.rstrip("\"'*_").endswith(".")
        and len(first.split()) <= _SHORT_WORDS
        and len(words) > 2
        and any(word.islower() for word in words)
    )


def _undecorated(line: str, *, numbered: bool) -> str:
    line = _BULLET.sub("", _HEADING_MARK.sub("", line, count=1), count=1)
    return (_NUMBERED.sub("", line, count=1) if numbered else line).strip()

r"""Find the answer in a reply.

A direct answer should be a few words; models put a label, an introduction, Markdown, a code fence or JSON around it, or
go on to explain it. In a chain of thought the answer follows the last marker ("So the answer is", a label, `\boxed{}`),
and the text before the sentence with the marker is the rationale.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from lmcot_cli.pipeline import markers
from lmcot_cli.pipeline.answer_text import (
    content_lines,
    denies,
    introduces,
    marked_answer,
    plain_answer,
    says_something,
    unfenced,
    without_trailing_rules,
)
from lmcot_cli.pipeline.json_answers import json_answers, leading_json
from lmcot_cli.pipeline.markup import boxes, only_bold
from lmcot_cli.pipeline.sentences import sentence_starts

NEXT_PART = ("\nQuestion:", "\nContext:")
"""Where a model goes on to invent another example."""

_SENTENCE_WORDS = 12
_MOST_LEADS = 4
"""The most lines that lead to an answer; a small model that writes more is in a loop ("Answer:", "Answer:")."""

_MOST_LAYERS = 10
"""The most nested labels, introductions and marks around an answer; a text with more is a loop."""

_LONGEST = 1000
"""The most characters after a marker that are searched for an answer."""

_POLITE = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|alright|here(?:['\u2019]s| is) (?:the|my|your) answer)[!.,]*$",
    re.I,
)
_CLOSING = '"\u201c\u201d\u00bb\u300d'
_DRESS = " \t\n*_:$`"


class ChainAnswer(NamedTuple):
    """A chain of thought: the text before the sentence with the answer, and the answer, if there is one."""

    rationale: str
    answer: str | None


def answer_line(reply: str, own: Sequence[str] = ()) -> str | None:
    """Return the answer of a reply that should hold nothing else.

    Args:
        reply: The reply.
        own: Markers that the prompt itself asks for, such as `Antwort:`.

    Returns:
        The answer on one line, without introduction or markup; None where nothing is left.
    """
    known = tuple(own)
    answer = _direct(reply, known)
    for _ in range(_MOST_LAYERS):
        if answer is None or (again := _direct(answer, known)) == answer:
            return answer
        answer = again
    return None


def chain_answer(chain: str, own: Sequence[str] = ()) -> ChainAnswer:
    """Split a chain of thought into its rationale and its answer.

    Args:
        chain: The chain.
        own: Markers that the prompt itself asks for, beside the built-in ones.

    Returns:
        The text before the sentence that holds the last marker, and the answer after the marker. Without a marker the
        whole chain is the rationale and there is no answer.
    """
    found = _marked(chain, tuple(own))
    if found is None:
        return ChainAnswer(tidy_rationale(chain), None)
    return ChainAnswer(found.rationale, None if found.answer is None else answer_line(found.answer, own))


def before_sentence(text: str, position: int) -> str:
    """Return the text before the sentence at a position: the rationale of an answer that is found there."""
    starts = [start for start in sentence_starts(text, position) if start <= position]
    return tidy_rationale(text[: starts[-1]]) if starts else ""


def tidy_rationale(text: str) -> str:
    """Return a rationale without an echo of the cue."""
    return markers.RATIONALE_LABEL.sub("", text, count=1).strip()


def before_answer(rationale: str) -> str:
    """Return a rationale without an answer that follows it under its own label."""
    tidied = tidy_rationale(rationale)
    found = markers.ANSWER_LABEL_LINE.search(tidied)
    return tidied[: found.start()].rstrip() if found and found.start() else tidied


def has_answer(reply: str) -> bool:
    """Whether the complete lines of a reply hold its answer, or nothing but labels, so that it need not continue."""
    lines, _, _ = reply.rpartition("\n")
    begun = lines.lstrip().removeprefix("```json").removeprefix("```").lstrip()
    if begun.startswith("{"):
        return any(True for _ in json_answers(begun))
    said = content_lines(lines)
    return _settled(said, ()) is not None or len(said) > _MOST_LEADS


def answer_ends_early(reply: str, answer: str) -> bool:
    """Whether a reply continued after its answer, so that a limit cut nothing of the answer."""
    _, found, after = reply.rpartition(answer)
    return bool(found and after.strip(_DRESS))


class _Mark(NamedTuple):
    """A place where a text may state its answer.

    Attributes:
        start: Where the place begins.
        source: The text that holds the answer.
        after: Where the answer would begin in it.
    """

    start: int
    source: str
    after: int = 0

    @property
    def text(self) -> str:
        """The text that begins with the answer."""
        return self.source[self.after : self.after + _LONGEST]

    @property
    def is_empty(self) -> bool:
        """Whether nothing follows it."""
        return not self.text.strip(_DRESS)


class _Settled(NamedTuple):
    answer: str | None


def _marked(text: str, own: tuple[str, ...]) -> ChainAnswer | None:
    """Split a text by its last marker that has an answer; None without a marker."""
    inside = unfenced(text)
    whole = leading_json(inside)
    if whole and whole.end >= len(inside.rstrip()):
        return ChainAnswer(whole.reason or "", whole.answer)
    marks = _marks(text, own)
    answers = ((number, marked_answer(marks[number].text)) for number in reversed(range(len(marks))))
    if found := next(((number, answer) for number, answer in answers if answer), None):
        return ChainAnswer(_rationale_before(text, marks[: found[0] + 1], found[1]), found[1])
    if marks and marks[-1].is_empty:
        return ChainAnswer(_rationale_before(text, marks, None), None)
    return None


def _marks(text: str, own: tuple[str, ...]) -> list[_Mark]:
    marks = [
        _Mark(one.start(), text, one.end())
        for one in markers.marker_pattern(own).finditer(text)
        if not _is_mention(text, one.end())
    ]
    marks += [_Mark(start, inside) for start, _, inside in boxes(text)]
    marks += [_Mark(one.start, one.answer) for one in json_answers(text)]
    return sorted(marks, key=lambda mark: mark.start)


def _is_mention(text: str, end: int) -> bool:
    """Whether a marker ends inside quotation marks: a small model echoes the prompt (`with "So the answer is" and`)."""
    end += text[end : end + 1] in _CLOSING
    line = text[max(text.rfind("\n", 0, end) + 1, end - _LONGEST) : end].rstrip(" \t:")
    before = line.rstrip(_CLOSING)
    quote = line[len(before) :][:1]
    opening = {'"': '"', "\u201d": "\u201c", "\u201c": "\u201e", "\u00bb": "\u00ab", "\u300d": "\u300c"}.get(
        quote
    )
    if opening is None:
        return False
    return before.count('"') % 2 == 1 if quote == '"' else before.count(opening) > before.count(quote)


def _rationale_before(text: str, marks: Sequence[_Mark], answer: str | None) -> str:
    """Return the text before the sentence of the last mark, and before earlier sentences that state the answer too."""
    starts = [0, *sentence_starts(text)]
    sentences = [bisect_right(starts, mark.start) - 1 for mark in marks]
    first = sentences.pop()
    for mark, sentence in zip(reversed(marks[:-1]), reversed(sentences), strict=True):
        if sentence == first:
            continue
        between = text[starts[sentence + 1] : starts[first]]
        said = None if mark.is_empty else marked_answer(mark.text)
        if says_something(between) or said != (None if mark.is_empty else answer):
            break
        first = sentence
    return tidy_rationale(without_trailing_rules(text[: starts[first]]))


def _direct(reply: str, own: tuple[str, ...]) -> str | None:
    """Return the answer of a direct reply, from which more layers may have to be stripped."""
    text = _own_part(reply)
    if found := leading_json(unfenced(text)):
        return found.answer
    lines = content_lines(text)
    if settled := _settled(lines, own):
        return settled.answer
    marked = _marked(text, own)
    if marked and marked.answer:
        return marked.answer
    left = [
        line for line in lines if not (introduces(line) or _says_none(line, own) or _only_leads(line, own))
    ]
    left.sort(key=lambda line: not says_something(line))
    return plain_answer(left[0]) if left else None


def _settled(lines: Sequence[str], own: tuple[str, ...]) -> _Settled | None:
    """Return the answer of the first line that settles it; None where more must be read.

    A line of many words does not: "I look at the context. ..." may lead to "Answer: Gdynia" below.
    """
    for line in lines:
        label = markers.SHORT_LABEL.match(line) or _own_label(line, own)
        rest = line[label.end() :] if label else line
        if label and (answer := marked_answer(rest)):
            return _Settled(answer)
        if (label and not rest.strip(_DRESS)) or _leads_on(line, own):
            continue
        if found := _marked(line, own):
            return _Settled(found.answer)
        if markers.RATIONALE_LABEL.match(line):
            return None
        if len(line.split()) > _SENTENCE_WORDS and not only_bold(line):
            return None
        return _Settled(plain_answer(line))
    return None


def _leads_on(line: str, own: tuple[str, ...]) -> bool:
    """Whether a line only leads to the answer: an introduction, an echo of the question, a label alone."""
    patterns = (_POLITE, markers.ONLY_LABEL, markers.QUESTION_LABEL)
    return (
        introduces(line)
        or not says_something(line)
        or any(pattern.match(line) for pattern in patterns)
        or _says_none(line, own)
    )


def _only_leads(line: str, own: tuple[str, ...]) -> bool:
    """Whether a line is a marker with nothing after it; a single word such as "Answer" may be the answer itself."""
    marks = _marks(line, own)
    return bool(marks and marks[-1].is_empty and not markers.ONLY_LABEL.match(line))


def _says_none(line: str, own: tuple[str, ...]) -> bool:
    """Whether a line says that there is no answer ("The answer is not given")."""
    marks = _marks(line, own)
    return bool(marks and denies(marks[-1].text))


def _own_label(line: str, own: tuple[str, ...]) -> re.Match[str] | None:
    found = markers.marker_pattern(own).search(line) if own else None
    return found if found and not line[: found.start()].strip("*_#> ") else None


def _own_part(reply: str) -> str:
    """Return a reply up to where it invents another example."""
    text = reply.strip()
    places = [at for cue in NEXT_PART if (at := text.find(cue)) > 0]
    return text[: min(places)] if places else text

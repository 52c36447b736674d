"""Kinds of answers (`--answer`): how a model is constrained, and what counts as an answer where it cannot be.

A kind gives the answer of a reply one spelling: "Yes, both are." is `yes`, "(B)" the second choice, "$1,500.00" is
`1500`. So the vote, which compares values, need not know kinds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from lmcot_cli.backends.constraint import Choices, Constraint, Number, Span
from lmcot_cli.datasets.choices import row_choice_labels, row_choices
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import MissingChoicesError, UsageError
from lmcot_cli.pipeline.answer_schema import read_json_kind
from lmcot_cli.pipeline.answer_values import answer_key

_YES = frozenset({"yes", "yeah", "yep", "true", "correct", "y"})
_NO = frozenset({"no", "nope", "false", "incorrect", "n"})
_BOTH = re.compile(r"(?:yes\s*(?:and|or|/|&)\s*no|no\s*(?:and|or|/|&)\s*yes)\b", re.IGNORECASE)
_NAMES = "text, span, yes-no, choice, number or json:SCHEMA"
_GAP = "[ \u00a0\u2009\u202f]"
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>(?:(?:minus|negative)\s+)?[-+\u2212]?\s?[$\u20ac\u00a3\u00a5]?\s?[-+\u2212]?)"
    rf"(?:(?P<parted>\d{{1,3}}(?:(?:,\d{{2,3}}){{0,12}},\d{{3}}|(?:{_GAP}\d{{3}}){{1,13}})(?![\d,])(?:\.\d+)?|\d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d))"
    r"|(?P<plain>\d+(?:[.,]\d+)?|\.\d+))(?P<power>[eE][-+]?\d{1,2})?",
    re.IGNORECASE,
)
_PART_OF_MORE = re.compile(r"\s*[/:\u2013-]\s*\d")
"""The rest of a fraction, a time, a date, a score or a range after its first number, which is not the answer."""
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12, "k": 3, "K": 3, "M": 6, "B": 9}
_SCALE = re.compile(r"\s*(?:%\s*)?((?i:thousand|million|billion|trillion))\b|([kKMB])\b")
_MOST_DIGITS = 40
_LETTER = re.compile(
    r"^\(?(?:(?:option|choice)\s+)?\(?(?P<letter>[A-Za-z]|\d{1,2})(?:\)|[.:](?=\s|$)|$)\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)", re.IGNORECASE)


class AnswerKind(Protocol):
    """A kind of answer. Its methods raise RowError where the row lacks something that the kind needs."""

    @property
    def name(self) -> str:
        """The kind as a run file names it: the option, with a digest of its file."""

    def constraint(self, row: Row, rationale: str | None) -> Constraint | None:
        """Return the constraint of a reply that is only an answer; None where it may be anything."""

    def spelling(self, answer: str, row: Row, rationale: str | None) -> str | None:
        """Return an answer in its one spelling; None if it is not of this kind."""


@dataclass(frozen=True, slots=True)
class FreeText:
    """Any text."""

    name: str = "text"

    def constraint(self, row: Row, rationale: str | None) -> Constraint | None:
        """Return None: any text will do."""
        return None

    def spelling(self, answer: str, row: Row, rationale: str | None) -> str | None:
        """Return the answer unchanged."""
        return answer


@dataclass(frozen=True, slots=True)
class SpanOfText:
    """Words that occur in the context, its titles or the rationale, or yes or no."""

    name: str = "span"

    def constraint(self, row: Row, rationale: str | None) -> Constraint | None:
        """Return the texts that must contain the answer."""
        return Span(_texts(row, rationale), ("yes", "no"))

    def spelling(self, answer: str, row: Row, rationale: str | None) -> str | None:
        """Return the answer if one of these texts contains it, apart from case and an article before it."""
        if closed := _yes_or_no(answer, whole=True):
            return closed
        wanted = [_flat(one) for one in (answer, _ARTICLE.sub("", answer))]
        texts = [_flat(text) for text in _texts(row, rationale)]
        return answer if any(_stands_in(one, text) for one in wanted for text in texts) else None


@dataclass(frozen=True, slots=True)
class YesNo:
    """`yes` or `no`."""

    name: str = "yes-no"

    def constraint(self, row: Row, rationale: str | None) -> Constraint | None:
        """Return the two choices."""
        return Choices(("yes", "no"))

    def spelling(self, answer: str, row: Row, rationale: str | None) -> str | None:
        """Return the one at the start of the answer, else the only one in it."""
        return _yes_or_no(answer, whole=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several answers, from the option or else from the row."""

    given: tuple[str, ...] = ()
    name: str = "choice"

    def constraint(self, row: Row, rationale: str | None) -> Constraint | None:
        """Return the choices."""
        return Choices(self._texts_of(row))

    def spelling(self, answer: str, row: Row, rationale: str | None) -> str | None:
        """Return the choice that the answer equals, names by letter or number, or is the only one to mention."""
        texts, labels = self._texts_of(row), self._labels_of(row)
        by_value = {answer_key(text): text for text in texts}
        if exact := by_value.get(answer_key(answer)):
            return exact
        named = _LETTER.match(answer.strip())
        if (
            named
            and (found := labels.get(named["letter"].upper()))
            and (not named["rest"] or answer_key(named["rest"]) == answer_key(found))
        ):
            return found
        spoken_of = [text for text in texts if _stands_in(_flat(text), _flat(answer))]
        longest = [one for one in spoken_of if not any(one != other and one in other for other in spoken_of)]
        return longest[0] if len(longest) == 1 else None

    def _texts_of(self, row: Row) -> tuple[str, ...]:
        texts = self.given or tuple(dict.fromkeys(row_choices(row)))
        if len(texts) < 2:
            raise MissingChoicesError(
                "the row names no choices: give --choices A,B,..., or rows with a list of choices"
            )
        return texts

    def _labels_of(self, row: Row) -> Mapping[str, str]:
        texts = self._texts_of(row)
        labels = row_choice_labels(row) if not self.given else ()
        letters = [*labels, *([] if labels else [chr(ord("A") + at) for at in range(min(len(texts), 26))])]
        numbers = {} if labels else {str(at): text for at, text in enumerate(texts, 1)}
        return numbers | {
            letter.upper(): text
            for letter, text in zip(letters, row_choices(row) if labels else texts, strict=False)
        }


@dataclass(frozen=True, slots=True)
class NumberInDigits:
    """A number in digits, without separators of thousands, percent sign or unit."""

    name: str = "number"

    def constraint(self, row: Row, rationale: str | None) -> Constraint | None:
        """Return the constraint of a number."""
        return Number()

    def spelling(self, answer: str, row: Row, rationale: str | None) -> str | None:
        """Return the only number of the answer, or the one at its start."""
        found = list(_NUMBER.finditer(answer))
        if not found or (len(found) > 1 and answer[: found[0].start()].strip(" \"'(~")):
            return None
        if _PART_OF_MORE.match(answer, found[0].end()):
            return None
        scale = _SCALE.match(answer, found[0].end())
        return _in_digits(found[0], _SCALES[scale[2] or scale[1].lower()] if scale else 0)


def parse_kind(text: str, choices: Sequence[str] = ()) -> AnswerKind:
    """Parse a kind as `--answer` writes it.

    Raises:
        UsageError: There is no such kind, its schema cannot be used, or it takes no `--choices`.
    """
    if text != "choice" and choices:
        raise UsageError(f"--choices goes with --answer choice, not with --answer {text}")
    if text == "choice":
        return Choice(_checked(choices))
    if text.startswith("json:"):
        return read_json_kind(text.removeprefix("json:").strip())
    simple: dict[str, AnswerKind] = {
        "text": FreeText(), "span": SpanOfText(), "yes-no": YesNo(), "number": NumberInDigits(),
    }  # fmt: skip
    if kind := simple.get(text):
        return kind
    raise UsageError(f"--answer {text}: choose one of {_NAMES}")


def _checked(choices: Sequence[str]) -> tuple[str, ...]:
    """Refuse fewer than two choices, or choices that the vote could not tell apart."""
    if choices and len({answer_key(choice) for choice in choices}) < max(len(choices), 2):
        raise UsageError(f"--choices {','.join(choices)}: give two or more answers with different values")
    return tuple(choices)


def _texts(row: Row, rationale: str | None) -> tuple[str, ...]:
    titles = [paragraph.title for paragraph in row.context if paragraph.title]
    texts = [paragraph.text for paragraph in row.context]
    return tuple(dict.fromkeys(filter(None, [*texts, *titles, rationale])))


def _flat(text: str) -> str:
    return " ".join(text.casefold().replace("\u2019", "'").split())


def _stands_in(part: str, text: str) -> bool:
    """Whether a text contains words as whole words; in scripts without spaces, anywhere."""
    at = text.find(part) if part else -1
    while at >= 0:
        if not (_joined(text[at - 1 : at], part[0]) or _joined(part[-1], text[at + len(part) :][:1])):
            return True
        at = text.find(part, at + 1)
    return False


def _joined(before: str, after: str) -> bool:
    return all(one.isalnum() and one < "\u2e80" for one in (before or " ", after or " "))


def _yes_or_no(answer: str, *, whole: bool) -> str | None:
    words = re.findall(r"[^\W\d_]+", answer.lower())
    if whole and len(words) != 1:
        return None
    said = ["yes" if word in _YES else "no" for word in words if word in _YES | _NO]
    if not said or _BOTH.match(answer.strip()):
        return None
    begins = words[0] in _YES | _NO
    return said[0] if begins or len(set(said)) == 1 else None


def _in_digits(written: re.Match[str], scale: int) -> str | None:
    """Return a number in digits: no sign but minus, no superfluous zeros."""
    sign = "-" if re.search(r"[-\u2212]|[mn]", written["sign"], re.IGNORECASE) else ""
    digits = (written["plain"] or "").replace(",", ".") or _joined_up(written["parted"])
    value = (Decimal(digits + (written["power"] or "")) * Decimal(10) ** scale).normalize()
    if not -_MOST_DIGITS < value.adjusted() < _MOST_DIGITS:
        return None
    plain = format(value, "f")
    return plain if plain == "0" else f"{sign}{plain}"


def _joined_up(parted: str) -> str:
    """Return a number without the separators of its thousands."""
    return re.sub(r"[^\d.]" if parted.count(".") < 2 else r"\D", "", parted)

"""Read texts for the rewards: statements, their words, names and numbers.

A *statement* is a sentence. *Words* are lowercased. *Content words* are all but function words ("the", "which", "was").
*Entities* are names (runs of capitalized words, as one string) and numbers; in a script without capitals every content
word is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from lmcot_cli.scoring.normalize import normalize_answer
from lmcot_train.rewards.languages import CONCLUSIONS, FUNCTION_WORDS, PRONOUNS
from lmcot_train.rewards.segments import sentences
from lmcot_train.rewards.segments import words as divide

CLOSED_ANSWERS = frozenset({"yes", "no", "noanswer", ""})
"""Normalized answers that a rationale need not name."""
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence.

    Attributes:
        words: All words in order.
        content: The content words, including those of names and numbers.
        entities: Names, each as its words joined by spaces, and numbers.
        lead: The first entity; None if there is none, or if a pronoun stands before it.
        pronoun: Whether the statement begins with a pronoun.
        asks: Whether it is a question.
        normalized: The text as answers are compared, with a space at either end.
    """

    words: tuple[str, ...]
    content: frozenset[str]
    entities: frozenset[str]
    lead: str | None
    pronoun: bool
    asks: bool
    normalized: str

    @property
    def text(self) -> str:
        """The words, each between spaces, in which to look for runs of words."""
        return f" {' '.join(self.words)} "

    @property
    def concludes(self) -> bool:
        """Whether a word suggests that it follows from what was said before."""
        return not CONCLUSIONS.isdisjoint(self.words)


def read_statements(text: str) -> tuple[Statement, ...]:
    """Split a text into sentences and read those with words."""
    statements = (read_statement(sentence) for sentence in sentences(text))
    return tuple(statement for statement in statements if statement.words)


@lru_cache(maxsize=65536)
def read_statement(sentence: str) -> Statement:
    """Read one sentence; rationales repeat those of contexts and of each other, hence the cache."""
    spelled = divide(sentence)
    words = tuple(bare(word).lower() for word, _ in spelled)
    entities = _entities(spelled)
    pronoun = bool(words) and words[0] in PRONOUNS
    return Statement(
        words=words,
        content=frozenset(word for word in words if word not in FUNCTION_WORDS),
        entities=frozenset(entities),
        lead=entities[0] if entities and not pronoun else None,
        pronoun=pronoun,
        asks=_asks(sentence),
        normalized=f" {normalize_answer(' '.join(words))} ",
    )


def _asks(sentence: str) -> bool:
    """Whether a sentence ends in a question mark; within open quotes it belongs to a title."""
    end = sentence.rstrip("\"'\u201d\u2019 ")
    return end.endswith(_QUESTION_MARKS) and end.count('"') % 2 == 0


def linked(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sets of subjects share one; "Moore" is "Ann Moore", "Al Moore" is not."""
    others = [f" {name} " for name in other]
    return any(f" {name} " in o or o in f" {name} " for name in one for o in others)


def same(one: str, other: str) -> bool:
    """Whether two names may mean one thing: one is the other, its end ("Moore"), or its first words (two or more)."""
    short, long = sorted((one, other), key=len)
    return long == short or long.endswith(f" {short}") or (" " in short and long.startswith(f"{short} "))


def bare(word: str) -> str:
    """Return a word without a possessive s."""
    return word.removesuffix("'s")


def _entities(spelled: list[tuple[str, bool]]) -> list[str]:
    """Return names and numbers in order; a function word begins no name, a possessive or a comma ends one."""
    found: list[list[str]] = []
    open_name = False
    for word, near in spelled:
        content = word.lower() not in FUNCTION_WORDS
        goes_on = open_name and near and word[0].isupper()
        if goes_on:
            found[-1].append(bare(word))
        elif content and (word[0].isupper() or word[0].isdigit() or _has_no_case(word)):
            found.append([bare(word)])
        open_name = word[0].isupper() and (goes_on or content) and word == bare(word)
    return [" ".join(name).lower() for name in found]


def _has_no_case(word: str) -> bool:
    return word.upper() == word.lower() and word[0].isalpha()

"""What the rewards see of a text: statements, words, names and numbers, for English.

A *statement* is a sentence. *Words* are lowercased. *Content words* are those that are no function words ("the",
"which", "was"). *Entities* are names (runs of capitalised words, as one string) and numbers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from lmcot_cli.datasets.row import Row

_FUNCTION_WORDS = """
a about above after again against all also am an and any are as at be because been before being below between
    both but by can could did do does doing down during each few for from further had has have having he her here hers
    him his how i if in into is it its itself just me more most my no nor not of off on once only or other our out over
    own same she should so some such than that the their them then there these they this those through thus therefore
    to too under until up very was we were what when where which while who whom whose why will with would you
    your
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
CLOSED_ANSWERS = frozenset({"yes", "no", "noanswer", ""})
"""Answers, once normalised, that a rationale need not name."""
BE = frozenset({"is", "was", "are", "were"})
NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "isn't", "wasn't", "aren't", "weren't"})

_WORD = re.compile(r"[^\W_]+(?:['\u2019.\-&][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c(\[]?[A-Z0-9])|\n+")
_ABBREVIATION = re.compile(
    r"(?:^|\s)(?:[A-Z]|[A-Z]\.[A-Z]|Dr|Mr|Mrs|Ms|St|Jr|Sr|No|vs|Prof|Gen|Col|Lt|Rev)\.$"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence.

    Attributes:
        words: All words in order.
        content: The content words, those of names and numbers among them.
        entities: Names, each as its words joined by spaces, and numbers.
    """

    words: tuple[str, ...]
    content: frozenset[str]
    entities: frozenset[str]

    @property
    def subjects(self) -> frozenset[str]:
        """What the statement can share with another: entities, or content words where it names none."""
        return self.entities or self.content


@dataclass(frozen=True, slots=True)
class Source:
    """What a row gives a rationale to draw on.

    Attributes:
        question: The question as one statement.
        size: Number of context sentences plus one, the question.
        places: Each content word with the numbers of the sentences that hold it; a sentence holds the title of its
            paragraph too, and the last one is the question.
    """

    question: Statement
    size: int
    places: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Chain:
    """A rationale as the aspects read it.

    Attributes:
        source: Its row.
        statements: Its sentences; those without a word are left out.
        words: The words of all statements.
        answer: The answer it led to; None where it is not known.
        logprob: Mean natural-log probability a token under the reference LM; None where it is not known.
    """

    source: Source
    statements: tuple[Statement, ...]
    answer: str | None = None
    logprob: float | None = None
    words: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        words = tuple(chain.from_iterable(statement.words for statement in self.statements))
        object.__setattr__(self, "words", words)


def read_chain(row: Row, rationale: str, answer: str | None = None, logprob: float | None = None) -> Chain:
    """Read a rationale together with its row."""
    return Chain(read_source(row), read_statements(rationale), answer, logprob)


@lru_cache(maxsize=4096)
def read_source(row: Row) -> Source:
    """Read question and context; the rows of a batch come up again with every epoch and sample."""
    question = read_statement(row.question)
    places: defaultdict[str, list[int]] = defaultdict(list)
    sentences = [
        read_statement(sentence).content | read_statement(paragraph.title).content
        for paragraph in row.context
        for sentence in paragraph.sentences
    ]
    for number, content in enumerate([*sentences, question.content]):
        for word in content:
            places[word].append(number)
    return Source(question, len(sentences) + 1, {word: tuple(found) for word, found in places.items()})


def read_statements(text: str) -> tuple[Statement, ...]:
    """Split a text into sentences and read each; "Dr.", "U.S." and initials end none."""
    statements = (read_statement(sentence) for sentence in _sentences(text))
    return tuple(statement for statement in statements if statement.words)


@lru_cache(maxsize=65536)
def read_statement(sentence: str) -> Statement:
    """Read one sentence; the sentences of rationales repeat those of contexts and of each other."""
    spelled = _WORD.findall(sentence)
    words = tuple(_bare(word).lower() for word in spelled)
    content = frozenset(word for word in words if word not in FUNCTION_WORDS)
    return Statement(words, content, frozenset(_entities(spelled)))


def linked(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sets of subjects share one; "Moore" and "Ann Moore" are the same, "Ann Moore" and "Al Moore" not."""
    others = [f" {name} " for name in other]
    return any(f" {name} " in o or o in f" {name} " for name in one for o in others)


def _sentences(text: str) -> list[str]:
    sentences, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        piece = text[start : end.start()]
        if "\n" not in end[0] and _ABBREVIATION.search(piece):
            continue
        sentences.append(piece)
        start = end.end()
    return [*sentences, text[start:]]


def _entities(spelled: list[str]) -> list[str]:
    """Find names and numbers; a function word begins no name, and a possessive ends one."""
    found: list[list[str]] = []
    open_name = False
    for word in spelled:
        name = word[0].isupper() and (open_name or word.lower() not in FUNCTION_WORDS)
        if name and open_name:
            found[-1].append(_bare(word))
        elif name or word[0].isdigit():
            found.append([_bare(word)])
        open_name = name and word == _bare(word)
    return [" ".join(name).lower() for name in found]


def _bare(word: str) -> str:
    """Return a word without the s of a possessive."""
    return word.removesuffix("'s").removesuffix("\u2019s")

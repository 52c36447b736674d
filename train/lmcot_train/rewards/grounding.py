"""Look statements up in the context: which of their values does it give to their subject?

A context sentence is about the title of its paragraph (without a title, about its first name). A value (a name or
number of a statement) is *supported* if a context sentence gives it to the statement's first entity, or to the title
of a paragraph that such a sentence leads to ("Silent River was directed by Ann Moore, who was born in Oslo" takes
two). A true value that the context gives to something else is not supported.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean

from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_train.rewards.languages import FUNCTION_WORDS
from lmcot_train.rewards.reading import Statement, linked, read_statement, read_statements, same

ALIKE = 0.6
"""A statement that begins with no title is about a context sentence with at least this share of its content words."""
VERBATIM = 0.9
"""A statement with this share is that sentence, whatever it is about."""
VERBATIM_WORDS = 5
"""A shorter one is a fragment."""
QUOTED, QUOTED_WORDS = 0.75, 8
"""Share and number of content words with which a statement says what one sentence says."""
COMMON = 0.4
"""A word in a larger share of the context's sentences (if there are `SOME`) says nothing."""
SOME = 8
WORDS_SHARE = 0.1
"""Weight of the plain words; the rest is that of the values."""
FALSE = 0.25
"""Factor of the support of a statement with an unsupported value."""
_ARTICLES = frozenset({"the", "a", "an"})
_IN_BRACKETS = re.compile(r"\s*[(\uff08].*?[)\uff09]")


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence of the context.

    Attributes:
        title: What its paragraph is about.
        text: Its words between spaces.
        names: Its names and numbers, and the title.
        words: Its words and those of the title.
        content: The content words among them.
    """

    title: str
    text: str
    names: frozenset[str]
    words: frozenset[str]
    content: frozenset[str]

    def holds(self, name: str) -> bool:
        """Whether the sentence or its title has a name, its end, or all but one word of it.

        "Moore" stands for "Ann Moore", as does "President Ann Moore"; "Upper German" does not stand for "German".
        """
        words = name.split()
        if words[0] not in self.words and words[-1] not in self.words:
            return False
        if any(same(name, own) and len(words) <= _longest(own) for own in self.names):
            return True
        return f" {name} " in self.text and not any(f" {name} " in f" {own} " for own in self.names)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a row offers to a rationale.

    Attributes:
        question: The question as one statement.
        anchors: The things that the question names and the context mentions.
        units: The sentences of the context.
        titles: What its paragraphs are about.
        places: Each content word with the indices of the units that hold it.
    """

    question: Statement
    anchors: tuple[str, ...]
    units: tuple[Unit, ...]
    titles: frozenset[str]
    places: Mapping[str, tuple[int, ...]]

    def names(self, statement: Statement) -> frozenset[str]:
        """Return what a statement names: titles, even without capitals, and other entities."""
        titles = {title for title in self.titles if f" {title} " in statement.text}
        around = [f" {title} " for title in titles]
        return statement.entities.union(titles) - {
            name for name in statement.entities - titles if any(f" {name} " in title for title in around)
        }


@dataclass(frozen=True, slots=True)
class Grounded:
    """A statement with its support in the context.

    Attributes:
        statement: The statement.
        names: What it names, and the title of the context sentence that it is taken from.
        support: How far it is supported, 0 to 1; a conclusion as far as its premises.
        topic: What it is about, if known.
        claims: Whether it claims something, unlike a question, a bare name or the words of the question.
        held: The largest share of its content words in one context sentence.
        concludes: Whether it follows from earlier statements, which have all its names.
    """

    statement: Statement
    names: frozenset[str]
    support: float
    topic: str | None
    claims: bool
    held: float = 0.0
    concludes: bool = False

    @property
    def subjects(self) -> frozenset[str]:
        """What it can share with another: names, or content words if it has none."""
        return self.names or self.statement.content


@lru_cache(maxsize=4096)
def read_source(row: Row) -> Evidence:
    """Read question and context; rows occur again with every sample and epoch, hence the cache."""
    units = tuple(unit for paragraph in row.context for unit in _units(paragraph))
    places: defaultdict[str, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        for word in unit.content:
            places[word].append(number)
    titles = frozenset(unit.title for unit in units if not FUNCTION_WORDS.issuperset(unit.title.split()))
    question = read_statement(row.question)
    bare = Evidence(question, (), units, titles, {word: tuple(found) for word, found in places.items()})
    return replace(bare, anchors=tuple(_anchors(bare)))


def ground(
    statements: Iterable[Statement], source: Evidence, answer: frozenset[str] = frozenset()
) -> tuple[Grounded, ...]:
    """Look up the statements of a rationale, each in the light of those before it.

    A statement that consists of the answer's content words alone claims nothing.
    """
    found: list[Grounded] = []
    for statement in statements:
        found.append(_ground(statement, found, source, answer))
    return tuple(found)


def _units(paragraph: Paragraph) -> Iterator[Unit]:
    statements = [one for sentence in paragraph.sentences for one in read_statements(sentence)]
    titled = read_statement(_IN_BRACKETS.sub("", paragraph.title) or paragraph.title)
    first = (one.lead for one in statements if one.lead)
    title = _without_article(titled.words) or next(first, "")
    for one in statements:
        words = frozenset(one.words).union(title.split())
        yield Unit(title, one.text, one.entities | {title}, words, words - FUNCTION_WORDS)


def _longest(own: str) -> int:
    """Return the most words of a name that stands for this one."""
    count = len(own.split())
    return count + (count > 1)


def _without_article(words: Sequence[str]) -> str:
    return " ".join(words[1:] if len(words) > 1 and words[0] in _ARTICLES else words)


def _anchors(source: Evidence) -> Iterator[str]:
    names = sorted(source.names(source.question))
    known = [name for name in names if not source.units or any(unit.holds(name) for unit in source.units)]
    # Where nothing has a capital, names cannot be told from other words.
    if source.titles.intersection(known):
        known = [name for name in known if name in source.titles or name.upper() != name or name.isdecimal()]
    yield from known or _telling_words(source)


def _telling_words(source: Evidence) -> Iterator[str]:
    most = COMMON * len(source.units) if len(source.units) >= SOME else float("inf")
    yield from sorted(w for w in source.question.content if 0 < len(source.places.get(w, ())) <= most)


def _ground(
    statement: Statement, before: list[Grounded], source: Evidence, answer: frozenset[str]
) -> Grounded:
    names = source.names(statement)
    if statement.asks or statement.content <= source.question.content or statement.content <= answer:
        return Grounded(statement, names, 0.0, None, claims=False)
    said = frozenset().union(source.question.entities, source.anchors, *(one.names for one in before))
    if statement.concludes and all(linked([name], said) for name in names):
        return Grounded(statement, names, _premises(names, before), None, claims=False, concludes=True)
    return _look_up(statement, names, said, source)


def _premises(names: frozenset[str], before: list[Grounded]) -> float:
    """Return the support of the weakest statement from which a conclusion follows."""
    drawn = [one.support for one in before if one.claims and (not names or linked(names, one.names))]
    return min(drawn, default=0.0)


def _look_up(statement: Statement, names: frozenset[str], said: frozenset[str], source: Evidence) -> Grounded:
    lead = _lead(statement, names)
    units = _candidates(statement, names | said, source)
    near = units[0] if units and _is_about(units[0], statement, lead, names | said, source) else None
    plain = statement.content - frozenset(word for name in names for word in name.split())
    if not (plain or len(names) > 1) or not (lead or near or statement.pronoun):
        return Grounded(statement, names, 0.0, None, claims=False)
    quoted = near is not None and _share(statement, near) >= QUOTED and len(statement.content) >= QUOTED_WORDS
    supported, used = _follow(names, lead, near, units[:1] if quoted else units)
    values = names - ({lead} & supported)
    support = (
        _values_support(names & supported, names, plain, source) if values else _words_support(plain, used)
    )
    topic = near.title if near and near.title else lead
    named = names | ({topic} if topic else frozenset())
    held = _share(statement, units[0]) if units else 0.0
    return Grounded(statement, named, support, topic, claims=True, held=held)


def _values_support(
    supported: frozenset[str], names: frozenset[str], plain: frozenset[str], source: Evidence
) -> float:
    known = [word in source.places or word in source.question.content for word in plain]
    share = len(supported) / len(names)
    words = fmean(known) if known else 1.0
    return (share if share == 1 else FALSE * share) * (1 - WORDS_SHARE + WORDS_SHARE * words)


def _words_support(plain: frozenset[str], used: Iterable[Unit]) -> float:
    held = frozenset().union(*(unit.content for unit in used))
    return len(plain & held) / len(plain)


def _lead(statement: Statement, names: frozenset[str]) -> str | None:
    """Return the first name of a statement, unless it begins with a pronoun."""
    if statement.pronoun or not names:
        return None
    return min(names, key=lambda name: (statement.text.find(f" {name} "), name))


def _candidates(statement: Statement, named: frozenset[str], source: Evidence) -> list[Unit]:
    """Return the context sentences that share two or more words with a statement, those with the most first."""
    counts = Counter(place for word in statement.content for place in source.places.get(word, ()))
    known = {title for title in source.titles if any(same(title, name) for name in named)}
    least = min(2, len(statement.content))
    places = [place for place, count in counts.items() if count >= least]
    places.sort(key=lambda place: (-counts[place], source.units[place].title not in known, place))
    return [source.units[place] for place in places]


def _is_about(
    unit: Unit, statement: Statement, lead: str | None, named: frozenset[str], source: Evidence
) -> bool:
    """Whether a statement that does not name its subject is taken from this sentence."""
    if lead and any(same(lead, title) for title in source.titles) and not unit.holds(lead):
        return False
    share = _share(statement, unit)
    whole = share >= VERBATIM and len(statement.content) >= VERBATIM_WORDS
    return whole or (share >= ALIKE and (not unit.title or _titled(unit, named)))


def _share(statement: Statement, unit: Unit) -> float:
    return len(statement.content & unit.content) / len(statement.content)


def _follow(
    names: frozenset[str], lead: str | None, near: Unit | None, units: list[Unit]
) -> tuple[frozenset[str], list[Unit]]:
    """Follow a statement's names through the context, from its first name or the sentence that it is taken from.

    Returns:
        The supported names, and the sentences that support them.
    """
    held = [(unit, frozenset(name for name in names if unit.holds(name))) for unit in units]
    supported = frozenset(name for unit, found in held if unit is near for name in found)
    used = [near] if near else []
    if near is None and lead and any(lead in found for _, found in held):
        supported = frozenset({lead})
    start = lead if lead in supported else None
    waiting = [pair for pair in held if pair[0] is not near]
    while ready := [pair for pair in waiting if start in pair[1] or _titled(pair[0], supported)]:
        supported = supported.union(*(found for _, found in ready))
        used += [unit for unit, _ in ready]
        waiting = [pair for pair in waiting if pair not in ready]
    return supported, used


def _titled(unit: Unit, names: Iterable[str]) -> bool:
    return bool(unit.title) and any(same(unit.title, name) for name in names)

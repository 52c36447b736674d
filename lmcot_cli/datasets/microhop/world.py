"""The world of one record: entities, facts about them, and paragraphs that state these facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lmcot_cli.datasets.microhop.names import KINDS, Entity, NameBook, Pronoun
from lmcot_cli.datasets.microhop.relations import RELATIONS, Relation, relations_of

_INTRODUCTIONS = {
    "person": ("{s} has a wide circle of friends.", "{s} rarely gives interviews."),
    "film": ("{s} is a film that divided the critics.", "{s} is a feature film."),
    "book": ("{s} is a book with many readers.", "{s} is a novel in three parts."),
    "album": ("{s} is an album of eleven songs.", "{s} is a record that sold slowly at first."),
    "band": ("{s} is a band with a loyal following.", "{s} is known for long concerts."),
    "company": ("{s} is a company of moderate size.", "{s} is a family business."),
    "university": ("{s} is a small place of learning.", "{s} is known for its library."),
    "museum": ("{s} is a building of red brick.", "{s} is a landmark that tourists like."),
    "city": ("{s} is a city on a river.", "{s} is known for its markets."),
    "country": ("{s} is a country with cold winters.", "{s} is a country of forests and lakes."),
}
_PARENTS: dict[str, Pronoun] = {"mother": "She", "father": "He"}
_SHARED_WORD = 0.7  # how often the name of a decoy shares a word with the entity that it imitates
_REUSED = 0.3  # how often a further fact refers to an entity that the record already names
_NAMED = 0.4  # how often a sentence after the first repeats the name instead of a pronoun


@dataclass(frozen=True, slots=True)
class Fact:
    """`subject` has the `relation` to `object`, and to nothing else."""

    subject: Entity
    relation: Relation
    object: Entity


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and, if it states a fact, the spans of subject and object in its text (end exclusive)."""

    text: str
    fact: Fact | None = None
    subject_span: tuple[int, int] = (0, 0)
    object_span: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class TitledParagraph:
    """Everything that the record says about one entity."""

    entity: Entity
    sentences: tuple[Sentence, ...]


def state(fact: Fact, phrasing: int = 0, pronoun: bool = False) -> Sentence:
    """Return a fact in words: a phrasing of its relation, with the subject's name or a pronoun."""
    subject = fact.subject.pronoun if pronoun else fact.subject.name
    possessive = {"He": "His", "She": "Her", "It": "Its"}[subject] if pronoun else f"{subject}'s"
    before, after = fact.relation.phrasings[phrasing].split("{o}")
    head = before.format(s=subject, p=possessive)
    span = (len(head), len(head) + len(fact.object.name))
    return Sentence(head + fact.object.name + after, fact, (0, len(subject)), span)


class World:
    """Entities with their paragraphs, and the facts that these state."""

    def __init__(self, random: Random, names: NameBook) -> None:
        self._random, self._names = random, names
        self.facts: dict[tuple[str, str], Fact] = {}
        self.titled: dict[str, Entity] = {}
        self._known: dict[str, list[Entity]] = {kind: [] for kind in KINDS}

    def introduce(self, kind: str, like: Entity | None = None, pronoun: Pronoun | None = None) -> Entity:
        """Return a new entity of a kind; with `like`, its name often shares a word with it."""
        shares = like is not None and self._random.random() < _SHARED_WORD
        entity = self._names.draw(kind, like if shares else None, pronoun)
        if kind in self._known:
            self._known[kind].append(entity)
        return entity

    def _introduce_object(self, relation: Relation, like: Entity | None = None) -> Entity:
        return self.introduce(relation.object, like, _PARENTS.get(relation.name))

    def add(self, subject: Entity, relation: Relation, object: Entity) -> Fact:
        """State a fact in the subject's paragraph."""
        self.titled[subject.name] = subject
        fact = self.facts[subject.name, relation.name] = Fact(subject, relation, object)
        return fact

    def about(self, subject: Entity) -> list[Fact]:
        """Return the facts of a subject's paragraph."""
        return [fact for fact in self.facts.values() if fact.subject == subject]

    def grow_chain(
        self, path: Sequence[str], like: Sequence[Entity] = (), last: Entity | None = None
    ) -> list[Entity]:
        """Add a chain of new entities linked by the relations of `path`.

        Args:
            path: Names of relations; the subject of each is of the kind of the object of the one before.
            like: A chain to imitate: names share words with its entities.
            last: The end of the chain, if that already exists.

        Returns:
            The `len(path) + 1` entities of the chain.
        """
        models = [*like, *[None] * (len(path) + 1 - len(like))]
        chain = [self.introduce(RELATIONS[path[0]].subject, models[0])]
        for step, name in enumerate(path, start=1):
            is_last = step == len(path)
            target = last if is_last and last else self._introduce_object(RELATIONS[name], models[step])
            self.add(chain[-1], RELATIONS[name], target)
            chain.append(target)
        return chain

    def pad(self, paragraphs: int, facts: tuple[int, int]) -> None:
        """Add decoy chains until there are `paragraphs`, then further facts to every paragraph.

        Decoys imitate existing chains: the same relations among entities with similar names, so that neither the kind
        of a name nor half of it is enough to find the answer.
        """
        models = list(self.titled.values())
        while len(self.titled) < paragraphs:
            self._imitate(self._random.choice(models), paragraphs - len(self.titled))
        for subject in list(self.titled.values()):
            self._fill(subject, self._random.randint(*facts))

    def _imitate(self, model: Entity, most: int) -> None:
        path: list[str] = []
        chain = [model]
        while len(path) < most and (known := self.about(chain[-1])):
            fact = self._random.choice(known)
            path.append(fact.relation.name)
            chain.append(fact.object)
        self.grow_chain(path, like=chain)

    def _fill(self, subject: Entity, count: int) -> None:
        missing = [r for r in relations_of(subject.kind) if (subject.name, r.name) not in self.facts]
        self._random.shuffle(missing)
        for relation in missing[: max(0, count - len(self.about(subject)))]:
            self.add(subject, relation, self._object_for(subject, relation))

    def _object_for(self, subject: Entity, relation: Relation) -> Entity:
        wanted = _PARENTS.get(relation.name)
        known = [
            entity
            for entity in self._known.get(relation.object, [])
            if entity != subject and wanted in (None, entity.pronoun)
        ]
        if known and self._random.random() < _REUSED:
            return self._random.choice(known)
        return self._introduce_object(relation, self._random.choice(known) if known else None)

    def write(self) -> list[TitledParagraph]:
        """Return all paragraphs; paragraphs, and facts in them, are in random order."""
        paragraphs = [TitledParagraph(entity, self._sentences(entity)) for entity in self.titled.values()]
        self._random.shuffle(paragraphs)
        return paragraphs

    def _sentences(self, entity: Entity) -> tuple[Sentence, ...]:
        facts = self.about(entity)
        self._random.shuffle(facts)
        sentences: list[Sentence] = []
        if self._random.random() < 0.3:
            sentences.append(Sentence(self._random.choice(_INTRODUCTIONS[entity.kind]).format(s=entity.name)))
        for fact in facts:
            pronoun = bool(sentences) and self._random.random() > _NAMED
            sentences.append(state(fact, self._random.randrange(len(fact.relation.phrasings)), pronoun))
        return tuple(sentences)

"""Questions about a world: what is asked, the facts that answer it, and the rationale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

from lmcot_cli.datasets.microhop.names import Entity
from lmcot_cli.datasets.microhop.relations import (
    COMPARISONS,
    INFERENCES,
    RELATIONS,
    SAME,
    Relation,
    relations_of,
)
from lmcot_cli.datasets.microhop.world import Fact, Sentence, World, state

QuestionType = Literal["compositional", "inference", "comparison", "bridge_comparison"]
Operation = Literal["value", "first", "last", "same"]
_WORKS = ("film", "book", "album")


@dataclass(frozen=True, slots=True)
class Program:
    """What a question computes, without its wording.

    Attributes:
        operation: `value` (the end of one chain), `first` / `last` (which of two chains ends in the earlier / later
            year; the answer is its start) or `same` (do two chains end alike; yes or no).
        paths: One or two chains: the start's name and the relations to follow from there.
        inferred: Whether the last two relations of the chain are asked by one name (`paternal grandfather`).
    """

    operation: Operation
    paths: tuple[tuple[str, tuple[str, ...]], ...]
    inferred: bool = False

    @property
    def hops(self) -> int:
        """How many facts the question needs."""
        return sum(len(path) for _, path in self.paths)

    @property
    def type(self) -> QuestionType:
        """The question's type, in the terms of 2WikiMultiHopQA."""
        if self.operation == "value":
            return "inference" if self.inferred else "compositional"
        return "comparison" if len(self.paths[0][1]) == 1 else "bridge_comparison"


@dataclass(frozen=True, slots=True)
class Question:
    """A program in words, with its answer and the sentences of its rationale."""

    program: Program
    text: str
    answer: str
    facts: tuple[Fact, ...]
    rationale: tuple[Sentence, ...]


def plan(world: World, random: Random, hops: int) -> Program:
    """Return a question of `hops` hops (2 to 4); the entities and facts that answer it are added to the world."""
    choices = {
        2: (_plan_path, _plan_inference, _plan_comparison),
        3: (_plan_path, _plan_inference),
        4: (_plan_path, _plan_inference, _plan_bridge_comparison),
    }
    return random.choice(choices[hops])(world, random, hops)


@cache
def _paths(length: int, end_kind: str | None = None) -> tuple[tuple[str, ...], ...]:
    """Return the chains of relations, none twice in a row; with `end_kind`, those that end in that kind."""
    paths: list[tuple[Relation, ...]] = [(relation,) for relation in RELATIONS.values()]
    for _ in range(length - 1):
        paths = [(*p, r) for p in paths for r in relations_of(p[-1].object) if r != p[-1]]
    return tuple(tuple(r.name for r in path) for path in paths if end_kind in (None, path[-1].object))


def _plan_path(world: World, random: Random, hops: int) -> Program:
    path = random.choice(_paths(hops))
    start = world.grow_chain(path)[0]
    return Program("value", ((start.name, path),))


def _plan_inference(world: World, random: Random, hops: int) -> Program:
    heads = {i: _paths(hops - 2, RELATIONS[i.first].subject) if hops > 2 else ((),) for i in INFERENCES}
    inference = random.choice([i for i, paths in heads.items() if paths])
    path = (*random.choice(heads[inference]), inference.first, inference.second)
    start = world.grow_chain(path)[0]
    return Program("value", ((start.name, path),), inferred=True)


def _plan_comparison(world: World, random: Random, hops: int) -> Program:
    del hops
    if random.random() < 0.5:
        return _plan_pair(world, random, [random.choice(list(COMPARISONS))])
    return _plan_pair(world, random, [random.choice(list(SAME))])


def _plan_bridge_comparison(world: World, random: Random, hops: int) -> Program:
    del hops
    last = random.choice([name for name in (*COMPARISONS, *SAME) if _can_bridge(name)])
    bridges = [r.name for r in RELATIONS.values() if r.object == RELATIONS[last].subject and r.name != last]
    return _plan_pair(world, random, [random.choice(bridges), last])


def _can_bridge(last: str) -> bool:
    subject = RELATIONS[last].subject
    bridged = COMPARISONS[last].bridged if last in COMPARISONS else "same"
    return bool(bridged) and any(relation.object == subject for relation in RELATIONS.values())


def _plan_pair(world: World, random: Random, path: list[str]) -> Program:
    one = world.grow_chain(path)
    operation: Operation = random.choice(("first", "last", "same")) if path[-1] in COMPARISONS else "same"
    alike = operation == "same" and random.random() < 0.5
    other = world.grow_chain(path, like=one[:-1], last=one[-1] if alike else None)
    while not alike and other[-1].name == one[-1].name:
        other[-1] = world.introduce(RELATIONS[path[-1]].object)
        world.add(other[-2], RELATIONS[path[-1]], other[-1])
    return Program(operation, ((one[0].name, tuple(path)), (other[0].name, tuple(path))))


def ask(program: Program, world: World, random: Random) -> Question:
    """Return a program in words, with its answer from the world's facts.

    Raises:
        KeyError: The world lacks a fact that the program needs.
    """
    chains = [_follow(world, start, path) for start, path in program.paths]
    facts = tuple(fact for chain in chains for fact in chain)
    answer, closing = _conclude(program, chains)
    text = _wording(program, chains, random)
    return Question(program, text, answer, facts, (*map(state, facts), *closing))


def _follow(world: World, start: str, path: tuple[str, ...]) -> list[Fact]:
    facts = [world.facts[start, path[0]]]
    for relation in path[1:]:
        facts.append(world.facts[facts[-1].object.name, relation])
    return facts


def _conclude(program: Program, chains: list[list[Fact]]) -> tuple[str, list[Sentence]]:
    """Return the answer, and the sentence that concludes it from the facts if they do not state it."""
    ends = [chain[-1].object.name for chain in chains]
    if program.operation == "value":
        return ends[0], []
    if program.operation == "same":
        alike = ends[0] == ends[1]
        words = (
            f"Both are {ends[0]}, so the answer is yes."
            if alike
            else f"{ends[0]} is not {ends[1]}, so the answer is no."
        )
        return ("yes" if alike else "no"), [Sentence(words)]
    earlier = program.operation == "first"
    wins = 0 if (int(ends[0]) < int(ends[1])) == earlier else 1
    winner = chains[wins][0].subject.name
    order, place = ("earlier", "first") if earlier else ("later", "last")
    words = f"{ends[wins]} is {order} than {ends[1 - wins]}, so {winner} came {place}."
    return winner, [Sentence(words)]


def _describe(facts: list[Fact], random: Random) -> str:
    """Return a description of the object of the last fact through the chain, whose start is named."""
    description = _start_name(facts[0].subject, random) if facts else ""
    for fact in facts:
        description = fact.relation.noun.format(x=description)
    return description


def _start_name(entity: Entity, random: Random) -> str:
    return (
        f"the {entity.kind} {entity.name}" if entity.kind in _WORKS and random.random() < 0.5 else entity.name
    )


def _wording(program: Program, chains: list[list[Fact]], random: Random) -> str:
    if program.operation == "value":
        return _value_wording(program, chains[0], random)
    path = program.paths[0][1]
    a, b = (chain[0].subject.name for chain in chains)
    if len(path) > 1 and program.operation != "same":
        order = "first" if program.operation == "first" else "later"
        role = RELATIONS[path[0]].noun.removesuffix(" of {x}")
        clause = COMPARISONS[path[1]].bridged.format(order=order)
        return f"Which {RELATIONS[path[0]].subject} has {role} {clause}, {a} or {b}?"
    if len(path) > 1:
        a, b = (_describe(chain[:1], random) for chain in chains)
    comparison = COMPARISONS.get(path[-1])
    templates = {"same": SAME.get(path[-1]) or (comparison.same if comparison else "")}
    if comparison:
        templates |= {"first": comparison.first, "last": comparison.last}
    return templates[program.operation].format(a=a, b=b)


def _value_wording(program: Program, facts: list[Fact], random: Random) -> str:
    told = facts[: -2 if program.inferred else -1]
    x = _describe(told, random) if told else _start_name(facts[0].subject, random)
    if program.inferred:
        pair = (facts[-2].relation.name, facts[-1].relation.name)
        forms = next(i.questions for i in INFERENCES if (i.first, i.second) == pair)
    else:
        forms = facts[-1].relation.questions
    return random.choice(forms).format(x=x)

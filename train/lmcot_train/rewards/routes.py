"""Follow the statements of a rationale from the things that the question names to the answer."""

from __future__ import annotations

from itertools import combinations

from lmcot_train.rewards.chain import Chain
from lmcot_train.rewards.grounding import ALIKE, Grounded
from lmcot_train.rewards.reading import linked, read_statement

BROKEN = 0.25
"""Factor of the first statement of a route that breaks off."""

RESTATED = 0.5
"""Factor of a statement that joins the answer to the question in the question's own words, without a hop."""


def connections(chain: Chain) -> list[float]:
    """Return the support of the best route from each anchor of the question to the answer.

    If the context mentions nothing that the question names, there is one route, from the first claim.
    """
    claims = chain.claims
    if not claims:
        return []
    told = [one for one in chain.grounded if one.claims or one.concludes]
    ends = _ends(told, chain)
    starts = [
        [one for one in claims if linked([anchor], one.names | one.statement.content)]
        for anchor in chain.source.anchors
    ]
    return [_route(start, told, ends, chain) for start in starts or [claims[:1]]]


def leads_on(chain: Chain) -> list[bool]:
    """Return for each statement but the conclusions whether the way to the answer needs it.

    It does if it names the answer, or two ends of the way: things that the question or conclusions name or that other
    statements are about; its own topic is an end if statements about other things name it. In a comparison, the way
    also needs the two most similar statements about different things in the question.
    """
    told = [one for one in chain.grounded if not one.concludes]
    pair = _likest(chain) if chain.compares else ()
    seen: set[tuple[str, ...]] = set()
    found = []
    for one in told:
        found.append(one.statement.words not in seen and (one in pair or _leads(one, chain)))
        seen.add(one.statement.words)
    return found


def _ends(told: list[Grounded], chain: Chain) -> list[Grounded]:
    if chain.answer is None:
        return told[-1:]
    if chain.compares:
        return told
    return [one for one in told if chain.names_answer([one.statement])]


def _route(start: list[Grounded], told: list[Grounded], ends: list[Grounded], chain: Chain) -> float:
    """Return the support of the weakest statement on the best route; statements are reached in falling order."""
    if not start:
        return 0.0
    if chain.compares:
        return max(one.support for one in start)
    best = {id(one): one.support * (RESTATED if _restates(one, chain) else 1) for one in start}
    waiting = list(start)
    while waiting:
        one = max(waiting, key=lambda reached: best[id(reached)])
        waiting.remove(one)
        for other in told:
            through = min(best[id(one)], other.support)
            if through > best.get(id(other), -1.0) and linked(one.names, other.names):
                best[id(other)] = through
                waiting.append(other)
    arrived = [best[id(one)] for one in ends if id(one) in best]
    return max(arrived, default=BROKEN * max(one.support for one in start))


def _restates(one: Grounded, chain: Chain) -> bool:
    """Whether a statement that no context sentence holds has only words of question and answer."""
    known = chain.source.question.content | read_statement(chain.answer or "").content
    return one.held < ALIKE and one.statement.content <= known


def _leads(one: Grounded, chain: Chain) -> bool:
    if not one.claims:
        return False
    if chain.open_answer and chain.names_answer([one.statement]):
        return True
    if chain.answer is None and one is chain.claims[-1]:
        return True
    others = [other for other in chain.grounded if other.topic != one.topic or other.concludes]
    knots = {other.topic for other in others if other.topic}.union(
        chain.source.anchors, *(other.names for other in others if other.concludes)
    )
    topic = [one.topic] if one.topic else []
    reached = linked(topic, knots.union(*(other.names for other in others)))
    ends = sum(linked([name], knots) for name in one.names if not linked([name], topic))
    return reached + ends >= 2


def _likest(chain: Chain) -> tuple[Grounded, ...]:
    """Return the two statements about different things in the question with the most words in common."""
    about = [(one, _anchors_of(one, chain)) for one in chain.claims]
    pairs = [(one, other) for (one, a), (other, b) in combinations(about, 2) if a and b and a != b]
    asked = frozenset(word for anchor in chain.source.anchors for word in anchor.split())
    return max(
        pairs, key=lambda pair: _likeness(*(one.statement.content - asked for one in pair)), default=()
    )


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(len(one | other), 1)


def _anchors_of(one: Grounded, chain: Chain) -> frozenset[str]:
    return frozenset(anchor for anchor in chain.source.anchors if linked([anchor], one.names))

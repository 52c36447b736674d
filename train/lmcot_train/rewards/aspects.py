"""The eight aspects of a rationale, each a pure function of it, 0 (worst) to 1 (best).

None of them looks at the gold answer or a reference rationale. They read text by rules (see `reading` and
`grounding`), thousands of rationales per second, so that every PPO step can afford them. A rule sees words, not
meaning; therefore the reward also counts whether a large LM answers right. The aspects are those of Lee et al. 2024
(section 3.3), who scored them with a large LM; the rules here are ours, and name the source of each idea.

A text that claims nothing (a bare answer, a question) scores on readability and naturalness only, and these two are
gates: every ordinary rationale passes them with 1, so there is nothing to gain from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, takewhile
from math import exp
from statistics import fmean

from lmcot_train.rewards.chain import Chain
from lmcot_train.rewards.grounding import Grounded
from lmcot_train.rewards.languages import BE, NEGATIONS
from lmcot_train.rewards.reading import Statement, linked
from lmcot_train.rewards.routes import connections, leads_on

PLAIN_WORDS = (6, 120)
"""Least and most words of a rationale of plain length."""
PLAIN_VARIETY = 0.75
"""Least share of distinct word trigrams in a plain text."""
PLAIN_RECITAL = 0.5
"""A rationale that recites a larger share of the context has selected nothing."""
FEW_SENTENCES = 8
"""Any part of a shorter context may be needed."""
PLAIN_LIX = 80
"""Björnsson calls texts above 60 very difficult; encyclopedic sentences with long names reach 70."""


def factuality(chain: Chain) -> float:
    """Return how far the context says of each subject what the rationale says of it; 0 if nothing is claimed.

    The mean support of the statements (see `grounding`): the share of their names and numbers that context sentences
    give to their subject, a quarter of that if one is not given to it; a tenth of it depends on the share of their
    other content words. A statement with nothing but a subject is judged by these words alone. Questions, bare names
    and conclusions ("1990 is earlier than 1993, so ...") do not count. The idea of atomic facts is that of FActScore
    (Min et al. 2023, arXiv 2305.14251), with rules instead of its LM.
    """
    return fmean(one.support for one in chain.claims) if chain.claims else 0.0


def relevance(chain: Chain) -> float:
    """Return how far the rationale is about the question, and nothing else; 0 if nothing is claimed.

    The product of two shares: of the things that the question names and the context mentions, those that the rationale
    names; and of its statements, conclusions apart, those that lead on. A statement leads on if it names the answer, or
    two things that occur elsewhere in the rationale or the question, or if it says, in a comparison, of one thing what
    another statement says of another.
    """
    if not chain.claims:
        return 0.0
    saying = [one for one in chain.grounded if one.claims or one.concludes]
    names = frozenset().union(*(one.names | one.statement.content for one in saying))
    mentioned = [linked([anchor], names) for anchor in chain.source.anchors]
    return (fmean(mentioned) if mentioned else 1.0) * fmean(leads_on(chain))


def logicality(chain: Chain) -> float:
    """Return how far the statements lead over every hop from the question to the answer; 0 if nothing is claimed.

    The mean over the things that the question names and the context mentions: the support of the weakest statement on
    the best route from the thing to a statement that names the answer. Each statement of a route shares a name with the
    one before. If the answer is yes, no or one of the things asked about, a statement about each of them is enough; if
    it is not known, the last statement stands for it. A route that breaks off counts a quarter of its first statement.
    """
    found = connections(chain)
    return fmean(found) if found else 0.0


def consistency(chain: Chain) -> float:
    """Return how far the rationale agrees with itself and with the answer; 0 if nothing is claimed.

    The mean of two parts: the share of statements that no other contradicts, and 1 if the answer occurs in the
    rationale (left out if the answer is not known, or is yes or no). Two statements contradict each other if they
    differ in a negation only, or are the same up to a last entity that differs, if that is a number or follows a form
    of "be" ("was born in Rome" and "was born in Oslo", but not "starred in" two films).
    """
    if not chain.claims:
        return 0.0
    pairs = combinations(enumerate(chain.statements), 2)
    bad = {number for (i, one), (j, two) in pairs if _contradict(one, two) for number in (i, j)}
    parts = [1 - len(bad) / len(chain.statements)]
    if chain.open_answer:
        parts.append(float(chain.names_answer(chain.statements)))
    return fmean(parts)


def coherence(chain: Chain) -> float:
    """Return how names flow from statement to statement; 1/2 for a single claim, 0 if nothing is claimed.

    The mean over all claims but the first of 1 / distance to the nearest earlier claim that shares a name, or 1 if the
    claim is the first about something that the question names: the entity graph of Guinaudeau and Strube 2013 (ACL
    P13-1010) with one edge per claim.
    """
    claims = chain.claims
    if len(claims) < 2:
        return len(claims) / 2
    return fmean(_nearest(claims, number, chain) for number in range(1, len(claims)))


def fluency(chain: Chain) -> float:
    """Return the geometric mean of the token probabilities under the reference LM, 1 / perplexity, at temperature 1."""
    if chain.logprob is None:
        raise ValueError("fluency needs the log-probability under the reference LM")
    return exp(min(chain.logprob, 0.0))


def naturalness(chain: Chain) -> float:
    """Return whether the text is free of repetition and recital and of ordinary length: a gate.

    The product of three parts, each of which is 1 for an ordinary text and never more: the share of distinct word
    trigrams (distinct-n, Li et al. 2016, arXiv 1510.03055) over `PLAIN_VARIETY`; the length, 1 within `PLAIN_WORDS`,
    falling to 0 for no words and for twice the upper bound; and the share of the context's words that are recited, 1 up
    to `PLAIN_RECITAL`, falling to 0 for all of them.
    """
    count = len(chain.words)
    trigrams = list(zip(chain.words, chain.words[1:], chain.words[2:], strict=False))
    variety = len(set(trigrams)) / len(trigrams) / PLAIN_VARIETY if trigrams else 1.0
    least, most = PLAIN_WORDS
    length = min(1.0, count / least) if count < most else max(0.0, 2 - count / most)
    return min(variety, 1.0) * length * min((1 - _recited(chain)) / (1 - PLAIN_RECITAL), 1.0)


def readability(chain: Chain) -> float:
    """Return whether the text is readable by LIX (Björnsson 1968): a gate; 0 if there are no words.

    LIX is words / sentences + 100 x words of more than 6 letters / words, for any language. The result is 1 up to
    `PLAIN_LIX`, and falls to 0 at twice that.
    """
    if not chain.words:
        return 0.0
    count = len(chain.words)
    lix = count / len(chain.statements) + 100 * sum(len(word) > 6 for word in chain.words) / count
    return min(max(2 - lix / PLAIN_LIX, 0.0), 1.0)


ASPECTS: Mapping[str, Callable[[Chain], float]] = {
    one.__name__: one
    for one in (factuality, relevance, logicality, consistency, coherence, fluency, naturalness, readability)
}
EQUAL_WEIGHTS: Mapping[str, float] = dict.fromkeys(ASPECTS, 1.0)


def score_aspects(chain: Chain) -> dict[str, float]:
    """Score every aspect, without fluency if the log-probability is not known."""
    names = [name for name in ASPECTS if name != "fluency" or chain.logprob is not None]
    return {name: ASPECTS[name](chain) for name in names}


def weighted_mean(aspects: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return R_aspect, the weighted mean of the aspects; raise a ValueError if none of them has a weight."""
    total = sum(weights.get(name, 0.0) for name in aspects)
    if total <= 0:
        raise ValueError("none of these aspects has a weight")
    return sum(weights.get(name, 0.0) * value for name, value in aspects.items()) / total


def _nearest(claims: Sequence[Grounded], number: int, chain: Chain) -> float:
    one, earlier = claims[number], claims[number - 1 :: -1]
    near = (distance for distance, other in enumerate(earlier, 1) if linked(one.subjects, other.subjects))
    new = [
        anchor for anchor in chain.source.anchors if not any(linked([anchor], o.subjects) for o in earlier)
    ]
    return 1.0 if linked(one.subjects, new) else 1 / next(near, float("inf"))


def _recited(chain: Chain) -> float:
    """Return the share of the context's words that are in sentences that the rationale repeats."""
    said = [one.text for one in chain.statements]
    lengths = [
        (unit.text.count(" ") - 1, any(unit.text in text for text in said)) for unit in chain.source.units
    ]
    total = sum(length for length, _ in lengths)
    few = len(chain.source.units) < FEW_SENTENCES
    return 0.0 if few else sum(length for length, recited in lengths if recited) / total


def _contradict(one: Statement, two: Statement) -> bool:
    first = [word for word in one.words if word not in NEGATIONS]
    second = [word for word in two.words if word not in NEGATIONS]
    if first == second:
        return one.words != two.words
    return _other_value(one, two)


def _other_value(one: Statement, two: Statement) -> bool:
    """Whether two statements are the same up to a last entity of which there can be only one."""
    pairs = zip(one.words, two.words, strict=False)
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    frame = one.words[:common]
    values = [" ".join(statement.words[common:]) for statement in (one, two)]
    single = all(value[:1].isdigit() for value in values) or bool(BE & {*frame})
    return common >= 3 and single and values[0] in one.entities and values[1] in two.entities

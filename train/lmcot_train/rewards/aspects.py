"""The eight aspects of a rationale, each a pure function of it, 0 (worst) to 1 (best).

None of them looks at the gold answer or a reference rationale. They read text by rules (see `reading` and
`grounding`), at thousands of rationales a second, so that every PPO step can afford them; a rule sees words, not
meaning, which is why the aspects are joined with whether a large LM answers right. The aspects are those of Lee et al.
2024 (section 3.3), which scored them with a large LM; the rules here are ours, with the source of each idea named.

What can be had without saying anything is worth nothing: a text that claims nothing of anything (a bare answer, a
question) has only what readability and naturalness give, and these two are gates. Every ordinary rationale passes them
with 1, so that there is nothing to be gained by them.
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
"""A rationale of fewer or more words is not of plain length."""
PLAIN_VARIETY = 0.75
"""The share of distinct word trigrams that a plain text has at least."""
PLAIN_RECITAL = 0.5
"""A rationale that recites a larger share of the context has chosen nothing."""
FEW_SENTENCES = 8
"""Of a shorter context any part may be needed."""
PLAIN_LIX = 80
"""Björnsson calls texts above 60 very difficult; sentences of encyclopedias with their long names reach 70."""


def factuality(chain: Chain) -> float:
    """Tell how far the context says of each subject what the rationale says of it.

    The mean over statements of their support (see `grounding`): the share of their names and numbers that context
    sentences give to their subject, halved where one of them is not given to it, with a quarter of it going by the
    share of their other content words. A statement with nothing but a subject goes by these alone. Questions, bare
    names and conclusions ("1990 is earlier than 1993, so ...") do not count. Made of atomic facts as in FActScore (Min
    et al. 2023, arXiv 2305.14251), with rules in place of its LM.

    Returns:
        0 where nothing is claimed.
    """
    return fmean(one.support for one in chain.claims) if chain.claims else 0.0


def relevance(chain: Chain) -> float:
    """Tell how far the rationale is about the question, and nothing else.

    The product of two shares: what the question names (of what the context speaks of) that the rationale names, and the
    statements that lead on: those that name the answer, name two things that come up elsewhere in the rationale or the
    question, or, in a comparison, say of one thing what another statement says of another. Conclusions do not count.

    Returns:
        0 where nothing is claimed.
    """
    if not chain.claims:
        return 0.0
    saying = [one for one in chain.grounded if one.claims or one.concludes]
    names = frozenset().union(*(one.names | one.statement.content for one in saying))
    mentioned = [linked([anchor], names) for anchor in chain.source.anchors]
    return (fmean(mentioned) if mentioned else 1.0) * fmean(leads_on(chain))


def logicality(chain: Chain) -> float:
    """Tell how far the statements lead over every hop from what the question names to the answer.

    For each thing that the question names (and the context speaks of): how well the weakest statement is borne out on
    the best route from it to a statement that names the answer, where each statement of a route shares a name with the
    one before. Where the answer is yes, no or one of the things asked about, a statement about each of them will do;
    where it is not known, the last statement stands for it. A route that breaks off counts a quarter of its first
    statement. The mean over these things.

    Returns:
        0 where nothing is claimed.
    """
    found = connections(chain)
    return fmean(found) if found else 0.0


def consistency(chain: Chain) -> float:
    """Tell how far the rationale agrees with itself and with the answer it led to.

    The mean of two parts: the share of statements that no other contradicts, and 1 if the answer it led to occurs in
    it (left out where the answer is not known, or is yes or no). Two statements contradict each other if they differ
    in a negation only, or say the same of the same thing up to a last entity that differs, where that is a number or
    follows a form of "be" ("was born in Rome" and "was born in Oslo", not "starred in" two films).

    Returns:
        0 where nothing is claimed.
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
    """Tell how names flow from statement to statement.

    The mean over all claims but the first of 1 / distance to the nearest earlier claim that shares a name, or 1 if it
    is the first to take up something that the question names: the entity graph of Guinaudeau and Strube 2013 (ACL
    P13-1010) with one edge a claim.

    Returns:
        1/2 for a single claim, which hangs together with nothing, 0 where nothing is claimed.
    """
    claims = chain.claims
    if len(claims) < 2:
        return len(claims) / 2
    return fmean(_nearest(claims, number, chain) for number in range(1, len(claims)))


def fluency(chain: Chain) -> float:
    """Tell how likely the reference LM finds the text: the geometric mean of its tokens' probabilities.

    That is one over the perplexity, at temperature 1 whatever the rationale was sampled at.

    Raises:
        ValueError: The log-probability is not known.
    """
    if chain.logprob is None:
        raise ValueError("fluency needs the log-probability under the reference LM")
    return exp(min(chain.logprob, 0.0))


def naturalness(chain: Chain) -> float:
    """Tell whether the text neither repeats itself, nor is of odd length, nor recites the context: a gate.

    The product of three parts, each 1 for an ordinary text: the share of word trigrams that are distinct (distinct-n,
    Li et al. 2016, arXiv 1510.03055) over `PLAIN_VARIETY`; the length, 1 within `PLAIN_WORDS`, falling to 0 with no
    words and with twice as many as the upper bound; the share of the context's words that are recited, falling from 1
    at `PLAIN_RECITAL` to 0 at all of them. No part is above 1.
    """
    count = len(chain.words)
    trigrams = list(zip(chain.words, chain.words[1:], chain.words[2:], strict=False))
    variety = len(set(trigrams)) / len(trigrams) / PLAIN_VARIETY if trigrams else 1.0
    least, most = PLAIN_WORDS
    length = min(1.0, count / least) if count < most else max(0.0, 2 - count / most)
    return min(variety, 1.0) * length * min((1 - _recited(chain)) / (1 - PLAIN_RECITAL), 1.0)


def readability(chain: Chain) -> float:
    """Tell whether the text can be read: LIX (Björnsson 1968), a gate.

    LIX is words / sentences + 100 x words of more than 6 letters / words, and asks for no knowledge of the language.
    Up to `PLAIN_LIX` the text passes with 1; it falls to 0 at twice that.

    Returns:
        0 where there is no word.
    """
    if not chain.words:
        return 0.0
    count = len(chain.words)
    lix = count / len(chain.statements) + 100 * sum(len(word) > 6 for word in chain.words) / count
    return min(max(2 - lix / PLAIN_LIX, 0.0), 1.0)


ASPECTS: Mapping[str, Callable[[Chain], float]] = {
    function.__name__: function
    for function in (
        factuality,
        relevance,
        logicality,
        consistency,
        coherence,
        fluency,
        naturalness,
        readability,
    )
}
"""Every aspect by its name."""

EQUAL_WEIGHTS: Mapping[str, float] = dict.fromkeys(ASPECTS, 1.0)


def score_aspects(chain: Chain) -> dict[str, float]:
    """Score every aspect; fluency is left out where the log-probability is not known."""
    names = [name for name in ASPECTS if name != "fluency" or chain.logprob is not None]
    return {name: ASPECTS[name](chain) for name in names}


def weighted_mean(aspects: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return R_aspect: the mean of the aspects by their weights, over those that are there and weigh something.

    Raises:
        ValueError: None of them weighs anything.
    """
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
    """Return the share of the context's words that stand in sentences that the rationale repeats."""
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
    """Whether two statements are the same up to a last entity, of which there can be one only."""
    pairs = zip(one.words, two.words, strict=False)
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    frame = one.words[:common]
    values = [" ".join(statement.words[common:]) for statement in (one, two)]
    single = all(value[:1].isdigit() for value in values) or bool(BE & {*frame})
    return common >= 3 and single and values[0] in one.entities and values[1] in two.entities

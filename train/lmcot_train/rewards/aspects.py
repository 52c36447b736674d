"""The eight aspects of a rationale, each a pure function of it, 0 (worst) to 1 (best).

None of them looks at the gold answer or a reference rationale. They read text by rules (see `reading`), at thousands
of rationales a second, so that every PPO step can afford them; a rule sees words, not meaning, which is why the
aspects are joined with whether a large LM answers right. The aspects are those of Lee et al. 2024 (section 3.3), which
scored them with a large LM; the rules here are ours, with the source of each idea named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import combinations, pairwise, takewhile
from math import exp
from statistics import fmean

from lmcot_cli.scoring.normalize import normalize_answer
from lmcot_train.rewards.reading import BE, CLOSED_ANSWERS, NEGATIONS, Chain, Statement, linked

PLAIN_WORDS = (6, 120)
"""A rationale of fewer or more words is not of plain length."""
_VOWELS = frozenset("aeiouy")


def factuality(chain: Chain) -> float:
    """Tell how far the context bears the statements out.

    The mean over statements of two shares of their content words (names and numbers among them): those that occur
    anywhere in context or question, and those that occur in the one sentence that holds most of them. The second
    notices a true value given to the wrong name. After the token-overlap faithfulness of ROSCOE (Golovneva et al.
    2023, arXiv 2212.07919).

    Returns:
        0 where nothing is stated.
    """
    stated = [statement for statement in chain.statements if statement.content]
    return fmean(_support(statement, chain) for statement in stated) if stated else 0.0


def relevance(chain: Chain) -> float:
    """Tell how far the rationale is about the question.

    The mean of two shares: the question's entities (content words where it names none) that the rationale mentions,
    and the statements that a chain of shared entities connects to the question.

    Returns:
        0 where nothing is stated.
    """
    if not chain.statements:
        return 0.0
    subjects = frozenset().union(*(statement.subjects for statement in chain.statements))
    content = frozenset().union(*(statement.content for statement in chain.statements))
    asked = chain.source.question.subjects
    mentioned = [linked([subject], subjects | content) for subject in asked]
    return fmean([fmean(mentioned) if mentioned else 1.0, len(_connected(chain)) / len(chain.statements)])


def logicality(chain: Chain) -> float:
    """Tell how far the statements lead from the question to the answer, each from what came before.

    The share of steps that hold: the first statement shares an entity with the question; each later one shares one
    with an earlier statement or the question; the last one names the answer (left out where the answer is not known,
    or is yes or no).

    Returns:
        0 where nothing is stated.
    """
    if not chain.statements:
        return 0.0
    known = [chain.source.question]
    steps = []
    for statement in chain.statements:
        steps.append(any(linked(statement.subjects, earlier.subjects) for earlier in known))
        known.append(statement)
    if _open_answer(chain):
        steps.append(_names_answer([chain.statements[-1]], chain))
    return fmean(steps)


def consistency(chain: Chain) -> float:
    """Tell how far the rationale agrees with itself and with the answer it led to.

    The mean of two parts: the share of statements that no other contradicts, and 1 if the answer it led to occurs in
    it (left out where the answer is not known, or is yes or no). Two statements contradict each other if they differ
    in a negation only, or say the same of the same thing up to a last entity that differs, where that is a number or
    follows a form of "be" ("was born in Rome" and "was born in Oslo", not "starred in" two films).

    Returns:
        0 where nothing is stated.
    """
    if not chain.statements:
        return 0.0
    pairs = combinations(enumerate(chain.statements), 2)
    bad = {number for (i, one), (j, two) in pairs if _contradict(one, two) for number in (i, j)}
    parts = [1 - len(bad) / len(chain.statements)]
    if _open_answer(chain):
        parts.append(float(_names_answer(chain.statements, chain)))
    return fmean(parts)


def coherence(chain: Chain) -> float:
    """Tell how entities flow from statement to statement.

    The mean over all statements but the first of 1 / distance to the nearest earlier statement that shares an entity,
    0 where none does: the entity graph of Guinaudeau and Strube 2013 (ACL P13-1010) with one edge a statement.

    Returns:
        1 for a single statement, 0 where nothing is stated.
    """
    if len(chain.statements) < 2:
        return float(len(chain.statements))
    return fmean(_nearest(chain.statements, number) for number in range(1, len(chain.statements)))


def fluency(chain: Chain) -> float:
    """Tell how likely the reference LM finds the text: the geometric mean of its tokens' probabilities.

    That is one over the perplexity.

    Raises:
        ValueError: The log-probability is not known.
    """
    if chain.logprob is None:
        raise ValueError("fluency needs the log-probability under the reference LM")
    return exp(min(chain.logprob, 0.0))


def naturalness(chain: Chain) -> float:
    """Tell whether the text neither repeats itself nor is of odd length.

    The share of word trigrams that are distinct (distinct-n, Li et al. 2016, arXiv 1510.03055), times how plain the
    length is: 1 within `PLAIN_WORDS`, falling to 0 with no words and with twice as many as the upper bound.
    """
    count = len(chain.words)
    trigrams = list(zip(chain.words, chain.words[1:], chain.words[2:], strict=False))
    distinct = len(set(trigrams)) / len(trigrams) if trigrams else 1.0
    least, most = PLAIN_WORDS
    length = min(1.0, count / least) if count < most else max(0.0, 2 - count / most)
    return distinct * length


def readability(chain: Chain) -> float:
    """Tell how easy the text is to read: Flesch reading ease (Flesch 1948), 0 to 100 and cut there, over 100.

    206.835 - 1.015 words / sentences - 84.6 syllables / words; syllables are runs of vowels, without a final e.

    Returns:
        0 where nothing is stated.
    """
    if not chain.words:
        return 0.0
    syllables = sum(map(_syllables, chain.words))
    words = len(chain.words)
    ease = 206.835 - 1.015 * words / len(chain.statements) - 84.6 * syllables / words
    return min(max(ease / 100, 0.0), 1.0)


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


def _support(statement: Statement, chain: Chain) -> float:
    counts = [0] * chain.source.size
    found = 0
    for word in statement.content:
        places = chain.source.places.get(word, ())
        found += bool(places)
        for place in places:
            counts[place] += 1
    return (found + max(counts)) / (2 * len(statement.content))


def _connected(chain: Chain) -> set[int]:
    """Number the statements that shared entities connect to the question, over any number of steps."""
    reached: set[int] = set()
    front = [chain.source.question]
    while front:
        known = front.pop().subjects
        new = [
            number
            for number, statement in enumerate(chain.statements)
            if number not in reached and linked(statement.subjects, known)
        ]
        reached.update(new)
        front += [chain.statements[number] for number in new]
    return reached


def _nearest(statements: tuple[Statement, ...], number: int) -> float:
    subjects = statements[number].subjects
    distances = range(1, number + 1)
    near = (d for d in distances if linked(subjects, statements[number - d].subjects))
    return 1 / next(near, float("inf"))


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


def _open_answer(chain: Chain) -> bool:
    """Whether there is an answer that a text can name; yes and no are said in other words."""
    return chain.answer is not None and normalize_answer(chain.answer) not in CLOSED_ANSWERS


def _names_answer(statements: tuple[Statement, ...] | list[Statement], chain: Chain) -> bool:
    assert chain.answer is not None
    text = normalize_answer(" ".join(word for statement in statements for word in statement.words))
    return f" {normalize_answer(chain.answer)} " in f" {text} "


@lru_cache(maxsize=65536)
def _syllables(word: str) -> int:
    runs = sum(letter in _VOWELS and before not in _VOWELS for before, letter in pairwise(f" {word}"))
    silent = word.endswith("e") and not word.endswith("le") and runs > 1
    return max(runs - silent, 1)

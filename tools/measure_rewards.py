"""Measure whether R_aspect tells good rationales from bad ones: python tools/measure_rewards.py --hotpotqa FILE.

Every row's gold rationale is set against bad ones made of it; the table says in how many pairs the gold one scores
higher. The rationales of MicroHop are the generator's. HotpotQA has none: its supporting sentences in order stand for
one. Both come in two halves: choose settings by `--half tune`, report `--half report`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from scipy.stats import binomtest

from lmcot_cli.datasets.microhop.names import NameBook
from lmcot_cli.datasets.microhop.questions import Question, ask, plan
from lmcot_cli.datasets.microhop.world import Fact, World
from lmcot_cli.datasets.native import to_row
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_train.rewards.aspects import EQUAL_WEIGHTS, score_aspects, weighted_mean
from lmcot_train.rewards.chain import read_chain
from lmcot_train.rewards.languages import FUNCTION_WORDS

SEEDS = {"tune": 1, "report": 2}
_NAME = re.compile(r"[A-Z][\w'.-]*(?:\s(?:of|the|and)\s[A-Z][\w'.-]*|\s[A-Z][\w'.-]*)*|\d[\d,.]*\d|\d")
Score = Callable[["Row", "GivenRationale"], float]
_CLOSED = {"yes": "no", "no": "yes"}


@dataclass(frozen=True, slots=True)
class GivenRationale:
    """A rationale and the answer it leads to."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class RewardCase:
    """A row with its gold rationale and, where one can be made, the same with a value of somebody else."""

    row: Row
    gold: GivenRationale
    wrong: GivenRationale | None
    supporting: tuple[int, ...]


def microhop(half: str) -> Iterator[RewardCase]:
    """Generate rows as `lmcot data microhop` does, each with a chain that takes another subject's value at one hop."""
    for index in range(10**9):
        random = Random(f"rewards/{SEEDS[half]}/{index}")
        world = World(random, NameBook(random, "train"))
        program = plan(world, random, random.randint(2, 4))
        world.pad(len(world.titled) + 6, (2, 3))
        paragraphs, question = world.write(), ask(program, world, random)
        context = tuple(Paragraph(p.entity.name, tuple(s.text for s in p.sentences)) for p in paragraphs)
        row = Row(str(index), question.text, context, (question.answer,), program.type, None, index + 1)
        subjects = {fact.subject.name for fact in question.facts}
        places = tuple(n for n, paragraph in enumerate(context) if paragraph.title in subjects)
        yield RewardCase(row, _given(question), _misbound(world, question, random), places)


def _given(question: Question) -> GivenRationale:
    return GivenRationale(" ".join(sentence.text for sentence in question.rationale), question.answer)


def _misbound(world: World, question: Question, random: Random) -> GivenRationale | None:
    """Take the value of another subject at one hop, and go on from there with what the world says of it."""
    fact = random.choice(question.facts)
    others = [
        f.object
        for f in world.facts.values()
        if f.relation == fact.relation and f.object.name not in {fact.object.name, fact.subject.name}
    ]
    if not others:
        return None
    key, false = (fact.subject.name, fact.relation.name), random.choice(others)
    world.facts[key] = Fact(fact.subject, fact.relation, false)
    try:
        return _given(ask(question.program, world, random))
    except KeyError:  # nothing is said of it: it is only named
        text = _given(question).text.replace(f" {fact.object.name}.", f" {false.name}.", 1)
        return GivenRationale(text, question.answer)
    finally:
        world.facts[key] = fact


def hotpotqa(path: Path, half: str) -> Iterator[RewardCase]:
    """Read every second row; a chain is its supporting sentences in the order given."""
    with path.open(encoding="utf-8") as file:
        lines = list(islice(file, list(SEEDS).index(half), None, 2))
    for number, line in enumerate(lines):
        record = json.loads(line)
        row = to_row(record, number + 1)
        sentences = _supporting(record)
        if len(sentences) > 1:
            random = Random(f"rewards/{number}")
            gold = GivenRationale(" ".join(text for _, text in sentences), row.answers[0])
            titles = {title for title, _ in sentences}
            places = tuple(n for n, paragraph in enumerate(row.context) if paragraph.title in titles)
            yield RewardCase(row, gold, _exchanged(row, sentences, random), places)


def _supporting(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    context = dict(record["context"])
    return [
        (title, context[title][index].strip())
        for title, index in record["supporting_facts"]
        if index < len(context.get(title, ())) and context[title][index].strip()
    ]


def _exchanged(row: Row, sentences: list[tuple[str, str]], random: Random) -> GivenRationale | None:
    """Put a name or number of another paragraph in the place of the answer or, where it is none, of another value."""
    answer, chain = row.answers[0], " ".join(text for _, text in sentences)
    is_value = _NAME.fullmatch(answer) and answer in chain and answer not in row.question
    known = f"{row.question} {' '.join(title for title, _ in sentences)}"
    values = [answer] if is_value else [name for name in _inner_names(sentences) if name not in known]
    random.shuffle(values)
    for value in values:
        homes = {title for title, text in sentences if value in text}
        texts = [p.text for p in row.context if p.title in homes]
        others = [
            name
            for p in row.context
            if p.title not in homes
            for name in _inner_names([(p.title, sentence.strip()) for sentence in p.sentences])
            if name.lower() not in FUNCTION_WORDS
            and _alike(name, value)
            and not any(name in text for text in (*texts, row.question))
        ]
        other = random.choice(others) if others else value
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", other, chain)
        if text != chain:
            return GivenRationale(text, other if is_value else _CLOSED.get(answer, answer))
    return None


def _inner_names(sentences: list[tuple[str, str]]) -> list[str]:
    """Return names and numbers, but for the first word of a sentence, which has a capital whatever it is."""
    return [
        match[0].removesuffix("'s").rstrip(".,'-")
        for _, text in sentences
        for match in _NAME.finditer(text)
        if match.start() > 0
    ]


def _alike(one: str, other: str) -> bool:
    if one[0].isdigit() or other[0].isdigit():
        return one[0].isdigit() and other[0].isdigit() and len(one) == len(other)
    return min(len(one.split()), 3) == min(len(other.split()), 3)


def variants(case: RewardCase, other: RewardCase, random: Random) -> dict[str, GivenRationale | None]:
    """Make the bad rationales of a row; all but the wrong one lead to the right answer, which is generous to them."""
    row, gold = case.row, case.gold
    words, context = gold.text.split(), " ".join(p.text for p in row.context)
    chosen = [p.text for n, p in enumerate(row.context) if n in case.supporting]
    sentences = [
        s.strip() for n, p in enumerate(row.context) if n not in case.supporting for s in p.sentences
    ]
    extra = random.sample(sentences, min(3, len(sentences)))
    texts = {
        "bare answer": gold.answer,
        "answer as sentence": f"The answer is {gold.answer}.",
        "words shuffled": " ".join(random.sample(words, len(words))),
        "words of each sentence shuffled": " ".join(_shuffled(gold.text, random)),
        "random words of the context": " ".join(
            random.sample(context.split(), min(len(words), len(context.split())))
        ),
        "gold of another row": other.gold.text,
        "question and answer": f"{row.question} {gold.answer}.",
        "question as statement, answer": f"{row.question.rstrip('?')} is {gold.answer}.",
        "whole context": context,
        "supporting paragraphs whole": " ".join(chosen),
        "gold and 3 other sentences": " ".join([gold.text, *extra]),
        "gold twice": f"{gold.text} {gold.text}",
        "last sentence 3 times": f"{gold.text} {' '.join([gold.text.rsplit('. ', 1)[-1]] * 2)}",
        "question, then gold": f"{row.question} {gold.text}",
        "gold, 'The answer is yes.'": f"{gold.text} The answer is yes.",
        "gold, 'The answer is ...'": f"{gold.text} The answer is {gold.answer}.",
    }
    made = {name: replace(gold, text=text) for name, text in texts.items()}
    return {"wrong binding": case.wrong, **made}


def _shuffled(text: str, random: Random) -> list[str]:
    return [" ".join(random.sample(s.split(), len(s.split()))) for s in re.split(r"(?<=\.)\s", text)]


def aspect_mean(row: Row, given: GivenRationale, *, known: bool, logprob: float | None = None) -> float:
    """Return R_aspect with equal weights; the answer known or not, with fluency where a log-probability is given."""
    chain = read_chain(row, given.text, given.answer if known else None, logprob)
    return weighted_mean(score_aspects(chain), EQUAL_WEIGHTS)


def with_fluency(reference: str) -> Score:
    """Return what scores with all eight aspects, the answer known."""
    from lmcot_train.models import is_encoder_decoder, open_base
    from lmcot_train.prompting import RationalePrompts
    from lmcot_train.rewards import scoring

    opened = open_base(reference)
    prompts = RationalePrompts(opened.tokenizer, encoder_decoder=is_encoder_decoder(opened.model))

    def score(row: Row, given: GivenRationale) -> float:
        (logprob,) = scoring.mean_logprobs(
            opened, prompts, [scoring.RationaleToScore(row, given.text, given.answer)]
        )
        return aspect_mean(row, given, known=True, logprob=logprob)

    return score


@dataclass(slots=True)
class PairTally:
    """How often gold is above a bad rationale, and how often not below."""

    pairs: int = 0
    above: int = 0
    level: int = 0
    total: float = 0.0

    def add(self, gold: float, bad: float) -> None:
        """Count a pair."""
        self.pairs += 1
        self.above += gold > bad + 1e-9
        self.level += abs(gold - bad) <= 1e-9
        self.total += bad


def compare(cases: Sequence[RewardCase], score: Score, names: Collection[str] = ()) -> dict[str, PairTally]:
    """Set the gold rationale of each row against its bad ones, against some of them where names are given."""
    tallies: dict[str, PairTally] = {"gold": PairTally()}
    for number, case in enumerate(cases):
        gold = score(case.row, case.gold)
        tallies["gold"].add(gold, gold)
        bad = variants(case, cases[number - 1], Random(f"variants/{number}"))
        for name, given in bad.items():
            if given is not None and (not names or name in names):
                tallies.setdefault(name, PairTally()).add(gold, score(case.row, given))
    return tallies


def show(title: str, tallies: Mapping[str, PairTally]) -> None:
    """Print a table: pairs, mean R_aspect of the bad, share of pairs with gold above (Wilson's interval), and level."""
    print(f"\n{title}\n{'':34}{'pairs':>6}{'mean':>8}{'gold above, %':>22}{'level, %':>10}")
    for name, one in tallies.items():
        line = f"{name:34}{one.pairs:>6}{one.total / one.pairs:>8.3f}"
        if name != "gold":
            interval = binomtest(one.above, one.pairs).proportion_ci(method="wilson")
            share = f"{100 * one.above / one.pairs:.1f} ({100 * interval.low:.1f}-{100 * interval.high:.1f})"
            line += f"{share:>22}{100 * one.level / one.pairs:>10.1f}"
        print(line)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=list(SEEDS), default="report")
    parser.add_argument("--microhop", type=int, default=500, help="rows of MicroHop")
    parser.add_argument(
        "--hotpotqa", type=Path, help="HotpotQA records, one a line; without, they are left out"
    )
    parser.add_argument("--rows", type=int, default=300, help="rows of HotpotQA")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="bad rationales to look at")
    parser.add_argument(
        "--reference", metavar="MODEL", help="count fluency too, under this LM; slow: take few rows"
    )
    options = parser.parse_args()
    sets = {"MicroHop": list(islice(microhop(options.half), options.microhop))}
    if options.hotpotqa:
        sets["HotpotQA"] = list(islice(hotpotqa(options.hotpotqa, options.half), options.rows))
    if options.reference:
        score = with_fluency(options.reference)
        for name, cases in sets.items():
            show(f"{name}, the answer known, with fluency", compare(cases, score, options.only))
        return
    for name, cases in sets.items():
        for known in (True, False):
            tallies = compare(cases, partial(aspect_mean, known=known), options.only)
            show(f"{name}, the answer {'known' if known else 'not known'}", tallies)
        began = perf_counter()
        for case in cases:
            aspect_mean(case.row, case.gold, known=True)
        print(f"{len(cases) / (perf_counter() - began):,.0f} gold rationales a second, contexts already read")


if __name__ == "__main__":
    main()

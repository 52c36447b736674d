"""Records in HotpotQA's layout, from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from lmcot_cli.datasets.microhop.names import NameBook, Split
from lmcot_cli.datasets.microhop.questions import Question, ask, plan
from lmcot_cli.datasets.microhop.world import TitledParagraph, World
from lmcot_cli.settings.declaration import NOT_NEGATIVE, Rule, check, setting

_HOPS = Rule(least=2, most=4)
_DISTRACTORS = Rule(least=0, most=40)  # with more, similar names run out


@dataclass(frozen=True, slots=True)
class MicroHopOptions:
    """What to generate: the same options give the same records, and record `i` does not depend on how many follow it.

    `facts` are the fewest and most facts that a paragraph states.

    Raises:
        UsageError: A value is out of range.
    """

    rows: int = setting(100, "Records to make.", short="-n", metavar="N", rule=NOT_NEGATIVE)
    seed: int = setting(0, "Seed: the same one gives the same bytes.", metavar="S")
    split: Split = setting(
        "test", "Names to use: those of test occur in no train record, whatever the seeds."
    )
    min_hops: int = setting(2, "Fewest facts that a question needs, 2 to 4.", rule=_HOPS)
    max_hops: int = setting(4, "Most facts that a question needs, 2 to 4.", rule=_HOPS)
    distractors: int = setting(6, "Paragraphs that the question does not need.", rule=_DISTRACTORS)
    facts: tuple[int, int] = (2, 3)

    def __post_init__(self) -> None:
        swapped = self.min_hops > self.max_hops
        check(self, *([f"--min-hops {self.min_hops} is above --max-hops {self.max_hops}"] if swapped else []))


def records(options: MicroHopOptions) -> Iterator[dict[str, object]]:
    """Generate records with HotpotQA's keys, and 2WikiMultiHopQA's `evidences`, a `rationale` and `hops`."""
    for index in range(options.rows):
        random = Random(f"microhop/{options.split}/{options.seed}/{index}")
        paragraphs, question = _compose(options, random)
        yield _record(f"microhop-{options.split}-{options.seed}-{index}", paragraphs, question)


def _compose(options: MicroHopOptions, random: Random) -> tuple[list[TitledParagraph], Question]:
    world = World(random, NameBook(random, options.split))
    program = plan(world, random, random.randint(options.min_hops, options.max_hops))
    world.pad(len(world.titled) + options.distractors, options.facts)
    return world.write(), ask(program, world, random)


def _record(id: str, paragraphs: list[TitledParagraph], question: Question) -> dict[str, object]:
    places = {
        sentence.fact: [paragraph.entity.name, index]
        for paragraph in paragraphs
        for index, sentence in enumerate(paragraph.sentences)
        if sentence.fact
    }
    return {
        "_id": id,
        "question": question.text,
        "answer": question.answer,
        "type": question.program.type,
        "hops": question.program.hops,
        "context": [[p.entity.name, [sentence.text for sentence in p.sentences]] for p in paragraphs],
        "supporting_facts": [places[fact] for fact in question.facts],
        "evidences": [[f.subject.name, f.relation.name, f.object.name] for f in question.facts],
        "rationale": " ".join(sentence.text for sentence in question.rationale),
    }

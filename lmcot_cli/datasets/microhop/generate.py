"""Records in HotpotQA's layout, from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from lmcot_cli.datasets.microhop.names import NameBook, Split
from lmcot_cli.datasets.microhop.questions import Question, ask, plan
from lmcot_cli.datasets.microhop.world import TitledParagraph, World
from lmcot_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class MicroHopOptions:
    """What to generate.

    Attributes:
        rows: How many records.
        seed: Same seed and options, same records; record `i` does not depend on how many follow it.
        split: Which full names are used; those of `test` occur in no `train` record, whatever the seeds.
        min_hops, max_hops: How many facts a question needs, between 2 and 4.
        distractors: Paragraphs that the question does not need.
        facts: Fewest and most facts a paragraph states.
    """

    rows: int = 100
    seed: int = 0
    split: Split = "test"
    min_hops: int = 2
    max_hops: int = 4
    distractors: int = 6
    facts: tuple[int, int] = (2, 3)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: A value is out of range.
        """
        if self.min_hops > self.max_hops:
            raise UsageError(f"--min-hops {self.min_hops} is above --max-hops {self.max_hops}")
        if not 2 <= self.min_hops <= self.max_hops <= 4:
            raise UsageError(f"hops must lie between 2 and 4, not {self.min_hops} to {self.max_hops}")
        if self.rows < 0 or self.distractors < 0:
            raise UsageError("the numbers of rows and of distractors cannot be negative")
        if self.distractors > 40:
            raise UsageError(
                f"at most 40 distractors a record, not {self.distractors}: similar names run out"
            )


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

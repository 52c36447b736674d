"""Training examples: one context, several questions about it, and where each copied word stands.

A question's prompt is rendered by the templates that answering uses. All prompts about one context start alike; the
shared part is tokenized once and followed by one segment a question, which sees the context and itself but no other
segment. So a segment is trained on exactly what it will meet at inference, at a fraction of the cost.

Each example also says where attention should look (`Pointer`): a model of this size finds retrieval by chance, and
only after very many tokens, while a few heads that are shown where to look learn it in minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from tokenizers import Encoding, Tokenizer

from lmcot_cli.datasets.microhop.names import NameBook
from lmcot_cli.datasets.microhop.questions import Program, Question, ask, plan
from lmcot_cli.datasets.microhop.relations import COMPARISONS, INFERENCES, SAME
from lmcot_cli.datasets.microhop.world import Fact, Sentence, TitledParagraph, World, state
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.prompts.options import Stage
from lmcot_cli.prompts.render import Prompts
from tools.pretrain.tokenizer import BOS, EOS, special_id

Task = Stage | Literal["restate"]
"""What a segment is trained on: a stage of answering, or `restate`: facts of the context, told with no question."""

NO_QUESTION = "What does the context say?"
"""Stands in the question's place where facts are restated, so that the prompt is laid out as a rationale's is."""

# What a head learns to look at, and the layer it sits in.
PREVIOUS, SUBJECT, RELATION, VALUE, MENTION = range(5)
COPY_LAYER = 2
POINTER_HEADS = {
    PREVIOUS: (0, 0),  # the token before: both words of a name end up in its last one
    SUBJECT: (1, 0),  # the name that the sentence is about
    RELATION: (1, 1),  # the words that say how subject and object are related
    VALUE: (COPY_LAYER, 0),  # the object of the same subject and relation in the context, to be copied
    MENTION: (COPY_LAYER, 1),  # an earlier mention since the question, to be copied
}


class Pointer(NamedTuple):
    """From token `row`, the head for `purpose` should look at token `column`."""

    purpose: int
    row: int
    column: int
    weight: float


@dataclass(slots=True)
class PretrainExample:
    """One context with its segments, flattened.

    Attributes:
        tokens: Token ids; the first `shared` ones are the context's.
        positions: Rotary position of each token (every segment starts at `shared`).
        segments: 0 for the context, else the number of the segment.
        targets: The token that follows, where it is trained on; -100 elsewhere.
        pointers: Where attention should look.
    """

    shared: int
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    pointers: list[Pointer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard contexts are: each record draws up to `distractors` and `questions` questions."""

    distractors: int
    questions: int


class _Task(NamedTuple):
    """One task: prompt and completion in one text; `answer` is None where nothing was asked."""

    sentences: tuple[Sentence, ...]
    facts: tuple[Fact, ...]
    answer: str | None
    text: str
    completion: int  # where the completion starts, in characters
    trained: int  # where the loss starts, in characters
    encoding: Encoding


class ExampleMaker:
    """Makes examples for the tasks in `tasks` (a task named twice is drawn twice as often)."""

    def __init__(self, tokenizer: Tokenizer, tasks: tuple[Task, ...], random: Random) -> None:
        self._tokenizer, self._tasks, self._random = tokenizer, tasks, random
        self._prompts = Prompts()
        self._end = special_id(tokenizer, EOS)

    def make(self, difficulty: Difficulty) -> PretrainExample:
        """Make one example from a world of its own."""
        random = self._random
        world = World(random, NameBook(random, "train"))
        asked = plan(world, random, random.randint(2, 4))
        world.pad(len(world.titled) + random.randint(0, difficulty.distractors), (2, 3))
        paragraphs = world.write()
        programs = [asked, *_further(world, random, difficulty.questions - 1)]
        questions = [ask(program, world, random) for program in programs]
        return self._assemble(paragraphs, [self._set(world, paragraphs, question) for question in questions])

    def _set(self, world: World, paragraphs: list[TitledParagraph], question: Question) -> _Task:
        task = self._random.choice(self._tasks)
        if task == "restate":
            return self._restate(paragraphs, restatement(world, self._random))
        return self._ask(task, paragraphs, question)

    def _restate(self, paragraphs: list[TitledParagraph], sentences: tuple[Sentence, ...]) -> _Task:
        prompt = self._prompts.render("guided_rationale", row_of(paragraphs, NO_QUESTION))
        text = f"{BOS}{prompt} {' '.join(sentence.text for sentence in sentences)}{EOS}"
        start = len(BOS) + len(prompt) + 1
        facts = tuple(sentence.fact for sentence in sentences if sentence.fact)
        return _Task(sentences, facts, None, text, start, start, self._tokenizer.encode(text))

    def _ask(self, stage: Stage, paragraphs: list[TitledParagraph], question: Question) -> _Task:
        rationale = " ".join(sentence.text for sentence in question.rationale)
        prompt = self._prompts.render(stage, row_of(paragraphs, question.text), rationale)
        completion = {
            "standard": question.answer,
            "guided_answer": question.answer,
            "guided_rationale": rationale,
            "cot": f"{rationale} So the answer is {question.answer}.",
        }[stage]
        text = f"{BOS}{prompt} {completion}{EOS}"
        start = len(BOS) + len(prompt) + 1
        trained = text.rindex(rationale) if stage == "guided_answer" else start
        encoding = self._tokenizer.encode(text)
        return _Task(question.rationale, question.facts, question.answer, text, start, trained, encoding)

    def _assemble(self, paragraphs: list[TitledParagraph], asked: list[_Task]) -> PretrainExample:
        ids = [a.encoding.ids for a in asked]
        alike = _common_prefix(ids) if len(ids) > 1 else ids[0].index(self._end) // 2
        shared = min(alike, *(_trained_token(a) - 1 for a in asked))
        example = PretrainExample(shared, ids[0][:shared], list(range(shared)), [0] * shared, [-100] * shared)
        example.pointers += [Pointer(PREVIOUS, i, i - 1, 1.0) for i in range(1, shared)]
        spans = _context_pointers(example, asked[0], paragraphs)
        for number, one in enumerate(asked, start=1):
            _append(example, number, one, spans)
        return example


def row_of(paragraphs: list[TitledParagraph], question: str) -> Row:
    """Return the row that the templates render."""
    context = tuple(Paragraph(p.entity.name, tuple(s.text for s in p.sentences)) for p in paragraphs)
    return Row("", question, context, (), None, None, 0)


def restatement(world: World, random: Random) -> tuple[Sentence, ...]:
    """Put one to five facts of a world into words, drawn without regard to any question.

    As in any text, a sentence may continue with the subject or the object of the one before (a third each) or turn to
    something else. Half of the sentences use their relation's first phrasing, the others any.
    """
    left = list(world.facts.values())
    told: list[Fact] = []
    for _ in range(min(len(left), random.randint(1, 5))):
        topic = random.choice((told[-1].subject, told[-1].object, None)) if told else None
        told.append(random.choice([fact for fact in left if fact.subject == topic] or left))
        left.remove(told[-1])
    return tuple(_reword(fact, random) for fact in told)


def _reword(fact: Fact, random: Random) -> Sentence:
    return state(fact, 0 if random.random() < 0.5 else random.randrange(len(fact.relation.phrasings)))


def _further(world: World, random: Random, count: int) -> Iterator[Program]:
    """Draw more questions about a finished world, those of one hop among them."""
    titled = list(world.titled)
    pairs = [
        (one, other, relation)
        for relation in (*COMPARISONS, *SAME)
        for one in titled
        for other in titled
        if one != other and (one, relation) in world.facts and (other, relation) in world.facts
    ]
    for _ in range(count):
        if pairs and random.random() < 0.2:
            one, other, relation = random.choice(pairs)
            ends = [world.facts[name, relation].object.name for name in (one, other)]
            differ = relation in COMPARISONS and ends[0] != ends[1]
            yield Program(random.choice(("first", "last", "same")) if differ else "same",
                          ((one, (relation,)), (other, (relation,))))  # fmt: skip
        else:
            yield _walk(world, random, random.choice(titled), random.choice((1, 1, 2, 3, 4)))


def _walk(world: World, random: Random, start: str, most: int) -> Program:
    path: list[str] = []
    here = start
    while len(path) < most and here in world.titled:
        fact = random.choice(world.about(world.titled[here]))
        path.append(fact.relation.name)
        here = fact.object.name
    inferred = tuple(path[-2:]) in {(i.first, i.second) for i in INFERENCES} and random.random() < 0.5
    return Program("value", ((start, tuple(path)),), inferred)


def _common_prefix(ids: list[list[int]]) -> int:
    length = 0
    while all(len(one) > length and one[length] == ids[0][length] for one in ids):
        length += 1
    return length


def _tokens(encoding: Encoding, start: int, end: int) -> list[int]:
    """Return the tokens that cover characters `start` to `end` (exclusive)."""
    found = {encoding.char_to_token(i) for i in range(start, end)}
    return sorted(token for token in found if token is not None)


def _context_pointers(
    example: PretrainExample, one: _Task, paragraphs: list[TitledParagraph]
) -> dict[Fact, list[int]]:
    """Point from each paragraph's words to its title and from objects to their relation; find every object."""
    spans: dict[Fact, list[int]] = {}
    for paragraph in paragraphs:
        title = paragraph.entity.name
        start = one.text.index(f"\n{title}: ") + 1
        end_of_title = _tokens(one.encoding, start, start + len(title))[-1]
        at = start + len(title) + 2
        for sentence in paragraph.sentences:
            for token in _tokens(one.encoding, at, at + len(sentence.text)):
                example.pointers.append(Pointer(SUBJECT, token, end_of_title, 1.0))
            if sentence.fact:
                spans[sentence.fact] = _tokens(one.encoding, *(at + i for i in sentence.object_span))
                example.pointers += _relation_pointers(one.encoding, sentence, at)
            at += len(sentence.text) + 1
    return spans


def _relation_pointers(encoding: Encoding, sentence: Sentence, at: int) -> list[Pointer]:
    """Point from an object's tokens, and the one before them, to the words between subject and object."""
    words = _tokens(encoding, at + sentence.subject_span[1], at + sentence.object_span[0] - 1)
    rows = [words[-1], *_tokens(encoding, *(at + i for i in sentence.object_span))]
    return [Pointer(RELATION, row, word, 1 / len(words)) for row in rows for word in words if word <= row]


def _append(example: PretrainExample, number: int, one: _Task, spans: dict[Fact, list[int]]) -> None:
    """Add one question's segment: tokens, targets and pointers."""
    ids, shift = one.encoding.ids, len(example.tokens) - example.shared
    trained = _trained_token(one)
    example.tokens += ids[example.shared :]
    example.positions += range(example.shared, len(ids))
    example.segments += [number] * (len(ids) - example.shared)
    following = [*ids[1:], -100]
    example.targets += [following[i] if i + 1 >= trained else -100 for i in range(example.shared, len(ids))]

    def place(token: int) -> int:
        return token if token < example.shared else token + shift

    for pointer in _segment_pointers(one, spans, example.shared):
        example.pointers.append(pointer._replace(row=place(pointer.row), column=place(pointer.column)))


def _trained_token(one: _Task) -> int:
    token: int | None = one.encoding.char_to_token(one.trained)
    assert token is not None
    return token


def _segment_pointers(one: _Task, spans: dict[Fact, list[int]], shared: int) -> Iterator[Pointer]:
    """Point within one segment; token numbers are those of its own encoding."""
    for token in range(shared, len(one.encoding.ids)):
        yield Pointer(PREVIOUS, token, token - 1, 1.0)
    question = one.text.index("\nQuestion: ")
    at = one.trained
    if one.text.startswith(one.sentences[0].text, at):
        for sentence in one.sentences:
            yield from _sentence_pointers(one, sentence, at, question, spans)
            at += len(sentence.text) + 1
    if one.answer is None or (answer := one.text.rindex(one.answer)) < one.completion:
        return
    if len(one.facts) == 1 and one.completion == answer:  # one hop, asked directly
        yield from _value_pointers(one, answer, spans[one.facts[0]])
    else:
        yield from _mention_pointers(one, one.answer, answer, question)


def _sentence_pointers(
    one: _Task, sentence: Sentence, at: int, question: int, spans: dict[Fact, list[int]]
) -> Iterator[Pointer]:
    if sentence.fact is None:  # a comparison's conclusion: names and years of the sentences before it
        for fact in one.facts:
            for name in {fact.subject.name, fact.object.name}:
                if (offset := sentence.text.find(name)) >= 0:
                    yield from _mention_pointers(one, name, at + offset, question)
        return
    fact = sentence.fact
    yield from _mention_pointers(one, fact.subject.name, at, question)
    subject = _tokens(one.encoding, at, at + sentence.subject_span[1])
    for token in _tokens(one.encoding, at + sentence.subject_span[1], at + len(sentence.text)):
        yield Pointer(SUBJECT, token, subject[-1], 1.0)
    yield from _relation_pointers(one.encoding, sentence, at)
    yield from _value_pointers(one, at + sentence.object_span[0], spans[fact])


def _value_pointers(one: _Task, at: int, columns: list[int]) -> Iterator[Pointer]:
    """Point from the tokens before an object's, which starts at character `at`, to where the context has it."""
    first = one.encoding.char_to_token(at)
    assert first is not None
    yield from (Pointer(VALUE, first + i - 1, column, 1.0) for i, column in enumerate(columns))


def _mention_pointers(one: _Task, name: str, at: int, question: int) -> Iterator[Pointer]:
    """Point from the tokens before a name's to its last mention since the question, if there is one."""
    mention = one.text.rfind(name, question, at)
    columns = _tokens(one.encoding, mention, mention + len(name)) if mention >= 0 else []
    rows = _tokens(one.encoding, at, at + len(name))
    if len(columns) == len(rows):
        yield from (Pointer(MENTION, row - 1, column, 1.0) for row, column in zip(rows, columns, strict=True))

"""What a model writes: thoughts, rationales and answers of every kind."""

from __future__ import annotations

import json
import re

from lmcot_cli.backends.llama.pattern_ways import has_too_many_ways
from lmcot_cli.backends.reply_text import ReplyText
from lmcot_cli.backends.thinking import FORMATS, MARK_TOKENS, Splitter, opened_by, split
from lmcot_cli.datasets.row import Columns, Paragraph, Row
from lmcot_cli.pipeline.answer_kinds import parse_kind
from lmcot_cli.pipeline.answer_schema import read_json_kind
from lmcot_cli.pipeline.answer_values import answer_key
from lmcot_cli.pipeline.extract import answer_line, before_answer, chain_answer, has_answer
from lmcot_cli.pipeline.json_answers import json_answers, leading_json, values
from lmcot_cli.pipeline.markup import bare, boxes, only_bold, without_emphasis
from lmcot_cli.pipeline.reading import AnswerReader, compile_pattern
from lmcot_cli.scoring.metrics import score_answer
from tests.fuzz.target import Target, text_of

ROW = Row(
    "1", "Who?", (Paragraph("Lyon", ("It is a city.", "Ada was born in 1,815.")),), ("Lyon",), None, None, 1,
    extra=Columns(choices=["Lyon", "Paris"]),
)  # fmt: skip
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}, "year": {"type": "integer"}}}
KINDS = [
    parse_kind(name) for name in ("text", "span", "yes-no", "choice", "number", f"json:{json.dumps(SCHEMA)}")
]
OWN = ("Also lautet die Antwort", "Antwort:")
REPLIES = (
    b"Lyon.", b"**Answer:** Lyon", b"<think>It is\n<think>x</think></think>\nSo the answer is: **Lyon**.",
    b"First, Ada was born in 1815. So the answer is \\boxed{1{,}815}.\n\nQuestion: Who?",
    b'```json\n{"reasoning": "x", "answer": ["Lyon", 1.50]}\n```', b"{'answer': 'Lyon'", b"#### 42",
    b"Sure! Here is the answer:\n1. Lyon\n2. Paris\nFinal answer: (B) yes, both are",
    b"Also lautet die Antwort: -1.500,5 %",
    b"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Lyon",
    "\u7b54\u6848\u662f\u300c\u91cc\u6602\u300d\u3002".encode(),
    b"3 May 1815", b"$1,500.00 million", b"<answer>Lyon</answer>",
    b"Here is my thought process: a\nHere is my response: Lyon", b"<THINKING>a</thinking><answer>b</answer>",
)  # fmt: skip
_MARK = re.compile("|".join(f"{re.escape(one.opening)}|{one.closing}" for one in FORMATS), re.IGNORECASE)
_WORDS = ("here is my", "here are my", "<response>", "<answer>", "<|begin", "<|start", "[begin")


def thinking(data: bytes) -> None:
    """Part a text into thought and reply: in one piece, character by character and in pieces as the input says."""
    text = text_of(data)
    whole = split(text)
    for size in (1, 3 + len(data) % 11):
        if len(text) > 2000:
            continue
        splitter = Splitter()
        for at in range(0, len(text), size):
            splitter.add(text[at : at + size])
        assert (splitter.reply, splitter.thought) == (whole.reply, whole.thought), size
    if not _MARK.search(text) and not any(word in text.lower() for word in _WORDS):
        assert whole.thought is None and whole.reply == text
    kept = re.sub(r"\s", "", (whole.thought or "") + whole.reply)
    assert len(kept) <= len(re.sub(r"\s", "", text))


def tokens(data: bytes) -> None:
    """Read a reply that comes as tokens, marks among them, after a prompt that may have opened a thought."""
    opened = opened_by(text_of(data[:40]))
    reply = ReplyText(("\n\n", "Question:"), has_answer, opened)
    marks = sorted(MARK_TOKENS)
    pieces = data[:2000].split(b"\xff")
    for number, piece in enumerate(pieces):
        mark = marks[number % len(marks)] if piece[:1] == b"\xfe" else ""
        assert reply.splitter.may_think("x") in (True, False)
        if reply.add(b"" if mark else piece, mark):
            break
    assert isinstance(reply.text, str) and (reply.splitter.thought is None) is not reply.splitter.has_thought


def answers(data: bytes) -> None:
    """Find the answer of a direct reply and of a chain: one line, found again in itself, from the text."""
    text = text_of(data)
    for own in ((), OWN):
        answer = answer_line(text, own)
        assert answer is None or (
            answer.strip() and "\n" not in answer and answer_line(answer, own) == answer
        )
        chain = chain_answer(text, own)
        assert chain.answer is None or (chain.answer.strip() and "\n" not in chain.answer)
        assert chain.rationale == chain.rationale.strip()
    assert before_answer(text) in text
    has_answer(text)


def kinds(data: bytes) -> None:
    """Read a reply as each kind of answer: what is read is of that kind."""
    text = text_of(data)
    for kind in KINDS:
        for read in (AnswerReader(kind).direct(text, ROW), AnswerReader(kind).chain(text, ROW)):
            if read.answer is None:
                continue
            assert read.answer
            if kind.name == "yes-no":
                assert read.answer in ("yes", "no")
            elif kind.name == "number":
                assert re.fullmatch(r"-?\d+(\.\d+)?", read.answer), read.answer
            elif kind.name == "choice":
                assert read.answer in ("Lyon", "Paris")


def parts(data: bytes) -> None:
    """Find JSON in a text, and read it as an answer alone."""
    text = text_of(data)
    for found in json_answers(text):
        assert 0 <= found.start < found.end <= len(text) and found.answer
    leading_json(text)
    assert len(list(values(text))) <= 64

    _undress(text)
    _compare(text)


def _undress(text: str) -> None:
    """Take off what dresses a text; what is bare stays as it is."""
    plain = bare(text)
    assert plain is None or bare(plain) == plain
    for start, end, inside in boxes(text):
        assert 0 <= start < end <= len(text) and inside in text
    without_emphasis(text)
    only_bold(text)


def _compare(text: str) -> None:
    """Compare answers by value: spaces around one make no difference."""
    if text.strip():
        assert answer_key(text) == answer_key(f"  {text.strip()} ") and answer_key(text)
    score_answer(text, (text[:20], "Lyon"))


def patterns(data: bytes) -> None:
    """Read a reply by somebody's expression, as a settings file may hold one."""
    pattern, _, text = text_of(data).partition("\0")
    has_too_many_ways(pattern)
    reader = AnswerReader(pattern=compile_pattern(pattern[:200]))
    reader.direct(text[:2000], ROW)


def schemas(data: bytes) -> None:
    """Read a reply by somebody's JSON schema."""
    schema, _, text = text_of(data).partition("\0")
    kind = read_json_kind(schema if schema.startswith("{") else "{" + schema)
    found = kind.within(text)
    assert found is None or kind.fits(json.loads(found))


TARGETS = {
    "thinking": Target(thinking, REPLIES),
    "thinking_tokens": Target(tokens, (*REPLIES, b"\xff".join([b"\xfe", *REPLIES[0:9]]))),
    "answers": Target(answers, REPLIES),
    "answers_of_kinds": Target(kinds, REPLIES),
    "answers_parts": Target(parts, REPLIES),
    "answers_patterns": Target(
        patterns, (b"answer: (\\w+)\0the answer: Lyon", b"(a+)+$\0" + b"a" * 30 + b"b"), widens=False
    ),
    "answers_schemas": Target(
        schemas,
        (
            json.dumps(SCHEMA).encode() + b'\0{"answer": "Lyon"}',
            b'{"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"enum": [1, null]}}}\0[1, null]',
            b'{"anyOf": [{"type": "number", "multipleOf": 0.5}, {"pattern": "^a+$"}]}\0 1.5 "aa"',
        ),
        widens=False,
    ),
}

"""Constrained replies of a random model: what it writes must fit whatever it would rather say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_cpp import Llama

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.constraint import Choices, Constraint, JsonSchema, Number, Span
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.errors import UsageError
from tests.backends.runs_of_words import is_run_of_words

HOT = Sampling(temperature=2.0, max_tokens=40, stop=("\n",))
GREEDY = Sampling(max_tokens=40, stop=("\n",))
CONTEXT = "Ana Sørensen's café in Oslo opened in 1,986. 東京 is the and an then-new U.S. (or no) option."
SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "maxLength": 4},
        "sure": {"type": "boolean"},
        "years": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
        "kind": {"enum": ["a", "é", "\n"]},
    },
    "required": ["answer", "sure"],
}
NUMBER = re.compile(r"[-+]?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?")


def schema_of(schema: Any) -> JsonSchema:
    return JsonSchema(json.dumps(schema), schema)


CONSTRAINTS: list[Constraint | None] = [
    None,
    Choices(("yes", "no", "none of them", "the", 'say "é"\\', "日本")),
    Span((CONTEXT, "The an, then.")),
    Span((CONTEXT,), also=("yes", "no")),
    Number(),
    schema_of(SCHEMA),
]


@pytest.fixture(scope="module")
def backend(tiny_gguf: Callable[..., Path]) -> Iterator[LlamaBackend]:
    # Plain attention, as in the brute force below.
    options = EngineOptions(threads=1, parallel=16, flash_attention=False)
    with LlamaBackend(tiny_gguf(), options) as backend:
        yield backend


def complete(backend: LlamaBackend, requests: list[Request], sampling: Sampling) -> list[Completion]:
    replies = backend.complete(requests, sampling)
    assert all(isinstance(reply, Completion) for reply in replies)
    return [reply for reply in replies if isinstance(reply, Completion)]


def fits(text: str, constraint: Constraint | None) -> bool:
    match constraint:
        case None:
            return True
        case Choices(texts):
            return text in texts
        case Span(texts, also):
            return text in also or any(is_run_of_words(text, passage) for passage in texts)
        case Number():
            return NUMBER.fullmatch(text) is not None
    return fits_schema(json.loads(text))


def fits_schema(value: Any) -> bool:
    years, kind = value.get("years", []), value.get("kind", "a")
    return (
        {"answer", "sure"} <= set(value) <= set(SCHEMA["properties"])
        and len(value["answer"]) <= 4
        and isinstance(value["sure"], bool)
        and len(years) <= 2
        and all(isinstance(year, int | float) for year in years)
        and kind in ("a", "é", "\n")
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(CONSTRAINTS), st.integers(0, 2**32)), min_size=1, max_size=16),
    st.sampled_from([1.0, 0.9]),
)
def test_every_reply_fits_its_constraint(
    backend: LlamaBackend, asked: list[tuple[Constraint | None, int]], top_p: float
) -> None:
    sampling = Sampling(temperature=2.0, top_p=top_p, max_tokens=40, stop=("\n",))
    requests = [Request("The cat", seed, constraint=constraint) for constraint, seed in asked]
    for request, reply in zip(requests, complete(backend, requests, sampling), strict=True):
        if reply.finish_reason == "stop":
            assert fits(reply.text, request.constraint)
        else:
            assert reply.completion_tokens == sampling.max_tokens
            cut = isinstance(request.constraint, JsonSchema)
            assert cut or fits(reply.text, request.constraint)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([constraint for constraint in CONSTRAINTS if constraint]),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=12),
)
def test_the_allowed_tokens_are_those_that_are_allowed_one_by_one(
    backend: LlamaBackend, constraint: Constraint, choices: list[int]
) -> None:
    mask = backend._mask(constraint, ())
    assert mask is not None
    for choice in choices:
        allowed = mask.allowed()
        assert allowed.tolist() == [token for token in range(backend.vocabulary.size) if mask.allows(token)]
        if mask.accept(int(allowed[choice % len(allowed)])):
            return


@pytest.mark.parametrize("constraint", CONSTRAINTS[1:], ids=lambda constraint: type(constraint).__name__)
def test_all_of_many_seeds_end_by_themselves_where_there_is_room(
    backend: LlamaBackend, constraint: Constraint
) -> None:
    requests = [Request("The cat", seed, constraint=constraint) for seed in range(12)]
    replies = complete(backend, requests, Sampling(2.0, max_tokens=200))
    assert all(fits(reply.text, constraint) for reply in replies if reply.finish_reason == "stop")
    assert sum(reply.finish_reason == "stop" for reply in replies) >= 6
    assert len({reply.text for reply in replies}) > 1


class BruteForce:
    """Greedy writing in which every token of the vocabulary is tried in turn, the likeliest first."""

    def __init__(self, path: Path) -> None:
        self.llama = Llama(
            str(path), n_ctx=512, n_threads=1, verbose=False, logits_all=True, flash_attn=False
        )

    def write(self, prompt: str, may_follow: Callable[[str | None, bytes], bool]) -> tuple[bytes, float]:
        """Return what is written until it ends, and the mean log-probability of its tokens.

        Args:
            prompt: What to complete.
            may_follow: Whether a token's text (None for the end) may come after what was written.
        """
        tokens = self.llama.tokenize(prompt.encode())
        written, logprobs = b"", []
        self.llama.reset()
        while True:
            self.llama.eval(tokens)
            row = self.llama.scores[self.llama.n_tokens - 1].astype(np.float64)
            token = next(
                token for token in np.argsort(-row, kind="stable") if may_follow(self._piece(token), written)
            )
            if self._piece(token) is None:
                return written, float(np.mean(logprobs))
            logprobs.append(row[token] - row.max() - np.log(np.exp(row - row.max()).sum()))
            tokens, written = [int(token)], written + self.llama.detokenize([int(token)])
            if not may_follow("go on?", written):
                return written, float(np.mean(logprobs))

    def _piece(self, token: int) -> str | None:
        if token == self.llama.token_eos():
            return None
        return self.llama.detokenize([int(token)]).decode("latin-1")


def among(texts: set[str], blanks: int) -> Callable[[str | None, bytes], bool]:
    """Return the rule that what is written becomes one of `texts`, after a few characters of white space at most."""
    wanted = {text.encode() for text in texts}

    def may_follow(piece: str | None, written: bytes) -> bool:
        begun = written.lstrip(b" \t\n")
        if piece is None:
            return begun in wanted
        if piece == "go on?":
            return not begun or any(text.startswith(begun) and text != begun for text in wanted)
        data = piece.encode("latin-1")
        after = (written + data).lstrip(b" \t\n")
        if not begun and len(written) + len(data) - len(after) > blanks:
            return False
        leaves = begun in wanted and data[:1] in (b"\n", b".", b",", b";", b":", b"!", b"?")
        return bool(data) and (leaves or any(text.startswith(after) for text in wanted))

    return may_follow


@pytest.mark.parametrize("prompt", ["The cat", "a", "winter the and", "Oslo and then to Rome"])
@pytest.mark.parametrize("kind", ["choices", "span"])
def test_a_greedy_reply_is_the_likeliest_of_all_tokens_that_may_come_one_after_the_other(
    backend: LlamaBackend, tiny_gguf: Callable[..., Path], prompt: str, kind: str
) -> None:
    words = ["Ana", "went", "to", "the", "house", "and", "then", "there"]
    runs = {" ".join(words[begin:end]) for begin in range(8) for end in range(begin + 1, 9)}
    texts = runs if kind == "span" else {"the house", "there", "and yes", "no"}
    constraint = Span((" ".join(words),)) if kind == "span" else Choices(tuple(sorted(texts)))
    written, logprob = BruteForce(tiny_gguf()).write(prompt, among(texts, blanks=2))
    [reply] = complete(backend, [Request(prompt, 0, constraint=constraint)], Sampling(max_tokens=60))
    assert reply.text == max((text for text in texts if written.decode().strip().startswith(text)), key=len)
    assert reply.logprob == pytest.approx(logprob, abs=2e-3)


def test_a_reply_that_fits_anyway_is_the_one_without_a_constraint(backend: LlamaBackend) -> None:
    sampling = Sampling(1.0, max_tokens=2)
    replies = complete(backend, [Request("The cat", seed) for seed in range(200)], sampling)
    plain = [seed for seed, reply in enumerate(replies) if re.fullmatch("(?![a-z]{2})[!-~]{2}", reply.text)]
    assert plain
    for seed in plain:
        choices = Choices((replies[seed].text, "yes"))
        [reply] = complete(backend, [Request("The cat", seed, constraint=choices)], sampling)
        assert (reply.text, reply.finish_reason) == (replies[seed].text, "stop")
        assert reply.logprob == pytest.approx(replies[seed].logprob, abs=2e-3)


def test_a_span_that_is_cut_loses_its_last_word_not_more(backend: LlamaBackend) -> None:
    requests = [Request("a", seed, constraint=Span(("zzzzzz qqqqqq " * 30,))) for seed in range(20)]
    replies = complete(backend, requests, Sampling(1.0, max_tokens=12))
    cut = [reply.text for reply in replies if reply.finish_reason == "length"]
    assert set(cut) == {"zzzzzz", "qqqqqq"}


def test_a_reply_never_waits_for_more_where_nothing_more_can_come(backend: LlamaBackend) -> None:
    [reply] = complete(backend, [Request("a", 0, constraint=Choices(("q",)))], GREEDY)
    assert (reply.text, reply.finish_reason) == ("q", "stop")
    assert reply.completion_tokens <= 3


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"enum": ["a", 1, None, {"b": [True]}]},
        {"type": "number"},
        {"type": "array", "items": {"type": "string", "pattern": "^.b$"}, "minItems": 1, "maxItems": 2},
        {"$ref": "#/$defs/word", "$defs": {"word": {"type": "string", "maxLength": 2}}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"properties": {'é"\\\n': {"const": '\\"'}}, "required": ['é"\\\n']},
        {
            "properties": {"root": {"type": "integer"}, "char": {"const": "\u2028"}},
            "required": ["root", "char"],
        },
    ],
    ids=str,
)
def test_whatever_a_schema_asks_for_is_json(backend: LlamaBackend, schema: Any) -> None:
    requests = [Request("{", seed, constraint=schema_of(schema)) for seed in range(16)]
    replies = complete(backend, requests, Sampling(1.5, max_tokens=120, stop=("\n",)))
    ended = [json.loads(reply.text) for reply in replies if reply.finish_reason == "stop"]
    assert ended
    json.dumps(ended, allow_nan=False).encode()
    if "required" in schema:
        assert all(set(value) == set(schema["required"]) for value in ended)
    if "pattern" in str(schema):
        assert all(len(word) == 2 and word[1] == "b" for words in ended for word in words)


@pytest.mark.parametrize(
    ("schema", "cause"),
    [
        ({"type": "strin"}, "strin"),
        ({"type": "string", "pattern": "a"}, "[Pp]attern"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ([1], "list"),
        ({"type": "string", "maxLength": 20_000}, "maxLength 20000 repeats"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": {}, "minItems": 10**9}}},
            "minItems",
        ),
        ({"type": "string", "pattern": "^a{5000}$"}, "pattern"),
    ],
    ids=str,
)
def test_a_schema_that_cannot_be_followed_is_one_line_that_names_the_option(
    backend: LlamaBackend, schema: Any, cause: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=rf"^--answer json:\.\.\.: .*{cause}.*$"):
        backend.submit(0, Request("a", 0, constraint=schema_of(schema)), GREEDY)
    assert capfd.readouterr() == ("", "")
    assert backend.pending == 0


def test_a_grammar_that_llama_cpp_does_not_take_is_told_in_one_line(
    backend: LlamaBackend, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lmcot_cli.backends.llama.masks.grammar_of", lambda _: 'lmcot-reply ::= "a" missing')
    with pytest.raises(
        UsageError, match=r"^--answer json:\.\.\.: .*Undefined rule identifier 'missing'; .*$"
    ):
        backend.submit(0, Request("a", 0, constraint=schema_of({"title": "only here"})), GREEDY)
    assert capfd.readouterr() == ("", "")


def test_the_backend_says_what_it_enforces(backend: LlamaBackend) -> None:
    assert backend.constraints == {Choices, Span, Number, JsonSchema}

"""The result of answering one row, and the record that is written for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field
from operator import add
from typing import Any, Literal, Self

from lmcot_cli.backends.base import Completion, FinishReason, Role
from lmcot_cli.errors import RowError
from lmcot_cli.prompts.options import Stage

CutShort = Literal["max_tokens_total", "deadline", "max_cost"]
"""The limit of the run that kept a row from drawing more samples."""

KeepRaw = Literal["all", "odd", "none"]
"""Which replies are kept as they came: all, those that differ from what was read from them, or none."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """A model's reply in a stage as it came, without its thought."""

    stage: Stage
    text: str


@dataclass(frozen=True, slots=True)
class RoleThought:
    """A model's thought before its reply.

    Attributes:
        role: The model.
        tokens: Tokens of the thought; those of the sample include them.
        text: The thought, if it is kept (`--keep-thinking`).
    """

    role: Role
    tokens: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One rationale with the answer it led to.

    Attributes:
        rationale: The rationale; None where the method asks for none (`standard`).
        answer: The answer as the model wrote it; None where none was found.
        logprob: Mean natural-log probability per token of the completion that held the answer.
        tokens: Tokens written for this sample, rationale and answer together.
        seed: The seed that the sample was drawn with; None where the endpoint was sent none.
        finish_reason: Why the reply that held the answer ended: `stop`, or `length` where a limit cut it before the
            answer was complete.
        rationale_finish_reason: The same for the rationale; None where no rationale was asked for separately.
        thoughts: The thoughts of the models that think.
        raw: The replies as they came, if they are kept (`--keep-raw`).
    """

    rationale: str | None
    answer: str | None
    logprob: float | None
    tokens: int
    seed: int | None
    finish_reason: FinishReason | None = None
    rationale_finish_reason: FinishReason | None = None
    thoughts: tuple[RoleThought, ...] = ()
    raw: tuple[RawReply, ...] = ()


@dataclass(frozen=True, slots=True)
class Truncated:
    """The part of a row's context that models were not shown for lack of room.

    Attributes:
        paragraphs: Paragraphs of the whole context, as `--truncate` counts them.
        dropped: The most of them that each model was not shown; no entry for a model that was shown all.
    """

    paragraphs: int
    dropped: Mapping[Role, int]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens that a model read and wrote; a prompt counts once for each of its completions.

    Attributes:
        prompt: Tokens read.
        completion: Tokens written.
        cached_prompt: Prompt tokens that cost nothing, because the reply was cached by an earlier run.
        cached_completion: Completion tokens that cost nothing.
    """

    prompt: int = 0
    completion: int = 0
    cached_prompt: int = 0
    cached_completion: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(add, astuple(self), astuple(other)))

    @classmethod
    def of(cls, done: Completion) -> Self:
        """Return the tokens of a completion."""
        tokens = done.prompt_tokens, done.completion_tokens
        return cls(*tokens, *(tokens if done.cached else ()))


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of both models; zeros for a model that was not asked."""

    small: TokenCounts = TokenCounts()
    large: TokenCounts = TokenCounts()

    def __add__(self, other: Self) -> Self:
        return type(self)(self.small + other.small, self.large + other.large)

    @property
    def tokens(self) -> int:
        """All tokens that both models read and wrote."""
        return sum(one.prompt + one.completion for one in (self.small, self.large))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a row has no result: `type` is a fixed word for programs, `message` a sentence for people."""

    type: str
    message: str

    @classmethod
    def of(cls, error: RowError, unnamed: str = "row_failed") -> Self:
        """Name an error by its class: `PromptTooLongError` is `prompt_too_long`, a plain `RowError` is `unnamed`."""
        if type(error) is RowError:
            return cls(unnamed, str(error))
        words = re.findall(r"[A-Z][a-z0-9]*", type(error).__name__.removesuffix("Error"))
        return cls("_".join(words).lower(), str(error))


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one row, whether it worked or failed.

    Attributes:
        id: The row's id.
        question: The question; None where the row could not be read that far.
        method: `standard`, `cot` or `guided`.
        gold: The accepted answers; empty where the row gave none.
        type: The question type that the row names, if any.
        answer: The winner of the vote; None where no sample held an answer, or the row failed.
        agreement: The winner's share of the votes of all samples, 0 to 1; None where the row failed.
        votes: The votes of each answer, most first.
        samples: The samples in the order of their index; those of a failed row were drawn before it failed.
        samples_saved: How many more the row could have drawn; None where it failed.
        cut_short: The limit that kept the row from drawing them; None where the vote needed no more.
        truncated: The part of the context that models were not shown; None where they were shown all.
        usage: Tokens spent on the row, whether it worked or failed.
        row_digest: See `Row.digest`; None where the row could not be read.
        columns: Other columns of the row that are kept (`--keep-columns`).
        error: Why the row failed; None where it worked.
        line: The row's place in the input (1-based), for messages; not part of the record.
    """

    id: str
    question: str | None
    method: str
    gold: tuple[str, ...] = ()
    type: str | None = None
    answer: str | None = None
    agreement: float | None = None
    votes: dict[str, float] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    samples_saved: int | None = None
    cut_short: CutShort | None = None
    truncated: Truncated | None = None
    usage: Usage = Usage()
    row_digest: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    error: Failure | None = None
    line: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return the output record: the same keys, in the same order, whether the row worked or failed."""
        return {
            "id": self.id,
            "question": self.question,
            "answer": self.answer,
            "agreement": self.agreement,
            "votes": self.votes,
            "samples": [_sample_record(sample) for sample in self.samples],
            "samples_saved": self.samples_saved,
            "cut_short": self.cut_short,
            "truncated": asdict(self.truncated) if self.truncated else None,
            "method": self.method,
            "usage": asdict(self.usage),
            "gold": list(self.gold) or None,
            "type": self.type,
            "row_digest": self.row_digest,
            "columns": dict(self.columns),
            "error": asdict(self.error) if self.error else None,
        }

    def to_line(self) -> bytes:
        """Return the record as one line of UTF-8 JSON with its newline."""
        return to_line(self.to_record())


def to_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of UTF-8 JSON with its newline."""
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can escape and UTF-8 cannot hold
        return json.dumps(record).encode() + b"\n"


def _sample_record(sample: Sample) -> dict[str, Any]:
    return {
        "rationale": sample.rationale,
        "answer": sample.answer,
        "logprob": sample.logprob,
        "tokens": sample.tokens,
        "seed": sample.seed,
        "finish_reason": sample.finish_reason,
        "rationale_finish_reason": sample.rationale_finish_reason,
        "thinking": {thought.role: thought.tokens for thought in sample.thoughts},
        "thinking_text": {
            thought.role: thought.text for thought in sample.thoughts if thought.text is not None
        },
        "raw": {reply.stage: reply.text for reply in sample.raw},
    }

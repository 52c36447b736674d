"""The three methods: which prompts go to which model, and what becomes of the completions.

`standard` and `cot` are one stage of the large LM; `guided` has a stage that writes rationales before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lmcot_cli.backends.base import Backend, Completion, Request, Sampling
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import MissingRationaleError, RowError
from lmcot_cli.pipeline.extract import answer_line, chain_answer
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Sample, Tokens, Usage
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_cli.prompts.render import Prompts, Stage


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples of one row and the tokens they took."""

    samples: tuple[Sample, ...]
    usage: Usage


Draw = Callable[[Sequence[Row]], list[Drawn | RowError]]
"""Draws the samples of several rows; a row that fails by itself has its error in its place."""


def build_method(options: AnswerOptions, prompts: Prompts, small: Backend | None, large: Backend) -> Draw:
    """Build the method that `options.method` names; `small` is None where no small LM is asked."""
    if options.method == "standard":
        return SampledStage(large, "standard", options.answer_sampling, options, prompts)
    if options.method == "cot":
        return SampledStage(large, "cot", options.chain_sampling, options, prompts)
    rationales: Draw = GivenRationales(options)
    if small is not None:
        rationales = SampledStage(small, "guided_rationale", options.rationale_sampling, options, prompts)
    return Guided(rationales, large, options.guided_answer_sampling, prompts)


@dataclass(frozen=True, slots=True)
class SampledStage:
    """Draw `options.samples` completions a row from one model, and read rationale and answer out of each."""

    backend: Backend
    stage: Stage
    sampling: Sampling
    options: AnswerOptions
    prompts: Prompts

    def __call__(self, rows: Sequence[Row]) -> list[Drawn | RowError]:
        """Draw the samples of all rows in one batch."""
        groups = [self._requests(row) for row in rows]
        replies = complete_groups(self.backend, groups, self.sampling)
        return [
            reply if isinstance(reply, RowError) else self._drawn(row, reply)
            for row, reply in zip(rows, replies, strict=True)
        ]

    def _requests(self, row: Row) -> list[Request] | RowError:
        try:
            prompt = _render(self.prompts, self.stage, row)
        except RowError as error:
            return error
        return [Request(prompt, self._seed(row, index)) for index in range(self.options.samples)]

    def _seed(self, row: Row, index: int) -> int:
        return sample_seed(self.options.seed, row.id, index)

    def _drawn(self, row: Row, completions: Sequence[Completion]) -> Drawn:
        samples = [
            Sample(
                *_read(self.stage, done.text), done.logprob, done.completion_tokens, self._seed(row, index)
            )
            for index, done in enumerate(completions)
        ]
        tokens = _tokens(completions)
        usage = Usage(small=tokens) if self.stage == "guided_rationale" else Usage(large=tokens)
        return Drawn(tuple(samples), usage)


@dataclass(frozen=True, slots=True)
class GivenRationales:
    """Take the rationale that came with the row instead of asking a small LM."""

    options: AnswerOptions

    def __call__(self, rows: Sequence[Row]) -> list[Drawn | RowError]:
        """Give every row its own rationale as its one sample."""
        return [self._drawn(row) for row in rows]

    def _drawn(self, row: Row) -> Drawn | RowError:
        if not row.rationale:
            return MissingRationaleError(
                "the row has no rationale, and --given-rationales asks no small LM for one"
            )
        sample = Sample(row.rationale, None, None, 0, sample_seed(self.options.seed, row.id, 0))
        return Drawn((sample,), Usage())


@dataclass(frozen=True, slots=True)
class Guided:
    """LM-guided CoT: `rationales` gives each row its rationales, the large LM answers each one greedily."""

    rationales: Draw
    large: Backend
    sampling: Sampling
    prompts: Prompts

    def __call__(self, rows: Sequence[Row]) -> list[Drawn | RowError]:
        """Draw all rationales in one batch, then all answers in one batch."""
        drawn = self.rationales(rows)
        asked = [self._prompts(row, guide) for row, guide in zip(rows, drawn, strict=True)]
        groups = [prompts if isinstance(prompts, RowError) else _once_each(prompts) for prompts in asked]
        replies = complete_groups(self.large, groups, self.sampling)
        return [_answered(*row_parts) for row_parts in zip(drawn, asked, replies, strict=True)]

    def _prompts(self, row: Row, guide: Drawn | RowError) -> list[str] | RowError:
        if isinstance(guide, RowError):
            return guide
        try:
            return [_render(self.prompts, "guided_answer", row, sample.rationale) for sample in guide.samples]
        except RowError as error:
            return error


def complete_groups(
    backend: Backend, groups: Sequence[Sequence[Request] | RowError], sampling: Sampling
) -> list[list[Completion] | RowError]:
    """Complete the requests of all groups in one backend call.

    Args:
        backend: The model to ask.
        groups: One group of requests a row; the error of a row that already failed passes through.
        sampling: How tokens are chosen.

    Returns:
        The completions of each group in order, or the error of the first request of the group that failed.
    """
    requests = [request for group in groups if not isinstance(group, RowError) for request in group]
    replies = iter(backend.complete(requests, sampling) if requests else ())
    return [
        group if isinstance(group, RowError) else _all_or_error([next(replies) for _ in group])
        for group in groups
    ]


def _all_or_error(replies: Iterable[Completion | RowError]) -> list[Completion] | RowError:
    completions: list[Completion] = []
    for reply in replies:
        if isinstance(reply, RowError):
            return reply
        completions.append(reply)
    return completions


def _once_each(prompts: Iterable[str]) -> list[Request]:
    """Ask once for equal prompts: greedy decoding answers them alike, and no seed plays a part in it."""
    return [Request(prompt, seed=0) for prompt in dict.fromkeys(prompts)]


def _answered(
    guide: Drawn | RowError, prompts: list[str] | RowError, replies: list[Completion] | RowError
) -> Drawn | RowError:
    """Give each sample of a row the answer to its prompt."""
    if isinstance(replies, RowError):
        return replies
    assert not isinstance(guide, RowError) and not isinstance(prompts, RowError)
    answers = dict(zip(dict.fromkeys(prompts), replies, strict=True))
    samples = [
        _with_answer(sample, answers[prompt]) for sample, prompt in zip(guide.samples, prompts, strict=True)
    ]
    return Drawn(tuple(samples), guide.usage + Usage(large=_tokens(replies)))


def _with_answer(sample: Sample, done: Completion) -> Sample:
    tokens = sample.tokens + done.completion_tokens
    return replace(sample, answer=answer_line(done.text), logprob=done.logprob, tokens=tokens)


def _read(stage: Stage, text: str) -> tuple[str | None, str | None]:
    """Return the rationale and the answer that a completion of this stage holds."""
    if stage == "standard":
        return None, answer_line(text)
    if stage == "cot":
        return chain_answer(text)
    return text.strip(), None


def _render(prompts: Prompts, stage: Stage, row: Row, rationale: str | None = None) -> str:
    prompt = prompts.render(stage, row, rationale)
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise RowError(
            "question, context or rationale holds half a surrogate pair, which is no character"
        ) from error
    return prompt


def _tokens(completions: Iterable[Completion]) -> Tokens:
    return sum((Tokens(done.prompt_tokens, done.completion_tokens) for done in completions), Tokens())

"""The three methods, each written as the work on one row: which waves of requests it asks for, one after another.

A method returns a generator (`RowWork`): it yields a `Wave`, is sent the completions, and returns the row's samples.
`lmcot_cli.pipeline.flow` runs many of them at once, so that both models are busy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace

from lmcot_cli.backends.base import Backend, Completion
from lmcot_cli.datasets.row import Row
from lmcot_cli.pipeline.asked import AskedModel, Asking
from lmcot_cli.pipeline.draws import RowDraws
from lmcot_cli.pipeline.extract import before_answer
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.preconditions import Preconditions
from lmcot_cli.pipeline.reading import AnswerReader
from lmcot_cli.pipeline.replies import cut_reply, finish_of, raw_of, thoughts_of
from lmcot_cli.pipeline.result import RawReply, Sample
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_cli.pipeline.waves import CutShortError, Method, RowWork, Wave
from lmcot_cli.prompts.conversation import ENDING, PromptBuilder, chain_reply
from lmcot_cli.prompts.options import Stage


def build_method(
    options: AnswerOptions, prompts: PromptBuilder, small: Backend | None, large: Backend
) -> Method:
    """Build the method that `options.method` names; `small` is None where no small LM is asked.

    It begins no row that lacks what `preconditions_of` asks for.
    """

    def asked(model: Backend, stage: Stage) -> AskedModel:
        reader = AnswerReader(options.kind, options.answer_pattern, prompts.markers(stage))
        return AskedModel(model, stage, prompts.sampling(stage, options.sampling_of(stage)), prompts, reader)

    def method_of() -> Method:
        if options.method == "standard":
            return DirectAnswers(asked(large, "standard"), None, options)
        answers = asked(large, "guided_answer")
        if options.method == "cot":
            return Chains(asked(large, "cot"), answers, options)
        if small is None:
            return GivenRationale(answers, options)
        return Guided(asked(small, "guided_rationale"), answers, options)

    method, preconditions = method_of(), preconditions_of(options, prompts)

    def checked(row: Row) -> RowWork:
        preconditions.check(row)
        return (yield from method(row))

    return checked


def preconditions_of(options: AnswerOptions, prompts: PromptBuilder) -> Preconditions:
    """Return what rows must have to be answered with these options."""
    return Preconditions(options.kind, options.stages, options.given_rationales, prompts)


@dataclass(frozen=True, slots=True)
class SamplingMethod(ABC):
    """A method that draws samples until the vote needs no more.

    Attributes:
        stage: The model that writes the samples.
        answers: The model that answers from the rationales of samples that state no answer; None for no such model.
        options: The options of the run.
    """

    stage: AskedModel
    answers: AskedModel | None
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Begin a row."""
        draws = RowDraws(row, self.options)
        stage = Asking(self.stage, draws, self.options)
        answers = Asking(self.answers, draws, self.options) if self.answers else None
        return draws.kept(self._work(draws, stage, answers))

    @abstractmethod
    def _read(self, row: Row, done: Completion, sample: Sample) -> Sample:
        """Return a sample with what its reply says."""

    def _open_rationale(self, sample: Sample) -> str | None:
        """Return the rationale that the other model answers from; None where the sample needs no such answer."""
        return None

    def _work(self, draws: RowDraws, stage: Asking, answers: Asking | None) -> RowWork:
        answered: dict[str, Completion] = {}
        while seeds := draws.next_seeds():
            try:
                replies = yield from stage.ask([(None, seed) for seed in seeds], draws.lead)
            except CutShortError as limit:
                return draws.end(limit.reason)
            drawn = [self._drawn(draws.row, done, seed) for done, seed in zip(replies, seeds, strict=True)]
            rationales = [None if cut else self._open_rationale(sample) for sample, cut in drawn]
            if answers:
                yield from _ask_new(answers, answered, rationales)
            for (sample, cut), rationale in zip(drawn, rationales, strict=True):
                if self.answers and rationale is not None:
                    reply = answered[rationale]
                    draws.add(*answered_sample(sample, reply, self.answers, draws.row, self.options))
                else:
                    draws.add(sample, cut)
        return draws.end()

    def _drawn(self, row: Row, done: Completion, seed: int) -> tuple[Sample, str | None]:
        """Return the sample of a reply, and why a limit left it empty, where one did."""
        sample = Sample(
            rationale=None,
            answer=None,
            logprob=None,
            tokens=done.completion_tokens,
            seed=seed if done.seeded else None,
            thoughts=thoughts_of(self.stage.role, done, keep=self.options.keep_thinking),
        )
        return self._read(row, done, sample), cut_reply(done, self.stage.sampling, self.stage.role)

    def _raw(self, done: Completion, as_read: str | None) -> tuple[RawReply, ...]:
        return raw_of(self.stage.name, done, as_read, self.options.keep_raw)


@dataclass(frozen=True, slots=True)
class DirectAnswers(SamplingMethod):
    """Standard prompting: the samples are the answers."""

    def _read(self, row: Row, done: Completion, sample: Sample) -> Sample:
        read = self.stage.reader.direct(self.stage.text_of(done), row)
        return replace(
            sample,
            answer=read.answer,
            logprob=done.logprob,
            finish_reason=finish_of(done, read),
            raw=self._raw(done, read.answer),
        )


@dataclass(frozen=True, slots=True)
class Chains(SamplingMethod):
    """Chain of thought: the large LM's own chains, which end in their answers.

    A chain that states none (base models often forget to) is given to the model once more, as a rationale, for the
    answer that it leads to: the second prompt of zero-shot CoT (Kojima et al. 2022, arXiv 2205.11916).
    Where `--answer-regex` says what an answer looks like, a chain without one has none.
    """

    def _open_rationale(self, sample: Sample) -> str | None:
        states_one = sample.answer is not None or self.options.answer_regex is not None
        return None if states_one else sample.rationale or None

    def _read(self, row: Row, done: Completion, sample: Sample) -> Sample:
        reader = self.stage.reader
        read = reader.chain(self.stage.text_of(done), row)
        as_read = read.rationale or None
        if read.answer:
            as_read = chain_reply(read.rationale, read.answer, (*reader.own, ENDING)[0])
        return replace(
            sample,
            rationale=read.rationale,
            answer=read.answer,
            logprob=done.logprob,
            finish_reason=finish_of(done, read),
            rationale_finish_reason=done.finish_reason if read.answer is None else None,
            raw=self._raw(done, as_read),
        )


@dataclass(frozen=True, slots=True)
class Guided(SamplingMethod):
    """LM-guided CoT: the small LM samples rationales, the large LM answers each different one greedily.

    A rationale that a limit cut before it began leads to no answer, and the large LM is not asked for one.
    """

    def _open_rationale(self, sample: Sample) -> str | None:
        return sample.rationale

    def _read(self, row: Row, done: Completion, sample: Sample) -> Sample:
        rationale = before_answer(self.stage.text_of(done))
        return replace(
            sample,
            rationale=rationale,
            rationale_finish_reason=done.finish_reason,
            raw=self._raw(done, rationale),
        )


@dataclass(frozen=True, slots=True)
class GivenRationale:
    """Guided by the rationale that came with the row instead of one that a small LM writes."""

    answers: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Answer the row from its own rationale."""
        draws = RowDraws(row, self.options)
        return draws.kept(self._work(draws, Asking(self.answers, draws, self.options)))

    def _work(self, draws: RowDraws, asking: Asking) -> RowWork:
        row = draws.row
        [reply] = yield from asking.ask([(row.rationale, 0)])
        sample = Sample(row.rationale, None, None, 0, sample_seed(self.options.seed, row.id, 0))
        draws.add(*answered_sample(sample, reply, self.answers, row, self.options))
        return draws.end()


def _ask_new(
    answers: Asking, answered: dict[str, Completion], rationales: Iterable[str | None]
) -> Generator[Wave, list[Completion], None]:
    """Have each rationale answered that was not before: greedy decoding answers equal ones alike."""
    new = [one for one in dict.fromkeys(rationales) if one is not None and one not in answered]
    if new:
        replies = yield from answers.ask([(rationale, 0) for rationale in new])
        answered.update(zip(new, replies, strict=True))


def answered_sample(
    sample: Sample, done: Completion, answers: AskedModel, row: Row, options: AnswerOptions
) -> tuple[Sample, str | None]:
    """Return a sample with the large LM's answer to its rationale, and why a limit left that empty, where one did."""
    read = answers.reader.direct(answers.text_of(done), row, sample.rationale)
    sample = replace(
        sample,
        answer=read.answer,
        logprob=done.logprob,
        tokens=sample.tokens + done.completion_tokens,
        finish_reason=finish_of(done, read),
        thoughts=(*sample.thoughts, *thoughts_of("large", done, keep=options.keep_thinking)),
        raw=(*sample.raw, *raw_of("guided_answer", done, read.answer, options.keep_raw)),
    )
    return sample, cut_reply(done, answers.sampling, "large")

"""The three methods, each written as what happens to one row: which waves of requests it asks for, one after another.

A method is a generator (`RowWork`): it yields a `Wave`, is sent the completions, and returns the row's samples. Whoever
runs it (`lmcot_cli.pipeline.flow`) has many rows under way at once, so that both models are busy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from lmcot_cli.backends.base import Backend, Completion, Sampling
from lmcot_cli.datasets.row import Row
from lmcot_cli.pipeline.asked import AskedModel, Asking
from lmcot_cli.pipeline.cut_replies import cut_reply, finish_of, raw_of, seed_of, thoughts_of
from lmcot_cli.pipeline.draws import RowDraws
from lmcot_cli.pipeline.extract import before_answer
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.preconditions import Checked, Preconditions
from lmcot_cli.pipeline.reading import AnswerReader
from lmcot_cli.pipeline.result import Sample
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_cli.pipeline.waves import CutShortError, Method, RowWork, Wave
from lmcot_cli.prompts.conversation import ENDING, PromptBuilder, chain_reply
from lmcot_cli.prompts.options import Stage


def build_method(
    options: AnswerOptions, prompts: PromptBuilder, small: Backend | None, large: Backend
) -> Method:
    """Build the method that `options.method` names; `small` is None where no small LM is asked."""

    def asked(model: Backend, stage: Stage, sampling: Sampling) -> AskedModel:
        reader = AnswerReader(options.kind, options.answer_pattern, prompts.markers(stage))
        return AskedModel(model, stage, prompts.sampling(stage, sampling), prompts, reader)

    return Checked(_method(options, asked, small, large), preconditions_of(options, prompts))


def preconditions_of(options: AnswerOptions, prompts: PromptBuilder) -> Preconditions:
    """Return what rows must have to be answered so."""
    return Preconditions(options.kind, options.stages, options.given_rationales, prompts)


def _method(
    options: AnswerOptions,
    asked: Callable[[Backend, Stage, Sampling], AskedModel],
    small: Backend | None,
    large: Backend,
) -> Method:
    if options.method == "standard":
        return SampledAnswers(asked(large, "standard", options.answer_sampling), options)
    answers = asked(large, "guided_answer", options.guided_answer_sampling)
    if options.method == "cot":
        return Chains(asked(large, "cot", options.chain_sampling), answers, options)
    if small is None:
        return GivenRationale(answers, options)
    return Guided(asked(small, "guided_rationale", options.rationale_sampling), answers, options)


@dataclass(frozen=True, slots=True)
class SampledAnswers:
    """Standard prompting: the samples are the answers."""

    stage: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Draw samples until the vote needs no more."""
        draws = RowDraws(row, self.options)
        return draws.kept(self._work(draws, Asking(self.stage, draws, self.options)))

    def _work(self, draws: RowDraws, asking: Asking) -> RowWork:
        while seeds := draws.next_seeds():
            try:
                replies = yield from asking.ask([(None, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return draws.end(cut.reason)
            for done, seed in zip(replies, seeds, strict=True):
                draws.add(self._sample(draws.row, done, seed), cut_reply(done, self.stage.sampling, "large"))
        return draws.end()

    def _sample(self, row: Row, done: Completion, seed: int) -> Sample:
        read = self.stage.reader.direct(self.stage.text_of(done), row)
        return Sample(
            rationale=None,
            answer=read.answer,
            logprob=done.logprob,
            tokens=done.completion_tokens,
            seed=seed_of(done, seed),
            finish_reason=finish_of(done, read),
            thoughts=thoughts_of("large", done, keep=self.options.keep_thinking),
            raw=raw_of("standard", done, read.answer, self.options.keep_raw),
        )


@dataclass(frozen=True, slots=True)
class Chains:
    """Chain of thought: the large LM's own chains, which end in their answers.

    A chain that states none (base models often forget to) is given to the model once more, as a rationale, for the
    answer that it leads to: the second prompt of zero-shot CoT (Kojima et al. 2022, arXiv 2205.11916).
    Where `--answer-regex` says what an answer looks like, a chain without one has none.
    """

    chains: AskedModel
    answers: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Draw chains until the vote needs no more."""
        draws = RowDraws(row, self.options)
        asking = [Asking(model, draws, self.options) for model in (self.chains, self.answers)]
        return draws.kept(self._work(draws, *asking))

    def _work(self, draws: RowDraws, chains: Asking, answers: Asking) -> RowWork:
        answered: dict[str, Completion] = {}
        while seeds := draws.next_seeds():
            try:
                replies = yield from chains.ask([(None, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return draws.end(cut.reason)
            samples = [self._sample(draws.row, done, seed) for done, seed in zip(replies, seeds, strict=True)]
            open_chains = [
                sample.rationale for sample in samples if self._is_open(sample) and sample.rationale
            ]
            yield from ask_new(answers, answered, open_chains)
            for sample, done in zip(samples, replies, strict=True):
                cause = cut_reply(done, self.chains.sampling, "large")
                if self._is_open(sample) and sample.rationale:
                    reply = answered[sample.rationale]
                    cause = cut_reply(reply, self.answers.sampling, "large")
                    sample = answered_sample(sample, reply, self.answers, draws.row, self.options)
                draws.add(sample, cause)
        return draws.end()

    def _is_open(self, sample: Sample) -> bool:
        """Whether a chain leads to an answer that it does not state."""
        return sample.answer is None and bool(sample.rationale) and self.options.answer_regex is None

    def _sample(self, row: Row, done: Completion, seed: int) -> Sample:
        reader = self.chains.reader
        read = reader.chain(self.chains.text_of(done), row)
        plain = read.rationale or None
        if read.answer:
            plain = chain_reply(read.rationale, read.answer, (*reader.own, ENDING)[0])
        return Sample(
            rationale=read.rationale,
            answer=read.answer,
            logprob=done.logprob,
            tokens=done.completion_tokens,
            seed=seed_of(done, seed),
            finish_reason=finish_of(done, read),
            rationale_finish_reason=done.finish_reason if read.answer is None else None,
            thoughts=thoughts_of("large", done, keep=self.options.keep_thinking),
            raw=raw_of("cot", done, plain, self.options.keep_raw),
        )


def ask_new(
    answers: Asking, answered: dict[str, Completion], rationales: list[str]
) -> Generator[Wave, list[Completion], None]:
    """Have each rationale answered that was not before: greedy decoding answers equal ones alike."""
    new = [rationale for rationale in dict.fromkeys(rationales) if rationale not in answered]
    if new:
        replies = yield from answers.ask([(rationale, 0) for rationale in new])
        answered.update(zip(new, replies, strict=True))


@dataclass(frozen=True, slots=True)
class Guided:
    """LM-guided CoT: the small LM samples rationales, the large LM answers each different one greedily."""

    rationales: AskedModel
    answers: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Draw rationales and their answers until the vote needs no more.

        A rationale that a limit cut before it began leads to no answer, and the large LM is not asked for one.
        """
        draws = RowDraws(row, self.options)
        asking = [Asking(model, draws, self.options) for model in (self.rationales, self.answers)]
        return draws.kept(self._work(draws, *asking))

    def _work(self, draws: RowDraws, rationales: Asking, answers: Asking) -> RowWork:
        answered: dict[str, Completion] = {}
        while seeds := draws.next_seeds():
            try:
                replies = yield from rationales.ask([(None, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return draws.end(cut.reason)
            cuts = [cut_reply(done, self.rationales.sampling, "small") for done in replies]
            drawn = [self._rationale(done, seed) for done, seed in zip(replies, seeds, strict=True)]
            texts = [one.rationale or "" for one, cut in zip(drawn, cuts, strict=True) if not cut]
            yield from ask_new(answers, answered, texts)
            for sample, cut_short in zip(drawn, cuts, strict=True):
                if cut_short:
                    draws.add(sample, cut_short)
                else:
                    done = answered[sample.rationale or ""]
                    cause = cut_reply(done, self.answers.sampling, "large")
                    draws.add(answered_sample(sample, done, self.answers, draws.row, self.options), cause)
        return draws.end()

    def _rationale(self, done: Completion, seed: int) -> Sample:
        rationale = before_answer(self.rationales.text_of(done))
        return Sample(
            rationale=rationale,
            answer=None,
            logprob=None,
            tokens=done.completion_tokens,
            seed=seed_of(done, seed),
            rationale_finish_reason=done.finish_reason,
            thoughts=thoughts_of("small", done, keep=self.options.keep_thinking),
            raw=raw_of("guided_rationale", done, rationale, self.options.keep_raw),
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
        replies = yield from asking.ask([(row.rationale, 0)])
        sample = Sample(row.rationale, None, None, 0, sample_seed(self.options.seed, row.id, 0))
        cause = cut_reply(replies[0], self.answers.sampling, "large")
        draws.add(answered_sample(sample, replies[0], self.answers, row, self.options), cause)
        return draws.end()


def answered_sample(
    sample: Sample, done: Completion, answers: AskedModel, row: Row, options: AnswerOptions
) -> Sample:
    """Return a sample with the answer that the large LM gave to its rationale."""
    read = answers.reader.direct(answers.text_of(done), row, sample.rationale)
    return replace(
        sample,
        answer=read.answer,
        logprob=done.logprob,
        tokens=sample.tokens + done.completion_tokens,
        finish_reason=finish_of(done, read),
        thoughts=(*sample.thoughts, *thoughts_of("large", done, keep=options.keep_thinking)),
        raw=(*sample.raw, *raw_of("guided_answer", done, read.answer, options.keep_raw)),
    )

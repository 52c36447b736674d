"""The three methods, each written as what happens to one row: which waves of requests it asks for, one after another.

A method is a generator (`RowWork`): it yields a `Wave`, is sent the completions, and returns the row's samples. Whoever
runs it (`lmcot_cli.pipeline.flow`) has many rows under way at once, so that both models are busy.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, TypeAlias

from lmcot_cli.backends.base import Backend, Completion, Request, Sampling
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import MissingRationaleError, ModelError, ReplyCutError, RowError
from lmcot_cli.pipeline.cut_replies import cut_reply, finish_of, seed_of, thoughts_of
from lmcot_cli.pipeline.extract import before_answer
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.reading import Reader
from lmcot_cli.pipeline.result import CutShort, Sample
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_cli.pipeline.stopping import leaders
from lmcot_cli.pipeline.vote import Ballot, VoteBy, tally, weight_of
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import Stage


class Ask(NamedTuple):
    """One request and the model it is for."""

    model: Backend
    request: Request
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Wave:
    """Requests of one row that go out together.

    Attributes:
        asks: The requests.
        lead: For samples that a row can do without: how far its vote is from a tie, as a share of the samples;
            None for what the row needs.
    """

    asks: list[Ask]
    lead: float | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples of one row, and what kept the row from more."""

    samples: tuple[Sample, ...]
    cut_short: CutShort | None = None


class CutShortError(Exception):
    """Thrown into a row's work in place of the completions of a wave that it can do without."""

    def __init__(self, reason: CutShort) -> None:
        super().__init__(reason)
        self.reason = reason


RowWork: TypeAlias = Generator[Wave, list[Completion], Drawn]


class Method(Protocol):
    """Answers rows."""

    def __call__(self, row: Row) -> RowWork:
        """Begin a row; a `RowError` that the generator raises is that row's."""
        ...


def build_method(
    options: AnswerOptions, prompts: PromptBuilder, small: Backend | None, large: Backend
) -> Method:
    """Build the method that `options.method` names; `small` is None where no small LM is asked."""

    def asked(model: Backend, stage: Stage, sampling: Sampling) -> AskedModel:
        reader = Reader(options.kind, options.answer_pattern, prompts.markers(stage))
        return AskedModel(model, stage, prompts.sampling(stage, sampling), prompts, reader)

    if options.method == "standard":
        return SampledAnswers(asked(large, "standard", options.answer_sampling), options)
    answers = asked(large, "guided_answer", options.guided_answer_sampling)
    if options.method == "cot":
        return Chains(asked(large, "cot", options.chain_sampling), answers, options)
    if small is None:
        return GivenRationale(answers, options)
    return Guided(asked(small, "guided_rationale", options.rationale_sampling), answers, options)


@dataclass(frozen=True, slots=True)
class AskedModel:
    """One model with the template and the sampling it is asked with."""

    model: Backend
    name: Stage
    sampling: Sampling
    prompts: PromptBuilder
    reader: Reader

    def render(self, row: Row, rationale: str | None = None) -> Request:
        """Render the prompt, with what stands before it.

        Raises:
            RowError: The row holds what no prompt can.
        """
        request = self.prompts.request(self.name, row, rationale)
        if self.name in ("standard", "guided_answer"):  # elsewhere the answer is a part of the reply only
            constraint = self.reader.kind.constraint(row, rationale)
            if type(constraint) in self.model.constraints:
                request = replace(request, constraint=constraint)
        try:
            request.prompt.encode()
        except UnicodeEncodeError as error:
            raise RowError(
                "question, context or rationale holds half a surrogate pair, which is no character"
            ) from error
        return request

    def ask(self, request: Request, seed: int = 0) -> Ask:
        """Ask for one completion."""
        return Ask(self.model, replace(request, seed=seed), self.sampling)

    def text_of(self, done: Completion) -> str:
        """Return what the model replied."""
        return self.prompts.own_words(self.name, done.text)


@dataclass(slots=True)
class Draws:
    """The samples of a row as they come in.

    Attributes:
        row: The row.
        options: How many there may be, and when they are enough.
        samples: Those that are there.
    """

    row: Row
    options: AnswerOptions
    samples: list[Sample] = field(default_factory=list)
    _cuts: list[str] = field(default_factory=list)

    def add(self, sample: Sample, cut: str | None) -> None:
        """Add a sample; `cut` says what kept it from saying anything, where something did."""
        self.samples.append(sample)
        self._cuts += [cut] if cut and sample.answer is None else []

    def end(self, cut_short: CutShort | None = None) -> Drawn:
        """Return what was drawn.

        Raises:
            ReplyCutError: A limit cut every sample before it said anything.
        """
        if self._cuts and len(self._cuts) == len(self.samples):
            raise ReplyCutError(self._cuts[0])
        return Drawn(tuple(self.samples), cut_short)

    def next_seeds(self) -> list[int]:
        """Return the seeds of the samples to draw next; none when there are enough."""
        have = len(self.samples)
        wave = self.options.stopping.next_wave(self._ballots(), self.options.samples)
        if self.options.has_budget and not have:
            wave = 1  # every row gets its first sample before any gets a second
        return [sample_seed(self.options.seed, self.row.id, index) for index in range(have, have + wave)]

    @property
    def lead(self) -> float | None:
        """See `Wave.lead`."""
        if not self.samples:
            return None
        leader, runner_up = leaders(tally(self._ballots()))
        return (leader - runner_up) / len(self.samples)

    def _ballots(self) -> list[Ballot]:
        return ballots(self.samples, self.options.vote)


def ballots(samples: Iterable[Sample], by: VoteBy) -> list[Ballot]:
    """Return the votes of samples.

    Raises:
        ModelError: Votes are to be weighted by log-probabilities, and the model gave none.
    """
    if by == "majority":
        return [Ballot(sample.answer) for sample in samples]
    return [Ballot(sample.answer, _weight(sample)) for sample in samples]


def _weight(sample: Sample) -> float:
    if sample.logprob is not None:
        return weight_of(sample.logprob)
    if sample.answer is None:
        return 1.0
    raise ModelError("--vote logprob: the large LM gives no log-probabilities; use --vote majority")


@dataclass(frozen=True, slots=True)
class SampledAnswers:
    """Standard prompting: the samples are the answers."""

    stage: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Draw samples until the vote needs no more.

        Raises:
            ReplyCutError: A limit cut every reply before it said anything.
        """
        draws = Draws(row, self.options)
        request = self.stage.render(row)
        while seeds := draws.next_seeds():
            try:
                replies = yield Wave([self.stage.ask(request, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return draws.end(cut.reason)
            for done, seed in zip(replies, seeds, strict=True):
                draws.add(self._sample(row, done, seed), cut_reply(done, self.stage.sampling, "large"))
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
        """Draw chains until the vote needs no more.

        Raises:
            ReplyCutError: A limit cut every reply before it said anything.
        """
        draws = Draws(row, self.options)
        answered: dict[str, Completion] = {}
        request = self.chains.render(row)
        while seeds := draws.next_seeds():
            try:
                replies = yield Wave([self.chains.ask(request, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return draws.end(cut.reason)
            samples = [self._sample(row, done, seed) for done, seed in zip(replies, seeds, strict=True)]
            open_chains = [
                sample.rationale for sample in samples if self._is_open(sample) and sample.rationale
            ]
            yield from ask_new(self.answers, row, answered, open_chains)
            for sample, done in zip(samples, replies, strict=True):
                cause = cut_reply(done, self.chains.sampling, "large")
                if self._is_open(sample) and sample.rationale:
                    reply = answered[sample.rationale]
                    cause = cut_reply(reply, self.answers.sampling, "large")
                    sample = answered_sample(sample, reply, self.answers, row, self.options)
                draws.add(sample, cause)
        return draws.end()

    def _is_open(self, sample: Sample) -> bool:
        """Whether a chain leads to an answer that it does not state."""
        return sample.answer is None and bool(sample.rationale) and self.options.answer_regex is None

    def _sample(self, row: Row, done: Completion, seed: int) -> Sample:
        read = self.chains.reader.chain(self.chains.text_of(done), row)
        return Sample(
            rationale=read.rationale,
            answer=read.answer,
            logprob=done.logprob,
            tokens=done.completion_tokens,
            seed=seed_of(done, seed),
            finish_reason=finish_of(done, read),
            rationale_finish_reason=done.finish_reason if read.answer is None else None,
            thoughts=thoughts_of("large", done, keep=self.options.keep_thinking),
        )


def ask_new(
    answers: AskedModel, row: Row, answered: dict[str, Completion], rationales: list[str]
) -> Generator[Wave, list[Completion], None]:
    """Have each rationale answered that was not before: greedy decoding answers equal ones alike."""
    new = [rationale for rationale in dict.fromkeys(rationales) if rationale not in answered]
    if new:
        replies = yield Wave([answers.ask(answers.render(row, rationale)) for rationale in new])
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

        Raises:
            ReplyCutError: A limit cut the replies of every sample before they said anything.
        """
        draws = Draws(row, self.options)
        answered: dict[str, Completion] = {}
        request = self.rationales.render(row)
        while seeds := draws.next_seeds():
            try:
                replies = yield Wave([self.rationales.ask(request, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return draws.end(cut.reason)
            cuts = [cut_reply(done, self.rationales.sampling, "small") for done in replies]
            drawn = [self._rationale(done, seed) for done, seed in zip(replies, seeds, strict=True)]
            texts = [one.rationale or "" for one, cut in zip(drawn, cuts, strict=True) if not cut]
            yield from ask_new(self.answers, row, answered, texts)
            for sample, cut_short in zip(drawn, cuts, strict=True):
                if cut_short:
                    draws.add(sample, cut_short)
                else:
                    done = answered[sample.rationale or ""]
                    cause = cut_reply(done, self.answers.sampling, "large")
                    draws.add(answered_sample(sample, done, self.answers, row, self.options), cause)
        return draws.end()

    def _rationale(self, done: Completion, seed: int) -> Sample:
        return Sample(
            rationale=before_answer(self.rationales.text_of(done)),
            answer=None,
            logprob=None,
            tokens=done.completion_tokens,
            seed=seed_of(done, seed),
            rationale_finish_reason=done.finish_reason,
            thoughts=thoughts_of("small", done, keep=self.options.keep_thinking),
        )


@dataclass(frozen=True, slots=True)
class GivenRationale:
    """Guided by the rationale that came with the row instead of one that a small LM writes."""

    answers: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Answer the row from its own rationale.

        Raises:
            MissingRationaleError: It has none.
            ReplyCutError: A limit cut the reply before it said anything.
        """
        if not row.rationale:
            raise MissingRationaleError(
                "the row has no rationale, and --given-rationales asks no small LM for one"
            )
        replies = yield Wave([self.answers.ask(self.answers.render(row, row.rationale))])
        sample = Sample(row.rationale, None, None, 0, sample_seed(self.options.seed, row.id, 0))
        draws = Draws(row, self.options)
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
    )

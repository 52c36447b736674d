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
from lmcot_cli.errors import MissingRationaleError, ModelError, RowError
from lmcot_cli.pipeline.extract import answer_line, chain_answer
from lmcot_cli.pipeline.options import AnswerOptions
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
        return AskedModel(model, stage, prompts.sampling(stage, sampling), prompts)

    if options.method == "standard":
        return SampledAnswers(asked(large, "standard", options.answer_sampling), options)
    if options.method == "cot":
        return SampledAnswers(asked(large, "cot", options.chain_sampling), options)
    answers = asked(large, "guided_answer", options.guided_answer_sampling)
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

    def render(self, row: Row, rationale: str | None = None) -> Request:
        """Render the prompt, with what stands before it.

        Raises:
            RowError: The row holds what no prompt can.
        """
        request = self.prompts.request(self.name, row, rationale)
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
    """Standard prompting and chain of thought: the samples of one model hold the answers themselves."""

    stage: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Draw samples until the vote needs no more."""
        draws = Draws(row, self.options)
        request = self.stage.render(row)
        while seeds := draws.next_seeds():
            try:
                replies = yield Wave([self.stage.ask(request, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return Drawn(tuple(draws.samples), cut.reason)
            draws.samples += [
                Sample(*self._read(done.text), done.logprob, done.completion_tokens, _seed_of(done, seed))
                for done, seed in zip(replies, seeds, strict=True)
            ]
        return Drawn(tuple(draws.samples))

    def _read(self, text: str) -> tuple[str | None, str | None]:
        """Return the rationale and the answer that a completion holds."""
        return (None, answer_line(text)) if self.stage.name == "standard" else chain_answer(text)


@dataclass(frozen=True, slots=True)
class Guided:
    """LM-guided CoT: the small LM samples rationales, the large LM answers each different one greedily."""

    rationales: AskedModel
    answers: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Draw rationales and their answers until the vote needs no more."""
        draws = Draws(row, self.options)
        answered: dict[str, Completion] = {}
        request = self.rationales.render(row)
        while seeds := draws.next_seeds():
            try:
                replies = yield Wave([self.rationales.ask(request, seed) for seed in seeds], draws.lead)
            except CutShortError as cut:
                return Drawn(tuple(draws.samples), cut.reason)
            texts = [done.text.strip() for done in replies]
            yield from self._answer(row, answered, texts)
            draws.samples += [
                _answered(
                    Sample(text, None, None, done.completion_tokens, _seed_of(done, seed)), answered[text]
                )
                for text, done, seed in zip(texts, replies, seeds, strict=True)
            ]
        return Drawn(tuple(draws.samples))

    def _answer(
        self, row: Row, answered: dict[str, Completion], rationales: list[str]
    ) -> Generator[Wave, list[Completion], None]:
        """Have each rationale answered that was not before: greedy decoding answers equal ones alike."""
        new = [rationale for rationale in dict.fromkeys(rationales) if rationale not in answered]
        if new:
            replies = yield Wave([self.answers.ask(self.answers.render(row, rationale)) for rationale in new])
            answered.update(zip(new, replies, strict=True))


@dataclass(frozen=True, slots=True)
class GivenRationale:
    """Guided by the rationale that came with the row instead of one that a small LM writes."""

    answers: AskedModel
    options: AnswerOptions

    def __call__(self, row: Row) -> RowWork:
        """Answer the row from its own rationale.

        Raises:
            MissingRationaleError: It has none.
        """
        if not row.rationale:
            raise MissingRationaleError(
                "the row has no rationale, and --given-rationales asks no small LM for one"
            )
        replies = yield Wave([self.answers.ask(self.answers.render(row, row.rationale))])
        sample = Sample(row.rationale, None, None, 0, sample_seed(self.options.seed, row.id, 0))
        return Drawn((_answered(sample, replies[0]),))


def _seed_of(done: Completion, seed: int) -> int | None:
    """Return the seed that a completion was drawn with."""
    return seed if done.seeded else None


def _answered(sample: Sample, done: Completion) -> Sample:
    tokens = sample.tokens + done.completion_tokens
    return replace(sample, answer=answer_line(done.text), logprob=done.logprob, tokens=tokens)

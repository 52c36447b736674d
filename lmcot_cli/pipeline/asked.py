"""A model with its stage, and how much of a row's context its prompt has room for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

from lmcot_cli.backends.base import Backend, Completion, Request, Role, Sampling
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import PromptTooLongError, RowError
from lmcot_cli.pipeline.draws import RowDraws
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.reading import AnswerReader
from lmcot_cli.pipeline.waves import Ask, Wave
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import Stage, role_of
from lmcot_cli.prompts.truncation import Droppable

MOST_TRIES = 8
"""Times that an endpoint is asked with less and less of a context; each time at least one paragraph is dropped."""


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A model with the template and the sampling of its stage."""

    model: Backend
    name: Stage
    sampling: Sampling
    prompts: PromptBuilder
    reader: AnswerReader

    @property
    def role(self) -> Role:
        """The role of the model."""
        return role_of(self.name)

    def render(self, row: Row, rationale: str | None = None) -> Request:
        """Return the request of a row: the prompt, and what comes before it.

        Raises:
            RowError: The row holds text that no prompt can hold.
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
                "question, context or rationale holds half a surrogate pair, which is not a character"
            ) from error
        return request

    def ask(self, request: Request, seed: int = 0) -> Ask:
        """Return a request with its seed, for this model."""
        return Ask(self.model, replace(request, seed=seed), self.sampling)

    def text_of(self, done: Completion) -> str:
        """Return what the model replied."""
        return self.prompts.own_words(self.name, done.text)


@dataclass(slots=True)
class Asking:
    """The requests to one model about one row, with as much of the context as there is room for.

    A model that runs here counts its tokens, so the fewest paragraphs are dropped. An endpoint refuses a prompt that is
    too long, and is asked again with less.

    Attributes:
        asked: The model.
        draws: The samples of the row, which note how many paragraphs were dropped.
        options: Whether paragraphs may be dropped, and which of them first.
    """

    asked: AskedModel
    draws: RowDraws
    options: AnswerOptions
    _context: Droppable = field(init=False)
    _least: int = field(default=0, init=False)
    _requests: dict[str | None, Request] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._context = Droppable(self.draws.row, self.options.truncate)

    def ask(
        self, asks: Sequence[tuple[str | None, int]], lead: float | None = None
    ) -> Generator[Wave, list[Completion], list[Completion]]:
        """Ask for a completion for each pair of a rationale, where the prompt has one, and a seed.

        Raises:
            PromptTooLongError: There is no room for a prompt, whatever may be dropped of it.
            RowError: The row holds text that no prompt can hold.
        """
        tries = 0
        while True:
            wave = Wave([self.asked.ask(self._request(rationale), seed) for rationale, seed in asks], lead)
            tries += 1
            try:
                return (yield wave)
            except PromptTooLongError as error:
                if tries == MOST_TRIES or not self._drop_more(error, wave, last=tries == MOST_TRIES - 1):
                    raise error.also(self._advice(error)) from error

    def _request(self, rationale: str | None) -> Request:
        if rationale not in self._requests:
            self._requests[rationale] = self._fitting(rationale)
        return self._requests[rationale]

    def _fitting(self, rationale: str | None) -> Request:
        """Return the request with the fewest paragraphs dropped; all but one where none fits."""
        if self.options.truncate == "none":
            return self._without(0, rationale)
        whole = self._without(self._least, rationale)
        if self._least >= self._context.most or self._fits(whole):
            return self._noted(self._least, whole)
        counts = range(self._least + 1, self._context.most)
        place = bisect_left(counts, True, key=lambda dropped: self._fits(self._without(dropped, rationale)))
        dropped = self._least + 1 + place
        return self._noted(dropped, self._without(dropped, rationale))

    def _without(self, dropped: int, rationale: str | None) -> Request:
        return self.asked.render(self._context.without(dropped), rationale)

    def _fits(self, request: Request) -> bool:
        excess = self.asked.model.excess(request, self.asked.sampling)
        return excess is None or excess <= 0

    def _noted(self, dropped: int, request: Request) -> Request:
        if dropped:
            noted = self.draws.dropped
            noted[self.asked.role] = max(dropped, noted.get(self.asked.role, 0))
        return request

    def _drop_more(self, error: PromptTooLongError, wave: Wave, *, last: bool) -> bool:
        """Drop more, as an endpoint's refusal demands; before the last try, all that can be dropped.

        Returns:
            Whether there was anything to drop.
        """
        most = 0 if self.options.truncate == "none" else self._context.most
        if not error.refused or self._least >= most:
            return False
        longest = max(len(ask.request.text) for ask in wave.asks)
        self._least = most if last else self._context.at_least(self._least + 1, error.share * longest)
        self._requests.clear()
        return True

    def _advice(self, error: PromptTooLongError) -> str:
        """Return advice that the model itself cannot give."""
        helps = (
            [f"give fewer --shots than {self.options.prompting.shots}"]
            if self.options.prompting.shots
            else []
        )
        if self.options.truncate == "none" and self._context.most:
            helps.insert(0, "drop whole paragraphs: --truncate paragraphs")
        if "raise --" not in str(error):
            helps.append("take a model with a longer context")
        text = ("; " if error.refused else ", or ") + ", or ".join(helps) if helps else ""
        alone = "; --truncate leaves one paragraph, which is too long itself"
        return text if self.options.truncate == "none" else f"{text}{alone}"

"""Complete requests: system message, examples and prompt, built in one place for answering and for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import get_args

from lmcot_cli.backends.base import Request, Role, Sampling, Shot
from lmcot_cli.datasets.choices import row_choices
from lmcot_cli.datasets.row import Columns, Paragraph, Row
from lmcot_cli.errors import InputError, RowError
from lmcot_cli.prompts.options import PromptOptions, Stage, role_of
from lmcot_cli.prompts.render import Prompts
from lmcot_cli.prompts.shots import ShotRows
from lmcot_cli.prompts.system import read_system

PromptSettings = dict[str, str | int | float | bool | None]

_NOBODY = "\u241f"  # a symbol that no template and no question holds

ENDING = "So the answer is"
"""The words before the answer of a chain by our own template."""


class PromptBuilder:
    """Builds requests: the prompt of a stage for a row, with the examples and the system message before it.

    Args:
        options: The templates, examples and system messages.
        stages: The stages that will be asked for; all by default.

    Raises:
        UsageError: Options that cannot work together.
        InputError: Templates, examples or a system message cannot be read.
    """

    def __init__(
        self, options: PromptOptions | None = None, stages: Sequence[Stage] = get_args(Stage)
    ) -> None:
        options = options or PromptOptions()
        options.check()
        self._options, self._prompts = options, Prompts(options.prompts, _choices_of(options))
        given: dict[Role, str | None] = {"small": options.small_system, "large": options.large_system}
        self._systems = {
            role: read_system(given[role], f"--{role}-system")
            for role in {role_of(stage) for stage in stages}
        }
        self._rows: ShotRows | None = None
        if options.shots_from:
            rationales = any(stage != "standard" for stage in stages)
            self._rows = ShotRows(
                options.shots_from,
                options.shots,
                options.shots_by,
                rationales=rationales,
                fields=options.fields,
            )
        self._shots: dict[tuple[Stage, int], Shot] = {}
        self._starts: dict[Stage, str] = {}
        for stage in stages:
            self._prompts.try_out(stage)
            for place in range(options.shots):
                self._shot(stage, place)  # a template that does not fit these rows fails at once

    def request(self, stage: Stage, row: Row, rationale: str | None = None) -> Request:
        """Build the request of a stage for a row, with seed 0.

        Raises:
            InputError: A template of the override folder does not work.
            TooFewShotsError: The row itself is among the examples, and no other row can replace it.
        """
        prompt = self._prompts.render(stage, row, rationale)
        places = self._rows.chosen(row) if self._rows else []
        shots = tuple(self._shot(stage, place) for place in places)
        return Request(prompt, 0, self._systems[role_of(stage)], shots)

    def sampling(self, stage: Stage, sampling: Sampling) -> Sampling:
        """Return a sampling that also ends a reply where another example would begin.

        A model without a chat template reads examples as one text, and may continue with an invented one.
        """
        start = self._start(stage)
        if not start or "\n" in sampling.stop:
            return sampling
        return replace(sampling, stop=(*sampling.stop, f"\n{start}"))

    def own_words(self, stage: Stage, reply: str) -> str:
        """Return a reply, or an empty text for one that begins with another example.

        A stop string counts only after some text, so it does not end such a reply.
        """
        start = self._start(stage)
        return "" if start and reply.lstrip().startswith(start) else reply

    def markers(self, stage: Stage) -> tuple[str, ...]:
        """Return the markers that the template of a stage asks for; see `Prompts.markers`."""
        return self._prompts.markers(stage)

    def settings(self) -> PromptSettings:
        """Return the settings by which two runs ask alike, by the names of their options."""
        rows, options = self._rows, self._options
        return {
            "prompts": self._prompts.digest(),
            "shots": options.shots,
            "shots_by": options.shots_by if rows else None,
            "shots_digest": rows.digest() if rows else None,
            "small_system": self._systems.get("small"),
            "large_system": self._systems.get("large"),
        }

    def _shot(self, stage: Stage, place: int) -> Shot:
        """Render an example once for all rows."""
        assert self._rows is not None
        key = (stage, place)
        if key not in self._shots:
            row = self._rows.rows[place]
            rationale = row.rationale if stage == "guided_answer" else None
            try:
                prompt = self._prompts.render(stage, row, rationale)
            except RowError as error:
                raise InputError(f"--shots-from {self._options.shots_from}: {error}") from error
            endings = self._prompts.markers("cot") or (ENDING,)
            self._shots[key] = Shot(prompt, reply_of(stage, row, endings[0]))
        return self._shots[key]

    def _start(self, stage: Stage) -> str:
        """Return the common beginning of all examples; empty where there is none."""
        if self._rows is None:
            return ""
        if stage not in self._starts:
            self._starts[stage] = self._literal_start(stage, self._rows.rows[0])
        return self._starts[stage]

    def _literal_start(self, stage: Stage, row: Row) -> str:
        """Return the beginning of a prompt's first line that does not depend on the row; empty if there is none."""
        context = tuple(Paragraph(_NOBODY, (_NOBODY,)) for _ in row.context)
        other = replace(row, id=_NOBODY, question=_NOBODY, context=context, answers=(), extra=Columns())
        try:
            prompts = [self._prompts.render(stage, one, _NOBODY).lstrip() for one in (row, other)]
        except (InputError, RowError):  # a template of the user's own that needs what `other` lacks
            return ""
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(*prompts, strict=False))
        return "".join(character for character, _ in alike).partition("\n")[0].rstrip()


def _choices_of(options: PromptOptions) -> Callable[[Row], Sequence[str]]:
    """Return the function that gives the choices that a row's prompt lists."""
    if not options.lists_choices:
        return lambda row: ()
    return lambda row: options.choices or row_choices(row)


def reply_of(stage: Stage, row: Row, ending: str = ENDING) -> str:
    """Return the ideal reply in a stage; the row has an answer and, except for `standard`, a rationale."""
    if stage == "guided_rationale":
        return row.rationale or ""
    answer = row.answers[0]
    return chain_reply(row.rationale or "", answer, ending) if stage == "cot" else answer


def chain_reply(rationale: str, answer: str, ending: str = ENDING) -> str:
    """Return a chain of thought that ends as the template of `cot` asks for."""
    return f"{rationale} {ending} {answer}{'' if answer.endswith('.') else '.'}"

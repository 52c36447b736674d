"""What a row must have before any model is asked about it, as far as the row itself shows it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, MissingRationaleError, RowError
from lmcot_cli.pipeline.answer_kinds import AnswerKind
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import Stage

_SOME_RATIONALE = "(a rationale)"


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The preconditions of one run.

    Attributes:
        kind: The kind of answer; choices may come from the row.
        stages: The stages that will be asked, in order.
        given_rationales: Whether the rationale must come with the row.
        prompts: Builds the prompts; a template may need a column.
    """

    kind: AnswerKind
    stages: Sequence[Stage]
    given_rationales: bool
    prompts: PromptBuilder

    def check(self, row: Row) -> None:
        """Refuse a row that would fail after the first model has worked.

        Raises:
            RowError: Says what the row lacks.
        """
        if self.given_rationales and not row.rationale:
            raise MissingRationaleError(
                "the row has no rationale, and --given-rationales asks no small LM for one"
            )
        self.kind.constraint(row, None)
        for stage in self.stages[1:]:
            self._render(stage, row)

    def failure(self, item: Row | BadRow) -> RowError | None:
        """Return why an item of the input fails whatever models reply; None where nothing shows that yet."""
        if isinstance(item, BadRow):
            return item.error
        try:
            self.check(item)
            self._render(self.stages[0], item)
        except RowError as error:
            return error
        return None

    def _render(self, stage: Stage, row: Row) -> None:
        with suppress(InputError):  # of a template that works with another rationale, maybe
            self.prompts.request(stage, row, row.rationale or _SOME_RATIONALE)

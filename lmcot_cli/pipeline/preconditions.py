"""What a row must have before any model is asked about it, as far as the row itself shows that."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, MissingRationaleError, RowError
from lmcot_cli.pipeline.answer_kinds import AnswerKind
from lmcot_cli.pipeline.waves import Method, RowWork
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import Stage

_SOME_RATIONALE = "(a rationale)"


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What the rows of one run must have.

    Attributes:
        kind: What an answer is; one of several choices needs these.
        stages: What models will be asked, in order.
        given_rationales: Whether the rationale is to come with the row.
        prompts: What builds prompts; a template may need a column.
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


@dataclass(frozen=True, slots=True)
class Checked:
    """A method that begins no row without what the row must have."""

    method: Method
    preconditions: Preconditions

    def __call__(self, row: Row) -> RowWork:
        """Check the row and begin it.

        Raises:
            RowError: The row lacks something.
        """
        self.preconditions.check(row)
        return (yield from self.method(row))

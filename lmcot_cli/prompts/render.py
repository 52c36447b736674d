"""Render the prompt of a method's stage for one row.

Every template starts with the same instructions, context and question (`_question.j2`); the part that differs between
methods, stages and samples comes last, so that an engine decodes the shared part once.
Training renders its examples through this module too: there is no second copy of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import InputError, RowError
from lmcot_cli.fence.limits import ExceededError, FaultError, Limits
from lmcot_cli.fence.process import FencedJob
from lmcot_cli.prompts.options import Stage
from lmcot_cli.prompts.rendering import MissingColumnError, PromptRendering, row_record
from lmcot_cli.prompts.sources import PromptSources

_SENTENCES = ("The lake lies in the north.",) * 20
_A_ROW = Row(
    id="1",
    question="What lies in the north? " * 40,
    context=(Paragraph("Lakes", _SENTENCES),) * 20,
    answers=("a lake",),
    type="bridge",
    rationale=_SENTENCES[0],
    line=1,
)
"""A typical row, to try a template on."""


class Prompts:
    """The templates; with a folder of the user's own, all are rendered by the child process, within limits.

    Args:
        overrides: The folder; files named as ours, such as `cot.j2`, replace them.
        choices_of: Returns the answers that a row's prompt lists to choose from (`choices` in a template).

    Raises:
        InputError: The folder does not exist or holds no template of a name we use.
    """

    def __init__(
        self, overrides: Path | None = None, choices_of: Callable[[Row], Sequence[str]] = lambda row: ()
    ) -> None:
        self._choices_of = choices_of
        self._sources = PromptSources(overrides)
        self._ours = None if overrides else PromptRendering(self._sources.load)
        self._limits = Limits()
        self._job = FencedJob("prompts", {}, self._limits, self._sources.load)

    def render(self, stage: Stage, row: Row, rationale: str | None = None) -> str:
        """Render one prompt; it ends with the cue (`Answer:`), without trailing white space.

        Raises:
            InputError: A template of the user is not valid Jinja2, uses an unknown name, fails or exceeds the limits.
            RowError: It uses a column that the row does not have.
        """
        try:
            return self._rendered(stage, row, rationale, self._choices_of(row))
        except FaultError as error:
            place = error.place or self._sources.file_of(stage)
            if error.kind == MissingColumnError.__name__:
                raise RowError(f"{place}: row {row.id!r} {error}") from error
            raise InputError(f"{place}: {error}") from error

    def try_out(self, stage: Stage) -> None:
        """Render a typical row, so that a hostile template fails before a model is loaded.

        Raises:
            InputError: The template exceeds the limits or breaks the sandbox; rows will show its other faults.
        """
        try:
            self._rendered(stage, _A_ROW, _SENTENCES[0], ("a lake", "a sea"))
        except FaultError as error:
            if error.kind == "SecurityError":
                raise InputError(f"{error.place or self._sources.file_of(stage)}: {error}") from error

    def markers(self, stage: Stage) -> tuple[str, ...]:
        """Return the markers that the template of a stage asks the model to write before its answer.

        Jinja comments can name them: `{# answer marker: Also lautet die Antwort #}`. Without such a comment, the marker
        of `cot` is the ending that the template quotes (`end with "So the answer is"`), and that of a direct answer the
        last line of the template, the cue (`Antwort:`), which models echo.

        Raises:
            InputError: A template of the user exceeds the limits.
        """
        if self._ours:
            return self._ours.markers(stage)
        with self._within_limits(stage):
            return tuple(self._job.call("markers", stage=stage))

    def digest(self) -> str:
        """Return the SHA-256 (`sha256:...`) over all templates in use, the same for two runs that ask alike.

        Raises:
            InputError: A template of the user is not UTF-8 text.
        """
        return self._sources.digest()

    def _rendered(self, stage: Stage, row: Row, rationale: str | None, choices: Sequence[str]) -> str:
        length = len(row.question) + sum(len(one.title) + len(one.text) for one in row.context)
        asked: dict[str, Any] = {"stage": stage, "rationale": rationale, "choices": list(choices)}
        asked |= {"most": self._limits.output + 8 * length}
        if self._ours:
            return self._ours.render(row=row, **asked)
        with self._within_limits(stage):
            return str(self._job.call("render", row=row_record(row), **asked))

    @contextmanager
    def _within_limits(self, stage: Stage) -> Iterator[None]:
        try:
            yield
        except ExceededError as error:
            place = error.place or self._sources.file_of(stage)
            raise InputError(f"{place}: the template {error}: mend it") from error

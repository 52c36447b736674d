"""The settings of prompts, examples and system messages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from lmcot_cli.backends.base import Role
from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import check, setting

Stage = Literal["standard", "cot", "guided_rationale", "guided_answer"]
"""A step of a method: one template, one model that is asked."""

ShotsBy = Literal["first", "bm25"]
"""How examples are chosen: the first rows of the file, the same for all rows, or those nearest to each row."""

_prompt_setting = partial(setting, panel="Prompt")


def role_of(stage: Stage) -> Role:
    """Return the role of the model that a stage asks."""
    return "small" if stage == "guided_rationale" else "large"


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What models are asked beside the question.

    Attributes:
        fields: Names of the columns of `shots_from`, where it has them (see `RowOptions`).
        lists_choices: Whether prompts list the answers to choose from.
        choices: These answers; empty takes those of each row.
    """

    prompts: Path | None = _prompt_setting(None, "Folder with your own prompt templates.", metavar="DIR")
    shots: int = _prompt_setting(
        0,
        "Number of solved examples before each prompt, taken from --shots-from; base models need them.",
        metavar="N",
    )
    shots_from: Path | None = _prompt_setting(
        None,
        "Rows to make examples of, in any layout: with an answer and, for cot and guided, a rationale or"
        " supporting facts. An example shows only their supporting paragraphs, where they name any.",
        metavar="FILE",
    )
    shots_by: ShotsBy = _prompt_setting(
        "first",
        "first: the first rows of the file, the same for all questions, read once. bm25: those whose questions"
        " share most words with each question, the nearest last. A row is never its own example.",
    )
    small_system: str | None = _prompt_setting(
        None,
        "System message of the small LM: the content of a file of that name (UTF-8), else the text itself.",
        metavar="TEXT|FILE",
    )
    large_system: str | None = _prompt_setting(
        None,
        "System message of the large LM: the content of a file of that name (UTF-8), else the text itself.",
        metavar="TEXT|FILE",
    )
    fields: tuple[tuple[str, str], ...] = ()
    lists_choices: bool = False
    choices: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse options that cannot work together.

        Raises:
            UsageError: Names the option.
        """
        if self.shots < 0:
            raise UsageError(f"--shots {self.shots}: give the number of examples, 0 for none")
        if self.shots and self.shots_from is None:
            raise UsageError(f"--shots {self.shots} needs --shots-from FILE, the rows to make examples of")
        if self.shots_from is not None and not self.shots:
            raise UsageError(f"--shots-from {self.shots_from} needs --shots N, the number of examples")
        if self.shots_from == Path("-"):
            raise UsageError("--shots-from -: examples cannot come from standard input; give a file")
        check(self)

"""Settings of what models are asked beside the question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lmcot_cli.errors import UsageError

Stage = Literal["standard", "cot", "guided_rationale", "guided_answer"]
"""A step of a method: one template, one model that is asked."""

ShotsBy = Literal["first", "bm25"]
"""How shots are chosen: the first rows of the file, alike for all rows, or those nearest to each row."""


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What models are asked beside the question.

    Attributes:
        prompts: Folder with templates that replace ours.
        shots: Examples before each prompt.
        shots_from: File of the rows that they are made of.
        shots_by: How they are chosen.
        small_system: System message of the small LM, or a file that holds it.
        large_system: System message of the large LM, or a file that holds it.
        fields: Where the rows of `shots_from` have what, if they have it there (see `RowOptions`).
        lists_choices: Whether prompts list the answers to choose from.
        choices: These answers; empty takes those of each row.
    """

    prompts: Path | None = None
    shots: int = 0
    shots_from: Path | None = None
    shots_by: ShotsBy = "first"
    small_system: str | None = None
    large_system: str | None = None
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
        if self.shots_by not in get_args(ShotsBy):
            raise UsageError(f"--shots-by {self.shots_by}: choose one of {', '.join(get_args(ShotsBy))}")

"""The settings of collecting rationales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.settings.declaration import COUNT, SHARE, Rule, check, declared, setting

_PANEL = "Filters"

NOT_OF_TEACHER = declared(AnswerOptions).keys() - {
    "large", "samples", "temperature", "top_p", "max_tokens", "thinking", "max_thinking_tokens", "answer_regex",
    "seed", "limit", "fields", "prompts", "shots", "shots_from", "shots_by", "large_system", "parallel", "threads",
    "n_ctx", "gpu_layers", "large_option", "truncate", "max_errors", "finish_within", *declared(EndpointOptions),
}  # fmt: skip
"""The settings of answering that do not apply to a teacher's chains."""


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """The context of the large LM when it writes chains to learn from."""

    context: Literal["all", "supporting"] = setting(
        "all",
        "Context that the large LM reads: all of it, or only the paragraphs that the record names as supporting, where"
        " it errs less. The rationales are kept with the whole context.",
    )


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """The bounds of a rationale that is fit to learn from."""

    min_f1: float | None = setting(
        None, "Minimum F1 of the answer it led to.", shown="an exact match", rule=SHARE, panel=_PANEL
    )
    min_words: int = setting(4, "Minimum words.", rule=COUNT, panel=_PANEL)
    max_words: int = setting(150, "Maximum words.", rule=COUNT, panel=_PANEL)
    # A fact may be quoted; a rationale that recites paragraphs has selected nothing.
    max_copied: int = setting(
        40, "Maximum words in a row copied from one paragraph, word for word.", rule=COUNT, panel=_PANEL
    )
    # A right answer may come from wrong facts, by luck, and an LM is less sure of these. But it is also less sure of
    # some types of question, from which a small LM would learn nothing if there were one bound for all.
    keep_surest: float | None = setting(
        None,
        "Share of what passes to keep, per question type: what the large LM was surest of.",
        metavar="SHARE",
        shown="all",
        rule=Rule(above=0, most=1),
        panel=_PANEL,
    )

    def check(self) -> None:
        """Raise a UsageError that names every bound that nothing can meet."""
        wrong = []
        if self.min_words > self.max_words:
            wrong.append(f"--min-words {self.min_words}: give no more than --max-words ({self.max_words})")
        check(self, *wrong)

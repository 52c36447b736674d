"""The errors a user can cause or meet, each with the exit code it ends in.

    LmcotError                  1   something went wrong; the message says what to type next
    ├── UsageError              2   options or settings that cannot work together
    │   └── ModelSpecError      2   a string that names no model
    ├── MissingExtraError       3   an optional part is not installed
    ├── InputError              1   a file cannot be read as questions, answers or settings
    │   └── UnconfirmedSettingsError  1   the user has not confirmed a settings file in the working directory
    ├── OutputError             1   a file cannot be written, or belongs to another run
    ├── ProcessError            1   a process of our own cannot be started
    ├── TooManyErrorsError      1   more rows failed than --max-errors allows
    ├── FirstRowsFailError      1   the first rows of the input all fail alike
    ├── ModelError              1   a model cannot be found, loaded or run
    └── RowError                1   one row failed; it becomes the row's error record, and other rows continue
        ├── PromptTooLongError  1   a prompt does not fit the model's context
        ├── DuplicateIdError    1   an earlier row has the same id
        ├── MissingRationaleError   1   the row should bring a rationale and does not
        ├── MissingChoicesError 1   the row should bring choices and does not
        ├── ReplyCutError       1   a limit left no room for an answer
        ├── SlowPatternError    1   --answer-regex takes too long on a reply
        ├── TooFewShotsError    1   the row is itself an example, and there is none to replace it
        └── OutOfBudgetError    1   the run's budget was spent before the row began

Everything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Self

INTERRUPTED = 130
"""The exit code after Ctrl-C: what a shell reports for a program that SIGINT (2) ended, 128 + 2.

After SIGTERM it is 143 (128 + 15), after SIGHUP 129 (128 + 1).
"""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message that names the known word nearest to a wrong one; empty where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, [*known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class LmcotError(Exception):
    """Base of every error that is shown as one line, without a traceback."""

    exit_code = 1


class UsageError(LmcotError):
    """Options or settings cannot work; the message names the option."""

    exit_code = 2


class ModelSpecError(UsageError):
    """A model spec names no backend or no model."""


class MissingExtraError(LmcotError):
    """A package of an optional extra is not installed."""

    exit_code = 3

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed: pip install 'lmcot[{extra}]'")


class InputError(LmcotError):
    """A file cannot be read; the message starts with `FILE:` or `FILE:LINE:`."""


class UnconfirmedSettingsError(InputError):
    """A settings file found in the working directory would do more than set numbers and switches.

    Attributes:
        reached: What it would do.
    """

    _SHOWN = 12

    def __init__(self, file: str, reached: Sequence[str]) -> None:
        self.reached = tuple(reached)
        shown, more = reached[: self._SHOWN], len(reached) - self._SHOWN
        would = "; ".join([*shown, *([f"do {more} more things"] if more > 0 else [])])
        super().__init__(
            f"{file}: was found here and is not confirmed; it would {would}. If you trust it, name it:"
            f" --config {file}, or run lmcot on a terminal, which asks once; --config {os.devnull} ignores it"
        )


class OutputError(LmcotError):
    """A file cannot be written, or holds another run's results."""


class ModelError(LmcotError):
    """A model file is missing or damaged, or cannot be loaded or run."""


class ProcessError(LmcotError):
    """A process of our own, such as the one that renders templates, cannot be started."""


class TooManyErrorsError(LmcotError):
    """More rows failed than --max-errors allows; finished rows are in the output, if there is one (`kept`)."""

    def __init__(self, failed: int, rows: int, limit: str, *, kept: bool) -> None:
        done = "; finished rows are kept" if kept else ""
        redo = ", with --retry-errors for the failed rows" if kept else ""
        super().__init__(
            f"stopped: {failed} of {rows} rows failed (--max-errors {limit}){done}:"
            f" fix the cause and run the same command again{redo}"
        )


class FirstRowsFailError(LmcotError):
    """The first rows of an input all fail alike: it holds no questions, or lacks what the settings need."""


class RowError(LmcotError):
    """One row failed; `str(error)` becomes the message of its error record."""


class PromptTooLongError(RowError):
    """A prompt and its completion do not fit.

    Attributes:
        share: The share of the tokens by which they exceed the room, as far as known.
        refused: Whether an endpoint said so; only it can count the tokens.

    Args:
        prompt_tokens: Tokens of the prompt.
        max_tokens: Maximum tokens of the completion.
        context_tokens: Tokens that fit.
        option: The option that `max_tokens` comes from.
        limit: What sets that number.
        advice: What to type for more room; None if there is no more.
    """

    def __init__(
        self,
        prompt_tokens: int,
        max_tokens: int,
        context_tokens: int,
        option: str = "--max-tokens",
        limit: str = "the model's context",
        advice: str | None = None,
    ) -> None:
        self.prompt_tokens, self.max_tokens, self.context_tokens = prompt_tokens, max_tokens, context_tokens
        over = prompt_tokens + max_tokens - context_tokens
        self.share, self.refused = over / max(prompt_tokens + max_tokens, 1), False
        super().__init__(
            f"the prompt does not fit: {prompt_tokens} prompt tokens + {max_tokens} to write ({option})"
            f" are {over} more than {limit} of {context_tokens}; {advice or self._advice(option)}"
        )

    @classmethod
    def of_endpoint(cls, said: str, share: float) -> Self:
        """Return the error for an endpoint's refusal: its words, and the share of the tokens that is too many."""
        return cls._saying(said, share, refused=True)

    def also(self, advice: str) -> Self:
        """Return the same error with more advice in its message."""
        return self._saying(f"{str(self).rstrip('.')}{advice}", self.share, refused=self.refused)

    @classmethod
    def _saying(cls, message: str, share: float, *, refused: bool) -> Self:
        error = cls.__new__(cls, message)
        error.share, error.refused = share, refused
        return error

    def _advice(self, option: str) -> str:
        """Return how to use the room there is: a lower limit helps only a prompt that fits by itself."""
        left = self.context_tokens - self.prompt_tokens
        lower = f", or lower {option} to {left}" if left > 0 else ""
        return f"shorten the row's context{lower}"


class DuplicateIdError(RowError):
    """An earlier row of the same input has the row's id."""


class MissingRationaleError(RowError):
    """A row lacks the rationale from which it should be answered."""


class MissingChoicesError(RowError):
    """A row lacks the choices of which its answer should be one."""


class ReplyCutError(RowError):
    """A limit cut every reply of a row before it came to an answer."""


class SlowPatternError(RowError):
    """The expression of `--answer-regex` takes too long on a reply."""


class TooFewShotsError(RowError):
    """A row is itself an example, and there is none to replace it."""


class OutOfBudgetError(RowError):
    """A row could not begin: the limit that `limit` names had been reached."""

    def __init__(self, limit: str) -> None:
        super().__init__(
            f"--{limit.replace('_', '-')} was reached before this row began; --retry-errors answers it"
        )

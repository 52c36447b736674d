"""What a benchmark runs."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.backends.engine_options import MAX_PARALLEL, MAX_THREADS, EngineOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import COUNT, NOT_NEGATIVE, Rule, check, group, setting, setting_from

_WORK = "Workload"


def _read_widths(text: str) -> tuple[int, ...]:
    """Read `1,4,16`; sorted, each once."""
    try:
        widths = {int(part) for part in text.split(",")}
    except ValueError:
        raise UsageError(f"--widths {text!r}: write numbers with commas between them: 1,4,16") from None
    return tuple(sorted(widths))


@dataclass(frozen=True, slots=True)
class Workload:
    """The samples that are written at every width.

    Raises:
        UsageError: A value is out of range.
    """

    # Each repeat has prompts of its own, so that no cache helps it.
    prompts: int = setting(8, "Different prompts.", rule=COUNT, panel=_WORK)
    prompt_tokens: int = setting(
        256,
        "Tokens per prompt, exactly, as the model sees it (chat template included).",
        rule=COUNT,
        panel=_WORK,
    )
    samples: int = setting(8, "Completions per prompt.", short="-k", rule=COUNT, panel=_WORK)
    # An end-of-text token does not end one.
    new_tokens: int = setting(64, "Tokens per completion, exactly.", rule=COUNT, panel=_WORK)
    temperature: float = setting(
        0.8, "Temperature of the sampling; 0 is greedy.", rule=NOT_NEGATIVE, panel=_WORK
    )
    top_p: float = setting(
        0.95,
        "Sample from the likeliest tokens that hold this much probability.",
        rule=Rule(above=0, most=1),
        panel=_WORK,
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def request_tokens(self) -> int:
        """Tokens of a prompt and its completion."""
        return self.prompt_tokens + self.new_tokens

    @property
    def completion_tokens(self) -> int:
        """Tokens written in one repeat."""
        return self.prompts * self.samples * self.new_tokens


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is measured.

    Raises:
        UsageError: A value is out of range.
    """

    widths: tuple[int, ...] = setting(
        (1, 4, 8, 16, 32),
        "Sequences decoded at once, each measured.",
        metavar="N,N,...",
        shown="1,4,8,16,32",
        read=_read_widths,
    )
    repeats: int = setting(3, "Measured runs per width; the median counts.", rule=COUNT)
    threads: int = setting_from(
        lambda: EngineOptions().threads,
        "Threads that compute.",
        shown="the usable cores",
        rule=Rule(least=1, most=MAX_THREADS),
    )
    gpu_layers: int = setting(0, "Layers to put on a GPU; -1 is all.", rule=Rule(least=-1))
    workload: Workload = group(Workload)

    def __post_init__(self) -> None:
        wrong = [width for width in self.widths if not 1 <= width <= MAX_PARALLEL]
        check(
            self,
            *(
                f"--widths: {width} is out of range; give a number from 1 to {MAX_PARALLEL}"
                for width in wrong
            ),
        )

"""The results of a verification."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lmcot_cli.scoring.comparison import Difference
from lmcot_export.verify.divergence import Divergence

Verdict = Literal["passed", "failed", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of an export.

    Attributes:
        name: What was checked.
        passed: Whether it passed; None if it was only measured, could not be made, or is undecided.
        detail: The finding in one line; after a failure, the first place that differs.
        inconclusive: Whether there were too few questions to decide.
    """

    name: str
    passed: bool | None
    detail: str
    inconclusive: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures to choose a type by; None if not measured.

    Attributes:
        bytes: Size of the export.
        bits_per_weight: Its bits for each of the source's weights.
        tokens_per_second: Rate of decoding 16 sequences at once on this machine.
        everywhere: Divergence from the source over all positions of prompts and of what the source writes after them.
        written: The same over the positions that predict what the source writes: those where the model is used. (A
            model that was trained on rationales alone may find nothing likely within a prompt, and the least change
            turns its first choice there.)
        rows: Rows whose rationales and answers were compared.
        rationales: Share of them whose greedy rationales are equal.
        exact_match: Exact match of the answers, from 0 to 1: `a` with the source's rationales, `b` with the export's.
    """

    bytes: int
    bits_per_weight: float
    tokens_per_second: float | None = None
    everywhere: Divergence | None = None
    written: Divergence | None = None
    rows: int = 0
    rationales: float | None = None
    exact_match: Difference | None = None

    @property
    def where_used(self) -> Divergence | None:
        """Divergence where the model is used, on what it writes; if that was not measured, everywhere."""
        return self.written or self.everywhere


@dataclass(frozen=True, slots=True)
class Verification:
    """The checks and figures of one export.

    Attributes:
        source: The folder it came from.
        exported: The file or folder.
        type: How its weights are stored: `f32`, `q4_0`, `onnx`...
        checks: In the order in which they were made; those after a failure to load are missing.
        figures: The figures.
    """

    source: Path
    exported: Path
    type: str
    checks: tuple[Check, ...]
    figures: Figures

    @property
    def verdict(self) -> Verdict:
        """The verdict over all checks: a failed one decides, then an inconclusive one."""
        if self.failed:
            return "failed"
        return "inconclusive" if self.inconclusive else "passed"

    @property
    def passed(self) -> bool:
        """Whether no check failed, and none is inconclusive."""
        return self.verdict == "passed"

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def inconclusive(self) -> tuple[Check, ...]:
        """The checks that had too few questions."""
        return tuple(check for check in self.checks if check.inconclusive)

    def to_record(self) -> dict[str, object]:
        """Return everything as plain values, for JSON."""
        record = asdict(self)
        return {
            **record,
            "source": str(self.source),
            "exported": str(self.exported),
            "passed": self.passed,
            "verdict": self.verdict,
        }

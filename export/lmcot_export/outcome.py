"""The results of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmcot_cli.files import size_of

if TYPE_CHECKING:
    from lmcot_export.verify.report import Verdict, Verification


@dataclass(frozen=True, slots=True)
class Output:
    """One exported file (ONNX: folder).

    Attributes:
        path: Its name ends in `.rejected` if a check failed, and in `.unverified` until verification passes.
        type: How its weights are stored.
        reused: Whether an earlier export made it from the same source.
        verification: The verification; None if there was none.
        wanted: Whether its type was requested; others only serve to make those.
        may_be_inconclusive: Whether it passes if verification could not decide.
    """

    path: Path
    type: str
    reused: bool
    verification: Verification | None = None
    wanted: bool = True
    may_be_inconclusive: bool = False

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return size_of(self.path)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of verification; None without one."""
        return self.verification.verdict if self.verification else None

    @property
    def passed(self) -> bool:
        """Whether it may be used: no check failed, and none is inconclusive unless that is allowed."""
        return self.verdict != "failed" and (self.verdict != "inconclusive" or self.may_be_inconclusive)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        outputs: In the order they were made, the full-precision file first.
        folder: Where they are, with `manifest.json` and `verify.json`.
        recommendation: The chosen type, if one was requested.
        notes: Notes for the user, one line each.
    """

    outputs: tuple[Output, ...]
    folder: Path
    recommendation: Recommendation | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all outputs passed."""
        return all(output.passed for output in self.outputs)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The chosen output.

    Attributes:
        output: The chosen output.
        reasons: The reasons, one line each.
    """

    output: Output
    reasons: tuple[str, ...]

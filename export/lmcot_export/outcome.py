"""What comes of an export."""

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
        path: Where it is; its name ends in `.rejected` where a check failed, in `.unverified` as long as
            verification has not passed it.
        type: How its weights are stored.
        reused: Whether an earlier export had made it from the very same source.
        verification: What was found; None where nothing was verified.
        wanted: Whether its type was asked for, and it is not there only for others to be made from.
        may_be_inconclusive: Whether it counts as passed where verification could not decide.
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
        """What verification came to; None where there was none."""
        return self.verification.verdict if self.verification else None

    @property
    def passed(self) -> bool:
        """Whether nothing stands against its use: no check failed, and none is inconclusive that may not be."""
        return self.verdict != "failed" and (self.verdict != "inconclusive" or self.may_be_inconclusive)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export made.

    Attributes:
        outputs: In the order they were made, the full-precision file first.
        folder: Where they are, with `manifest.json` and `verify.json`.
        recommendation: The type chosen, where one was asked for.
        notes: What the user should know, a line each.
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
        output: It.
        reasons: Why, a line each.
    """

    output: Output
    reasons: tuple[str, ...]

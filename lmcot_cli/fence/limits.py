"""How much one call in the child may take, and what is raised where it takes more."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeAlias

MIB = 2**20

Excess: TypeAlias = Literal["time", "memory", "output", "recursion", "crash"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take; what it was given (a long context, a large vocabulary) comes on top.

    Attributes:
        seconds: Of computing. A template takes a few milliseconds.
        wall_seconds: By the clock: a busy machine computes little in that time, and one that never ends none of it.
        memory: Bytes of address space; only Linux holds a process to that.
        output: Characters.
        seconds_per_mib: What a call may take more for what it is given.
        memory_per_byte: The same in memory.
    """

    seconds: float = 1.0
    wall_seconds: float = 10.0
    memory: int = 256 * MIB
    output: int = 16 * MIB
    seconds_per_mib: float = 10.0  # some templates look at every character
    memory_per_byte: int = 64

    def beside(self, given: int) -> Limits:
        """Return the limits of a call that is given so many bytes."""
        seconds = self.seconds_per_mib * given / MIB
        return replace(
            self,
            seconds=self.seconds + seconds,
            wall_seconds=self.wall_seconds + seconds,
            memory=self.memory + self.memory_per_byte * given,
            output=self.output + 8 * given,
        )

    def to_record(self) -> dict[str, float]:
        """Return what the child is told."""
        return asdict(self)


class ExceededError(Exception):
    """A call broke a limit.

    Args:
        excess: Which.
        limits: The limits it ran under.
        place: The file and line, where they are known.
    """

    def __init__(self, excess: Excess, limits: Limits, place: str | None = None) -> None:
        self.excess, self.place = excess, place
        super().__init__(
            {
                "time": f"takes more than {limits.seconds:.3g} s",
                "memory": f"needs more than {limits.memory // MIB:,} MiB of memory",
                "output": f"writes more than {limits.output:,} characters",
                "recursion": "includes or calls itself without end, or is nested too deeply",
                "crash": "crashes or runs out of memory: it may be nested too deeply",
            }[excess]
        )


class FaultError(Exception):
    """A call failed by itself, within the limits.

    Args:
        kind: Name of the class of what was raised.
        reason: What it says, on one line.
        place: The file and line, where they are known.
    """

    def __init__(self, kind: str, reason: str, place: str | None = None) -> None:
        self.kind, self.place = kind, place
        super().__init__(reason)

    @property
    def reason(self) -> str:
        """What it says."""
        return str(self)

    @classmethod
    def of(cls, error: BaseException, place: str | None = None, reason: str | None = None) -> FaultError:
        """Tell of what was raised, however long it is, on one line."""
        text = " ".join((reason or str(error))[: 4 * _REASON_LENGTH].split()) or type(error).__name__
        short = text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}..."
        return cls(type(error).__name__, short, place)


class OverLimitError(Exception):
    """Raised in the child by what counts for itself: characters that are written, the size of an operation."""

    def __init__(self, excess: Excess, place: str | None = None) -> None:
        self.excess, self.place = excess, place
        super().__init__(excess)


_REASON_LENGTH = 300

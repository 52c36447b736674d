"""The limits of a call in the child process, and the errors of one that breaks them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

MIB = 2**20

Excess: TypeAlias = Literal["time", "memory", "output", "recursion", "crash"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one call; they grow with its input (a long context, a large vocabulary).

    Attributes:
        seconds: Seconds of computing. A template takes a few milliseconds.
        wall_seconds: Seconds by the clock, for a call that waits and does not compute.
        memory: Bytes of address space, which only Linux limits.
        output: Characters.
        seconds_per_mib: Further seconds per MiB of input.
        memory_per_byte: Further bytes of memory per byte of input.
    """

    seconds: float = 1.0
    wall_seconds: float = 10.0
    memory: int = 256 * MIB
    output: int = 16 * MIB
    seconds_per_mib: float = 10.0  # some templates look at every character
    memory_per_byte: int = 64

    def beside(self, given: int) -> Limits:
        """Return the limits of a call with so many bytes of input."""
        seconds = self.seconds_per_mib * given / MIB
        return replace(
            self,
            seconds=self.seconds + seconds,
            wall_seconds=self.wall_seconds + seconds,
            memory=self.memory + self.memory_per_byte * given,
            output=self.output + 8 * given,
        )


class ExceededError(Exception):
    """A call broke a limit.

    Args:
        excess: The kind of limit.
        limits: The limits of the call.
        place: The file and line, if they are known.
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
        kind: The class of the error that was raised.
        reason: Its text on one line.
        place: The file and line, if they are known.
    """

    def __init__(self, kind: str, reason: str, place: str | None = None) -> None:
        self.kind, self.place = kind, place
        super().__init__(reason)

    @classmethod
    def of(cls, error: BaseException, place: str | None = None, reason: str | None = None) -> FaultError:
        """Return the fault for an error, whose text is shortened to one line."""
        text = " ".join((reason or str(error))[: 4 * _REASON_LENGTH].split()) or type(error).__name__
        short = text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}..."
        return cls(type(error).__name__, short, place)


class OverLimitError(Exception):
    """Raised in the child where it counts itself: the characters written, or the size of an operation."""

    def __init__(self, excess: Excess, place: str | None = None) -> None:
        self.excess, self.place = excess, place
        super().__init__(excess)


_REASON_LENGTH = 300

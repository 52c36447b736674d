"""Progress of an export: told by what works, drawn by the command."""

from __future__ import annotations

from typing import Protocol


class ExportProgress(Protocol):
    """Told what is being done; the command draws it."""

    def begin(self, what: str, total: int | None = None) -> None:
        """A step starts; `total` is its bytes, where they are known."""
        ...

    def advance(self, amount: int) -> None:
        """Some bytes of the step are done."""
        ...


class SilentProgress:
    """Progress that nobody looks at."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, amount: int) -> None:
        """Do nothing."""

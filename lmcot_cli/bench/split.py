"""Which part of the engine takes the time outside `llama_decode`."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from lmcot_cli.bench import library_calls

ENGINE = Path("lmcot_cli", "backends")
PARTS = {
    "sampling": "sampling",
    "grammar": "sampling",
    "masks": "sampling",
    "context": "batch filling",
    "vocabulary": "text",
    "reply_text": "text",
}
"""Module or folder of the engine -> what it is for; the scheduler and the rest are `other`."""
DECODE, OTHER = "decode", "other"

Function: TypeAlias = tuple[str, int, str]
"""A function in the profiler's words: file, line, name."""


def time_by_part(run: Callable[[], Any]) -> dict[str, float]:
    """Run something under a profiler, and return each part's share of the time outside `llama_decode`.

    A function that is not the engine's (NumPy's, say) counts for the part that called it. The profiler slows
    Python down and NumPy not, so the shares lean towards parts of many small calls.
    """
    profile = cProfile.Profile()
    profile.runcall(run)
    seconds = _by_part(pstats.Stats(profile).stats)  # type: ignore[attr-defined]
    seconds.pop(DECODE, None)
    total = sum(seconds.values())
    names = [*dict.fromkeys(PARTS.values()), OTHER]
    return {name: seconds.get(name, 0.0) / total for name in names}


def _by_part(stats: dict[Function, Any]) -> dict[str, float]:
    """Add up every function's own time by the part it belongs to."""
    shares: dict[Function, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for function, (_, _, own, _, _) in stats.items():
        for part, share in _parts_of(function, stats, shares).items():
            seconds[part] = seconds.get(part, 0.0) + own * share
    return seconds


def _parts_of(
    function: Function, stats: dict[Function, Any], shares: dict[Function, dict[str, float]]
) -> dict[str, float]:
    """Return the parts a function works for, with the share of its time: its own, else its callers'."""
    if function not in shares:
        own = _own_part(function)
        shares[function] = {own or OTHER: 1.0}  # for now: a recursive function meets itself here
        callers = stats[function][4] if function in stats else {}
        total = sum(times[3] for times in callers.values())
        if own is None and total > 0:
            mixed: dict[str, float] = {}
            for caller, times in callers.items():
                for part, share in _parts_of(caller, stats, shares).items():
                    mixed[part] = mixed.get(part, 0.0) + share * times[3] / total
            shares[function] = mixed
    return shares[function]


def _own_part(function: Function) -> str | None:
    """Return the part of a function of the engine; None for one of another package."""
    path = Path(function[0])
    if path == Path(library_calls.__file__):
        return DECODE
    if any(folder.parts[-len(ENGINE.parts) :] == ENGINE.parts for folder in path.parents):
        return PARTS.get(path.stem) or PARTS.get(path.parent.name, OTHER)
    return None

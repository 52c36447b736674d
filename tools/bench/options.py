"""What a comparison runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmcot_cli.bench.options import BenchOptions
from lmcot_cli.settings.declaration import COUNT, check, group, setting

_PEERS = "Other programs"


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """What is measured, and against what.

    Raises:
        UsageError: A value is out of range.
    """

    bench: BenchOptions = group(BenchOptions)
    profile: bool = setting(False, "Show what takes the time outside llama.cpp: one more run per width.")
    high_level: bool = setting(
        True,
        "Measure llama-cpp-python's Llama, one sample after another.",
        flag="--high-level/--no-high-level",
        panel=_PEERS,
    )
    peer_url: str | None = setting(
        None, "A running llama-server with this model.", metavar="URL", panel=_PEERS
    )
    peer_transformers: Path | None = setting(
        None,
        "The same model as transformers loads it; needs the extra train.",
        metavar="DIR",
        panel=_PEERS,
    )
    peer_concurrency: int = setting(
        16, "Requests, or sequences of a batch, that a peer gets at a time.", rule=COUNT, panel=_PEERS
    )

    def __post_init__(self) -> None:
        check(self)

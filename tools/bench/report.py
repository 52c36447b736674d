"""What a benchmark finds, and how it stands in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tools.bench.options import ComparisonOptions


@dataclass(frozen=True, slots=True)
class Loop:
    """A part that writes the samples in one way only.

    Attributes:
        runs: Written tokens per second of each repeat, reading the prompts included.
        completion_tokens: Tokens written in a repeat.
        peak_memory: Most bytes its process held; None where that process is not ours.
    """

    runs: list[float]
    completion_tokens: int
    peak_memory: int | None

    @property
    def tokens_per_s(self) -> float:
        """The median of the repeats."""
        return median(self.runs)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program.

    Attributes:
        name: What it is.
        where: Its address or folder.
        concurrency: Requests or sequences it had at a time.
        loop: What was measured.
    """

    name: str
    where: str
    concurrency: int
    loop: Loop


@dataclass(frozen=True, slots=True)
class Width:
    """The engine at one width, beside the limit.

    Attributes:
        width: Sequences decoded at once.
        runs: Written tokens per second of each repeat, reading the prompts included.
        limit_runs: The same for the engine's batches through `llama_decode` alone, one after each repeat.
        outside_decode_runs: Share of each repeat's time that was not spent in `llama_decode`.
        completion_tokens: Tokens written in a repeat.
        decoded: The engine's counters for one repeat (`Work`).
        parts: Shares of the time outside `llama_decode`; None where that was not asked for.
        bare_prefill, bare_decode: Tokens per second of `llama_decode` reading prompts, and decoding full batches.
        peak_memory: Most bytes the process held; None where the system does not say.
        stated_memory: What the engine says beforehand that it will be.
    """

    width: int
    runs: list[float]
    limit_runs: list[float]
    outside_decode_runs: list[float]
    completion_tokens: int
    decoded: Mapping[str, float]
    parts: Mapping[str, float] | None
    bare_prefill: float
    bare_decode: float
    peak_memory: int | None
    stated_memory: int

    @property
    def tokens_per_s(self) -> float:
        """The median of the repeats."""
        return median(self.runs)

    @property
    def limit(self) -> float:
        """The median of the limit's runs."""
        return median(self.limit_runs)

    @property
    def of_limit(self) -> float:
        """Median over the repeats of the engine's rate as a share of the limit measured right after it."""
        return median(ours / bare for ours, bare in zip(self.runs, self.limit_runs, strict=True))

    @property
    def outside_decode(self) -> float:
        """The median of the repeats."""
        return median(self.outside_decode_runs)


@dataclass(slots=True)
class ComparisonReport:
    """Everything that has been measured so far.

    Attributes:
        options: What was to be measured.
        model: Facts of the model, ready for JSON.
        machine: Facts of the machine, and `versions` of the programs.
        high_level, widths, peers: What was found; empty as long as nothing is.
    """

    options: ComparisonOptions
    model: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str | None]
    high_level: Loop | None = None
    widths: list[Width] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)

    def add(self, finding: Loop | Width | Peer) -> None:
        """Keep what was found."""
        match finding:
            case Loop():
                self.high_level = finding
            case Width():
                self.widths.append(finding)
            case Peer():
                self.peers.append(finding)

    @property
    def empty(self) -> bool:
        """Whether nothing has been measured."""
        return not (self.high_level or self.widths or self.peers)

    @property
    def best(self) -> Width | None:
        """The fastest width."""
        return max(self.widths, key=lambda width: width.tokens_per_s, default=None)

    def times_high_level(self, tokens_per_s: float) -> float | None:
        """Divide a rate by that of the high-level loop, where that was measured."""
        return tokens_per_s / self.high_level.tokens_per_s if self.high_level else None

    def as_json(self) -> dict[str, Any]:
        """Return the report as it stands in JSON: rates in tokens per second, memory in bytes, shares from 0 to 1."""
        options = self.options.bench
        return {
            "model": dict(self.model),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "workload": asdict(options.workload),
            "settings": {
                "threads": options.threads,
                "gpu_layers": options.gpu_layers,
                "repeats": options.repeats,
            },
            "high_level": _loop(self.high_level) if self.high_level else None,
            "engine": [self._engine(width) for width in self.widths],
            "limit": [_limit(width) for width in self.widths],
            "peers": [self._peer(peer) for peer in self.peers],
        }

    def _engine(self, width: Width) -> dict[str, Any]:
        return {
            "width": width.width,
            "tokens_per_s": width.tokens_per_s,
            "runs": width.runs,
            "of_limit": width.of_limit,
            "times_high_level": self.times_high_level(width.tokens_per_s),
            "outside_decode": width.outside_decode,
            "outside_decode_parts": dict(width.parts) if width.parts else None,
            "completion_tokens": width.completion_tokens,
            "decoded": dict(width.decoded),
            "peak_memory": width.peak_memory,
            "stated_memory": width.stated_memory,
        }

    def _peer(self, peer: Peer) -> dict[str, Any]:
        best = self.best
        return {
            "name": peer.name,
            "where": peer.where,
            "concurrency": peer.concurrency,
            **_loop(peer.loop),
            "times_high_level": self.times_high_level(peer.loop.tokens_per_s),
            "engine_times_peer": best.tokens_per_s / peer.loop.tokens_per_s if best else None,
        }


def _loop(loop: Loop) -> dict[str, Any]:
    return {"tokens_per_s": loop.tokens_per_s, **asdict(loop)}


def _limit(width: Width) -> dict[str, Any]:
    return {
        "width": width.width,
        "tokens_per_s": width.limit,
        "runs": width.limit_runs,
        "prefill_tokens_per_s": width.bare_prefill,
        "decode_tokens_per_s": width.bare_decode,
    }

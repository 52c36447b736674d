"""What a benchmark runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from lmcot_cli.backends.engine_options import MAX_PARALLEL, EngineOptions
from lmcot_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Workload:
    """The samples that every part writes, each part the same.

    Attributes:
        prompts: How many different prompts; each repeat has prompts of its own, so that no cache helps it.
        prompt_tokens: Tokens of a prompt as the model sees it, its chat template included.
        samples: Completions a prompt.
        new_tokens: Tokens a completion; an end-of-text token does not end it.
        temperature, top_p: How tokens are chosen.
    """

    prompts: int = 8
    prompt_tokens: int = 256
    samples: int = 8
    new_tokens: int = 64
    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: A value is out of range.
        """
        for name in ("prompts", "prompt_tokens", "samples", "new_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least 1 is needed")
        if self.temperature < 0:
            raise UsageError(f"--temperature {self.temperature}: choose 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"--top-p {self.top_p}: choose more than 0, and 1 at most")

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
    """What is measured, and against what.

    Attributes:
        workload: The samples to write.
        widths: How many sequences the engine decodes at once, one measurement each.
        repeats: Measured runs of every part.
        threads: Threads that compute, in every part but a server, which has its own.
        gpu_layers: Layers on a GPU; -1 is all.
        high_level: Whether to measure llama-cpp-python's high-level loop.
        profile: Whether to say which part of the engine takes the time outside llama.cpp.
        peer_url: A running llama-server.
        peer_transformers: A folder that transformers loads.
        peer_concurrency: Requests, or sequences of a batch, that a peer gets at a time.

    Raises:
        UsageError: A value is out of range.
    """

    workload: Workload = field(default_factory=Workload)
    widths: tuple[int, ...] = (1, 4, 8, 16, 32)
    repeats: int = 3
    threads: int = field(default_factory=lambda: EngineOptions().threads)
    gpu_layers: int = 0
    high_level: bool = True
    profile: bool = False
    peer_url: str | None = None
    peer_transformers: str | None = None
    peer_concurrency: int = 16

    def __post_init__(self) -> None:
        """Check the ranges; those of the threads and layers are the engine's own."""
        EngineOptions(threads=self.threads, gpu_layers=self.gpu_layers)
        for width in self.widths:
            if not 1 <= width <= MAX_PARALLEL:
                raise UsageError(f"--widths: {width} is out of range; choose between 1 and {MAX_PARALLEL}")
        if self.repeats < 1:
            raise UsageError(f"--repeats {self.repeats}: at least 1 is needed")
        if self.peer_concurrency < 1:
            raise UsageError(f"--peer-concurrency {self.peer_concurrency}: at least 1 is needed")


def parse_widths(text: str) -> tuple[int, ...]:
    """Read `1,4,16`; sorted, each once.

    Raises:
        UsageError: Something else stands there.
    """
    try:
        widths = {int(part) for part in text.split(",")}
    except ValueError:
        raise UsageError(f"--widths {text!r}: write numbers with commas between them: 1,4,16") from None
    return tuple(sorted(widths))

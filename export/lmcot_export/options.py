"""The options of an export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import not_
from pathlib import Path
from typing import Literal

from lmcot_cli.backends.base import Role
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import COUNT, check, setting, setting_of

Format = Literal["gguf", "onnx"]
FULL_TYPES = ("f32", "bf16", "f16")
"""Types that the weights are written in directly."""

QUANTIZED_TYPES = (
    "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0", "q4_k_m", "q4_k_s", "q4_1", "q4_0", "iq4_nl", "iq4_xs",
    "q3_k_l", "q3_k_m", "q3_k_s", "iq3_m", "iq3_s", "iq3_xs", "iq3_xxs", "q2_k", "q2_k_s", "iq2_m", "iq2_s", "iq2_xs",
    "iq2_xxs", "iq1_m", "iq1_s",
)  # fmt: skip
"""Types that llama.cpp quantizes to, most bits first."""

ONNX_TYPES = ("f32", "int8")
"""How ONNX graphs store weights."""

DEFAULT_TYPES: Mapping[Format, tuple[str, ...]] = {"gguf": ("f16",), "onnx": ("f32",)}
CANDIDATE_TYPES: Mapping[Format, tuple[str, ...]] = {"gguf": ("f16", "q8_0", "q4_0"), "onnx": ("f32", "int8")}
"""What `--recommend` chooses from if no types are named."""


_CONVERT, _VERIFY = "Conversion", "Verification"


def _read_types(text: str) -> tuple[str, ...]:
    """Read `q4_0,q8_0`: types in the order given, each once."""
    types = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if not types:
        raise UsageError("--quantize: name at least one type, such as q8_0")
    return types


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a model is exported.

    Attributes:
        source: A model's folder or a run's; None takes the newest run.
        output: The folder to write to; None is beside the run, or named after the model.

    Raises:
        UsageError: Everything that is wrong with the options.
    """

    source: Path | None = None
    output: Path | None = None
    format: Format = setting("gguf", "gguf: for llama.cpp and lmcot itself. onnx: for ONNX Runtime.")
    types: tuple[str, ...] = setting(
        (),
        "Types of the weights, one file each: f32, bf16, f16, q8_0, q4_k_m, q4_0, ...; onnx: f32, int8.",
        name="quantize",
        metavar="TYPES",
        shown="gguf: f16, onnx: f32",
        read=_read_types,
        in_file=str,
    )
    threads: int = setting_of(EngineOptions, "threads", panel=None)
    adapter_only: bool = setting(
        False, "Write the LoRA adapter by itself, for --small-adapter.", panel=_CONVERT
    )
    imatrix: Path | None = setting(
        None,
        "Collect an importance matrix on these questions, or read one of llama-imatrix (.gguf).",
        metavar="QUESTIONS",
        panel=_CONVERT,
    )
    converter: Path | None = setting(
        None,
        "Write the full-precision file with the converter of a llama.cpp checkout.",
        metavar="PATH",
        panel=_CONVERT,
    )
    questions: Path | None = setting(
        None,
        "Questions to verify with; their answers are compared too.",
        name="verify",
        metavar="QUESTIONS",
        shown="prompts from MicroHop, no answers",
        panel=_VERIFY,
    )
    rows: int = setting(400, "Maximum rows of the questions to answer.", rule=COUNT, panel=_VERIFY)
    role: Role = setting(
        "small",
        "Verify a small LM by its rationales, a large LM by its own chains of thought.",
        panel=_VERIFY,
    )
    large: str = setting(
        "builtin:large",
        "LM that answers from the rationales of the source and of the file, for --role small.",
        metavar="SPEC",
        panel=_VERIFY,
    )
    thresholds: tuple[str, ...] = setting(
        (),
        "Threshold of a type: top1, max_kl, mean_kl, rationales, em_drop. May be repeated.",
        name="threshold",
        metavar="TYPE:NAME=X",
        shown="its usual thresholds",
        panel=_VERIFY,
    )
    allow_inconclusive: bool = setting(
        False,
        "Accept a file if the questions are too few to tell whether exact match is lost.",
        panel=_VERIFY,
    )
    verify: bool = setting(
        True,
        "Do not compare files with their source.",
        name="no_verify",
        read=not_,
        shown="",
        panel=_VERIFY,
    )
    recommend: bool = setting(False, "Choose the type for this machine, and say why.", panel=_VERIFY)
    plot: Path | None = setting(
        None, "Draw size against divergence and speed.", metavar="FILE", panel=_VERIFY
    )

    def __post_init__(self) -> None:
        check(self, *self._conflicts())

    def _conflicts(self) -> Iterator[str]:
        known = ONNX_TYPES if self.format == "onnx" else FULL_TYPES + QUANTIZED_TYPES
        for name in self.types:
            if name not in known:
                yield f"--quantize {name}: is no type; choose from {', '.join(known)}"
        needs_figures = {"--recommend": self.recommend, "--plot": self.plot, "--verify": self.questions}
        for name, given in needs_figures.items():
            if given and not self.verify:
                yield f"{name} needs the figures of verification; leave out --no-verify"
        gguf_only = {
            "--adapter-only": self.adapter_only,
            "--imatrix": self.imatrix,
            "--converter": self.converter,
        }
        for name, given in gguf_only.items():
            if given and self.format != "gguf":
                yield f"{name} is for --format gguf"
        if self.adapter_only and (self.types or self.recommend):
            yield "--adapter-only: an adapter is not quantized; leave out --quantize and --recommend"

    @property
    def wanted(self) -> tuple[str, ...]:
        """The types to write."""
        return self.types or (CANDIDATE_TYPES if self.recommend else DEFAULT_TYPES)[self.format]

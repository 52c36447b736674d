"""A short list of well-known instruct models as GGUF files; `lmcot models pull NAME` fetches one.

"small" is under a billion parameters: the one that is trained to write rationales. "large" reads them and
answers; without a GPU, the first of each are the quick ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.backends.base import Role


@dataclass(frozen=True, slots=True)
class Entry:
    """A model worth trying.

    Attributes:
        repository: `org/name` on the Hugging Face hub.
        file: The GGUF file in it.
        size: Bytes of that file.
        license: SPDX id, or the licence's own name.
        note: What to know before using it; empty if nothing.
    """

    name: str
    role: Role
    repository: str
    file: str
    size: int
    license: str
    note: str = ""

    @property
    def spec(self) -> str:
        """The model spec to pass to `--small` or `--large`."""
        return f"hf:{self.repository}:{self.file}"


_APACHE = "Apache-2.0"
_LLAMA = "Llama 3.2 Community"
_LLAMA_NOTE = "asks for a 'Built with Llama' notice, limits some uses"
_THINKS = "thinks aloud first: allow more tokens"


CATALOGUE = (
    Entry(
        "smollm2-135m", "small", "bartowski/SmolLM2-135M-Instruct-GGUF",
        "SmolLM2-135M-Instruct-Q4_K_M.gguf", 105_454_432, _APACHE,
    ),
    Entry(
        "smollm2-360m", "small", "bartowski/SmolLM2-360M-Instruct-GGUF",
        "SmolLM2-360M-Instruct-Q4_K_M.gguf", 270_590_880, _APACHE,
    ),
    Entry(
        "qwen2.5-0.5b", "small", "bartowski/Qwen2.5-0.5B-Instruct-GGUF",
        "Qwen2.5-0.5B-Instruct-Q4_K_M.gguf", 397_808_192, _APACHE,
    ),
    Entry(
        "qwen3-0.6b", "small", "Qwen/Qwen3-0.6B-GGUF",
        "Qwen3-0.6B-Q8_0.gguf", 639_446_688, _APACHE, _THINKS,
    ),
    Entry(
        "gemma-3-1b", "large", "ggml-org/gemma-3-1b-it-GGUF",
        "gemma-3-1b-it-Q4_K_M.gguf", 806_058_240, "Gemma", "the Gemma Terms of Use bind its use",
    ),
    Entry(
        "llama-3.2-1b", "large", "bartowski/Llama-3.2-1B-Instruct-GGUF",
        "Llama-3.2-1B-Instruct-Q4_K_M.gguf", 807_694_464, _LLAMA, _LLAMA_NOTE,
    ),
    Entry(
        "qwen2.5-1.5b", "large", "bartowski/Qwen2.5-1.5B-Instruct-GGUF",
        "Qwen2.5-1.5B-Instruct-Q4_K_M.gguf", 986_048_768, _APACHE,
    ),
    Entry(
        "smollm2-1.7b", "large", "bartowski/SmolLM2-1.7B-Instruct-GGUF",
        "SmolLM2-1.7B-Instruct-Q4_K_M.gguf", 1_055_609_824, _APACHE,
    ),
    Entry(
        "llama-3.2-3b", "large", "bartowski/Llama-3.2-3B-Instruct-GGUF",
        "Llama-3.2-3B-Instruct-Q4_K_M.gguf", 2_019_377_696, _LLAMA, _LLAMA_NOTE,
    ),
    Entry(
        "qwen3-4b", "large", "Qwen/Qwen3-4B-GGUF",
        "Qwen3-4B-Q4_K_M.gguf", 2_497_280_256, _APACHE, _THINKS,
    ),
    Entry(
        "qwen2.5-7b", "large", "bartowski/Qwen2.5-7B-Instruct-GGUF",
        "Qwen2.5-7B-Instruct-Q4_K_M.gguf", 4_683_074_240, _APACHE,
    ),
    Entry(
        "qwen3-8b", "large", "Qwen/Qwen3-8B-GGUF",
        "Qwen3-8B-Q4_K_M.gguf", 5_027_783_488, _APACHE, _THINKS,
    ),
)  # fmt: skip


def readable_size(size: int) -> str:
    """Write bytes as MB or GB (powers of ten)."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def find(name: str) -> Entry | None:
    """Return the entry called `name` (upper and lower case alike), if there is one."""
    return next((entry for entry in CATALOGUE if entry.name == name.lower()), None)

"""A model's `config.json`, as transformers completes it with defaults, read with errors that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmcot_cli.backends.torch.library import loading
from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object

OWN_CODE = (
    "it runs code of its own, which lmcot export does not do; save a copy of it as a built-in architecture"
)
"""Said of a model or tokenizer that brings Python files."""


class ModelConfig:
    """The settings of a Hugging Face model.

    Attributes:
        folder: The model's folder.
        architecture: The class that transformers loads, such as `LlamaForCausalLM`.

    Raises:
        ModelError: There is no `config.json`, or transformers does not know what it says.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"{folder}: has no config.json; name a model's folder (config.json, *.safetensors, tokenizer files)"
                " or a run that `lmcot train` wrote"
            )
        read_object(folder / "config.json")
        from transformers import AutoConfig

        with loading(folder, OWN_CODE):
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.folder = folder
        self._values: Mapping[str, Any] = config.to_dict()
        self.architecture = next(iter(self._values.get("architectures") or ["(none)"]))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting, or `default` where it is absent or null."""
        value = self._values.get(name)
        return default if value is None else value

    def integer(self, name: str) -> int:
        """Return a count or a size that the family cannot do without, 1 at least."""
        value = self._values.get(name)
        if not isinstance(value, int):
            raise ModelError(f"{self.folder / 'config.json'}: {name} is missing")
        if value < 1:
            raise ModelError(
                f"{self.folder / 'config.json'}: {name} is {value}, but must be 1 or more; mend it"
            )
        return value

    def real(self, name: str) -> float:
        """Return a number that the family cannot do without."""
        value = self._values.get(name)
        if not isinstance(value, int | float):
            raise ModelError(f"{self.folder / 'config.json'}: {name} is missing")
        return float(value)

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return self.integer("n_layer" if "n_layer" in self._values else "num_hidden_layers")

    @property
    def tied(self) -> bool:
        """Whether the output embeddings are the input's."""
        return bool(self.get("tie_word_embeddings", False))

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        width = self.get("head_dim")
        return int(width) if width else self.integer("hidden_size") // self.integer("num_attention_heads")

    def require(self, name: str, *allowed: Any) -> None:
        """Refuse a model whose setting llama.cpp has no equal for.

        Raises:
            ModelError: The setting is there and is none of the allowed values.
        """
        value = self.get(name)
        if value is not None and value not in allowed:
            self.refuse(
                f"{name} is {value!r}, and llama.cpp computes {self.architecture} with {allowed[0]!r} only"
            )

    def refuse(self, reason: str) -> None:
        """Say that this model cannot be exported, and what can be done.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            f"{self.folder / 'config.json'}: {reason}; run it with the transformers backend (name the folder as"
            " --small or --large), or try llama.cpp's own converter: --converter PATH"
        )

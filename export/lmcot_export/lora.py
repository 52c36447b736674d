"""Read a LoRA adapter that peft saved (arXiv 2106.09685): W + scale * B A, and modules that were trained whole."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object
from lmcot_export.weights import SafetensorsFolder

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

_PREFIX = "base_model.model."
_PAIR = re.compile(r"(.*)\.lora_(embedding_)?([AB])(?:\.weight)?")
_CONV1D = re.compile(r"(?:.*\.)?(?:c_attn|c_proj|c_fc)")
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq")
_UNSUPPORTED = {
    "use_dora": "DoRA rescales whole weights",
    "use_qalora": "QALoRA pools its inputs",
    "lora_bias": "it has biases of its own",
    "layer_replication": "it repeats layers",
    "trainable_token_indices": "it trains single token embeddings",
    "target_parameters": "it changes parameters that are no layers",
}


@dataclass(frozen=True, slots=True)
class LowRank:
    """One weight's change, `scale * b @ a`.

    Attributes:
        a: [rank, inputs].
        b: [outputs, rank].
        scale: What the product is multiplied by.
        transposed: Whether the base stores this weight as [inputs, outputs] (Conv1D, embeddings).
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    scale: float
    transposed: bool


class LoraAdapter:
    """The adapter in a folder (`adapter_model.safetensors`, `adapter_config.json`).

    Attributes:
        folder: Where it is.
        low_rank: Changes by the name of the weight in the base model.
        replaced: Names of the whole tensors it brings (`modules_to_save`).

    Raises:
        ModelError: It is damaged, no LoRA, or of a kind whose weights cannot be added to the base's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_object(folder / CONFIG)
        check_stands_alone(folder)
        self._check()
        self._weights = SafetensorsFolder(folder, single=WEIGHTS)
        pairs: dict[str, dict[str, str]] = {}
        self.replaced: list[str] = []
        for name in self._weights.names:
            target = name.removeprefix(_PREFIX)
            if match := _PAIR.fullmatch(target):
                pairs.setdefault(match[1], {})[match[3]] = name
            elif "lora_" in target:
                raise self._refusal(f"{name} is no part of a plain LoRA")
            else:
                self.replaced.append(target)
        self.low_rank = {f"{module}.weight": self._low_rank(module, pair) for module, pair in pairs.items()}

    def _low_rank(self, module: str, pair: Mapping[str, str]) -> LowRank:
        if set(pair) != {"A", "B"}:
            raise self._refusal(f"{module} has only half of its pair of matrices")
        a, b = (self._weights.read(pair[half]) for half in "AB")
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise self._refusal(f"{module} is no linear layer or embedding")
        embedding = "lora_embedding_" in pair["A"]
        conv1d = bool(self.config.get("fan_in_fan_out")) or bool(_CONV1D.fullmatch(module))
        return LowRank(a, b, self.scale(module, a.shape[0]), transposed=embedding or conv1d)

    def scale(self, module: str, rank: int) -> float:
        """Return alpha / rank, or alpha / sqrt(rank) for rank-stabilized LoRA (arXiv 2312.03732)."""
        alpha = float(
            _matching(self.config.get("alpha_pattern") or {}, module, self.config.get("lora_alpha") or rank)
        )
        return alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank

    def _check(self) -> None:
        if self.config.get("peft_type") != "LORA":
            raise self._refusal(f"it is a {self.config.get('peft_type')} adapter, not LoRA")
        for name, reason in _UNSUPPORTED.items():
            if self.config.get(name):
                raise self._refusal(reason)

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(
            f"{self.folder}: cannot be written by itself: {reason}; merge it instead: leave out --adapter-only"
        )


def check_stands_alone(folder: Path) -> None:
    """Refuse an adapter that cannot be added to the weights of its base model as they are.

    Raises:
        ModelError: The adapter changed its base model, or is switched on by tokens.
    """
    config = read_object(folder / CONFIG)
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(_CHANGES_BASE):
        raise ModelError(
            f"{folder}: was started with {start}, which changed the base model's weights as well; save it again with"
            " peft's path_initial_model_for_weight_conversion"
        )
    if config.get("alora_invocation_tokens"):
        raise ModelError(f"{folder}: is switched on by tokens (aLoRA), so it cannot be added to the weights")


def _matching(pattern: Mapping[str, Any], module: str, default: Any) -> Any:
    """Look a module up among name patterns, as peft does: a regular expression for the end of its name."""
    for key, value in pattern.items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return default

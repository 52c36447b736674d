"""Read a LoRA adapter that peft saved (arXiv 2106.09685): W + scale * B A, and modules that were trained whole."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object
from lmcot_export.weights import SafetensorsFolder, Weights, read

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
    "alora_invocation_tokens": "it is switched on by tokens (aLoRA)",
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

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the base's weight."""
        outputs, inputs = self.b.shape[0], self.a.shape[1]
        return (inputs, outputs) if self.transposed else (outputs, inputs)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Compute rows [start, stop) of the change, in float32."""
        left, right = (self.a.T, self.b.T) if self.transposed else (self.b, self.a)
        return np.float32(self.scale) * (left[start:stop] @ right)


class LoraAdapter:
    """The adapter in a folder (`adapter_model.safetensors`, `adapter_config.json`).

    Attributes:
        folder: Where it is.
        low_rank: Changes by the name of the weight in the base model.
        replaced: Whole tensors it brings (`modules_to_save`): their names in the base model, and in `weights`.

    Raises:
        ModelError: It is damaged, no LoRA, or of a kind whose weights cannot be added to the base's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_object(folder / CONFIG)
        self._check()
        self._weights = SafetensorsFolder(folder, single=WEIGHTS)
        pairs: dict[str, dict[str, str]] = {}
        self.replaced: dict[str, str] = {}
        for name in self._weights.names:
            target = name.removeprefix(_PREFIX)
            if match := _PAIR.fullmatch(target):
                pairs.setdefault(match[1], {})[match[3]] = name
            elif "lora_" in target:
                raise self._refusal(f"{name} is no part of a plain LoRA")
            else:
                self.replaced[
                    target.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
                ] = name
        self.low_rank = {f"{module}.weight": self._low_rank(module, pair) for module, pair in pairs.items()}

    @property
    def weights(self) -> Weights:
        """The adapter's own tensors; `replaced` says under what names the whole ones are."""
        return self._weights

    def _low_rank(self, module: str, pair: Mapping[str, str]) -> LowRank:
        if set(pair) != {"A", "B"}:
            raise self._refusal(f"{module} has only half of its pair of matrices")
        a, b = (read(self._weights, pair[half]) for half in "AB")
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
        start = str(self.config.get("init_lora_weights", "")).lower()
        if start.startswith(_CHANGES_BASE):
            raise self._refusal(
                f"it was started with {start}, which changed the base model's weights as well"
            )

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(
            f"{self.folder}: cannot be merged here: {reason}; merge it with peft (merge_and_unload, then"
            " save_pretrained) and export the folder that gives"
        )


def _matching(pattern: Mapping[str, Any], module: str, default: Any) -> Any:
    """Look a module up among name patterns, as peft does: a regular expression for the end of its name."""
    for key, value in pattern.items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return default


class MergedWeights:
    """A base model's weights with an adapter added, computed row by row when they are read.

    A model whose output embeddings are tied to the input's is untied where the adapter changes one of them.

    Raises:
        ModelError: The adapter changes a weight that the base does not have, or has in another shape.
    """

    def __init__(self, base: Weights, adapter: LoraAdapter, *, tied: bool) -> None:
        self._base, self._adapter = base, adapter
        self._source = {name: name for name in base.names}
        embedding = next(
            (name for name in base.names if name.endswith(("embed_tokens.weight", "wte.weight"))), None
        )
        touched = {*adapter.low_rank, *adapter.replaced}
        self.unties = tied and embedding is not None and bool(touched & {embedding, "lm_head.weight"})
        if self.unties and embedding is not None:
            self._source.setdefault("lm_head.weight", embedding)
        self._check(touched)

    @property
    def names(self) -> Sequence[str]:
        """The tensors' names, in the base's order."""
        return list(self._source)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape: the adapter's, where it replaces it."""
        if name in self._adapter.replaced:
            return self._adapter.weights.shape(self._adapter.replaced[name])
        return self._base.shape(self._source[name])

    def stored_type(self, name: str) -> str:
        """Return how a tensor is to be stored so that nothing is lost: changed ones in float32."""
        if name in self._adapter.low_rank:
            return "F32"
        if name in self._adapter.replaced:
            return self._adapter.weights.stored_type(self._adapter.replaced[name])
        return self._base.stored_type(self._source[name])

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Read rows [start, stop), merged in float32."""
        if name in self._adapter.replaced:
            rows = self._adapter.weights.rows(self._adapter.replaced[name], start, stop)
        else:
            rows = self._base.rows(self._source[name], start, stop)
        change = self._adapter.low_rank.get(name)
        return rows if change is None else rows + change.rows(start, stop)

    def _check(self, touched: set[str]) -> None:
        for name in sorted(touched):
            if name not in self._source:
                raise ModelError(
                    f"{self._adapter.folder}: changes {name}, which its base model does not have"
                )
        for name, change in self._adapter.low_rank.items():
            if change.shape != self.shape(name):
                raise ModelError(
                    f"{self._adapter.folder}: changes {name} in the shape {change.shape}, but the base model has"
                    f" {self.shape(name)}: it was trained on another model"
                )

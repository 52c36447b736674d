"""Open the models that are trained: an untrained base, or what an earlier run made of one.

Weights come as safetensors only, and no code that comes with a model is run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from huggingface_hub import constants, errors, snapshot_download
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lmcot_cli.backends.torch.checkpoint import weights_digest
from lmcot_cli.errors import LmcotError, ModelError
from lmcot_train.lora import LoraOptions
from lmcot_train.run_folder import RunFolder, RunRecord

Report = Callable[[str], None]
"""Takes one line for the user."""

_WANTED = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]


def silent(line: str) -> None:
    """Say nothing: the `Report` of a process that does not speak for all, and where none is wanted."""


class Opened(NamedTuple):
    """A model with its tokenizer, which has a pad token."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def locate_base(spec: str) -> Path:
    """Return the folder of a base model, fetched first where `spec` is a hub id that is not in the cache.

    Args:
        spec: A folder with config.json, or ORG/NAME of a model on the Hugging Face hub.

    Raises:
        ModelError: There is no such model, it cannot be fetched, or it has no safetensors.
    """
    folder = Path(spec) if Path(spec).is_dir() else _fetch(spec)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{spec}: has no config.json: give a folder that transformers can load, or a hub id")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{spec}: has no .safetensors weights, and no others are loaded: convert them with"
            " save_pretrained(..., safe_serialization=True)"
        )
    return folder


def is_encoder_decoder(model: PreTrainedModel) -> bool:
    """Whether prompts go to an encoder of their own (T5), not before the completion (Llama)."""
    return bool(model.config.is_encoder_decoder)


def open_base(spec: str, *, dtype: torch.dtype = torch.float32, report: Report = silent) -> Opened:
    """Open an untrained model, decoder-only or encoder-decoder as its config says.

    Args:
        spec: A folder or a hub id; see `locate_base`.
        dtype: Type of the weights.
        report: Is told what the model lacks and what is done about it.

    Raises:
        ModelError: It cannot be found or loaded, or has no end-of-text token.
    """
    folder = locate_base(spec)
    try:
        config = AutoConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = _architecture(config).from_pretrained(folder, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"{spec}: cannot be loaded: {_first_line(error)}") from error
    return Opened(_with_pad_id(model, _with_pad_token(tokenizer, spec, report)), tokenizer)


def open_run(
    path: Path, *, trainable: bool = False, dtype: torch.dtype = torch.float32, report: Report = silent
) -> Opened:
    """Open what a finished run trained: its base with its adapter, or its own weights.

    Args:
        path: The run folder.
        trainable: Whether the adapter is to be trained on.
        dtype: Type of the base's weights; an adapter is always float32.
        report: As for `open_base`.

    Raises:
        InputError: There is no finished run.
        ModelError: The base is not there any more or has changed, or something cannot be loaded.
    """
    run = RunFolder(path)
    record = run.read_finished()
    if record.adapter is None:
        return open_base(str(run.model), dtype=dtype, report=report)
    _check_base(record, path)
    model, _ = open_base(record.base, dtype=dtype)
    adapted = PeftModel.from_pretrained(model, run.path / record.adapter, is_trainable=trainable)
    tokenizer = AutoTokenizer.from_pretrained(run.path / record.adapter)
    return Opened(cast("PreTrainedModel", adapted), tokenizer)


def add_adapter(model: PreTrainedModel, options: LoraOptions) -> PeftModel:
    """Freeze the model and put an untrained LoRA adapter on it, which changes nothing yet.

    Raises:
        ModelError: No layer is named as one of the targets.
    """
    task = TaskType.SEQ_2_SEQ_LM if is_encoder_decoder(model) else TaskType.CAUSAL_LM
    named = options.targets[0] if options.targets == ("all-linear",) else list(options.targets)
    config = LoraConfig(
        task_type=task,
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=named,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(f"--lora-targets {','.join(options.targets)}: {_first_line(error)}") from error


def _fetch(spec: str) -> Path:
    """Fetch a model from the hub, or find it in the cache."""
    try:
        return Path(snapshot_download(spec, allow_patterns=_WANTED))
    except errors.HFValidationError as error:
        raise ModelError(f"{spec}: there is no such folder, and it is no hub id (ORG/NAME)") from error
    except (OSError, errors.HfHubHTTPError) as error:
        raise _explain(spec, error) from error


def _explain(spec: str, error: Exception) -> LmcotError:
    """Say in one line why a model cannot be fetched; subclasses are asked for before their bases."""
    page = f"{constants.ENDPOINT}/{spec}"
    match error:
        case errors.GatedRepoError():
            return ModelError(f"{spec} is gated: accept its licence at {page}, then set HF_TOKEN")
        case errors.RepositoryNotFoundError():
            return ModelError(
                f"{spec}: no such folder, and no model at {page}; check the name, or set HF_TOKEN"
            )
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
            return ModelError(
                f"{spec}: no such folder, not in the local cache, and the hub cannot be reached:"
                " check the path, or the network and HF_HUB_OFFLINE"
            )
    return ModelError(f"{spec}: cannot be fetched from {page}: {_first_line(error)}")


def _architecture(config: PretrainedConfig) -> Any:
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _with_pad_token(tokenizer: PreTrainedTokenizerBase, spec: str, report: Report) -> PreTrainedTokenizerBase:
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{spec}: its tokenizer names no end-of-text token: set eos_token in it")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
        report(f"{spec} has no pad token: batches are filled up with {tokenizer.eos_token}, behind a mask")
    return tokenizer


def _with_pad_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _check_base(record: RunRecord, path: Path) -> None:
    if weights_digest(locate_base(record.base)) != record.base_digest:
        raise ModelError(
            f"{path}: its base {record.base} is not the one it was trained on any more; train it anew"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""Open models to train: an untrained base, or what an earlier run made of one.

Only safetensors files are read, and no code that comes with a model is run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import torch
import transformers
from huggingface_hub import constants, errors, snapshot_download
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lmcot_cli.backends.torch.library import OWN_CODE_REFUSED, loading, reason_of
from lmcot_cli.backends.torch.loading import check_room
from lmcot_cli.backends.torch.template_file import try_template
from lmcot_cli.backends.torch.tokenizing import try_tokenizer
from lmcot_cli.backends.torch.unpacked import is_gguf, unpacked
from lmcot_cli.errors import LmcotError, ModelError, UsageError
from lmcot_cli.model_files.digests import settings_digest, weights_digest
from lmcot_cli.model_files.folder import check_adapter_folder, check_model_folder
from lmcot_cli.model_files.places import check_folder
from lmcot_cli.model_files.weights import ADAPTER_WEIGHTS
from lmcot_cli.models.hub import cached_model
from lmcot_train.lora import LoraOptions
from lmcot_train.run_folder import RunFolder, RunRecord

Report = Callable[[str], None]
"""Takes one line for the user."""

_WANTED = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]


def silent(line: str) -> None:
    """Ignore a line: the `Report` of all processes but the first."""


class Opened(NamedTuple):
    """A model with its tokenizer, which has a pad token."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def locate_base(spec: str, named_by: Path | None = None) -> Path:
    """Return the folder of a base model, fetched or unpacked first where that is needed.

    Args:
        spec: A folder with config.json, a GGUF file, or ORG/NAME of a model on the Hugging Face hub.
        named_by: The run that names it, if the user does not: then nothing is fetched.

    Raises:
        ModelError: There is no such model, it cannot be fetched, or its files must not be opened.
    """
    if is_gguf(spec):
        return unpacked(Path(spec))
    is_folder = os.path.isdir(spec)  # noqa: PTH112  (Path's own raises where a name is too long for a file)
    folder = Path(spec) if is_folder else cached_model(spec, named_by) if named_by else _fetch(spec)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{spec}: has no config.json: give a folder that transformers can load, or a hub id")
    check_model_folder(folder, OWN_CODE_REFUSED)
    return folder


def base_settings_digest(spec: str, folder: Path) -> str | None:
    """Return the digest of a base's settings; None for a GGUF file, which has weights only."""
    return None if is_gguf(spec) else settings_digest(folder)


def is_encoder_decoder(model: PreTrainedModel) -> bool:
    """Whether prompts go to an encoder (T5) instead of standing before the completion (Llama)."""
    return bool(model.config.is_encoder_decoder)


def open_base(
    spec: str,
    *,
    dtype: torch.dtype = torch.float32,
    report: Report = silent,
    named_by: Path | None = None,
) -> Opened:
    """Open an untrained model, decoder-only or encoder-decoder as its config says.

    Args:
        spec: See `locate_base`.
        dtype: Type of the weights.
        report: Is told what the model lacks and what is done about it.
        named_by: See `locate_base`.

    Raises:
        ModelError: It cannot be found or loaded, brings code, lacks weights or has some that are not finite, or has no
            end-of-text token.
    """
    folder = locate_base(spec, named_by)
    try_template(folder)
    try_tokenizer(folder)
    transformers.logging.set_verbosity_error()  # we report what matters
    with loading(spec, OWN_CODE_REFUSED):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        check_room(folder, config, trust_remote_code=False)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, found = kind.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"{spec}: lacks {len(missing)} of its weights ({missing[0]}, ...): fetch or save it anew"
        )
    check_finite(model, f"{spec}: is damaged: fetch or save it anew")
    _set_pad_token(model, tokenizer, spec, report)
    return Opened(model, tokenizer)


def open_run(path: Path, *, dtype: torch.dtype = torch.float32, report: Report = silent) -> Opened:
    """Open what a finished run trained: its base with its adapter, or its own weights.

    Args:
        path: The run folder.
        dtype: Type of the base's weights; an adapter is always float32.
        report: See `open_base`.

    Raises:
        InputError: There is no finished run.
        ModelError: The base is missing or has changed, or something cannot be loaded.
    """
    run = RunFolder(path)
    record = run.read_finished()
    if record.adapter is None:
        model_folder = check_folder(path, run.model.name)
        return open_base(str(model_folder), dtype=dtype, report=report, named_by=path)
    _check_base(record, path)
    model, _ = open_base(record.base, dtype=dtype, named_by=path)
    adapter = check_folder(path, record.adapter)
    check_adapter_folder(adapter)
    with loading(adapter, OWN_CODE_REFUSED):
        adapted = _adapted(model, adapter)
        tokenizer = AutoTokenizer.from_pretrained(adapter, local_files_only=True, trust_remote_code=False)
    check_finite(adapted, f"{adapter}: is damaged: train it anew")
    return Opened(cast("PreTrainedModel", adapted), tokenizer)


def check_finite(model: nn.Module, advice: str) -> None:
    """Raise a ModelError that begins with `advice` if a weight is not finite: nothing can be learned from it."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ModelError(f"{advice} ({name} holds numbers that are not finite)")


def add_adapter(model: PreTrainedModel, options: LoraOptions) -> PeftModel:
    """Freeze a model and put an untrained LoRA adapter on it, which changes nothing yet.

    Raises:
        UsageError: The rank is higher than that of any matrix.
        ModelError: No layer is named as one of the targets.
    """
    widest = max(min(weight.shape) for weight in model.parameters() if weight.dim() == 2)
    if options.rank > widest:
        raise UsageError(f"--lora-rank {options.rank}: no matrix of this model has a rank over {widest}")
    config = LoraConfig(
        task_type=TaskType.SEQ_2_SEQ_LM if is_encoder_decoder(model) else TaskType.CAUSAL_LM,
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules="all-linear" if options.targets == ("all-linear",) else list(options.targets),
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(f"--lora-targets {','.join(options.targets)}: {reason_of(error)}") from error


def _fetch(spec: str) -> Path:
    """Fetch a model from the hub, or find it in the cache."""
    try:
        return Path(snapshot_download(spec, allow_patterns=_WANTED))
    except errors.HFValidationError as error:
        raise ModelError(f"{spec}: there is no such folder, and it is no hub id (ORG/NAME)") from error
    except (OSError, errors.HfHubHTTPError) as error:
        raise _explain(spec, error) from error


def _explain(spec: str, error: Exception) -> LmcotError:
    """Return the error that says why a model cannot be fetched; subclasses are matched before their bases."""
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
    return ModelError(f"{spec}: cannot be fetched from {page}: {reason_of(error)}")


def _set_pad_token(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: str, report: Report
) -> None:
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{spec}: its tokenizer names no end-of-text token: set eos_token in it")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
        report(f"{spec} has no pad token: batches are padded with {tokenizer.eos_token}, behind a mask")
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def _check_base(record: RunRecord, path: Path) -> None:
    base = locate_base(record.base, path)
    settings = record.base_settings_digest
    changed = weights_digest(base) != record.base_digest
    if changed or (settings and base_settings_digest(record.base, base) not in (None, settings)):
        raise ModelError(
            f"{path}: its base {record.base} is not the one it was trained on any more; train it anew"
        )


def _adapted(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """Put a saved adapter on its base; raise a ModelError if it is not complete."""
    weights = adapter / ADAPTER_WEIGHTS
    with warnings.catch_warnings(action="ignore"):  # peft only warns of missing weights
        adapted = PeftModel.from_pretrained(model, adapter)
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    with safe_open(weights, "pt") as file:
        missing = sorted(wanted.keys() - set(file.keys()))
    if missing:
        raise ModelError(f"{adapter}: lacks {len(missing)} of its weights ({missing[0]}, ...): train it anew")
    return adapted

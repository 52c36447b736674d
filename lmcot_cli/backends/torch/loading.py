"""Load the model and the tokenizer of a checkpoint, by transformers and peft."""

from __future__ import annotations

from copy import deepcopy
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.torch.checkpoint import Checkpoint
from lmcot_cli.backends.torch.library import loading
from lmcot_cli.backends.torch.vocabulary import TokenizerVocabulary
from lmcot_cli.errors import MissingExtraError, ModelError, UsageError
from lmcot_cli.model_files.weights import read_tensors, weight_files

if TYPE_CHECKING:
    import torch

GENERATION = "generation_config.json"
MOST_PACKED = 32
"""Maximum values that quantized weights pack into a stored one: single bits in 32."""

SPARE_VALUES = 1 << 24
"""Values that a model may have besides its weights: tables of positions, which are large in small models."""


def choose_device(name: str | None) -> torch.device:
    """Return the device of that name; by default the GPU where there is one, else the CPU.

    Raises:
        UsageError: There is no such device.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}; use cpu, cuda or cuda:N") from error
    return device


def load_config(checkpoint: Checkpoint, options: EngineOptions) -> Any:
    """Read `config.json`.

    Raises:
        ModelError: It is damaged, or of an unknown architecture.
    """
    from transformers import AutoConfig

    with loading(checkpoint.base):
        return AutoConfig.from_pretrained(
            checkpoint.base, local_files_only=True, trust_remote_code=options.trust_remote_code
        )


def check_room(folder: Path, config: Any, *, trust_remote_code: bool) -> None:
    """Refuse a config.json whose model is much larger than the folder's weights: it could fill the memory.

    The model is made without values, so that it takes no memory whatever its size. Twice the stored values leaves room
    for parts that are made when a model is loaded; packed weights hold up to 32 values per stored one.

    Raises:
        ModelError: The two do not fit together.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with loading(folder), torch.device("meta"):
        made = kind.from_config(deepcopy(config), trust_remote_code=trust_remote_code)
    stored = read_tensors(weight_files(folder)).values()
    packed = 1 if getattr(config, "quantization_config", None) is None else MOST_PACKED
    values = sum(prod(tensor.shape) for tensor in stored) * packed
    wanted = sum(tensor.numel() for tensor in (*made.parameters(), *made.buffers()))
    if wanted > 2 * values + SPARE_VALUES:
        raise ModelError(
            f"{folder}: config.json makes a model of {wanted:,} values, and its weights hold {values:,}; if one of"
            " them is damaged, fetch or save it anew"
        )


def load_model(checkpoint: Checkpoint, config: Any, options: EngineOptions) -> Any:
    """Load the weights, with an adapter merged into them, ready to run.

    Raises:
        MissingExtraError: There is an adapter, and peft is not installed.
        UsageError: A device that is not there.
        ModelError: The weights cannot be loaded, or are not safetensors.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    device = choose_device(options.device)
    check_room(checkpoint.base, config, trust_remote_code=options.trust_remote_code)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with loading(checkpoint.base):
        model = kind.from_pretrained(
            checkpoint.base,
            config=config,
            dtype=_dtype(options.dtype, device),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=options.trust_remote_code,
        )
        if checkpoint.adapter:
            model = _merge(model, checkpoint.adapter)
        return model.to(device).eval()


def load_vocabulary(checkpoint: Checkpoint, config: Any, options: EngineOptions) -> TokenizerVocabulary:
    """Load the tokenizer of the adapter if it has one, else that of the base.

    Raises:
        ModelError: There is none, or it cannot be used.
    """
    from transformers import AutoTokenizer

    folder = tokenizer_folder(checkpoint)
    with loading(folder):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=options.trust_remote_code
        )
    return TokenizerVocabulary(
        tokenizer, end_tokens(checkpoint, config), encoder=config.is_encoder_decoder, path=folder
    )


def end_tokens(checkpoint: Checkpoint, config: Any) -> list[int]:
    """Return the ids that end a text, as the adapter states them if it does, because training may have changed them."""
    folder = checkpoint.adapter or checkpoint.base
    if not (folder / GENERATION).is_file():
        folder = checkpoint.base
    stated = _generation_setting(folder, config, "eos_token_id")
    return [] if stated is None else list(stated) if isinstance(stated, list | tuple) else [stated]


def decoder_start(folder: Path, config: Any) -> int:
    """Return the token that an encoder-decoder model's completions begin with.

    Raises:
        ModelError: The folder names none.
    """
    for name in ("decoder_start_token_id", "bos_token_id"):
        token = _generation_setting(folder, config, name)
        if token is not None:
            return int(token)
    raise ModelError(f"{folder}: config.json has no decoder_start_token_id; add it")


def _generation_setting(folder: Path, config: Any, name: str) -> Any:
    """Return a setting of `generation_config.json`, or of `config.json` where that does not state it."""
    from transformers import GenerationConfig

    stated: Any = None
    if (folder / GENERATION).is_file():
        with loading(folder):
            stated = getattr(GenerationConfig.from_pretrained(folder, local_files_only=True), name, None)
    return getattr(config, name, None) if stated is None else stated


def _merge(model: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError("running a LoRA adapter", "train") from error
    with loading(adapter):
        return PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)


def _dtype(name: str | None, device: torch.device) -> torch.dtype | str:
    """Return the type to compute in: by default float32 on a CPU, and the checkpoint's own on a GPU."""
    import torch

    chosen: torch.dtype | str = torch.float32 if device.type == "cpu" else "auto"
    return chosen if name is None else getattr(torch, name)


def tokenizer_folder(checkpoint: Checkpoint) -> Path:
    """Return the folder of the tokenizer: the adapter's if it has one, else the base's."""
    adapter = checkpoint.adapter
    return adapter if adapter and (adapter / "tokenizer.json").is_file() else checkpoint.base

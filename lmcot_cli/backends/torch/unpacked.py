"""A GGUF file unpacked into a folder that transformers can train from, by transformers' own reader.

The folder is in the user's cache under the file's digest, with the weights in float32. What is based on the file names
the file, so that a cache that was emptied is filled again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmcot_cli.errors import ModelError, OutputError
from lmcot_cli.files import hex_digest, replacing_folder
from lmcot_cli.model_files.gguf_header import check_gguf, read_header

SUFFIX = ".gguf"
_COMPLETE = "config.json"
_JUNK = "tokenizer.model"
"""The name by which transformers saves the whole GGUF file, as if it were a SentencePiece model."""


def is_gguf(name: str | Path) -> bool:
    """Return whether a name is that of a GGUF file."""
    return str(name).endswith(SUFFIX)


def unpacked(path: Path) -> Path:
    """Return the folder with the content of a GGUF file, which is unpacked if necessary.

    Raises:
        ModelError: There is no such file, transformers cannot read its architecture, or the cache cannot be written.
        MissingExtraError: torch, transformers or gguf is not installed.
    """
    from filelock import FileLock
    from platformdirs import user_cache_path

    check_gguf(path)
    digest = hex_digest(path)
    folder = user_cache_path("lmcot") / "unpacked" / f"{path.stem}-{digest[:16]}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / _COMPLETE).is_file():
                _unpack(path, folder)
    except (OSError, OutputError) as error:
        raise ModelError(f"{path}: cannot be unpacked: {error}") from error
    return folder


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a file into a folder that is there once it is complete."""
    from lmcot_cli.backends.torch.library import OWN_CODE_REFUSED, loading, prepare_transformers

    prepare_transformers(threads=1)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with replacing_folder(folder) as partial, loading(path, OWN_CODE_REFUSED):
        place, name = str(path.parent), path.name
        model = AutoModelForCausalLM.from_pretrained(
            place, gguf_file=name, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
        model.save_pretrained(partial, safe_serialization=True)
        tokenizer = AutoTokenizer.from_pretrained(
            place, gguf_file=name, local_files_only=True, trust_remote_code=False
        )
        _restore_special_tokens(tokenizer, read_header(path).metadata)
        tokenizer.save_pretrained(partial)
        (partial / _JUNK).unlink(missing_ok=True)


def _restore_special_tokens(tokenizer: Any, metadata: Mapping[str, Any]) -> None:
    """Set the special tokens that the file names; transformers takes the first token for the last."""
    for role in ("bos", "eos", "pad"):
        name = {"pad": "padding"}.get(role, role)
        token = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if isinstance(token, int):
            setattr(tokenizer, f"{role}_token", tokenizer.convert_ids_to_tokens(token))
    adds = metadata.get("tokenizer.ggml.add_bos_token")
    if isinstance(adds, bool) and hasattr(tokenizer, "add_bos_token"):
        tokenizer.add_bos_token = adds

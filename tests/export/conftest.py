"""A tiny Llama to export."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from tests.tiny_models.layouts import SHAPE, byte_level_tokenizer, random_model


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a Llama with a chat template and special tokens; not to be written to."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = byte_level_tokenizer("gpt-2")
    config = transformers.LlamaConfig(
        **SHAPE,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    random_model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

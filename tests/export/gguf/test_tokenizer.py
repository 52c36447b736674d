from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lmcot_cli.errors import ModelError
from lmcot_export.gguf.write import prepare


def test_a_tokenizer_larger_than_the_model_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "tiny"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] - 1}))
    with pytest.raises(ModelError, match=r"model\.resize_token_embeddings"):
        prepare(folder)


def test_a_folder_without_tokenizer_config_is_told_what_transformers_makes_of_it(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "tiny"))
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer_config\.json, .* a LlamaTokenizer.* and adds <unk>"):
        prepare(folder)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))  # as the message says
    ids = prepare(folder).tokenizer.special_ids({})
    assert (ids["bos"], ids["eos"]) == (0, 2)

"""Tokenizers of strangers: those with parts of their own run in the child, where what explodes ends in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.torch.backend import TransformersBackend
from lmcot_cli.backends.torch.tokenizing import FencedTokenizer, is_quick
from lmcot_cli.errors import RowError
from lmcot_cli.main import app

TEXTS = ["", "Ana went to Oslo.", " <|im_start|>user\nWho?<|im_end|> </s>", "Größe 東京\t1957  !", "a" * 3000]


def split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }


def replace(text: str, by: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


HOSTILE = {
    "nested repetitions": {"pre_tokenizer": split(r"(a+)+$")},
    "overlapping choices": {"pre_tokenizer": split(r"(a|aa)+$")},
    "a pattern that is none": {"pre_tokenizer": split("(((")},
    "text that grows": {"normalizer": replace("a", "a" * 10**7)},
    "text that grows in steps": {
        "normalizer": {"type": "Sequence", "normalizers": [replace("a", "aaaaaaaa")] * 9}
    },
    "a map of garbage": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////" * 1000}},
    "a repeated text": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 20_000,
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {},
        }
    },
}


@pytest.fixture
def with_parts(tmp_path: Path, tiny_folder: Callable[..., Path]) -> Callable[[dict[str, Any]], Path]:
    """Write a tiny model whose tokenizer has some parts changed."""

    def write(parts: dict[str, Any]) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(tiny_folder(), folder)
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | parts))
        return folder

    return write


@pytest.mark.parametrize("kind", ["byte", "sentence_piece"])
def test_the_child_tokenizes_as_transformers_does(tiny_folder: Callable[..., Path], kind: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(tokenizer=kind))
    fenced = FencedTokenizer(tokenizer)
    for text in TEXTS:
        for special in (True, False):
            for split_them in (True, False):
                expected = tokenizer(
                    text, add_special_tokens=special, split_special_tokens=split_them
                ).input_ids
                assert fenced.ids(text, special=special, split=split_them) == expected


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tokenizer_ends_in_one_line(
    tmp_path: Path, with_parts: Callable[[dict[str, Any]], Path], name: str
) -> None:
    folder = with_parts(HOSTILE[name])
    (tmp_path / "q.jsonl").write_text('{"question": "Where is Lyon?"}\n')
    result = CliRunner().invoke(
        app, ["answer", str(tmp_path / "q.jsonl"), "--large", str(folder), "--method", "cot"]
    )
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {folder}: its tokenizer.json ")
    assert result.stderr.count("\n") == 1


def test_a_pattern_that_waits_for_a_word_fails_that_row_only(
    with_parts: Callable[[dict[str, Any]], Path],
) -> None:
    folder = with_parts({"pre_tokenizer": split(r"boom(x+)+$|\w+|\W+")})
    backend = TransformersBackend(folder, EngineOptions(threads=1))
    texts = ["Lyon", "boom" + "x" * 60 + "!", "Rome"]
    one, two, three = backend.complete([Request(text, 0) for text in texts], Sampling(max_tokens=1))
    assert isinstance(one, Completion) and isinstance(three, Completion)
    assert isinstance(two, RowError)
    assert str(two).startswith("the model's tokenizer cannot read this prompt of 65 characters: it ")


@pytest.mark.parametrize("kind", ["byte", "sentence_piece"])
def test_known_parts_are_not_sent_away(tiny_folder: Callable[..., Path], kind: str) -> None:
    held = json.loads((tiny_folder(tokenizer=kind) / "tokenizer.json").read_text())
    assert is_quick(held)
    assert not is_quick(held | {"pre_tokenizer": split(r"\w+")})
    assert not is_quick(held | {"normalizer": replace("a", "aa")})
    assert not is_quick(held | {"normalizer": {"type": "Sequence", "normalizers": [replace("a", "aa")]}})
    assert not is_quick([])
    odd: list[Any] = [{"type": [{"type": "NFC"}]}, {"type": "Sequence", "normalizers": 1}]
    odd += [{"type": "Split", "pattern": {"Regex": ["x"]}}, {"type": "Split", "pattern": 1}, {"type": None}]
    assert not any(is_quick(held | {"normalizer": part}) for part in odd)

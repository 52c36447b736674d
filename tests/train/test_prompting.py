"""Prompts and rationales as token ids: what training sees is what inference sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
from transformers import AutoTokenizer

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import PromptOptions
from lmcot_cli.prompts.render import Prompts
from lmcot_train.prompting import RationalePrompts

Rows = Callable[..., list[Row]]
Base = Callable[..., Path]


def open_prompts(
    folder: Path, *, encoder_decoder: bool = False, prompts: PromptBuilder | None = None
) -> tuple[RationalePrompts, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return RationalePrompts(tokenizer, encoder_decoder=encoder_decoder, prompts=prompts), tokenizer


def with_examples(path: Path, rows: list[Row]) -> PromptBuilder:
    """Build prompts with two examples and a system message before them."""
    path.write_text("".join(json.dumps(to_record(row)) + "\n" for row in rows))
    return PromptBuilder(PromptOptions(shots=2, shots_from=path, small_system="Write facts."))


def as_gguf(folder: Path, path: Path) -> Path:
    """Write a GGUF file with the tokenizer of a model folder, and random weights of a tiny shape."""
    import numpy as np

    tokenizer = AutoTokenizer.from_pretrained(folder)
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    size, width = len(tokenizer), 32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokenizer.convert_ids_to_tokens(i) for i in range(size)])
    special = set(tokenizer.added_tokens_decoder)
    kinds = [gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in range(size)]
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(True)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
    square, ones = np.eye(width, dtype=np.float32), np.ones(width, np.float32)
    writer.add_tensor("token_embd.weight", np.zeros((size, width), np.float32))
    writer.add_tensor("output_norm.weight", ones)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", square)
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def awkward(rows: list[Row]) -> list[Row]:
    """Add a row whose question holds what looks like special tokens, and characters of several bytes."""
    return [*rows, replace(rows[0], question="Who wrote </s> or <|im_end|> in « naïve 東京 »?\u00a0🙂")]


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("examples", [False, True])
def test_prompts_have_the_ids_that_llama_cpp_gives_them(
    tiny_base: Base, microhop: Rows, tmp_path: Path, chat: bool, examples: bool
) -> None:
    folder = tiny_base(chat=chat)
    builder = with_examples(tmp_path / "s.jsonl", microhop(4, seed=7)) if examples else PromptBuilder()
    prompts, _ = open_prompts(folder, prompts=builder)
    with LlamaBackend(
        as_gguf(folder, tmp_path / "tiny.gguf"), EngineOptions(threads=1, parallel=16)
    ) as backend:
        for row in awkward(microhop(20)):
            request = builder.request("guided_rationale", row)
            assert len(request.shots) == (2 if examples else 0)
            assert prompts.prompt(row) == backend.vocabulary.prompt_tokens(request)


def test_what_a_model_writes_ends_where_it_begins_an_example_of_its_own(
    tiny_base: Base, microhop: Rows, tmp_path: Path
) -> None:
    written = " Ann sings.\n\nAnswer the question from the context."
    texts = {}
    for builder in (PromptBuilder(), with_examples(tmp_path / "s.jsonl", microhop(2, seed=7))):
        prompts, tokenizer = open_prompts(tiny_base(), prompts=builder)
        texts[builder] = prompts.read(tokenizer(written, add_special_tokens=False)["input_ids"])
    alone, shown = texts.values()
    assert (alone.rationale, alone.finished) == (written.strip(), False)
    assert (shown.rationale, shown.finished) == ("Ann sings.", True)


def test_a_plain_prompt_is_followed_by_a_space_the_rationale_and_the_end(
    tiny_base: Base, microhop: Rows
) -> None:
    prompts, tokenizer = open_prompts(tiny_base())
    row = microhop(1)[0]
    example = prompts.example(row, "  Ann was born in Rome. \n")
    assert example.prompt == prompts.prompt(row)
    assert example.prompt[0] == tokenizer.bos_token_id
    assert tokenizer.decode(example.prompt).endswith("Rationale:")
    assert tokenizer.decode(example.completion) == " Ann was born in Rome.</s>"


def test_a_rationale_has_the_ids_of_the_whole_text_read_at_once(tiny_base: Base, microhop: Rows) -> None:
    prompts, tokenizer = open_prompts(tiny_base())
    for row in microhop(10):
        assert row.rationale
        example = prompts.example(row, row.rationale)
        whole = Prompts().render("guided_rationale", row) + f" {row.rationale}"
        assert [*example.prompt, *example.completion[:-1]] == tokenizer(whole)["input_ids"]


def test_a_chat_turn_ends_in_the_token_its_template_ends_it_with(tiny_base: Base, microhop: Rows) -> None:
    prompts, tokenizer = open_prompts(tiny_base(chat=True))
    example = prompts.example(microhop(1)[0], " Ann was born in Rome.")
    assert tokenizer.decode(example.prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(example.completion) == "Ann was born in Rome.<|im_end|>"
    assert prompts.end_ids == {tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id}


def test_an_encoder_reads_the_prompt_and_its_own_end(tiny_base: Base, microhop: Rows) -> None:
    prompts, tokenizer = open_prompts(tiny_base("t5"), encoder_decoder=True)
    example = prompts.example(microhop(1)[0], "Ann was born in Rome.")
    assert tokenizer.decode(example.prompt).endswith("Rationale:</s>")
    assert tokenizer.decode(example.completion) == "Ann was born in Rome.</s>"


@pytest.mark.parametrize(
    ("written", "rationale", "finished"),
    [
        (" Ann was born in Rome.</s> and more", "Ann was born in Rome.", True),
        (" Ann was born in", "Ann was born in", False),
        (" Ann was born in Rome.\nAnswer: Rome", "Ann was born in Rome.", True),
        ("</s>", "", True),
    ],
)
def test_what_is_written_is_read_up_to_its_end(
    tiny_base: Base, written: str, rationale: str, finished: bool
) -> None:
    prompts, tokenizer = open_prompts(tiny_base())
    read = prompts.read(tokenizer(written, add_special_tokens=False)["input_ids"])
    assert (read.rationale, read.finished) == (rationale, finished)


def test_an_example_reads_back_as_its_rationale(tiny_base: Base, microhop: Rows) -> None:
    for folder, both in ((tiny_base(), False), (tiny_base(chat=True), False), (tiny_base("t5"), True)):
        prompts, _ = open_prompts(folder, encoder_decoder=both)
        row = microhop(1)[0]
        assert row.rationale
        read = prompts.read(prompts.example(row, row.rationale).completion)
        assert (read.rationale, read.finished) == (row.rationale, True)

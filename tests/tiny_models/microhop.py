"""Folders of models whose tokenizer knows MicroHop's words, for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.datasets.native import to_row
from lmcot_cli.datasets.row import Row
from lmcot_cli.prompts.render import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def microhop_rows(count: int, seed: int = 0) -> list[Row]:
    """Make MicroHop rows with a gold answer and rationale."""
    options = MicroHopOptions(rows=count, seed=seed, split="train", max_hops=2, distractors=1)
    return [to_row(record, number) for number, record in enumerate(records(options), 1)]


def tiny_tokenizer(
    *, chat: bool = False, pad: bool = False, end_of_sequence: bool = False
) -> PreTrainedTokenizerFast:
    """A byte-level BPE that knows MicroHop's words.

    Args:
        chat: Whether there is a chat template, whose turns end in <|im_end|>.
        pad: Whether there is a pad token.
        end_of_sequence: Whether a text gets </s> at its end (T5) in place of <s> at its start (Llama).
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    from tools.pretrain.tokenizer import train_tokenizer

    prompts = Prompts()
    texts = [
        prompts.render("guided_rationale", row) + f" {row.rationale}" for row in microhop_rows(20, seed=9)
    ]
    backend = train_tokenizer(texts, 400)
    around = ("$A </s>", ("</s>", 1)) if end_of_sequence else ("<s> $A", ("<s>", 0))
    backend.post_processor = processors.TemplateProcessing(single=around[0], special_tokens=[around[1]])
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    if pad:
        made.add_special_tokens({"pad_token": "<pad>"})
    if chat:
        made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        made.chat_template = CHAT_TEMPLATE
    return made


def llama_folder(path: Path, **options: bool) -> Path:
    """Write a Llama shape of about 60,000 parameters; `options` are those of `tiny_tokenizer`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokens = tiny_tokenizer(**options)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
    )
    return _write(LlamaForCausalLM(config), tokens, path)


def t5_folder(path: Path) -> Path:
    """Write a T5 shape."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    tokens = tiny_tokenizer(pad=True, end_of_sequence=True)
    config = T5Config(
        vocab_size=len(tokens),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=tokens.pad_token_id,
        pad_token_id=tokens.pad_token_id,
        eos_token_id=tokens.eos_token_id,
    )
    return _write(T5ForConditionalGeneration(config), tokens, path)


def _write(model: Any, tokens: PreTrainedTokenizerFast, path: Path) -> Path:
    model.save_pretrained(path, safe_serialization=True)
    tokens.save_pretrained(path)
    return path
